"""The Overview's charts: every bar and column links to the list it counts."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.db.models.functions import TruncWeek
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from devices.fleet.attention import AWAY, SHOWN, HubCounts, away_for
from devices.models import CloudAccount, State, User
from devices.permissions import jobs_for, nodes_for
from devices.presentation.badges import VERDICT_SHOWS
from devices.presentation.formatting import number, roughly

WEEKS = 12
VERSIONS = 12
MODELS = 8
# The newest verified installs that the usual durations are taken from.
SAMPLE = 2000


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart; widths are percent of the whole, or of the longest."""

    label: str
    words: str
    link: str
    width: float
    mark: float | None = None
    """Where a line crosses the bar: the usual value of a row whose bar is the largest one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a column, from the bottom up; y and height in units of the drawing."""

    key: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """One week of installs."""

    monday: date
    x: float
    parts: list[Part]
    total: int
    link: str
    counts: dict[str, int]


COLUMN_WIDTH, COLUMN_STEP, COLUMNS_HEIGHT = 30, 50, 160
# From the bottom up, as History names them.
KINDS = ("verified", "attention", "unsent", "running")


def simulated_of(user: User, within: int | None = None) -> int:
    """Return how many of the hubs counted are simulated. One query."""
    nodes = nodes_for(user, within=within).present_once()
    return _simulated(nodes.values_list("account__base_url").annotate(n=Count("pk")))


def simulated_installs_of(user: User, now: datetime, within: int | None = None) -> int:
    """Return how many of the installs counted were on simulated hubs. One query."""
    jobs = jobs_for(user, within=within).filter(requested_at__gte=_start(_mondays(now)))
    return _simulated(
        jobs.values_list("node__account__base_url").annotate(n=Count("pk")).order_by()
    )


def standing_of(counts: HubCounts) -> list[Bar]:
    """Return how many hubs need what, as the filters of the list count them. No query."""
    return [
        Bar(
            label=str(words),
            words=_hubs(n),
            link=_to("hubs", show=key),
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
    bars = [
        Bar(
            label=version or gettext("not known yet"),
            words=f"{_hubs(n)}, {_percent(n, total)}",
            link=_to("hubs", version=version) if version else _to("hubs", sort="version"),
            width=100 * n / total,
        )
        for version, n in rows[:VERSIONS]
    ]
    if rest := rows[VERSIONS:]:
        n = sum(n for _, n in rest)
        bars.append(
            Bar(
                label=ngettext("%(n)s other version", "%(n)s other versions", len(rest))
                % {"n": len(rest)},
                words=f"{_hubs(n)}, {_percent(n, total)}",
                link=_to("hubs", sort="version"),
                width=100 * n / total,
            )
        )
    return bars


def weeks_of(user: User, now: datetime, within: int | None = None) -> list[Column]:
    """Return the last twelve weeks of installs by verdict, the oldest first. One query."""
    mondays = _mondays(now)
    rows = (
        jobs_for(user, within=within)
        .filter(requested_at__gte=_start(mondays))
        .annotate(week=TruncWeek("requested_at"))
        .values_list("week", "state")
        .annotate(n=Count("pk"))
        .order_by()
    )
    kind_of = {str(state): kind for kind in KINDS for state in VERDICT_SHOWS[kind][1]}
    counted: dict[date, dict[str, int]] = {monday: dict.fromkeys(KINDS, 0) for monday in mondays}
    for week, state, n in rows:
        monday = timezone.localtime(week).date()
        if monday in counted:  # a clock that was ahead may have written next week
            counted[monday][kind_of[state]] += n
    most = max(1, *(sum(counts.values()) for counts in counted.values()))
    return [_column(index, monday, counted[monday], most) for index, monday in enumerate(mondays)]


def _mondays(now: datetime) -> list[date]:
    today = timezone.localdate(now)
    return [today - timedelta(days=today.weekday(), weeks=back) for back in reversed(range(WEEKS))]


def _start(mondays: list[date]) -> datetime:
    return timezone.make_aware(datetime.combine(mondays[0], datetime.min.time()))


def _column(index: int, monday: date, counts: dict[str, int], most: int) -> Column:
    parts, y = [], float(COLUMNS_HEIGHT)
    for kind in KINDS:
        if counts[kind]:
            height = COLUMNS_HEIGHT * counts[kind] / most
            y -= height
            parts.append(Part(kind, counts[kind], round(y, 2), round(height, 2)))
    return Column(
        monday=monday,
        x=index * COLUMN_STEP + (COLUMN_STEP - COLUMN_WIDTH) / 2,
        parts=parts,
        total=sum(counts.values()),
        link=_to("history", week=monday.isoformat()),
        counts=counts,
    )


def durations_of(user: User, within: int | None = None) -> list[Bar]:
    """Return how long verified installs took, by model and version. One query."""
    rows = (
        jobs_for(user, within=within)
        .filter(state=State.VERIFIED, pushed_at__isnull=False, ended_at__isnull=False)
        .order_by("-ended_at")
        .values_list("hub_model", "to_version", "pushed_at", "ended_at")[:SAMPLE]
    )
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for model, version, pushed_at, ended_at in rows:
        if pushed_at is not None and ended_at is not None:
            took[model, version].append((ended_at - pushed_at).total_seconds())
    common = sorted(took.items(), key=lambda item: (-len(item[1]), item[0]))[:MODELS]
    slowest = max((max(times) for _, times in common), default=0) or 1
    return [
        Bar(
            label=gettext("%(model)s to %(version)s")
            % {"model": model or gettext("unknown model"), "version": version},
            words=_durations(times),
            link=_to("history", show="verified", model=model, version=version),
            width=100 * max(times) / slowest,
            mark=100 * median(times) / slowest if len(times) > 1 else None,
        )
        for (model, version), times in common
    ]


def _durations(times_s: list[float]) -> str:
    usual, longest = (
        roughly(timedelta(seconds=value)) for value in (median(times_s), max(times_s))
    )
    if len(times_s) == 1:
        return gettext("%(usual)s, one install") % {"usual": usual}
    facts = {"usual": usual, "n": number(len(times_s)), "longest": longest}
    return gettext("usually %(usual)s; the slowest of %(n)s took %(longest)s") % facts


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
            words=_hubs(counts[key]),
            link=_to("hubs", show="offline", away=key),
            width=100 * counts[key] / counts["total"],
        )
        for key, (words, _, _) in AWAY.items()
    ]


def _hubs(n: int) -> str:
    return ngettext("%(n)s hub", "%(n)s hubs", n) % {"n": number_format(n, force_grouping=True)}


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 1 else gettext("under 1 %")


def _to(page: str, **query: Any) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"{reverse(page)}?{urlencode(given)}"
