"""Which hubs need a person, and how many there are of each kind."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Max, Min, Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from devices.models import AccountState, CloudAccount, Household, Node, User
from devices.models.attention import IS_KNOWN, Attention, decide
from devices.models.node import NodeQuerySet
from devices.permissions import households_for, nodes_for

log = logging.getLogger(__name__)
ATTENTION_OF = {
    "attention": [one for one in Attention if one.needs_person],
    "new": [Attention.NEW, Attention.WAITING],
    "running": [Attention.RUNNING],
    "older": [Attention.OLDER],
    "planned": [Attention.PLANNED],
    "stored": [Attention.STORED],
    "dismissed": [Attention.DISMISSED],
}
# What the list, its filters and the Overview call each kind.
SHOWN: dict[str, str | Promise] = {
    "": gettext_lazy("All"),
    "attention": gettext_lazy("Needs attention"),
    "new": gettext_lazy("New firmware"),
    "older": gettext_lazy("Older firmware"),
    "running": gettext_lazy("Running"),
    "offline": gettext_lazy("Offline"),
    "planned": gettext_lazy("Planned"),
    "stored": gettext_lazy("Stored for winter"),
    "dismissed": gettext_lazy("Dismissed"),
}
# How long an offline hub has been away: at least, and less than.
AWAY: dict[str, tuple[str | Promise, timedelta | None, timedelta | None]] = {
    "day": (gettext_lazy("less than a day"), None, timedelta(days=1)),
    "week": (gettext_lazy("one to seven days"), timedelta(days=1), timedelta(days=7)),
    "longer": (gettext_lazy("more than a week"), timedelta(days=7), None),
}

# So many hubs' attention is stored at once: SQLite has one writer, and the next time is soon.
STORED_AT_ONCE = 500


# One row of the query that counts: how many hubs are alike, and their times.
Kind = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HubCounts:
    """How many hubs there are of each kind."""

    total: int = 0
    attention: int = 0
    new: int = 0
    running: int = 0
    offline: int = 0
    unchecked: int = 0
    ready: int = 0
    """How many have new firmware that could be installed now."""
    older: int = 0
    """How many are offered an older version than they run."""
    dismissed: int = 0
    """How many are offered only what their household does not want."""
    stored: int = 0
    """How many are offline while their household is stored for winter."""
    planned: int = 0
    """How many have an install that starts later."""
    asked: int = 0
    """How many are being checked because a person asked."""
    checked_at: datetime | None = None
    next_check_at: datetime | None = None

    def shown_by(self, show: str) -> int:
        """Return how many there are of those that a key of SHOWS shows."""
        return int(getattr(self, show or "total"))


def hubs_of(user: User, within: int | None = None) -> NodeQuerySet:
    """Return this person's present hubs with `attention`, a value of Attention, on each."""
    return nodes_for(user, within=within).present_once().with_attention()


def hubs_in(household: Household) -> NodeQuerySet:
    """Return the household's present hubs with `attention` on each, as its members see them."""
    mine = Node.objects.present_once().filter(account__household=household)
    return mine.with_attention()


def attention_of(nodes: Iterable[Node]) -> dict[int, Attention]:
    """Return what each of these hubs needs, by its key, the same for each of its rows: a hub in
    two accounts counts as the lists show it. One query.
    """
    wanted = list(nodes)
    shown = {
        (row.node_id, row.account.household_id, row.account.base_url): Attention(row.attention)
        for row in Node.objects.present_once()
        .filter(
            node_id__in={node.node_id for node in wanted},
            account__household_id__in={node.account.household_id for node in wanted},
        )
        .with_attention()
        .select_related("account")
    }
    return {
        node.pk: shown.get(
            (node.node_id, node.account.household_id, node.account.base_url), Attention.NONE
        )
        for node in wanted
    }


def store_attention() -> int:
    """Store what the hubs need that have changed since it was stored; return how many.

    One query when there are none.
    """
    changed = Node.objects.exclude(IS_KNOWN)  # not ordered: its index tells at once
    if not changed.exists():
        return 0
    with transaction.atomic():
        # a change that is not committed yet holds the row, or raises its revision after this
        rows = changed.select_for_update(skip_locked=True, of=("self",))
        pks = list(rows.values_list("pk", flat=True)[:STORED_AT_ONCE])
        of_value: dict[int, list[int]] = {}
        for pk, value in decide(Node.objects.filter(pk__in=pks)).values_list("pk", F("decided")):
            of_value.setdefault(value, []).append(pk)
        for value, members in of_value.items():
            Node.objects.filter(pk__in=members).update(
                known_attention=value, known_at_revision=F("revision")
            )
    return len(pks)


def forget_wrong_attention() -> int:
    """Forget what is stored of hubs that need something else; return how many.

    There are none, unless somebody wrote to the database without this product: then lists are
    right again after a few minutes. One query.
    """
    wrong = decide(Node.objects.filter(IS_KNOWN))
    wrong = wrong.exclude(Q(decided=F("known_attention")))
    pks = list(wrong.values_list("pk", flat=True))
    if pks:
        log.warning("what %s hubs need was changed from outside", len(pks))
        Node.objects.filter(pk__in=pks).update(known_at_revision=0)
    return len(pks)


def count(hubs: NodeQuerySet) -> HubCounts:
    """Return how many hubs there are of each kind, and when they were and will be checked, in one
    query.
    """
    return _summed(_kinds(hubs), timezone.now())


def count_by_model(hubs: NodeQuerySet) -> tuple[HubCounts, dict[str, HubCounts]]:
    """Return the counts of all of these hubs, and those of each model, in one query."""
    now, kinds = timezone.now(), _kinds(hubs, "model")
    of_model: dict[str, list[Kind]] = {}
    for kind in kinds:
        of_model.setdefault(kind["model"], []).append(kind)
    counts = {model: _summed(of_model[model], now) for model in sorted(of_model)}
    return _summed(kinds, now), counts


def _kinds(hubs: NodeQuerySet, *by: str) -> list[Kind]:
    """Return how many hubs there are for each combination that is counted."""
    is_asked = Q(account__state=AccountState.LINKED)
    is_resting = Q(account__resume_at__gt=timezone.now())
    return list(
        hubs.order_by()
        .values("is_online", *by, why=F("attention"))
        .annotate(
            n=Count("pk"),
            checked=Count("checked_at"),
            asked=Count("check_asked_at"),
            last=Max("checked_at"),
            next=Min("next_check_at", filter=is_asked),
            resting=Count("pk", filter=is_asked & is_resting),
        )
    )


def _summed(kinds: list[Kind], now: datetime) -> HubCounts:
    """Return the counts of these kinds. The next check is only given when none is due now: a time
    that has passed would be no answer.
    """
    numbers = Counter[str]()
    for kind in kinds:
        n = kind["n"]
        numbers["total"] += n
        numbers["offline"] += n * (kind["is_online"] is False)
        numbers["unchecked"] += n - kind["checked"]
        numbers["asked"] += kind["asked"]
        numbers["ready"] += n * (kind["why"] == Attention.NEW)
        for show, members in ATTENTION_OF.items():
            numbers[show] += n * (kind["why"] in members)
    next_check_at = min((kind["next"] for kind in kinds if kind["next"]), default=None)
    is_later = next_check_at is not None and next_check_at > now
    counted = ("total", "offline", "unchecked", "asked", "ready", *ATTENTION_OF)
    return HubCounts(
        **{name: numbers[name] for name in counted},
        checked_at=max((kind["last"] for kind in kinds if kind["last"]), default=None),
        next_check_at=next_check_at if is_later and not any(k["resting"] for k in kinds) else None,
    )


def away_for(key: str, now: datetime) -> Q:
    """Return which hubs are offline for so long; one whose time is not known counts as long."""
    _, at_least, less_than = AWAY[key]
    away = Q(is_online=False)
    if less_than is not None:
        away &= Q(online_changed_at__gt=now - less_than)
    if at_least is not None:
        long_ago = Q(online_changed_at__lte=now - at_least)
        away &= long_ago if less_than is not None else long_ago | Q(online_changed_at=None)
    return away


@dataclass(frozen=True, slots=True)
class Clouds:
    """How the clouds behind a person's hubs are doing."""

    accounts: int
    signed_out: int
    troubled: int
    trouble: str
    """What keeps the cloud from being asked, as a trouble code."""
    list_trouble: str
    """What is wrong with a list of hubs, as a trouble code."""
    read_at: datetime | None
    """When a list of hubs was last read to its end."""
    unread: int
    """How many accounts are linked whose hubs were not read yet."""


def clouds_of(user: User, within: int | None = None) -> Clouds:
    """Return how the clouds behind this person's hubs are doing. Two queries."""
    ids = households_for(user, within=within)
    accounts = CloudAccount.objects.exclude(state=AccountState.UNLINKED)
    if ids is not None:
        accounts = accounts.filter(household_id__in=ids)
    values = accounts.aggregate(
        accounts=Count("pk"),
        signed_out=Count("pk", filter=Q(state=AccountState.SIGNED_OUT)),
        troubled=Count("pk", filter=~Q(trouble="")),
        unread=Count("pk", filter=Q(state=AccountState.LINKED, trouble="", synced_at=None)),
        read_at=Max("synced_at"),
        list_trouble=Min("list_trouble", filter=~Q(list_trouble="")),
        trouble=Min("trouble", filter=~Q(trouble="")),
    )
    codes = ("trouble", "list_trouble")
    return Clouds(**values | {name: values[name] or "" for name in codes})
