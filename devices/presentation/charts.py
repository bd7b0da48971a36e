"""The Overview's charts: every bar and column links to the list it counts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, Q
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from devices.fleet.adoption import week_number
from devices.fleet.attention import AWAY, SHOWN, HubCounts, away_for
from devices.models import CloudAccount, User
from devices.models.version_text import Version, parse_version
from devices.permissions import jobs_for, nodes_for
from devices.presentation.addresses import BUT, UNKNOWN, address
from devices.presentation.badges import VERDICT_SHOWS
from devices.presentation.formatting import day

WEEKS = 12
VERSIONS = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart; widths are percent of the whole, or of the longest."""

    label: str
    words: str
    link: str
    width: float


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a column, from the bottom up; y and height in units of the drawing."""

    key: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table beside a picture, and where its rows are listed."""

    count: int
    link: str


@dataclass(frozen=True, slots=True)
class Column:
    """One week: its parts as they are drawn, and its numbers."""

    monday: date
    x: float
    parts: list[Part]
    total: int
    words: str
    link: str
    counts: dict[str, int]
    cells: list[Cell]


COLUMN_WIDTH, COLUMN_STEP, COLUMNS_HEIGHT = 30, 50, 160
# From the bottom up, as History names them.
KINDS = ("verified", "attention", "unsent", "running")


def simulated_of(user: User, within: int | None = None) -> int:
    """Return how many of the hubs counted are simulated. One query."""
    nodes = nodes_for(user, within=within).present_once()
    return _simulated(nodes.values_list("account__base_url").annotate(n=Count("pk")))


def simulated_installs_of(user: User, now: datetime, within: int | None = None) -> int:
    """Return how many of the installs counted were on simulated hubs. One query."""
    jobs = jobs_for(user, within=within).filter(requested_at__gte=start_of(last_mondays(now)[0]))
    return _simulated(
        jobs.values_list("node__account__base_url").annotate(n=Count("pk")).order_by()
    )


def standing_of(counts: HubCounts) -> list[Bar]:
    """Return how many hubs need what, as the filters of the list count them. No query."""
    return [
        Bar(
            label=str(words),
            words=hubs_words(n),
            link=address("hubs", show=key),
            width=100 * n / counts.total,
        )
        for key, words in SHOWN.items()
        if key and (n := counts.shown_by(key))
    ]


def _simulated(rows: Iterable[tuple[str, int]]) -> int:
    return sum(n for base_url, n in rows if CloudAccount(base_url=base_url).is_simulated)


def versions_of(user: User, within: int | None = None) -> list[Bar]:
    """Return how many hubs run each version, the most common first. One query."""
    rows = list(
        nodes_for(user, within=within)
        .present_once()
        .values_list("fw_version")
        .annotate(n=Count("pk"))
        .order_by("-n", "-fw_version")
    )
    if not rows:
        return []
    total = sum(n for _, n in rows)
    counts = by_version(dict(rows))
    unknown = counts.pop("", 0)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    bars = [_of_version(version, n, total) for version, n in ordered[:VERSIONS]]
    if rest := ordered[VERSIONS:]:
        n = sum(n for _, n in rest)
        bars.append(
            Bar(
                label=ngettext("%(n)s other version", "%(n)s other versions", len(rest))
                % {"n": len(rest)},
                words=f"{hubs_words(n)}, {_percent(n, total)}",
                link=address("hubs", but=BUT.join(version for version, _ in ordered[:VERSIONS])),
                width=100 * n / total,
            )
        )
    return [*bars, _of_version("", unknown, total)] if unknown else bars


def _of_version(version: str, n: int, total: int) -> Bar:
    return Bar(
        label=version or gettext("not known yet"),
        words=f"{hubs_words(n)}, {_percent(n, total)}",
        link=address("hubs", version=version or UNKNOWN),
        width=100 * n / total,
    )


def by_version(counts: Mapping[str, int]) -> dict[str, int]:
    """Return these numbers by version, each in the spelling that most use."""
    names: dict[Version, str] = {}
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        names.setdefault(parse_version(text), text)
    found = Counter[str]()
    for text, n in counts.items():
        found[names[parse_version(text)]] += n
    return dict(found)


def weeks_of(user: User, now: datetime, within: int | None = None) -> list[Column]:
    """Return the last twelve weeks of installs by verdict, the oldest first. One query."""
    mondays = last_mondays(now)
    starts = [start_of(monday) for monday in mondays]
    # a clock that was ahead may have written next week
    end = start_of(mondays[-1] + timedelta(weeks=1))
    rows = (
        jobs_for(user, within=within)
        .filter(requested_at__gte=starts[0], requested_at__lt=end)
        .annotate(week=week_number("requested_at", starts))
        .values_list("week", "state")
        .annotate(n=Count("pk"))
        .order_by()
    )
    kind_of = {str(state): kind for kind in KINDS for state in VERDICT_SHOWS[kind][1]}
    counted: dict[date, dict[str, int]] = {monday: dict.fromkeys(KINDS, 0) for monday in mondays}
    for week, state, n in rows:
        counted[mondays[week]][kind_of[state]] += n
    most = max(1, *(sum(counts.values()) for counts in counted.values()))
    return [
        column_of(
            index,
            monday,
            counted[monday],
            most,
            words=ngettext(
                "Week of %(monday)s: %(n)s install",
                "Week of %(monday)s: %(n)s installs",
                sum(counted[monday].values()),
            ),
            link=address("history", week=monday.isoformat()),
            cells=[
                Cell(n, address("history", week=monday.isoformat(), show=kind))
                for kind, n in counted[monday].items()
            ],
        )
        for index, monday in enumerate(mondays)
    ]


def last_mondays(now: datetime) -> list[date]:
    today = timezone.localdate(now)
    return [today - timedelta(days=today.weekday(), weeks=back) for back in reversed(range(WEEKS))]


def start_of(monday: date) -> datetime:
    """Return when this week begins, by the clock of the page."""
    return timezone.make_aware(datetime.combine(monday, datetime.min.time()))


def column_of(
    index: int,
    monday: date,
    counts: dict[str, int],
    most: int,
    *,
    words: str,
    link: str,
    cells: list[Cell],
) -> Column:
    """Return a week as it is drawn: its parts from the bottom up, in the order of the counts."""
    parts, y = [], float(COLUMNS_HEIGHT)
    for kind, n in counts.items():
        if n:
            height = COLUMNS_HEIGHT * n / most
            y -= height
            parts.append(Part(kind, n, round(y, 2), round(height, 2)))
    total = sum(counts.values())
    return Column(
        monday=monday,
        x=index * COLUMN_STEP + (COLUMN_STEP - COLUMN_WIDTH) / 2,
        parts=parts,
        total=total,
        words=words % {"monday": day(monday), "n": number_format(total, force_grouping=True)},
        link=link,
        counts=counts,
        cells=cells,
    )


def away_of(user: User, now: datetime, within: int | None = None) -> list[Bar]:
    """Return how many hubs are offline, by how long. One query."""
    counts = (
        nodes_for(user, within=within)
        .present_once()
        .aggregate(
            total=Count("pk", filter=Q(is_online=False)),
            **{key: Count("pk", filter=away_for(key, now)) for key in AWAY},
        )
    )
    if not counts["total"]:
        return []
    return [
        Bar(
            label=capfirst(str(words)),
            words=hubs_words(counts[key]),
            link=address("hubs", show="offline", away=key),
            width=100 * counts[key] / counts["total"],
        )
        for key, (words, _, _) in AWAY.items()
    ]


def hubs_words(n: int) -> str:
    """Return a number of hubs, as the charts and tables say it."""
    return ngettext("%(n)s hub", "%(n)s hubs", n) % {"n": number_format(n, force_grouping=True)}


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 1 else gettext("under 1 %")
