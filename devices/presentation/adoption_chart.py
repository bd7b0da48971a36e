"""Adoption of versions over time, and how installs of each version and model went."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, Max, Q
from django.utils.translation import gettext, ngettext

from devices.fleet.adoption import adoption
from devices.installs.statistics import took_by
from devices.models import User
from devices.models.version_text import Version, parse_version
from devices.permissions import jobs_for, nodes_for
from devices.presentation.addresses import BUT, UNKNOWN, address, version_address
from devices.presentation.badges import VERDICT_SHOWS
from devices.presentation.charts import (
    KINDS,
    Cell,
    Column,
    Part,
    by_version,
    column_of,
    last_mondays,
    start_of,
)

# So many versions are drawn; the others share a part.
NAMED = 5
RESULTS = 12
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Adoption:
    """The versions of the picture, the newest first, and its weeks, the oldest first."""

    names: list[tuple[str, str]]
    """(key, words)"""
    weeks: list[Column]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What all weeks of the picture have in common."""

    keys: list[tuple[str, str]]
    has_others: bool
    most: int
    this_week: date


def adoption_of(user: User, now: datetime, within: int | None = None) -> Adoption | None:
    """Return how many of the hubs that are here now ran each version at the end of the last weeks;
    None where no version is known. Two queries.
    """
    mondays = last_mondays(now)
    hubs = nodes_for(user, within=within).present_once()
    weeks = adoption(hubs, [start_of(monday) for monday in mondays])
    most_of: dict[str, int] = {}
    for week in weeks:
        for text, n in week.items():
            most_of[text] = max(n, most_of.get(text, 0))
    name_of = {parse_version(text): text for text in by_version(most_of)}
    counted = [_named(week, name_of) for week in weeks]
    common = sorted(
        (name for name in name_of.values() if BUT not in name and name != UNKNOWN),
        key=lambda name: -max(week.get(name, 0) for week in counted),
    )
    named = sorted(common[:NAMED], key=parse_version, reverse=True)
    if not name_of:
        return None
    has_others = len(name_of) > len(named)
    keys = [(f"v{n}", name) for n, name in enumerate(named, start=1)]
    names = [*keys, (OTHERS, gettext("others"))] if has_others else keys
    most = max(1, *(sum(week.values()) for week in counted))
    facts = Drawn(keys, has_others=has_others, most=most, this_week=mondays[-1])
    return Adoption(
        names, [_week(n, monday, counted[n], facts) for n, monday in enumerate(mondays)]
    )


def _named(week: dict[str, int], name_of: dict[Version, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text, n in week.items():
        name = name_of[parse_version(text)]
        found[name] = found.get(name, 0) + n
    return found


def _week(index: int, monday: date, counts: dict[str, int], drawn: Drawn) -> Column:
    # the week under way shows the hubs as they are now
    week = monday.isoformat() if monday != drawn.this_week else ""
    by_key = {key: counts.get(name, 0) for key, name in drawn.keys}
    named = [name for _, name in drawn.keys]
    cells = [
        Cell(n, address("hubs", version=name, week=week))
        for n, name in zip(by_key.values(), named, strict=True)
    ]
    if drawn.has_others:
        by_key[OTHERS] = sum(counts.values()) - sum(by_key.values())
        but = BUT.join(named)
        cells.append(Cell(by_key[OTHERS], address("hubs", but=but, week=week)))
    return column_of(
        index,
        monday,
        by_key,
        drawn.most,
        words=ngettext(
            "Week of %(monday)s: %(n)s hub", "Week of %(monday)s: %(n)s hubs", sum(by_key.values())
        ),
        # the end of a week that is under way is now
        link=address("hubs", week=monday.isoformat()),
        cells=cells,
    )


@dataclass(frozen=True, slots=True)
class VersionResults:
    """How installs of one version on one model went."""

    version: str
    model: str
    address: str
    link: str
    total: int
    cells: list[tuple[str, Cell]]
    """(words of the kind, number)"""
    parts: list[Part]
    """From the left to the right, in percent."""
    usual: timedelta | None
    longest: timedelta | None


def results_of(user: User, within: int | None = None) -> list[VersionResults]:
    """Return how installs of each version and model went, those installed last first. Two
    queries.
    """
    jobs = jobs_for(user, within=within)
    rows = jobs.order_by().values_list("hub_model", "to_version", "state")
    found: dict[tuple[str, Version], tuple[datetime, str, set[str], dict[str, int]]] = {}
    for model, text, state, last, n in rows.annotate(last=Max("requested_at"), n=Count("pk")):
        key = model, parse_version(text)
        at, name, spelled, states = found.get(key, (last, text, set(), {}))
        spelled.add(text)
        states[state] = states.get(state, 0) + n
        found[key] = max(at, last), text if last > at else name, spelled, states
    newest = sorted(found.items(), key=lambda item: item[1][0], reverse=True)[:RESULTS]
    took = took_by(
        jobs,
        [
            Q(hub_model=model, to_version__in=sorted(spelled))
            for (model, _), (_, _, spelled, _) in newest
        ],
    )
    results = []
    for n, ((model, _), (_, version, _, states)) in enumerate(newest):
        narrowed = {"model": model or UNKNOWN, "version": version}
        counts = {
            kind: sum(states.get(str(state), 0) for state in VERDICT_SHOWS[kind][1])
            for kind in KINDS
        }
        total, times = sum(counts.values()), took.get(n)
        results.append(
            VersionResults(
                version=version,
                model=model,
                address=version_address(version, model),
                link=address("history", **narrowed),
                total=total,
                cells=[
                    (
                        str(VERDICT_SHOWS[kind][0]),
                        Cell(count, address("history", show=kind, **narrowed)),
                    )
                    for kind, count in counts.items()
                ],
                parts=_parts(counts, total),
                usual=times.usual if times is not None else None,
                longest=times.longest if times is not None else None,
            )
        )
    return results


def _parts(counts: dict[str, int], total: int) -> list[Part]:
    parts, x = [], 0.0
    for kind, n in counts.items():
        if n:
            width = 100 * n / total
            parts.append(Part(kind, n, round(x, 2), round(width, 2)))
            x += width
    return parts
