"""Which hubs an update policy lets install by itself, or why not. Nothing here writes or asks a
cloud. The page that shows what a policy would do, and the planner, ask the same questions here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo

from django.conf import settings
from django.db.models import Count, Min, Prefetch, Q, QuerySet

from devices.explanations.reasons import Reason, ReasonCode
from devices.fleet.holds import HeldVersions
from devices.installs.eligibility import busy_hubs, why_unfit
from devices.models import (
    LIVE,
    HubPolicy,
    Node,
    Offer,
    OtaJob,
    Plan,
    PolicyMode,
    State,
    Topic,
    UpdatePolicy,
)
from devices.models.account import cloud_host_of
from devices.models.message import MessageCode
from devices.models.season import is_stored
from devices.models.version_text import is_older_version, is_same_version
from devices.models.windows import Window
from devices.notifications.outbox import is_wanted
from devices.permissions import Right, may

# At this time on the household's clock the plans for the next day are made and announced.
EVENING = time(18)
# and at least so long before the window opens.
LEAD = timedelta(hours=5)
Hub = tuple[str, str]
"""A physical hub: cloud host and node id."""


@dataclass(slots=True)
class Tried:
    """The newest attempt of one version on each hub of one model in a household, at one cloud."""

    by_hub: dict[Hub, OtaJob]
    troubled: list[OtaJob] = field(init=False)
    verified_at: datetime | None = field(init=False)
    """When the first hub was verified; None while there is no proof that still holds."""

    def __post_init__(self) -> None:
        jobs = self.by_hub.values()
        self.troubled = [job for job in jobs if job.went_wrong]
        proofs = [
            job.ended_at
            for job in jobs
            if job.state == State.VERIFIED and job.ended_at is not None and not job.went_wrong
        ]
        self.verified_at = min(proofs, default=None)

    def runs_beside(self, hub: Hub) -> bool:
        """Is an install of it under way on another hub?"""
        return any(job.state in LIVE for other, job in self.by_hub.items() if other != hub)


class Facts:
    """What decides about hubs beside their own rows, for some households. Five queries."""

    def __init__(self, households: Iterable[int]) -> None:
        self._held = HeldVersions()
        ids = list(households)
        offers = (
            Offer.objects.filter(node__account__household__in=ids)
            .order_by()
            .values_list(
                *("node__account__household", "node__account__base_url", "node__model"),
                *("fw_version", "md5"),
            )
            .annotate(first=Min("first_seen_at"), are_open=Count("pk", Q(ended_at=None)))
        )
        self._offers = [
            ((household, cloud_host_of(base_url), model, md5), version, first, bool(are_open))
            for household, base_url, model, version, md5, first, are_open in offers
        ]
        offered = {version for _, version, _, is_open in self._offers if is_open}
        ours = OtaJob.objects.filter(household__in=ids).order_by()
        spelled = [
            one
            for one in ours.values_list("to_version", flat=True).distinct()
            if any(is_same_version(one, version) for version in offered)
        ]
        self._jobs: dict[int, list[OtaJob]] = defaultdict(list)
        for job in ours.filter(to_version__in=spelled).order_by("requested_at", "pk"):
            self._jobs[job.household_id].append(job)
        self._modes = {
            (policy, hub): mode
            for policy, modes in modes_by_policy(
                HubPolicy.objects.filter(policy__household__in=ids)
            ).items()
            for hub, mode in modes.items()
        }
        self._tried: dict[tuple[int, str, str, str], Tried] = {}
        self._first_seen: dict[tuple[int, str, str, str, str], datetime] = {}

    def suppose(self, policy: UpdatePolicy, modes: Mapping[Hub, PolicyMode]) -> None:
        """Let these hubs differ, and no others."""
        self._modes = {(policy.pk or 0, hub): mode for hub, mode in modes.items()}

    def mode_of(self, node: Node, policy: UpdatePolicy) -> PolicyMode:
        """Return what counts for this hub: its own mode, else the household's."""
        own = self._modes.get((policy.pk or 0, hub_of(node)))
        return own or PolicyMode(policy.mode)

    def is_held(self, node: Node, version: str) -> bool:
        found = self._held.of(node.model, version, is_simulated=node.account.is_simulated)
        return found is not None

    def tried(self, node: Node, version: str) -> Tried:
        """Return how the version went on the hubs of this one's model, household and cloud.

        Another cloud may call another file by the same version, and a simulated hub, which is
        always at a cloud of its own, proves nothing about a real one.
        """
        host = node.account.cloud_host
        key = (node.account.household_id, host, node.model, version)
        if key not in self._tried:
            newest: dict[Hub, OtaJob] = {}
            for job in self._jobs[node.account.household_id]:
                is_alike = (job.cloud_host, job.hub_model) == (host, node.model)
                if is_alike and is_same_version(job.to_version, version):
                    newest[job.cloud_host, job.cloud_node_id] = job
            self._tried[key] = Tried(newest)
        return self._tried[key]

    def first_seen_at(self, node: Node, offer: Offer) -> datetime:
        """Return when this hub's cloud first offered this file to a hub of its model in the
        household.
        """
        file = (node.account.household_id, node.account.cloud_host, node.model, offer.md5)
        key = (*file, offer.fw_version)
        if key not in self._first_seen:
            seen = [
                first
                for one, version, first, _ in self._offers
                if one == file and is_same_version(version, offer.fw_version)
            ]
            self._first_seen[key] = min(seen, default=offer.first_seen_at)
        return self._first_seen[key]


def hub_of(node: Node) -> Hub:
    """Return which physical hub this row is about. Reads its account."""
    return node.account.cloud_host, node.node_id


def modes_by_policy(rows: QuerySet[HubPolicy]) -> dict[int, dict[Hub, PolicyMode]]:
    """Return the mode of each physical hub that differs, by the key of its policy. One query.

    A hub that two accounts of a household share has two rows. Where they differ, the one that asks
    counts.
    """
    found: dict[int, dict[Hub, PolicyMode]] = defaultdict(dict)
    for one in rows.select_related("node__account"):
        modes, hub = found[one.policy_id], hub_of(one.node)
        if modes.get(hub) != PolicyMode.ASK:
            modes[hub] = PolicyMode(one.mode)
    return found


def is_backed(policy: UpdatePolicy) -> bool:
    """May the person who set the policy still do so? Two queries at most."""
    person = policy.set_by
    return person is not None and may(person, Right.AUTOMATE, policy.household)


def rests(policy: UpdatePolicy, *, is_backed: bool) -> Reason | None:
    """Return why the whole policy starts nothing now; None when it may. Whatever lets a household
    rest is asked here. One whose owner lost the right rests until it is saved again, also when that
    owner has the right again.
    """
    if not is_backed or policy.rest_notified_at is not None:
        return Reason(ReasonCode.NO_RIGHT, MessageCode.POLICY_RIGHT_LOST)
    if is_stored(policy.household):
        return Reason(ReasonCode.SEASON, MessageCode.PLAN_SEASON)
    return None


def why_not(node: Node, policy: UpdatePolicy, at: datetime, facts: Facts) -> list[Reason]:
    """Return what in the rule speaks against starting this hub's offer at this time.

    Read the hub with its account and offers. No query.
    """
    offer = node.offer
    if facts.mode_of(node, policy) != PolicyMode.INSTALL:
        return [Reason(ReasonCode.ASKS, MessageCode.POLICY_ASKS)]
    if offer is None:
        return []
    version, tried = {"version": offer.fw_version}, facts.tried(node, offer.fw_version)
    reasons = []
    if not is_older_version(node.fw_version, offer.fw_version):
        reasons.append(Reason(ReasonCode.NOT_NEWER, MessageCode.POLICY_NOT_NEWER, version))
    if facts.is_held(node, offer.fw_version):
        reasons.append(Reason(ReasonCode.HELD, MessageCode.POLICY_HELD, version))
    own = tried.by_hub.get(hub_of(node))
    if own is not None and (own.went_wrong or own.state == State.CANCELLED):
        reasons.append(Reason(ReasonCode.TRIED_HERE, MessageCode.POLICY_TRIED, version))
    elif tried.troubled:
        values = version | {"hub": tried.troubled[0].hub_name}
        reasons.append(Reason(ReasonCode.TRIED_ELSEWHERE, MessageCode.POLICY_TROUBLE, values))
    waits_until = facts.first_seen_at(node, offer) + timedelta(days=policy.waiting_days)
    if at < waits_until:
        values = version | {"at": _clock(waits_until, policy)}
        reasons.append(Reason(ReasonCode.TOO_NEW, MessageCode.POLICY_TOO_NEW, values))
    if policy.is_staggered and tried.verified_at is not None:
        follows_at = tried.verified_at + timedelta(days=policy.others_after_days)
        if at < follows_at:
            values = version | {"at": _clock(follows_at, policy)}
            reasons.append(Reason(ReasonCode.FIRST_HUB, MessageCode.POLICY_AFTER_FIRST, values))
    elif policy.is_staggered and tried.runs_beside(hub_of(node)):
        reasons.append(Reason(ReasonCode.FIRST_HUB, MessageCode.POLICY_FIRST, version))
    return reasons


def _clock(at: datetime, policy: UpdatePolicy) -> str:
    return f"{at.astimezone(policy.household.zone):%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class HubForecast:
    """One hub: would it be planned, and why not."""

    node: Node
    mode: PolicyMode
    reasons: list[Reason]

    @property
    def starts(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a policy would do in the next night that it can announce."""

    opens_at: datetime
    against: list[Reason]
    """What stands against all of it."""
    hubs: list[HubForecast]
    """Every hub of the household, by name."""

    announced_from = EVENING
    lead_hours = int(LEAD.total_seconds()) // 3600

    @property
    def starting(self) -> list[HubForecast]:
        """Return the hubs that would be planned now."""
        return [] if self.against else [one for one in self.hubs if one.starts]


def forecast(
    policy: UpdatePolicy, now: datetime, modes: Mapping[Hub, PolicyMode] | None = None
) -> Forecast:
    """Return what the policy, saved or not, would announce this evening for its next window.

    modes: of hubs that differ, instead of the stored ones. About fifteen queries, however many
    hubs.
    """
    household, opens_at = policy.household, next_window(policy, now)
    waiting = Prefetch("plans", Plan.objects.waiting(), to_attr="waiting_plans")
    hubs = Node.objects.present_once().filter(account__household=household).with_offers()
    nodes = sorted(hubs.prefetch_related(waiting), key=lambda node: (str(node).casefold(), node.pk))
    facts, busy = Facts([household.pk]), busy_hubs(nodes)
    if modes is not None:
        facts.suppose(policy, modes)
    # where one hub goes first, this is who has that turn: the cloud, the model and the version
    firsts = {
        (node.account.cloud_host, node.model, plan.to_version)
        for node in nodes
        if (plan := node.plan) is not None and plan.is_by_policy
    }
    found = []
    for node in nodes:
        offer, reasons = node.offer, why_not(node, policy, opens_at, facts)
        unfit = why_unfit(node, offer, busy)
        if node.plan is not None:
            unfit.append(Reason(ReasonCode.PLANNED, MessageCode.POLICY_PLANNED))
        if offer is None or unfit or reasons:
            # that nothing is offered, or that it is not wanted here, says more than any rule
            is_moot = offer is None or any(one.code == ReasonCode.DISMISSED for one in unfit)
            reasons = unfit + reasons if is_moot else reasons + unfit
        elif policy.is_staggered and facts.tried(node, offer.fw_version).verified_at is None:
            alike = (node.account.cloud_host, node.model)
            if any(
                (host, model) == alike and is_same_version(version, offer.fw_version)
                for host, model, version in firsts
            ):
                version = {"version": offer.fw_version}
                reasons = [Reason(ReasonCode.FIRST_HUB, MessageCode.POLICY_FIRST, version)]
            else:
                firsts.add((*alike, offer.fw_version))
        found.append(HubForecast(node, facts.mode_of(node, policy), reasons))
    against: list[Reason] = []
    if not any(one.mode == PolicyMode.INSTALL for one in found):
        return Forecast(opens_at, against, found)
    if rest := rests(policy, is_backed=is_backed(policy)):
        against.append(rest)
    if not is_wanted(Topic.NEEDS_YOU, household, by_mail=settings.HAS_MAIL_SERVER):
        against.append(Reason(ReasonCode.NO_NOTICE, MessageCode.POLICY_NO_NOTICE))
    return Forecast(opens_at, against, found)


def next_window(policy: UpdatePolicy, now: datetime) -> datetime:
    """Return when the window opens that is announced next: the first time on a later day than
    today, by the household's clock, and not within the next hours.
    """
    zone = policy.household.zone
    window = Window(policy.window_start, policy.window_end, zone)
    begins = max(_at(now, zone, time(0), days=1), now + LEAD)
    if window.is_open(begins) and window.is_open(begins - timedelta(seconds=1)):
        begins = window.closes_at(begins)  # it opens too soon
    return window.opens_at(begins)


def this_evening(policy: UpdatePolicy, now: datetime) -> datetime:
    """Return when plans of today are made: in the evening, or now when it is evening."""
    return max(now, _at(now, policy.household.zone, EVENING))


def next_evening(policy: UpdatePolicy, now: datetime) -> datetime:
    """Return when the evening of tomorrow begins."""
    return _at(now, policy.household.zone, EVENING, days=1)


def _at(now: datetime, zone: tzinfo, clock: time, days: int = 0) -> datetime:
    """Return when the clock shows this time on the day so many days from today. Where the clock
    skips it, the moment of the jump.
    """
    day = now.astimezone(zone).date() + timedelta(days=days)
    return datetime.combine(day, clock, zone).astimezone(UTC)
