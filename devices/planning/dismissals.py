"""What no person has to look at any more: a version that is not wanted, an end that was seen."""

from collections import defaultdict
from datetime import datetime

from django.db.models import F, Q
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    AuditAction,
    Dismissal,
    Node,
    Offer,
    OtaJob,
    Plan,
    PlanState,
    User,
    When,
    database_clock,
)
from devices.models.install import OtaJobQuerySet, needs_person
from devices.models.message import Message, MessageCode
from devices.models.plan import wake_hubs
from devices.models.version_text import is_same_version
from devices.planning import proposals
from devices.planning.plans import move_to
from devices.taskqueue.wakeups import wake_installs


class DismissalError(Exception):
    """Nothing was changed. str() is a sentence for the person."""


def dismiss(
    node: Node,
    version: str,
    *,
    user: User | None,
    actor: Actor,
    everywhere: bool = False,
    now: datetime | None = None,
) -> Dismissal:
    """Keep that this version is not wanted on this hub, or on every hub of its household.

    An earlier install of it that did not end well counts as seen. Raises DismissalError when the
    hub is not offered this version. Safe to repeat.
    """
    now = now or database_clock.now()
    household = node.account.household
    with audit_log.locked():
        offer = node.offers.filter(ended_at=None).first()
        if offer is None or not is_same_version(offer.fw_version, version):
            raise DismissalError(gettext("The cloud no longer offers this version to the hub."))
        dismissal, is_new = Dismissal.objects.get_or_create(
            household=household,
            node=None if everywhere else node,
            version=offer.fw_version,
            defaults={"dismissed_by": user, "dismissed_by_name": actor.name, "at": now},
        )
        if not is_new:
            return dismissal
        hubs = _apply(household.pk, now)
        where = f"every hub of {household}" if everywhere else str(node)
        audit_log.record(
            actor,
            AuditAction.OFFER_DISMISSED,
            f"{actor.name} does not want {offer.fw_version} on {where}.",
            household=household,
            node=None if everywhere else node,
            at=now,
            why=f"role {actor.role}",
            detail={"fw_version": offer.fw_version, "everywhere": everywhere, "hubs": len(hubs)},
        )
        newest = OtaJob.objects.filter(needs_person(), node__in=hubs, is_latest=True)
        tried = newest.values_list("pk", "to_version")
        same = [pk for pk, other in tried if is_same_version(other, version)]
        _mark(OtaJob.objects.filter(pk__in=same), actor, now, is_seen=True)
        _cancel_policy_plans(hubs, version, actor, now)
        proposals.decline_dismissed(hubs, version, user=user, actor=actor, now=now)
        if wake_hubs(hubs, now):
            wake_installs()
    return dismissal


def _cancel_policy_plans(hubs: list[int], version: str, actor: Actor, now: datetime) -> None:
    """End what the update policy planned for these hubs: "not this one" is the answer to it."""
    plans = Plan.objects.waiting().filter(node__in=hubs, when=When.POLICY)
    for plan in plans.select_related("node__account", "household", "batch", "proposal"):
        if is_same_version(plan.to_version, version):
            why = Message.of(MessageCode.PLAN_CANCELLED_BY, name=actor.name)
            note = f"{actor.name} does not want {plan}: its plan ended."
            move_to(plan, PlanState.CANCELLED, actor=actor, note=note, now=now, reason=why)


def undo(dismissal: Dismissal, *, actor: Actor, now: datetime | None = None) -> None:
    """Offer this version again where it is not wanted for another reason. Safe to repeat."""
    now = now or database_clock.now()
    household = dismissal.household
    with audit_log.locked():
        if not Dismissal.objects.filter(pk=dismissal.pk).exists():
            return
        where = str(dismissal.node or f"every hub of {household}")
        node = dismissal.node
        hubs = list(dismissal.offers.values_list("node_id", flat=True))
        version = dismissal.version
        dismissal.delete()
        Node.objects.filter(pk__in=hubs).touch_all(now)
        _apply(household.pk, now)
        audit_log.record(
            actor,
            AuditAction.OFFER_WANTED,
            f"{actor.name} wants to be offered {version} again on {where}.",
            household=household,
            node=node,
            at=now,
            why=f"role {actor.role}",
            detail={"fw_version": version, "everywhere": node is None, "hubs": len(hubs)},
        )


def undo_all(node: Node, *, actor: Actor, now: datetime | None = None) -> list[Dismissal]:
    """Undo all that dismisses what this hub is offered; return what that was."""
    undone: list[Dismissal] = []
    while (offer := node.offers.filter(ended_at=None).first()) and offer.dismissal is not None:
        undone.append(offer.dismissal)
        undo(offer.dismissal, actor=actor, now=now)
    return undone


def _apply(household_id: int, now: datetime) -> list[int]:
    """Mark the open offers of the household that a dismissal covers; return their hubs."""
    rules, found = Dismissal.of_household(household_id), defaultdict(list)
    offers = Offer.objects.filter(
        node__account__household_id=household_id, ended_at=None, dismissal=None
    )
    for offer in offers.select_related("node__account"):
        for rule in rules:
            if rule.covers(offer.node, offer.fw_version):
                found[rule.pk].append(offer)
                break
    for rule_pk, covered in found.items():
        Offer.objects.filter(pk__in=[offer.pk for offer in covered]).update(dismissal=rule_pk)
    hubs = [offer.node_id for covered in found.values() for offer in covered]
    Node.objects.filter(pk__in=hubs).touch_all(now)
    return hubs


def mark_seen(job: OtaJob, *, actor: Actor, now: datetime | None = None) -> None:
    """Keep that a person has seen how this install ended: no one has to look any more.

    Raises DismissalError when there is nothing to see.
    """
    if not job.needs_person:
        raise DismissalError(gettext("This install does not need attention."))
    _mark_one(job, needs_person(), actor, now, is_seen=True)


def mark_unseen(job: OtaJob, *, actor: Actor, now: datetime | None = None) -> None:
    """Undo `mark_seen`. Raises DismissalError when it was not marked."""
    if job.seen_at is None:
        raise DismissalError(gettext("This install is not marked as seen."))
    _mark_one(job, Q(seen_at__isnull=False), actor, now, is_seen=False)


def _mark_one(
    job: OtaJob, condition: Q, actor: Actor, now: datetime | None, *, is_seen: bool
) -> None:
    with audit_log.locked():
        as_loaded = OtaJob.objects.filter(condition, pk=job.pk, state=job.state)
        if not _mark(as_loaded, actor, now or database_clock.now(), is_seen=is_seen):
            raise DismissalError(gettext("The install changed meanwhile. Look at it again."))


def _mark(jobs: OtaJobQuerySet, actor: Actor, now: datetime, *, is_seen: bool) -> int:
    """Mark these installs, with an audit event each; return how many. Call it in the lock of the
    trail. Three queries, and what the events cost.
    """
    marked = list(jobs.select_related("node__account__household", "household").order_by("pk"))
    OtaJob.objects.filter(pk__in=[job.pk for job in marked]).update(
        seen_at=now if is_seen else None,
        seen_by_name=actor.name if is_seen else "",
        revision=F("revision") + 1,
    )
    Node.objects.filter(pk__in=[job.node_id for job in marked]).touch_all(now)
    for job in marked:
        words = f"{actor.name} has seen how the install on {job.hub_name} ended."
        if not is_seen:
            words = f"{actor.name} wants to see the install on {job.hub_name} again."
        action = AuditAction.INSTALL_SEEN if is_seen else AuditAction.INSTALL_UNSEEN
        audit_log.record(actor, action, words, job=job, at=now, why=f"role {actor.role}")
    return len(marked)
