"""Hold a version that did badly on this server: nothing starts it by itself, a person still may.

The rule, in numbers that are shown: of the hubs of a model that tried a version here, each by its
newest attempt, two or more had trouble with it, and these are at least one in five. Trouble is what
may be the firmware's doing; an answer that the cloud did not give is not.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, F, Max, Q, Value, When, Window
from django.db.models.functions import RowNumber

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    AuditAction,
    CloudAccount,
    InstallOutcome,
    Node,
    Offer,
    OtaJob,
    State,
    User,
    VersionHold,
    database_clock,
)
from devices.models.install import TROUBLED, OtaJobQuerySet
from devices.models.version_text import is_same_version, parse_version

FEWEST_HUBS = 2
ONE_IN = 5
# Ends that say nothing about the firmware: the cloud's doing, its set-up, or the account's.
NOT_ITS_DOING = frozenset(
    {
        InstallOutcome.NEWER_VERSION,
        InstallOutcome.VERSION_STATUS_NOT_READ,
        InstallOutcome.SAME_VERSION,
        InstallOutcome.WINDOW_LAPSED,
        InstallOutcome.BAD_WINDOW,
        InstallOutcome.BAD_PAYLOAD,
        InstallOutcome.NO_ANSWER_FROM_CLOUD,
        InstallOutcome.PUSH_UNKNOWN,
        InstallOutcome.SIGNED_OUT,
        InstallOutcome.STATUS_NOT_READ,
        InstallOutcome.VERSION_NOT_READ,
        InstallOutcome.HUB_LEFT,
        InstallOutcome.STILL_DELAYED,
    }
)
ROLLED_BACK = str(InstallOutcome.ROLLED_BACK)
# The kinds of trouble that are counted, in the order in which they are shown.
KINDS = (ROLLED_BACK, *(str(state) for state in TROUBLED))
KIND = Case(
    When(Q(fell_back_at__isnull=False) | Q(outcome=ROLLED_BACK), then=Value(ROLLED_BACK)),
    # it runs the version after all
    When(arrived_late_at__isnull=False, then=Value(str(State.VERIFIED))),
    default=F("state"),
)


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many hubs tried a version, and how that went."""

    tried: int = 0
    verified: int = 0
    bad: tuple[tuple[str, int], ...] = ()
    """(kind of KINDS, hubs) of each kind of trouble that there was."""

    @property
    def troubled(self) -> int:
        return sum(n for _, n in self.bad)

    @property
    def is_too_bad(self) -> bool:
        """Is this enough to hold the version?"""
        return self.troubled >= FEWEST_HUBS and self.troubled * ONE_IN >= self.tried


@dataclass(frozen=True, slots=True)
class Standing:
    """One version on one model: its numbers, and what was decided about it."""

    hub_model: str
    version: str
    is_simulated: bool
    numbers: Numbers
    hold: VersionHold | None

    @property
    def is_held(self) -> bool:
        return self.hold is not None and self.hold.is_held


class HeldVersions:
    """All versions that are held now, read once. For those who ask about many hubs. One query."""

    def __init__(self) -> None:
        self._held = list(VersionHold.objects.filter(is_held=True))

    def of(self, model: str, version: str, *, is_simulated: bool) -> VersionHold | None:
        """Return what holds this version on this model, if anything."""
        for one in self._held:
            is_it = (one.hub_model, one.is_simulated) == (model, is_simulated)
            if is_it and is_same_version(one.version, version):
                return one
        return None


def hold_of(node: Node, version: str) -> VersionHold | None:
    """Return what holds this version on hubs of this one's model, if anything. One query."""
    return HeldVersions().of(node.model, version, is_simulated=node.account.is_simulated)


def is_held(node: Node, version: str) -> bool:
    """Must nothing start this version on this hub by itself? One query."""
    return hold_of(node, version) is not None


def standing_of(model: str, version: str, *, is_simulated: bool) -> Standing:
    """Return one version on one model, tried here or not. Three queries."""
    return standings_of(model, [version], is_simulated=is_simulated)[0]


def standings_of(model: str, versions: Iterable[str], *, is_simulated: bool) -> list[Standing]:
    """Return these versions on one model, tried here or not. Three queries."""
    tried = _tried(VersionHold.objects.filter(hub_model=model), hub_model=model)
    found = [
        tried.find(model, version, is_simulated) or _Version(model, version, is_simulated)
        for version in versions
    ]
    # one with and one without a build suffix may be the same here
    counted = {id(one): n for n, one in enumerate({id(one): one for one in found}.values())}
    standings = _counted(list({id(one): one for one in found}.values()))
    return [standings[counted[id(one)]] for one in found]


def review(job: OtaJob, now: datetime) -> None:
    """Hold or release the version of an install that has just ended, as the numbers say.

    What staff hold stays held. Call it in the transaction of the end. One query for a good end of
    a version that is not held, a few more where the numbers can change something.
    """
    hold = hold_of(job.node, job.to_version)
    if (hold is not None and hold.is_by_hand) or (hold is not None) is job.went_wrong:
        return
    is_simulated = job.node.account.is_simulated
    standing = standing_of(job.hub_model, job.to_version, is_simulated=is_simulated)
    if standing.numbers.is_too_bad != standing.is_held:
        _decided(standing, Actor.worker(), now, is_held=not standing.is_held)


def decide(
    standing: Standing,
    *,
    is_held: bool,
    reason: str,
    user: User,
    actor: Actor,
    now: datetime | None = None,
) -> None:
    """Hold or release a version by hand, with a reason."""
    now = now or database_clock.now()
    by: dict[str, Any] = {"decided_by": user, "decided_by_name": actor.name, "is_by_hand": True}
    with audit_log.locked():
        _decided(
            standing,
            actor,
            now,
            is_held=is_held,
            reason=reason,
            counted_from=None if is_held else now,
            **by,
        )


def _decided(
    standing: Standing, actor: Actor, now: datetime, *, is_held: bool, **given: Any
) -> None:
    values: dict[str, Any] = {"is_by_hand": False, "reason": "", "decided_by_name": ""}
    values |= {"decided_by": None, "is_held": is_held, "at": now} | given
    version = standing.hold.version if standing.hold is not None else standing.version
    VersionHold.objects.update_or_create(
        hub_model=standing.hub_model,
        version=version,
        is_simulated=standing.is_simulated,
        defaults=values,
    )
    numbers = standing.numbers
    # open pages of hubs that are offered it show the change
    offered = Offer.objects.filter(ended_at=None, node__model=standing.hub_model)
    rows = offered.values_list("node_id", "fw_version")
    hubs = [node_id for node_id, offer in rows if is_same_version(offer, version)]
    Node.objects.filter(pk__in=hubs).touch_all(now)
    audit_log.record(
        actor,
        AuditAction.VERSION_HELD if is_held else AuditAction.VERSION_RELEASED,
        f"{version} for {standing.hub_model or 'an unknown model'} is "
        f"{'held' if is_held else 'no longer held'}: {numbers.troubled} of {numbers.tried} hubs "
        f"had trouble with it here, {numbers.verified} were verified.",
        at=now,
        why=values["reason"] or "the numbers on this server",
        detail={
            "version": version,
            "hub_model": standing.hub_model,
            "tried": numbers.tried,
            "verified": numbers.verified,
            **dict(numbers.bad),
        }
        | ({"simulated": True} if standing.is_simulated else {}),
    )


@dataclass(slots=True)
class _Version:
    """One version on one model, in each spelling and at each cloud at which it was tried."""

    hub_model: str
    version: str
    is_simulated: bool
    hold: VersionHold | None = None
    spelled: set[str] = field(default_factory=set)
    clouds: set[str] = field(default_factory=set)

    @property
    def attempts(self) -> Q:
        """Return which attempts count: after a release by hand only the later ones."""
        tried = Q(to_version__in=self.spelled, node__account__base_url__in=self.clouds)
        if self.hold is not None and self.hold.counted_from is not None:
            tried &= Q(ended_at__gt=self.hold.counted_from)
        return tried & Q(hub_model=self.hub_model)


def _ended(**narrowed: Any) -> OtaJobQuerySet:
    """Return the sent attempts that ended."""
    return OtaJob.objects.filter(pushes__gt=0, ended_at__isnull=False, **narrowed)


class _Versions:
    """Versions, found by what they mean: without comparing each with all others."""

    def __init__(self) -> None:
        self._of: defaultdict[tuple[Any, ...], list[_Version]] = defaultdict(list)

    def find(self, model: str, version: str, is_simulated: bool) -> _Version | None:
        alike = self._of[model, is_simulated, *parse_version(version)[:2]]
        return next((one for one in alike if is_same_version(one.version, version)), None)

    def of(self, model: str, version: str, is_simulated: bool) -> _Version:
        """Return this version, added if it is new."""
        if (found := self.find(model, version, is_simulated)) is not None:
            return found
        one = _Version(model, version, is_simulated)
        self._of[model, is_simulated, *parse_version(version)[:2]].append(one)
        return one


def _tried(holds: Iterable[VersionHold], **narrowed: Any) -> _Versions:
    """Return the versions that were tried or decided about. Two queries."""
    found = _Versions()
    names = _ended(**narrowed).values_list("hub_model", "to_version", "node__account__base_url")
    # of two that differ by a build suffix alone the one tried last is found
    for model, version, base_url, _ in names.annotate(at=Max("requested_at")).order_by("-at"):
        one = found.of(model, version, CloudAccount(base_url=base_url).is_simulated)
        one.spelled.add(version)
        one.clouds.add(base_url)
    for hold in holds:
        found.of(hold.hub_model, hold.version, hold.is_simulated).hold = hold
    return found


def _counted(versions: list[_Version]) -> list[Standing]:
    """Count each hub once, by its newest attempt that says something about the firmware. One query,
    however many hubs and versions.
    """
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    if attempts := {n: one.attempts for n, one in enumerate(versions) if one.spelled}:
        which = Case(*[When(them, then=n) for n, them in attempts.items()])
        partition = [F("which"), F("cloud_host"), F("cloud_node_id")]
        turn = Window(RowNumber(), partition, [F("requested_at").desc(), F("pk").desc()])
        newest = (
            _ended()
            .filter(Q(*attempts.values(), _connector=Q.OR))
            .exclude(outcome__in=NOT_ITS_DOING, fell_back_at=None)
            .annotate(which=which, turn=turn)
            .filter(turn=1)
        )
        counted = OtaJob.objects.filter(pk__in=newest.values("pk")).annotate(which=which, kind=KIND)
        for n, kind, hubs in counted.values_list("which", "kind").annotate(hubs=Count("pk")):
            counts[n][kind] = hubs
    return [_standing(one, counts[n]) for n, one in enumerate(versions)]


def _standing(one: _Version, counts: dict[str, int]) -> Standing:
    bad = tuple((kind, counts[kind]) for kind in KINDS if kind in counts)
    numbers = Numbers(sum(counts.values()), counts.get(str(State.VERIFIED), 0), bad)
    return Standing(one.hub_model, one.version, one.is_simulated, numbers, one.hold)
