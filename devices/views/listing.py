"""Which hubs, in what order, and how many: decided in the database, so ten thousand stay quick."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import (
    Case,
    Count,
    F,
    FilteredRelation,
    IntegerField,
    Max,
    Min,
    Q,
    Value,
    When,
)
from django.db.models.functions import Lower
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from devices.models import LIVE, AccountState, CloudAccount, Node, State, User
from devices.models.node import NodeQuerySet
from devices.policies import households_for, nodes_for
from devices.views.live import mark_of

PER_PAGE = 25
TROUBLED = [State.FAILED, State.LOST, State.REJECTED, State.UNVERIFIED]


class Attention(IntEnum):
    """Why a hub stands where it stands on the list; the first comes first."""

    TROUBLE = 0  # its last install ended so that somebody should look
    SIGNED_OUT = 1
    RUNNING = 2
    NEW = 3
    WAITING = 4  # new firmware, but the hub is offline
    NONE = 5


ATTENTION_OF = {
    "attention": [Attention.TROUBLE, Attention.SIGNED_OUT],
    "new": [Attention.NEW, Attention.WAITING],
    "running": [Attention.RUNNING],
}
SHOWS = {
    "": (gettext_lazy("All"), Q()),
    "attention": (gettext_lazy("Needs you"), Q(attention__in=ATTENTION_OF["attention"])),
    "new": (gettext_lazy("New firmware"), Q(attention__in=ATTENTION_OF["new"])),
    "running": (gettext_lazy("Running"), Q(attention__in=ATTENTION_OF["running"])),
    "offline": (gettext_lazy("Offline"), Q(is_online=False)),
}
HOUSEHOLD = "household"
_ONLINE_FIRST = Case(
    When(is_online=True, then=0),
    When(is_online=None, then=1),
    default=2,
    output_field=IntegerField(),
)
SORTS: dict[str, tuple[str | Promise, list[str | Case]]] = {
    "": (gettext_lazy("Needs attention first"), ["attention"]),
    "name": (gettext_lazy("Name"), []),
    "version": (gettext_lazy("Version"), ["fw_version"]),
    "online": (gettext_lazy("Online first"), [_ONLINE_FIRST]),
    HOUSEHOLD: (
        gettext_lazy("Household by household"),
        ["account__household__name", "account__household_id"],
    ),
}


# How long an offline hub has been away: at least, and less than.
AWAY: dict[str, tuple[str | Promise, timedelta | None, timedelta | None]] = {
    "day": (gettext_lazy("less than a day"), None, timedelta(days=1)),
    "week": (gettext_lazy("one to seven days"), timedelta(days=1), timedelta(days=7)),
    "longer": (gettext_lazy("longer than a week"), timedelta(days=7), None),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the query string asks to see."""

    search: str = ""
    show: str = ""
    sort: str = ""
    version: str = ""
    """Hubs that run exactly this."""
    away: str = ""
    """Offline hubs, by how long they have been away: a key of AWAY."""
    page: int = 1

    @classmethod
    def read(cls, query: QueryDict, usual_sort: str = "") -> "Wish":
        """Return what is asked for; what makes no sense counts as not said."""
        page, sort = query.get("page", ""), query.get("sort", usual_sort)
        return cls(
            search=query.get("q", "").strip()[:100],
            show=query.get("show", "") if query.get("show", "") in SHOWS else "",
            sort=sort if sort in SORTS else "",
            version=query.get("version", "").strip()[:64],
            away=query.get("away", "") if query.get("away", "") in AWAY else "",
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
        )

    @property
    def is_narrowed(self) -> bool:
        """Is more asked for than an order?"""
        return bool(self.search or self.show or self.version or self.away)

    @property
    def away_words(self) -> str:
        return str(AWAY[self.away][0]) if self.away else ""

    def query(self) -> str:
        """Return the same as a query string without what is not said."""
        said = {"q": self.search, "show": self.show}
        said |= {"version": self.version, "away": self.away}
        # the order is always said: without it the one that is remembered counts
        values = {"sort": self.sort} | {name: value for name, value in said.items() if value}
        if self.page > 1:
            values["page"] = str(self.page)
        return urlencode(values)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many hubs there are of each kind."""

    total: int
    attention: int
    new: int
    running: int
    offline: int
    unchecked: int
    asked: int = 0
    """How many are being checked because a person asked."""
    checked_at: datetime | None = None
    next_check_at: datetime | None = None

    def shown_by(self, show: str) -> int:
        """Return how many there are of those that a key of SHOWS shows."""
        return int(getattr(self, show or "total"))


def hubs_of(user: User, within: int | None = None) -> NodeQuerySet:
    """Return this person's present hubs with `attention`, a value of Attention, on each."""
    nodes = nodes_for(user, within=within).present()
    is_settled = Q(latest__to_version=F("fw_version")) | (
        Q(open_offer__first_seen_at__gt=F("latest__requested_at"))
        & ~Q(open_offer__ota_job_id=F("latest__ota_job_id"))
    )
    return nodes.annotate(
        latest=FilteredRelation("jobs", condition=Q(jobs__is_latest=True)),
        open_offer=FilteredRelation("offers", condition=Q(offers__ended_at__isnull=True)),
    ).annotate(
        attention=Case(
            _when(~is_settled & Q(latest__state__in=TROUBLED), Attention.TROUBLE),
            _when(Q(account__state=AccountState.SIGNED_OUT), Attention.SIGNED_OUT),
            _when(Q(latest__state__in=sorted(LIVE)), Attention.RUNNING),
            _when(Q(open_offer__isnull=False, is_online=False), Attention.WAITING),
            _when(Q(open_offer__isnull=False), Attention.NEW),
            default=Value(Attention.NONE.value),
            output_field=IntegerField(),
        ),
    )


def _when(condition: Q, attention: Attention) -> When:
    return When(condition, then=Value(attention.value))


def count(hubs: NodeQuerySet) -> Counts:
    """Return how many hubs there are of each kind, and when they were and will be checked, in one
    query.
    """
    kinds = list(
        hubs.order_by()
        .values("is_online", why=F("attention"))
        .annotate(
            n=Count("pk"),
            checked=Count("checked_at"),
            asked=Count("check_asked_at"),
            last=Max("checked_at"),
            next=Min("next_check_at"),
        )
    )

    numbers = Counter[str]()
    for kind in kinds:
        n = kind["n"]
        numbers["total"] += n
        numbers["offline"] += n * (kind["is_online"] is False)
        numbers["unchecked"] += n - kind["checked"]
        numbers["asked"] += kind["asked"]
        for show, members in ATTENTION_OF.items():
            numbers[show] += n * (kind["why"] in members)
    counted = ("total", "offline", "unchecked", "asked", *ATTENTION_OF)
    return Counts(
        **{name: numbers[name] for name in counted},
        checked_at=max((kind["last"] for kind in kinds if kind["last"]), default=None),
        next_check_at=min((kind["next"] for kind in kinds), default=None),
    )


def find(hubs: NodeQuerySet, wish: Wish, counts: Counts) -> "Page[Node]":
    """Return the page of hubs asked for; a page past the end is the last one. Up to five queries:
    what was counted already is not counted again.
    """
    found = hubs.filter(SHOWS[wish.show][1])
    if wish.version:
        found = found.filter(fw_version=wish.version)
    if wish.away:
        found = found.filter(away_for(wish.away, timezone.now()))
    for word in wish.search.split():
        found = found.filter(
            Q(name__icontains=word)
            | Q(serial__icontains=word)
            | Q(node_id__icontains=word)
            | Q(model__icontains=word)
            | Q(fw_version__icontains=word)
            | Q(open_offer__fw_version__icontains=word)
            | Q(account__household__name__icontains=word)
        )
    order: list[str | Case | Lower] = [*SORTS[wish.sort][1], Lower("name"), "node_id", "pk"]
    pages = Paginator(found.order_by(*order).for_list().with_accounts_once(), PER_PAGE)
    if not (wish.search or wish.version or wish.away):
        pages.count = counts.shown_by(wish.show)
    return pages.get_page(wish.page)


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


def order_mark(page: "Page[Node]") -> str:
    """Return a short text that differs when other hubs, or the same in another order, are shown."""
    return f"{mark_of(*(node.pk for node in page))}-{page.number}-{page.paginator.num_pages}"


@dataclass(frozen=True, slots=True)
class Clouds:
    """How the clouds behind a person's hubs are doing."""

    accounts: int
    signed_out: int
    troubled: int
    trouble_text: str
    answered_at: datetime | None
    unread: int
    """How many accounts are linked whose hubs were not read yet."""


def clouds_of(user: User, within: int | None = None) -> Clouds:
    """Return how the clouds behind this person's hubs are doing. Two queries."""
    ids = households_for(user, within=within)
    accounts = CloudAccount.objects.exclude(state=AccountState.UNLINKED)
    if ids is not None:
        accounts = accounts.filter(household_id__in=ids)
    told = accounts.aggregate(
        accounts=Count("pk"),
        signed_out=Count("pk", filter=Q(state=AccountState.SIGNED_OUT)),
        troubled=Count("pk", filter=~Q(trouble="")),
        trouble_text=Min("trouble_text", filter=~Q(trouble="")),
        answered_at=Max("answered_at"),
        unread=Count("pk", filter=Q(state=AccountState.LINKED, trouble="", synced_at=None)),
    )
    return Clouds(**told | {"trouble_text": told["trouble_text"] or ""})
