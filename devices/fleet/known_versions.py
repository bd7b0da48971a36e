"""Which firmware versions were seen on which model of hub, since when, and what came of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q

from devices.models import CloudAccount, Offer, OtaJob, VersionChange, VersionHold
from devices.models.account import in_world
from devices.models.install import OtaJobQuerySet, result
from devices.models.node import LONGEST_NOTES, Node, NodeQuerySet
from devices.models.version_text import Version, parse_version

# So many different release notes of one version are shown.
MOST_NOTES = 4
Key = tuple[str, bool, Version]


@dataclass(slots=True)
class KnownVersion:
    """One version on one model, in each of its spellings."""

    hub_model: str
    version: str
    """As it was spelled last."""
    is_simulated: bool
    spelled: set[str] = field(default_factory=set)
    hubs: int = 0
    """How many run it now."""
    offered: int = 0
    dismissed: int = 0
    """To how many it is offered that do not want it."""
    since: datetime | None = None
    """When it was first seen: on a hub, in an offer, or in an install."""
    seen_at: datetime | None = None
    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many installs of it there were, by (state, result)."""

    @property
    def key(self) -> Key:
        return self.hub_model, self.is_simulated, parse_version(self.version)

    @property
    def installs(self) -> int:
        return self.results.total()

    def in_states(self, states: Iterable[str]) -> int:
        """Return how many of its installs are in one of these states."""
        wanted = set(states)
        return sum(n for (state, _), n in self.results.items() if state in wanted)

    def condition(self) -> Q:
        """Return which installs are of this version, apart from real and simulated."""
        return Q(hub_model=self.hub_model, to_version__in=sorted(self.spelled))

    def emptied(self) -> "KnownVersion":
        """Return the same version without any number: for where nothing of it is shown."""
        return KnownVersion(self.hub_model, self.version, self.is_simulated, set(self.spelled))

    def note(self, version: str, since: datetime | None, seen_at: datetime | None = None) -> None:
        """Take in that it was seen under this spelling from then on, and lately then."""
        self.spelled.add(version)
        if since is not None and (self.since is None or since < self.since):
            self.since = since
        seen_at = seen_at or since
        if seen_at is not None and (self.seen_at is None or seen_at > self.seen_at):
            self.seen_at, self.version = seen_at, version


class _Book:
    """Versions by their key, made when they are first named."""

    def __init__(self) -> None:
        self.found: dict[Key, KnownVersion] = {}

    def of(self, model: str, version: str, is_simulated: bool) -> KnownVersion:
        key = (model, is_simulated, parse_version(version))
        if key not in self.found:
            self.found[key] = KnownVersion(model, version, is_simulated, {version})
        return self.found[key]

    def at(self, model: str, version: str, base_url: str) -> KnownVersion:
        return self.of(model, version, CloudAccount(base_url=base_url).is_simulated)


def known_versions(
    nodes: NodeQuerySet, jobs: OtaJobQuerySet, *, with_holds: bool = False
) -> list[KnownVersion]:
    """Return what these hubs ran, were offered or were sent, the version seen first most lately
    first; with_holds: also what is only held. Four queries, one more with holds.
    """
    book = _Book()
    runs = nodes.present_once().order_by().values_list("model", "fw_version", "account__base_url")
    for model, version, base_url, n in runs.annotate(n=Count("pk")):
        if version:
            book.at(model, version, base_url).hubs += n
            book.at(model, version, base_url).note(version, None)
    for model, version, base_url, was, first in (
        VersionChange.objects.filter(node__in=nodes)
        .order_by()
        .values_list("node__model", "to_version", "node__account__base_url", "from_version")
        .annotate(first=Min("at"))
    ):
        book.at(model, version, base_url).note(version, first)
        if was:
            book.at(model, was, base_url).note(was, None)
    for model, version, base_url, first, last, is_offered, is_dismissed in (
        Offer.objects.filter(node__in=nodes)
        .order_by()
        .values_list("node__model", "fw_version", "node__account__base_url")
        .annotate(
            first=Min("first_seen_at"),
            last=Max("last_seen_at"),
            open=Count("pk", filter=Q(ended_at=None, dismissal=None)),
            unwanted=Count("pk", filter=Q(ended_at=None, dismissal__isnull=False)),
        )
    ):
        one = book.at(model, version, base_url)
        one.note(version, first, last)
        one.offered += is_offered
        one.dismissed += is_dismissed
    _note_installs(book, jobs)
    for hold in VersionHold.objects.all() if with_holds else ():
        book.of(hold.hub_model, hold.version, hold.is_simulated)
    return sorted(book.found.values(), key=_newest_first)


def _note_installs(book: _Book, jobs: OtaJobQuerySet) -> None:
    names: Any = ("hub_model", "to_version", "node__account__base_url", "from_version", "state")
    rows = jobs.order_by().annotate(result=result()).values_list(*names, "result")
    for model, version, base_url, was, state, came, first, last, n in rows.annotate(
        first=Min("requested_at"), last=Max("requested_at"), n=Count("pk")
    ):
        one = book.at(model, version, base_url)
        one.note(version, first, last)
        one.results[state, came] += n
        if was:
            book.at(model, was, base_url).note(was, None)


def _newest_first(one: KnownVersion) -> tuple[bool, float, str, str]:
    since = one.since.timestamp() if one.since is not None else 0.0
    return one.since is None, -since, one.hub_model, one.version


@dataclass(frozen=True, slots=True)
class Notes:
    """One text that the cloud gave with a version."""

    text: str
    at: datetime
    """When it was last given."""
    is_cut: bool


def notes_of(one: KnownVersion, nodes: NodeQuerySet) -> list[Notes]:
    """Return the release notes of a version in full, those given last first: what these hubs were
    offered or sent, and what several households were given word for word. A text for one
    household alone stays there. Three queries at most.
    """
    node = in_world(one.is_simulated, "node__account__")
    asked: tuple[tuple[Any, str, str, str, str], ...] = (
        (Offer, "fw_version", "node__model", "node__account__household_id", "last_seen_at"),
        # offers that ended long ago are deleted, installs are not
        (OtaJob, "to_version", "hub_model", "household_id", "requested_at"),
    )
    for model, version, of_model, household, at in asked:
        given = Q((f"{version}__in", sorted(one.spelled)), (of_model, one.hub_model))
        rows = (
            model.objects.filter(node, given)
            .exclude(description="")
            .order_by()
            .values_list("description")
            .annotate(
                last=Max(at),
                mine=Count("pk", filter=Q(node__in=nodes)),
                houses=Count(household, distinct=True),
            )
            .filter(Q(mine__gt=0) | Q(houses__gt=1))
            .order_by("-last")
        )
        found = [
            Notes(text[:LONGEST_NOTES], last, len(text) > LONGEST_NOTES)
            for text, last, _, _ in rows[:MOST_NOTES]
        ]
        if found:
            return found
    return []


def spelled_by_hubs() -> list[str]:
    """Return every text that hubs give as their version. One query."""
    return list(Node.objects.order_by().values_list("fw_version", flat=True).distinct())


def spelled_by_changes() -> list[str]:
    """Return every text that hubs give, or gave, as their version. One query."""
    texts = VersionChange.objects.values_list("to_version").order_by()
    before = VersionChange.objects.values_list("from_version").order_by()
    runs = Node.objects.values_list("fw_version").order_by()
    return [text for (text,) in texts.union(before, runs)]
