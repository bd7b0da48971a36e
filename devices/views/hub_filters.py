"""Filter, order and count the list of hubs, in the database."""

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Case, F, IntegerField, Q, When
from django.db.models.functions import Lower
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from devices.fleet.adoption import ran_at
from devices.fleet.attention import ATTENTION_OF, AWAY, SHOWN, HubCounts, away_for, count_by_model
from devices.fleet.known_versions import spelled_by_changes, spelled_by_hubs
from devices.models import Node
from devices.models.account import in_world
from devices.models.node import NodeQuerySet
from devices.models.parsing import parse_int
from devices.models.version_text import spellings
from devices.presentation.addresses import BUT, UNKNOWN
from devices.presentation.formatting import day_and_year
from devices.views.partials import etag_of
from devices.views.weeks import week_of

PER_PAGE = 25
LAST_PAGE = 999_999


def _filter(show: str) -> Q:
    """Return which hubs a key of SHOWN shows."""
    if show in ATTENTION_OF:
        return Q(attention__in=ATTENTION_OF[show])
    return Q(is_online=False) if show == "offline" else Q()


SHOWS = {key: (words, _filter(key)) for key, words in SHOWN.items()}
HOUSEHOLD, PLANNED = "household", "planned"
_ONLINE_FIRST = Case(
    When(is_online=True, then=0),
    When(is_online=None, then=1),
    default=2,
    output_field=IntegerField(),
)
# The orders, each by what comes before the name. "-" before a key turns it round.
SORTS: dict[str, tuple[str | Promise, list[F | Case]]] = {
    "": (gettext_lazy("Needs attention first"), [F("attention")]),
    "name": (gettext_lazy("Name"), []),
    "version": (gettext_lazy("Version"), [F("fw_version")]),
    "model": (gettext_lazy("Model"), [F("model")]),
    "online": (gettext_lazy("Online first"), [_ONLINE_FIRST, F("online_changed_at")]),
    "checked": (gettext_lazy("Longest unchecked"), [F("checked_at")]),
    # the time is looked up in the index of waiting plans, which `with_attention` asks anyway
    PLANNED: (gettext_lazy("Planned first"), [F("waiting_plan__not_before")]),
    HOUSEHOLD: (
        gettext_lazy("By household"),
        [F("account__household__name"), F("account__household_id")],
    ),
}


def read_sort(text: str | None) -> str | None:
    """Return the order that this text names; None when it names none."""
    return text if text is not None and text.removeprefix("-") in SORTS and text != "-" else None


@dataclass(frozen=True, slots=True)
class HubFilter:
    """What the query string asks for."""

    search: str = ""
    show: str = ""
    sort: str = ""
    version: str = ""
    """Hubs that run this, however they spell it; UNKNOWN: whose version is not known."""
    but: str = ""
    """Hubs that run none of these, which are parted by BUT."""
    week: str = ""
    """The Monday of a week at whose end the hubs ran those, or any known one; empty: they run
    them now.
    """
    model: str = ""
    """Hubs of exactly this model; UNKNOWN: whose model is not known."""
    simulated: str = ""
    """"1": simulated hubs; "0": real ones."""
    away: str = ""
    """Offline hubs, by how long they have been away: a key of AWAY."""
    page: int = 1

    @classmethod
    def read(cls, query: QueryDict, usual_sort: str = "") -> "HubFilter":
        """Return the filter of a query string; invalid values are ignored."""
        sort = read_sort(query.get("sort", usual_sort))
        version, but = query.get("version", "").strip()[:64], query.get("but", "").strip()[:1000]
        week = week_of(query.get("week", ""))
        return cls(
            search=query.get("q", "").strip()[:100],
            show=query.get("show", "") if query.get("show", "") in SHOWS else "",
            sort=sort or "",
            version=version,
            but=but,
            week=week.monday.isoformat() if week is not None else "",
            model=query.get("model", "").strip()[:120],
            simulated=simulated if (simulated := query.get("simulated")) in {"0", "1"} else "",
            away=query.get("away", "") if query.get("away", "") in AWAY else "",
            page=parse_int(query.get("page"), largest=LAST_PAGE) or 1,
        )

    @property
    def is_narrowed(self) -> bool:
        """Does it filter, and not only sort?"""
        return bool(self.show) or self.is_searched

    @property
    def is_searched(self) -> bool:
        """Does it filter by more than the kinds of SHOWS?"""
        return bool(self.search or self._chosen)

    @property
    def _chosen(self) -> dict[str, str]:
        """Return the filters that an address alone sets, and a chip takes off."""
        names = ("model", "simulated", "version", "but", "week", "away")
        return {name: value for name in names if (value := str(getattr(self, name)))}

    @property
    def hidden(self) -> dict[str, str]:
        """Return those of them that the search form has no field for."""
        return {name: value for name, value in self._chosen.items() if name != "model"}

    @property
    def chips(self) -> list[tuple[str, str]]:
        """Return the name and the words of each of these filters."""
        words = {
            "model": self._of(self.model, gettext("model %(value)s"), gettext("unknown model")),
            "simulated": gettext("simulated") if self.simulated == "1" else gettext("real hubs"),
            "version": self._of(
                self.version, gettext("version %(value)s"), gettext("version not known")
            ),
            "but": gettext("none of %(value)s") % {"value": ", ".join(self.but.split(BUT))},
            "away": gettext("offline %(value)s") % {"value": self.away_words},
        }
        if week := week_of(self.week):
            last = gettext("at the end of the week of %(value)s")
            words["week"] = last % {"value": day_and_year(week.monday)}
        return [(name, words[name]) for name in self._chosen]

    @staticmethod
    def _of(value: str, words: str, unknown: str) -> str:
        return unknown if value == UNKNOWN else words % {"value": value}

    @property
    def words(self) -> str:
        """The filters in words, for where there is little room."""
        show = str(SHOWS[self.show][0]) if self.show else ""
        search = f"“{self.search}”" if self.search else ""
        return ", ".join(filter(None, (show, search, *(words for _, words in self.chips))))

    @property
    def away_words(self) -> str:
        return str(AWAY[self.away][0]) if self.away else ""

    def query(self, *, with_page: bool = True) -> str:
        """Return the filter as a query string, without empty values."""
        given = {"q": self.search, "show": self.show} | self._chosen
        # the order is always given: without it the remembered one is used
        values = {"sort": self.sort} | {name: value for name, value in given.items() if value}
        if with_page and self.page > 1:
            values["page"] = str(self.page)
        return urlencode(values)


def narrow(hubs: NodeQuerySet, wish: HubFilter) -> NodeQuerySet:
    """Return the hubs that all filters match but that of SHOWS."""
    if wish.version or wish.but or wish.week:
        hubs = _running(hubs, wish)
    if wish.model:
        hubs = hubs.filter(model="" if wish.model == UNKNOWN else wish.model)
    if wish.simulated:
        hubs = hubs.filter(in_world(wish.simulated == "1"))
    if wish.away:
        hubs = hubs.filter(away_for(wish.away, timezone.now()))
    for word in wish.search.split():
        hubs = hubs.filter(
            Q(name__icontains=word)
            | Q(serial__icontains=word)
            | Q(node_id__icontains=word)
            | Q(model__icontains=word)
            | Q(fw_version__icontains=word)
            | Q(open_offer__fw_version__icontains=word)
            | Q(account__household__name__icontains=word)
        )
    return hubs


def _running(hubs: NodeQuerySet, wish: HubFilter) -> NodeQuerySet:
    """Return the hubs that run, or ran at the end of a week, what is asked for. One query more, to
    know how versions are spelled.
    """
    if week := week_of(wish.week):
        hubs, runs = hubs.alias(ran=ran_at(week.end)), "ran"
        spelled = spelled_by_changes()
    else:
        runs, spelled = "fw_version", spelled_by_hubs()
    if wish.version == UNKNOWN:
        hubs = hubs.filter((runs, ""))
    elif wish.version:
        hubs = hubs.filter((f"{runs}__in", spellings(spelled, wish.version)))
    if wish.but or wish.week:
        others = [one for one in wish.but.split(BUT) if one]
        named = [text for one in others for text in spellings(spelled, one)]
        hubs = hubs.exclude((f"{runs}__in", ["", *named]))
    return hubs


def count_narrowed(
    hubs: NodeQuerySet, wish: HubFilter
) -> tuple[HubCounts, HubCounts, list[tuple[str, int]]]:
    """Return the counts of all hubs, those of the narrowed ones, and of each model how many the
    other filters match. Two queries when the list is searched, else one.
    """
    counts, models = count_by_model(hubs)
    elsewhere = replace(wish, model="")
    here = counts
    if elsewhere.is_searched:
        here, models = count_by_model(narrow(hubs, elsewhere))
    if wish.model:
        here = models.get("" if wish.model == UNKNOWN else wish.model, HubCounts())
    hits = [(model, of_it.shown_by(wish.show)) for model, of_it in models.items() if model]
    return counts, here, [(model, n) for model, n in hits if n or model == wish.model]


def find(hubs: NodeQuerySet, wish: HubFilter) -> NodeQuerySet:
    """Return the hubs asked for, in the order asked for."""
    key = wish.sort.removeprefix("-")
    is_reversed = key != wish.sort
    # hubs without a plan come last in both directions
    last = True if key == PLANNED else None
    order = [
        one.desc(nulls_last=last) if is_reversed else one.asc(nulls_last=last)
        for one in SORTS[key][1]
    ]
    name = Lower("name").desc() if wish.sort == "-name" else Lower("name").asc()
    found = narrow(hubs, wish).filter(SHOWS[wish.show][1])
    return found.order_by(*order, name, "node_id", "pk")


def page_of(hubs: NodeQuerySet, wish: HubFilter, counts: HubCounts) -> "Page[Node]":
    """Return the page of hubs asked for; a page past the end is the last one. `counts` are those
    of the narrowed hubs, so that they are not counted again. Four queries.
    """
    pages = Paginator(find(hubs, wish).for_list().with_accounts_once(), PER_PAGE)
    pages.count = counts.shown_by(wish.show)
    return pages.get_page(wish.page)


def order_mark(page: "Page[Node]") -> str:
    """Return a short text that differs when other hubs, or the same in another order, are shown."""
    return f"{etag_of(*(node.pk for node in page))}-{page.number}-{page.paginator.num_pages}"
