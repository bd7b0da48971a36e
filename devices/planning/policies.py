"""Update policies: set one, and make and announce the plans it asks for, the evening before.

A policy has no way of its own to start an install: it makes plans. A plan of a policy and the
notice about it are written in one transaction, so that none starts that was not announced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from devices.audit import log as audit_log
from devices.explanations.reasons import ReasonCode
from devices.installs.confirmation import snapshot_offer
from devices.models import (
    Actor,
    AuditAction,
    CloudAccount,
    Household,
    HubPolicy,
    Node,
    Plan,
    PlanState,
    PolicyMode,
    Topic,
    UpdatePolicy,
    User,
    When,
    database_clock,
)
from devices.models.account import common_mark
from devices.models.message import Message, MessageCode
from devices.models.plan import VALID_FOR
from devices.notifications.outbox import notify
from devices.permissions import role_in
from devices.planning import announcements, policy_rules
from devices.planning.plans import Timing, make, move_to
from devices.planning.policy_rules import Forecast, Hub, hub_of
from devices.security.one_time_tokens import read, sign
from devices.taskqueue.isolation import isolated
from devices.taskqueue.wakeups import wake_installs

LOOKS_AT_ONCE = 50
LOOK_LATER = timedelta(minutes=10)
WORKER = Actor.worker()
# What was shown may be confirmed for so long.
_SHOWN, SHOWN_FOR = "policy shown", timedelta(minutes=30)


class NotShown(Exception):
    """What the policy would do was not shown before it was switched on; nothing was changed."""


class NotAnnounced(Exception):
    """No channel wants the notice about plans of a policy; none was kept."""


@dataclass(frozen=True, slots=True)
class PolicyWishes:
    """What an owner entered."""

    mode: PolicyMode
    window_start: time
    window_end: time
    waiting_days: int
    others_after_days: int
    idle_minutes: int
    hubs: Mapping[Hub, PolicyMode] = field(default_factory=dict)
    """The physical hubs that differ."""

    @property
    def installs(self) -> bool:
        """Does it let any hub install by itself?"""
        return PolicyMode.INSTALL in {self.mode, *self.hubs.values()}


SETTINGS = (
    *("mode", "window_start", "window_end"),
    *("waiting_days", "others_after_days", "idle_minutes"),
)


def policy_of(household: Household) -> UpdatePolicy:
    """Return the household's policy, or one that asks and is not saved. One query."""
    found = UpdatePolicy.objects.select_related("household", "set_by").filter(household=household)
    return found.first() or UpdatePolicy(household=household)


def modes_of(policy: UpdatePolicy) -> dict[Hub, PolicyMode]:
    """Return the physical hubs that differ. One query."""
    if policy.pk is None:
        return {}
    return policy_rules.modes_by_policy(policy.hubs.all()).get(policy.pk, {})


def wished(household: Household, wishes: PolicyWishes, user: User) -> UpdatePolicy:
    """Return the policy as this person would set it. It is not saved."""
    policy = policy_of(household)
    for name in SETTINGS:
        setattr(policy, name, getattr(wishes, name))
    policy.set_by, policy.set_by_name = user, user.email
    policy.rest_notified_at = None
    return policy


def shown_token(household: Household, wishes: PolicyWishes) -> str:
    """Return what the form carries that stands beside what these wishes would do."""
    return sign(_SHOWN, _as_shown(household, wishes))


def _as_shown(household: Household, wishes: PolicyWishes) -> list[Any]:
    settings = [str(getattr(wishes, name)) for name in SETTINGS]
    return [household.pk, settings, sorted([*hub, str(mode)] for hub, mode in wishes.hubs.items())]


def change(
    household: Household,
    wishes: PolicyWishes,
    *,
    user: User,
    actor: Actor,
    shown: str = "",
    now: datetime | None = None,
) -> UpdatePolicy:
    """Save the policy and record what changed. What the former one planned ends: it is planned and
    announced again, if it still may. Safe to repeat.

    shown: the token of `shown_token`. Nothing is let install by itself that was not shown exactly
    so, a short time ago: raises NotShown, and nothing is changed.
    """
    now = now or database_clock.now()
    if wishes.installs and read(_SHOWN, shown, SHOWN_FOR) != _as_shown(household, wishes):
        raise NotShown(f"what the policy of {household} would do was not shown")
    with audit_log.locked():
        former = policy_of(household)
        before = _plain(former, modes_of(former))
        policy = wished(household, wishes, user)
        after = _plain(policy, wishes.hubs)
        is_same = before == after and former.set_by_id == user.pk
        if former.pk is not None and is_same and former.rest_notified_at is None:
            return former
        policy.set_at = now
        policy.next_look_at = now if wishes.installs else None
        policy.save()
        policy.hubs.all().delete()
        # every row of a hub, so that it stays as it is when one of its accounts is unlinked
        rows = Node.objects.filter(
            node_id__in={node_id for _, node_id in wishes.hubs}, account__household=household
        )
        HubPolicy.objects.bulk_create(
            HubPolicy(policy=policy, node=node, mode=wishes.hubs[hub])
            for node in rows.select_related("account")
            if (hub := hub_of(node)) in wishes.hubs
        )
        for plan in _plans_of(household):
            note = f"The plan of {plan} ended: the update policy was changed."
            why = Message.of(MessageCode.POLICY_CHANGED)
            move_to(plan, PlanState.CANCELLED, actor=actor, note=note, now=now, reason=why)
        # plans that people made wait for the household's idle time too
        Plan.objects.filter(household=household).wake(now)
        changed = [name for name in after if before.get(name) != after[name]]
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_POLICY_CHANGED,
            f"{actor.name} set the update policy of {household}: {_words(policy, wishes)}.",
            household=household,
            at=now,
            why=f"role {actor.role}",
            detail={
                "from": {name: before.get(name) for name in changed},
                "to": {name: after[name] for name in changed},
            },
        )
        wake_installs()
    return policy


def _plans_of(household: Household) -> list[Plan]:
    ours = Plan.objects.waiting().filter(household=household, when=When.POLICY)
    return list(ours.select_related("node__account", "household", "batch", "proposal"))


def _plain(policy: UpdatePolicy, modes: Mapping[Hub, PolicyMode]) -> dict[str, Any]:
    """Return what the trail keeps of a policy; hubs as their cloud names them."""
    values = {name: getattr(policy, name) for name in SETTINGS}
    return {
        name: f"{value:%H:%M}" if isinstance(value, time) else value
        for name, value in values.items()
    } | {"hubs": {" ".join(hub): str(mode) for hub, mode in sorted(modes.items())}}


def _words(policy: UpdatePolicy, wishes: PolicyWishes) -> str:
    """Return the rule in English, for the trail."""
    differ = f", {len(wishes.hubs)} hubs differ" if wishes.hubs else ""
    if not wishes.installs:
        return f"ask{differ}"
    others = (
        f"the others {policy.others_after_days} days after the first hub is verified"
        if policy.is_staggered
        else "all in one night"
    )
    mode = "install by itself" if policy.mode == PolicyMode.INSTALL else "ask"
    return (
        f"{mode}{differ}, between {policy.window_start:%H:%M} and {policy.window_end:%H:%M}, "
        f"{policy.waiting_days} days after a version is first seen, {others}, when not in use for "
        f"{policy.idle_minutes} minutes"
    )


def actor_of(policy: UpdatePolicy) -> Actor:
    """Return who acts when a policy does: the rule, by the right of the person who set it."""
    role = role_in(policy.set_by, policy.household) if policy.set_by is not None else ""
    name = f"{policy}, set by {policy.set_by_name}"
    return Actor(name[:254], policy.set_by_id, role, "policy")


def advance(now: datetime) -> None:
    """Look at the policies that are due. Safe on repeat; one query while none is."""
    due = list(UpdatePolicy.objects.due(now).values_list("pk", flat=True)[:LOOKS_AT_ONCE])
    for pk in due:
        with isolated(f"update policy {pk}"):
            _look(pk, now)
    if due:  # one that cannot be read must not be looked at all the time
        left = UpdatePolicy.objects.filter(pk__in=due, next_look_at__lte=now)
        left.update(next_look_at=now + LOOK_LATER)


def _look(pk: int, now: datetime) -> None:
    """Say that a policy rests, or make the plans of this evening."""
    with audit_log.locked():
        policies = UpdatePolicy.objects.due(now).select_related("household", "set_by")
        policy = policies.filter(pk=pk).first()
        if policy is None:
            return
        evening = policy_rules.this_evening(policy, now)
        next_look_at = evening if evening > now else policy_rules.next_evening(policy, now)
        rest = policy_rules.rests(policy, is_backed=policy_rules.is_backed(policy))
        is_unbacked = rest is not None and rest.code == ReasonCode.NO_RIGHT
        if is_unbacked:
            _note_rest(policy, now)
        elif rest is None and evening == now:
            _plan(policy, policy_rules.forecast(policy, now), now)
        UpdatePolicy.objects.filter(pk=pk).update(
            next_look_at=next_look_at,
            rest_notified_at=policy.rest_notified_at if is_unbacked else None,
        )


def _note_rest(policy: UpdatePolicy, now: datetime) -> None:
    """Notify the household once that its policy rests."""
    if policy.rest_notified_at is not None:
        return
    policy.rest_notified_at = now
    audit_log.record(
        WORKER,
        AuditAction.HOUSEHOLD_POLICY_RESTS,
        f"The {policy} rests: {policy.set_by_name} may no longer set it.",
        household=policy.household,
        at=now,
    )
    notify(
        Topic.NEEDS_YOU,
        household=policy.household,
        path=reverse("update_policy", args=[policy.household_id]),
        now=now,
        message=Message.of(MessageCode.POLICY_RESTS, name=policy.set_by_name),
    )


def _plan(policy: UpdatePolicy, found: Forecast, now: datetime) -> None:
    """Make the plans for the next window, and announce them in one notice."""
    if not found.starting:
        return
    household, actor = policy.household, actor_of(policy)
    timing = Timing(
        When.POLICY,
        found.opens_at,
        found.opens_at + VALID_FOR,
        policy.window_start,
        policy.window_end,
        announced_at=now,
    )
    chosen = [
        (one.node, snapshot_offer(one.node, offer))
        for one in found.starting
        if (offer := one.node.offer) is not None
    ]
    plans = make(chosen, timing, household=household, user=policy.set_by, actor=actor, now=now)
    reached = announcements.announce(
        plans,
        household=household,
        now=now,
        not_after=found.opens_at - policy_rules.LEAD,
        by_mail=settings.HAS_MAIL_SERVER,
    )
    if not reached:
        # what was made goes with the transaction: none starts that was not announced
        raise NotAnnounced(f"no channel of household {household.pk} wants it")
    _record(policy, plans, [one.node.account for one in found.starting], actor, now)


def _record(
    policy: UpdatePolicy,
    plans: list[Plan],
    accounts: list[CloudAccount],
    actor: Actor,
    now: datetime,
) -> None:
    versions = ", ".join(sorted({plan.to_version for plan in plans}))
    hubs = plans[0].hub_name if len(plans) == 1 else f"{len(plans)} hubs"
    at = plans[0].not_before.astimezone(policy.household.zone)
    audit_log.record(
        actor,
        AuditAction.PLAN_MADE,
        f"The {actor.name}, planned installing {versions} on {hubs} from {at:%Y-%m-%d %H:%M}, and "
        "announced it.",
        household=policy.household,
        node=plans[0].node if len(plans) == 1 else None,
        at=now,
        why=f"role {actor.role}",
        detail={
            "plans": [plan.pk for plan in plans],
            "hubs": [plan.node_id for plan in plans],
            "to_version": versions,
            "not_before": plans[0].not_before.isoformat(),
        }
        | common_mark(accounts),
    )


def wake_after_loss(household: Household, now: datetime) -> None:
    """Have the policy say that it rests, after a plan of it ended because a right was lost."""
    UpdatePolicy.objects.filter(Q(rest_notified_at=None), household=household).wake(now)
