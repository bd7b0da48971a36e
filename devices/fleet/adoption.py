"""Which version each hub ran at an earlier time, by the changes that were recorded.

Going back from what a hub runs now: before a change it ran what the change says it ran, and before
the first reading nothing is known of it. A hub that came back under another node id was read for
the first time again: then its row knows what it ran before.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Case, CharField, Count, F, OuterRef, Q, Subquery, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from devices.models import VersionChange
from devices.models.node import NodeQuerySet

# One week: how many hubs ran each text at its end.
Week = Counter[str]


def _before() -> Case:
    """Return what the hub of a change ran before it; "" when nothing is known of that."""
    is_earlier = Q(at__lt=OuterRef("at")) | Q(at=OuterRef("at"), pk__lt=OuterRef("pk"))
    earlier = VersionChange.objects.filter(is_earlier, node=OuterRef("node"))
    last = Subquery(earlier.order_by("-at", "-pk").values("to_version")[:1])
    return Case(
        When(from_version="", then=Coalesce(last, Value(""))),
        default=F("from_version"),
        output_field=CharField(),
    )


def ran_at(at: datetime) -> Combinable:
    """Return what a hub ran at this time: for annotations of hubs."""
    later = VersionChange.objects.filter(node=OuterRef("pk"), at__gte=at).annotate(before=_before())
    return Coalesce(
        Subquery(later.order_by("at", "pk").values("before")[:1]),
        F("fw_version"),
        output_field=CharField(),
    )


def week_number(field: str, starts: Sequence[datetime]) -> Case:
    """Return in which of the weeks that start then a row's time is, from 0; the last has no end.

    Compared with the starts: SQLite knows no weeks, and Python would be asked for each row's.
    """
    ends = enumerate(starts[1:])
    return Case(
        *(When(Q((f"{field}__lt", end)), then=n) for n, end in ends), default=len(starts) - 1
    )


def adoption(hubs: NodeQuerySet, starts: Sequence[datetime]) -> list[Week]:
    """Return how many of these hubs ran each version at the end of each of the weeks that start
    then; the last is under way, and ends with now. Two queries.
    """
    now = Counter({version: n for version, n in _runs(hubs) if version})
    moves: list[list[tuple[str, str, int]]] = [[] for _ in starts]
    changes = (
        VersionChange.objects.filter(node__in=hubs.values("pk"), at__gte=starts[0])
        .order_by()
        .annotate(before=_before(), week=week_number("at", starts))
        .values_list("week", "before", "to_version")
        .annotate(n=Count("pk"))
    )
    for number, before, after, n in changes:
        moves[number].append((before, after, n))
    weeks = [now]
    for moved in reversed(moves[1:]):
        earlier = Counter(weeks[-1])
        for before, after, n in moved:
            earlier[after] -= n
            if before:
                earlier[before] += n
        weeks.append(Counter({version: n for version, n in earlier.items() if n}))
    return weeks[::-1]


def _runs(hubs: NodeQuerySet) -> list[tuple[str, int]]:
    return list(hubs.order_by().values_list("fw_version").annotate(n=Count("pk")))
