"""What the pages of firmware versions show of one version, as words, numbers and links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from django.utils.translation import gettext, ngettext

from devices.explanations.explain import code_of
from devices.fleet.holds import Standing
from devices.fleet.known_versions import KnownVersion, Notes
from devices.installs.statistics import Others, Took
from devices.models import InstallOutcome, State
from devices.models.install import ARRIVED_LATE, FELL_BACK, TROUBLED
from devices.presentation.addresses import UNKNOWN, address, version_address
from devices.presentation.badges import VERDICT_SHOWS
from devices.presentation.formatting import number, roughly

# What stands in the name of an outcome where it would name the version of one install.
ANY_VERSION = "…"


@dataclass(frozen=True, slots=True)
class Result:
    """How many installs of a version stand alike."""

    key: str
    words: str
    count: int
    link: str
    """Where they are listed; "" for who may not open them."""
    code: str
    """The support code that explains them."""
    is_trouble: bool


@dataclass(frozen=True, slots=True)
class Total:
    """How many installs of a version a kind of History shows."""

    words: str
    count: int
    link: str


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One version, for its page and beside another."""

    known: KnownVersion
    address: str
    hubs_link: str
    totals: list[Total]
    results: list[Result]
    took: Took | None
    others: Others | None
    standing: Standing
    notes: list[Notes]

    @property
    def trouble(self) -> list[Result]:
        return [one for one in self.results if one.is_trouble]

    @property
    def usual(self) -> str:
        """Return the typical time until it was verified; "" when there is none."""
        return roughly(self.took.usual) if self.took is not None else ""

    @property
    def longest(self) -> str:
        return roughly(self.took.longest) if self.took is not None else ""

    @property
    def took_words(self) -> str:
        """Return how long it took until it was verified, as a sentence."""
        if self.took is None:
            return ""
        if self.took.count == 1:
            return gettext("The one that was timed took %(usual)s.") % {"usual": self.usual}
        words = gettext("Verified after %(usual)s as a rule; the longest took %(longest)s.")
        return words % {"usual": self.usual, "longest": self.longest}

    @property
    def others_words(self) -> str:
        """Return how it went in other households, as a sentence; "" when that is not shown."""
        if self.others is None:
            return ""
        n = self.others.installs
        if self.others.troubled is None:
            words = ngettext(
                "Other households of this server installed it %(n)s time. Too few of them had "
                "trouble with it to say how many.",
                "Other households of this server installed it %(n)s times. Too few of them had "
                "trouble with it to say how many.",
                n,
            )
            return words % {"n": number(n)}
        words = ngettext(
            "Other households of this server installed it %(n)s time; %(bad)s of these were not "
            "verified.",
            "Other households of this server installed it %(n)s times; %(bad)s of these were not "
            "verified.",
            n,
        )
        return words % {"n": number(n), "bad": number(self.others.troubled)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was read beside the known versions."""

    took: Mapping[int, Took]
    others: Mapping[int, Others]
    standings: Sequence[Standing]
    notes: Sequence[list[Notes]]
    may_open: bool
    world: str
    """The filter that keeps real and simulated hubs apart; "" where there is one kind alone."""


def facts_of(versions: Sequence[KnownVersion], asked: Asked) -> list[VersionFacts]:
    """Return the facts of each of these versions. No query."""
    return [
        VersionFacts(
            known=one,
            address=version_address(one.version, one.hub_model, is_simulated=one.is_simulated),
            hubs_link=hubs_link(one, asked.world, may_open=asked.may_open),
            totals=[
                Total(str(words), one.in_states(states), _installs(one, asked, show=key))
                for key, (words, states) in VERDICT_SHOWS.items()
                if key
            ],
            results=_results(one, asked),
            took=asked.took.get(n),
            others=asked.others.get(n),
            standing=asked.standings[n],
            notes=asked.notes[n],
        )
        for n, one in enumerate(versions)
    ]


def hubs_link(one: KnownVersion, world: str, *, may_open: bool) -> str:
    """Return where the hubs that run a version are listed."""
    if not may_open:
        return ""
    model = one.hub_model or UNKNOWN
    return address("hubs", version=one.version, model=model, simulated=world)


def _installs(one: KnownVersion, asked: Asked, **narrowed: str) -> str:
    if not asked.may_open:
        return ""
    model = one.hub_model or UNKNOWN
    return address("history", version=one.version, model=model, simulated=asked.world, **narrowed)


def _results(one: KnownVersion, asked: Asked) -> list[Result]:
    counts: dict[str, int] = {}
    states: dict[str, str] = {}
    for (state, result), n in one.results.items():
        counts[result] = counts.get(result, 0) + n
        states[result] = state
    rows = [
        Result(
            key=result,
            words=result_words(result, one.version),
            count=n,
            link=_installs(one, asked, result=result),
            code=code_of(State(states[result]), result),
            is_trouble=result == FELL_BACK
            or (states[result] in TROUBLED and result != ARRIVED_LATE),
        )
        for result, n in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row.count, row.words))


def result_words(result: str, version: str = ANY_VERSION) -> str:
    """Return the name of a result of `models.install.result`, of no install in particular."""
    if result == FELL_BACK:
        return gettext("Verified, then back to %(version)s") % {"version": ANY_VERSION}
    if result == ARRIVED_LATE:
        return gettext("Runs %(version)s after all") % {"version": version}
    if result not in InstallOutcome:
        return str(State(result).label)
    job = SimpleNamespace(from_version=ANY_VERSION, version_seen=ANY_VERSION, to_version=version)
    return str(InstallOutcome(result).label).format(job=job)


def is_result(text: str) -> bool:
    """Is this the name of a result?"""
    return text in {FELL_BACK, ARRIVED_LATE} or text in InstallOutcome or text in State
