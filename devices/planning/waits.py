"""The one question: why does this plan not start now? Nothing here writes or asks a cloud."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from devices.explanations.reasons import Reason, ReasonCode
from devices.installs.confirmation import OfferSnapshot, is_still_offered
from devices.installs.eligibility import busy_hubs, why_in_use, why_unfit
from devices.models import (
    LIVE,
    UNSENT,
    VERDICTS,
    BatchState,
    DropReason,
    HomeAssistantLink,
    OtaJob,
    Plan,
    PlanState,
    UpdatePolicy,
    User,
    When,
)
from devices.models.homeassistant import VIA
from devices.models.message import MessageCode
from devices.models.version_text import is_same_version
from devices.permissions import Right, may, may_answer
from devices.planning import policy_rules

# A hub in use is looked at again after this, another wait that some news ends after that.
LOOK_IN_USE = timedelta(minutes=1)
LOOK_AGAIN = timedelta(minutes=30)
# A plan of a household that is stored for winter or of a stopped queue: that this ends is news.
LOOK_AT_REST = timedelta(days=1)
# So many installs of a household that were planned one by one run at a time.
AT_ONCE = 1
# Reasons that no waiting removes, and how the plan then ends.
ENDS: dict[ReasonCode, DropReason] = {
    ReasonCode.OFFER_SWAPPED: DropReason.OFFER_CHANGED,
    ReasonCode.NO_OFFER: DropReason.OFFER_CHANGED,
    ReasonCode.NO_RIGHT: DropReason.RIGHT_LOST,
    ReasonCode.NOT_ALLOWED: DropReason.RIGHT_LOST,
    ReasonCode.NO_LONGER_ALLOWED: DropReason.RIGHT_LOST,
    ReasonCode.HUB_GONE: DropReason.HUB_LEFT,
    ReasonCode.ACCOUNT_UNLINKED: DropReason.HUB_LEFT,
    ReasonCode.TRIED_SINCE: DropReason.TRIED,
    ReasonCode.DISMISSED: DropReason.DISMISSED,
    ReasonCode.POLICY_CHANGED: DropReason.POLICY,
    ReasonCode.ASKS: DropReason.POLICY,
    ReasonCode.NOT_NEWER: DropReason.POLICY,
    ReasonCode.HELD: DropReason.HELD,
    ReasonCode.TRIED_HERE: DropReason.TRIED,
    ReasonCode.TRIED_ELSEWHERE: DropReason.TROUBLE,
}
# For a hub of a queue that goes now, in turn, these are final too: the next one has its turn.
ENDS_NOW = {ReasonCode.HUB_OFFLINE, ReasonCode.JOB_RUNNING, ReasonCode.OFFER_UNKNOWN}


@dataclass(slots=True)
class Around:
    """What decides about plans beside their own rows, read for all of them in a few queries."""

    busy: set[tuple[str, str]]
    live_of_household: Counter[int]
    live_of_queue: Counter[int] = field(default_factory=Counter)
    failed_queues: set[int] = field(default_factory=set)
    rights: dict[tuple[int, int, str], bool] = field(default_factory=dict)
    links: dict[int, HomeAssistantLink] = field(default_factory=dict)
    """By household, where Home Assistant made one of the plans."""
    facts: policy_rules.Facts | None = None
    """What update policies ask about, where one of the plans is theirs."""

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> "Around":
        """Read it for these plans. Four queries, some for each person who planned, six more when an
        update policy made some, and two when Home Assistant did.
        """
        plans = list(plans)
        queues = {plan.batch_id for plan in plans if plan.batch_id is not None}
        # what a person started at once, or a queue in its turn, holds up no plan
        live = OtaJob.objects.live().filter(
            household__in={plan.household_id for plan in plans},
            plan__isnull=False,
            plan__batch=None,
        )
        around = cls(
            busy=busy_hubs([plan.node for plan in plans]),
            live_of_household=Counter(live.values_list("household_id", flat=True)),
        )
        by_policy = {plan.household_id for plan in plans if plan.is_by_policy}
        if by_policy:
            around.facts = policy_rules.Facts(by_policy)
        by_link = {plan.household_id for plan in plans if plan.requested_via == VIA}
        if by_link:
            links = HomeAssistantLink.objects.filter(household__in=by_link, is_on=True)
            found = links.prefetch_related("allowed_hubs")
            around.links = {link.household_id: link for link in found}
        if queues:
            members = Plan.objects.filter(batch__in=queues).order_by()
            running = members.filter(job__state__in=sorted(LIVE))
            around.live_of_queue.update(running.values_list("batch_id", flat=True))
            around.failed_queues.update(members.failed().values_list("batch_id", flat=True))
        return around

    def note_start(self, plan: Plan) -> None:
        """Count an install that was started since this was read."""
        if plan.batch_id is None:
            self.live_of_household[plan.household_id] += 1
        else:
            self.live_of_queue[plan.batch_id] += 1

    def note_end(self, plan: Plan) -> None:
        """Count the end of such an install."""
        if plan.batch_id is None:
            self.live_of_household[plan.household_id] -= 1
        else:
            self.live_of_queue[plan.batch_id] -= 1
        self.busy.discard((plan.node.account.cloud_host, plan.node.node_id))

    def may(self, user: User, plan: Plan) -> bool:
        """May this person install there now, by the way in that the plan came?"""
        way = "proposal" if plan.proposal_id is not None else ""
        key = (user.pk, plan.household_id, "policy" if plan.is_by_policy else way)
        if key not in self.rights:
            right = Right.AUTOMATE if plan.is_by_policy else Right.INSTALL
            self.rights[key] = (
                may_answer(user, plan.household) if way else may(user, right, plan.household)
            )
        return self.rights[key]

    def lets_home_assistant(self, plan: Plan) -> bool:
        """May Home Assistant still install on this hub, as its planner allowed?"""
        link, by = self.links.get(plan.household_id), plan.requested_by
        if link is None or by is None or by.pk != link.allowed_by_id:
            return False
        key = (by.pk, plan.household_id, VIA)
        if key not in self.rights:
            self.rights[key] = may(by, Right.PEOPLE, plan.household)
        allowed = {hub.pk for hub in link.allowed_hubs.all()}
        return self.rights[key] and link.lets_install_on(plan.node, allowed)


def why_not_now(plan: Plan, now: datetime, around: Around | None = None) -> list[Reason]:
    """Return why this plan does not start now, final reasons first; empty when it can start.

    Read the plan with `loaded`. Queries only when `around` is not given.
    """
    around = around or Around.of([plan])
    node, household = plan.node, plan.household
    if is_same_version(node.fw_version, plan.to_version):
        version = {"version": plan.to_version}
        return [Reason(ReasonCode.ALREADY_INSTALLED, MessageCode.ALREADY_INSTALLED, version)]
    reasons = _never(plan, around)
    unfit = why_unfit(node, node.offer, around.busy)
    reasons += [reason for reason in unfit if _is_final(plan, reason)]
    rule = _by_rule(plan, now, around)
    reasons += [reason for reason in rule if _is_final(plan, reason)]
    if plan.is_put_aside(household):
        reasons.append(Reason(ReasonCode.SEASON, MessageCode.PLAN_SEASON))
    # no time comes that ends this: a person does
    if plan.batch is not None and (
        plan.batch.state == BatchState.STOPPED or plan.batch.pk in around.failed_queues
    ):
        reasons.append(Reason(ReasonCode.QUEUE_STOPPED, MessageCode.PLAN_QUEUE_STOPPED))
    reasons += _not_yet(plan, now)
    reasons += [reason for reason in rule if not _is_final(plan, reason)]
    reasons += [reason for reason in unfit if not _is_final(plan, reason)]
    if node.account.is_resting(now):
        reasons.append(Reason(ReasonCode.ACCOUNT_RESTING, MessageCode.PLAN_RESTING))
    if plan.needs_idle and (in_use := why_in_use(node, household, now)) is not None:
        reasons.append(in_use)
    reasons += _not_in_turn(plan, around)
    if now >= plan.expires_at and not plan.is_put_aside(household):
        reasons.append(Reason(ReasonCode.TOO_LATE, _too_late(plan)))
    if household.pk != node.account.household_id:
        reasons.insert(0, Reason(ReasonCode.HUB_GONE, MessageCode.HUB_GONE))
    return reasons


def _too_late(plan: Plan) -> MessageCode:
    if plan.proposal_id is not None and plan.when == When.TONIGHT:
        return MessageCode.NIGHT_OVER
    return MessageCode.HUB_TOO_OLD if plan.when == When.NOW else MessageCode.PLAN_EXPIRED


def _never(plan: Plan, around: Around) -> list[Reason]:
    """Return what no waiting removes."""
    node, reasons = plan.node, []
    if plan.is_by_policy:
        pass  # by whose right it acts, its rule says
    elif plan.requested_by is None:
        reasons.append(Reason(ReasonCode.NO_LONGER_ALLOWED, MessageCode.HUB_PERSON_LEFT))
    elif not around.may(plan.requested_by, plan):
        reasons.append(Reason(ReasonCode.NO_RIGHT, MessageCode.PLAN_RIGHT_LOST))
    elif plan.requested_via == VIA and not around.lets_home_assistant(plan):
        reasons.append(Reason(ReasonCode.NOT_ALLOWED, MessageCode.PLAN_PRESS_NOT_ALLOWED))
    if node.offer is not None and not is_still_offered(
        OfferSnapshot.load(plan.binding), node, node.offer
    ):
        reasons.append(Reason(ReasonCode.OFFER_SWAPPED, MessageCode.OFFER_SWAPPED))
    job = node.latest_job
    is_over = job is not None and job.state in VERDICTS - UNSENT
    if job is not None and is_over and job.requested_at > plan.requested_at:
        reasons.append(Reason(ReasonCode.TRIED_SINCE, MessageCode.PLAN_TRIED))
    return reasons


def _by_rule(plan: Plan, now: datetime, around: Around) -> list[Reason]:
    """Return what the household's update policy says about a plan that it made."""
    if not plan.is_by_policy:
        return []
    person, policy = plan.requested_by, UpdatePolicy.of(plan.household)
    is_backed = person is not None and around.may(person, plan)
    rest = policy_rules.rests(policy, is_backed=is_backed)
    facts = around.facts or policy_rules.Facts([plan.household_id])
    rule = policy_rules.why_not(plan.node, policy, now, facts)
    if policy.set_at > plan.requested_at:
        # its install was under way when the rule was changed, and ended unsent
        rule.insert(0, Reason(ReasonCode.POLICY_CHANGED, MessageCode.POLICY_CHANGED))
    winter_ended_at = plan.household.season_ended_at
    if winter_ended_at is not None and (plan.announced_at or now) < winter_ended_at:
        # it was announced too long ago: it is announced again
        rule.insert(0, Reason(ReasonCode.TOO_LATE, MessageCode.PLAN_EXPIRED))
    # winter holds up every plan, not only these
    is_own = rest is not None and rest.code != ReasonCode.SEASON
    return [rest, *rule] if rest is not None and is_own else rule


def _not_yet(plan: Plan, now: datetime) -> list[Reason]:
    if now < plan.not_before:
        at = f"{plan.not_before.astimezone(plan.household.zone):%Y-%m-%d %H:%M}"
        return [Reason(ReasonCode.TOO_EARLY, MessageCode.PLAN_TOO_EARLY, {"at": at})]
    window = plan.window
    if window is None or window.is_open(now):
        return []
    times = {"start": f"{window.start:%H:%M}", "end": f"{window.end:%H:%M}"}
    return [Reason(ReasonCode.OUTSIDE_WINDOW, MessageCode.PLAN_OUTSIDE_WINDOW, times)]


def _not_in_turn(plan: Plan, around: Around) -> list[Reason]:
    if plan.batch is None:
        is_full = around.live_of_household[plan.household_id] >= AT_ONCE
        return [Reason(ReasonCode.TURN, MessageCode.PLAN_TURN)] if is_full else []
    if around.live_of_queue[plan.batch.pk] >= plan.batch.at_once:
        return [Reason(ReasonCode.TURN, MessageCode.PLAN_QUEUE_TURN)]
    return []


def send_by(plan: Plan, now: datetime) -> datetime:
    """Return until when an install that starts now may be sent: inside the plan's time."""
    window = plan.window
    return min(plan.expires_at, window.closes_at(now)) if window else plan.expires_at


def _is_final(plan: Plan, reason: Reason) -> bool:
    return reason.code in ENDS or (plan.when == When.NOW and reason.code in ENDS_NOW)


@dataclass(frozen=True, slots=True)
class End:
    """How a plan ends without an install."""

    state: PlanState
    drop_reason: str
    reasons: list[Reason]


def end_of(plan: Plan, reasons: list[Reason]) -> End | None:
    """Return how these reasons end the plan; None when it waits on."""
    for reason in reasons:
        if reason.code == ReasonCode.ALREADY_INSTALLED:
            return End(PlanState.DONE, "", [reason])
        if _is_final(plan, reason):
            drop_reason = ENDS.get(reason.code, DropReason.REFUSED)
            return End(PlanState.DROPPED, drop_reason, [reason])
    if any(reason.code == ReasonCode.TOO_LATE for reason in reasons):
        times = {ReasonCode.TOO_EARLY, ReasonCode.OUTSIDE_WINDOW}
        return End(PlanState.EXPIRED, "", [one for one in reasons if one.code not in times])
    return None


def next_look(plan: Plan, reasons: list[Reason], now: datetime) -> datetime:
    """Return when a waiting plan is looked at next, unless news about its hub comes first."""
    codes = {reason.code for reason in reasons}
    if ReasonCode.SEASON in codes:
        return now + LOOK_AT_REST  # it does not expire meanwhile
    if ReasonCode.QUEUE_STOPPED in codes:
        return min(now + LOOK_AT_REST, plan.expires_at)
    window, resume_at = plan.window, plan.node.account.resume_at
    if ReasonCode.TOO_EARLY in codes:
        at = window.opens_at(plan.not_before) if window else plan.not_before
    elif ReasonCode.OUTSIDE_WINDOW in codes and window is not None:
        at = window.opens_at(now)
    elif ReasonCode.ACCOUNT_RESTING in codes and resume_at is not None:
        at = resume_at
    else:
        at = now + (LOOK_IN_USE if ReasonCode.IN_USE in codes else LOOK_AGAIN)
    return min(at, plan.expires_at)
