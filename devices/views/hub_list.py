"""The Hubs page: every hub a person may see, those that need attention first."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Page
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext, pgettext
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import retarget

from devices.accounts.sessions import any_signed_out
from devices.fleet.attention import Clouds, HubCounts, clouds_of, hubs_of
from devices.fleet.checks import ask_check
from devices.models import Node, SavedView, User
from devices.models.attention import Attention
from devices.models.parsing import parse_int
from devices.permissions import Right, households_for, jobs_for, memberships_of, nodes_for
from devices.planning.season import seasons_of
from devices.presentation import headlines
from devices.presentation.badges import Badge, of_hub
from devices.presentation.formatting import number, place
from devices.request_scope import scope_of
from devices.views.access import current_user, get_hub_or_404, login_required_here, request_actor
from devices.views.form_drafts import page_or_hubs
from devices.views.hub_filters import (
    HOUSEHOLD,
    PLANNED,
    SHOWS,
    SORTS,
    HubFilter,
    count_narrowed,
    order_mark,
    page_of,
    read_sort,
)
from devices.views.partials import etag_of, layout_etag
from devices.views.proposals import waiting_proposals
from devices.views.queues import running_batches

# The session's key for the order of the list.
SORT = "sort"
# The ways the list can look: a card for each hub, or a table of one line each.
CARDS, TABLE = "cards", "table"
# A change may be committed a little after the time it carries.
OVERLAP = timedelta(seconds=30)
# The last whole second that a datetime can hold, in the year 9999.
LATEST_STAMP = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Act:
    """The one action for a hub: its button text and address."""

    words: str
    about: str
    """Which hub, for screen readers that read the button alone."""
    address: str
    installs: bool = False
    proposes: bool = False

    @property
    def is_for_many(self) -> bool:
        """Can it be done for several hubs in one review?"""
        return self.installs or self.proposes


@dataclass(frozen=True, slots=True)
class Row:
    """One hub on the list, with its badge and its action, if any."""

    node: Node
    standing: Badge
    act: Act | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list; `sort` is the order its heading leads to, None without one."""

    words: str
    css: str = ""
    sort: str | None = None
    direction: str = ""
    """As aria-sort says it, when the list is in this order."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a rendered page knew: sent back with every question whether anything changed."""

    hubs: str
    """Differs when any hub was added, changed or left."""
    clouds: str
    """Differs when a cloud went wrong or right again, the worker stopped or started, or another
    day began: then the whole list is sent."""
    minute: str
    """When a list of hubs was last read: only a line of the page speaks of it."""

    @classmethod
    def of(cls, request: HttpRequest, clouds: Clouds) -> "Mark":
        user, within = current_user(request), scope_of(request).household_id
        state = (clouds.accounts, clouds.signed_out, clouds.troubled, clouds.trouble)
        lists = (clouds.list_trouble, clouds.unread)
        return cls(
            hubs=nodes_for(user, within=within).present().fingerprint(),
            clouds=etag_of(*state, *lists, layout_etag(request)),
            minute=f"{clouds.read_at:%H%M}" if clouds.read_at else "",
        )

    def __str__(self) -> str:
        return f"{self.hubs}.{self.clouds}.{self.minute}"


@require_safe
@login_required_here
def hubs(request: HttpRequest) -> HttpResponse:
    """The whole list; a search typed into it fetches the same page."""
    user, within = current_user(request), scope_of(request).household_id
    clouds = clouds_of(user, within)
    mark = Mark.of(request, clouds)
    asked = read_sort(request.GET.get("sort"))
    if asked is not None and request.session.get(SORT) != asked:
        request.session[SORT] = asked
    if (view := request.GET.get("view")) in {CARDS, TABLE} and user.list_view != view:
        user.list_view = view
        user.save(update_fields=["list_view"])
    return render(request, "devices/hubs/list.html", _list(request, user, clouds, mark))


@require_safe
@login_required_here
def hubs_live(request: HttpRequest) -> HttpResponse:
    """What changed since the page was rendered; 204 without a body when nothing did."""
    user, within = current_user(request), scope_of(request).household_id
    clouds = clouds_of(user, within)
    mark = Mark.of(request, clouds)
    seen = request.GET.get("v", "")
    if seen == str(mark):
        return HttpResponse(status=204)
    values = _list(request, user, clouds, mark)
    hubs_seen, clouds_seen, _ = (*seen.split("."), "", "", "")[:3]
    is_same_list = request.GET.get("o") == values["order"] and clouds_seen == mark.clouds
    if is_same_list:
        since = _seen_at(request)
        rows: Iterable[Row] = values["rows"]
        is_new = hubs_seen != mark.hubs
        values["changed"] = [row for row in rows if is_new and row.node.changed_at >= since]
    values["is_same_list"] = is_same_list
    # a page that was opened before there was any hub has nothing to find one with
    was_empty = not request.GET.get("o") and not values["wish"].is_narrowed
    values["brings_tools"] = was_empty and not is_same_list
    answer = render(request, "devices/hubs/partials/changes.fragment.html", values)
    # rows alone travel beside the poll; another list takes the place of the whole one
    return answer if is_same_list else retarget(answer, "#hub-list")


@require_POST
@login_required_here
def hubs_check(request: HttpRequest) -> HttpResponse:
    """Ask the cloud about all hubs of the households in which this person may."""
    nodes = nodes_for(current_user(request), Right.CHECK, scope_of(request).household_id).present()
    asked = 0
    ordered = nodes.select_related("account__household").order_by("account__household_id", "pk")
    for household, mine in groupby(ordered, key=lambda node: node.account.household):
        asked += ask_check(list(mine), actor=request_actor(request, household))
    if asked:
        text = ngettext(
            "Checking %(n)s hub. Results appear here automatically.",
            "Checking %(n)s hubs. Results appear here automatically.",
            asked,
        )
        messages.info(request, text % {"n": number(asked)})
    else:
        messages.warning(request, gettext("There are no hubs here that you can check."))
    return redirect(page_or_hubs(request))


@require_POST
@login_required_here
def hub_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the cloud about one hub."""
    node = get_hub_or_404(request, pk, Right.CHECK)
    if ask_check([node], actor=request_actor(request, node.account.household)):
        text = gettext("Checking %(node)s. The result appears here automatically.")
        messages.info(request, text % {"node": node})
    else:
        messages.warning(request, _why_unchecked(node))
    return redirect("hub", node.pk)


def _why_unchecked(node: Node) -> str:
    if node.account.is_unlinked:
        words = gettext("%(node)s cannot be checked: its cloud account is unlinked.")
    else:
        words = gettext("%(node)s cannot be checked: its cloud account is signed out.")
    return words % {"node": node}


def _list(request: HttpRequest, user: User, clouds: Clouds, mark: Mark) -> dict[str, Any]:
    now = timezone.now()
    within = scope_of(request).household_id
    sorts = _sorts(request, user)
    wish = HubFilter.read(request.GET, _usual_sort(request, sorts))
    is_table = (user.list_view or (TABLE if user.staff_role else CARDS)) == TABLE
    hubs = hubs_of(user, within)
    counts, here, models = count_narrowed(hubs, wish)
    listed: Page[Node] = page_of(hubs, wish, here)
    may_install = set(households_for(user, Right.INSTALL) or [])
    may_manage = set(households_for(user, Right.MANAGE) or [])
    may_propose = households_for(user, Right.PROPOSE)
    may_check = households_for(user, Right.CHECK)
    rows = [_row(node, may_install, may_manage, may_propose, now) for node in listed]
    may_choose = sum(row.act is not None and row.act.is_for_many for row in rows) > 1
    # an account was just linked: its hubs come, and are asked one after the other
    comes = not clouds.signed_out and not clouds.troubled
    is_first_read = clouds.unread or (counts.unchecked and comes)
    looks = households_for(user, within=within)
    may_review = None if may_propose is None else may_install | set(may_propose)
    reviews_all = None if may_review == set() else _holds(may_review, looks)
    are_simulated = {row.node.account.is_simulated for row in rows} == {True}
    # where nothing is planned, the column would take room from the others
    shows_planned = is_table and (counts.planned > 0 or wish.sort.removeprefix("-") == PLANNED)
    look = f"{may_choose:d}{is_table:d}{are_simulated:d}{shows_planned:d}"
    order = f"{order_mark(listed)}-{look}" if counts.total else ""
    seen = urlencode({"v": mark, "o": order, "t": int(now.timestamp())})
    return {
        "wish": wish,
        "counts": counts,
        "headline": headlines.of_hubs(counts, clouds),
        "clouds": clouds,
        "shows": [(key, words, here.shown_by(key)) for key, (words, _) in SHOWS.items()],
        "models": models if len(models) > 1 or wish.model else [],
        "sorts": sorts,
        "by_household": wish.sort == HOUSEHOLD and not is_table,
        "is_table": is_table,
        "by_many": HOUSEHOLD in dict(sorts),
        "columns": _columns(
            wish,
            is_table=is_table,
            has_households=HOUSEHOLD in dict(sorts),
            shows_planned=shows_planned,
        ),
        "shows_planned": shows_planned,
        "are_simulated": are_simulated,
        "main_act": _main_act(rows, wish, here, reviews_all=reviews_all)
        if not (clouds.signed_out and any_signed_out(may_manage))
        else Act(gettext("Sign in again"), "", reverse("accounts")),
        "listed": listed,
        "rows": rows,
        "may_choose": may_choose,
        "may_check": may_check is None or bool(may_check),
        "may_install": bool(may_install),
        "may_review": reviews_all is not None,
        "may_manage": bool(may_manage),
        "order": order,
        # asked only where the page shows them
        "saved_views": SavedView.objects.seen_by(user).select_related("user"),
        "filter_query": wish.query(with_page=False),
        "poll_query": "&".join(filter(None, (wish.query(), seen))),
        "poll_s": 3 if counts.running or counts.asked or is_first_read else 30,
        "is_first_update": bool(may_manage and rows)
        and not any(row.node.latest_job for row in rows)
        and not jobs_for(user, within=within).exists(),
        "queues": running_batches(request, within),
        "proposals": waiting_proposals(request, within),
        "seasons": seasons_of(_mine(user, within), may_manage, now),
    }


def _holds(households: set[int] | None, shown: list[int] | None) -> bool:
    """Are all that are shown among these? None means all households."""
    return households is None or (shown is not None and households >= set(shown))


def _mine(user: User, within: int | None) -> list[int]:
    """Return the households that are shown and that this person belongs to."""
    mine = [one.household_id for one in memberships_of(user)]
    return [pk for pk in mine if within in {None, pk}]


def _columns(
    wish: HubFilter, *, is_table: bool, has_households: bool, shows_planned: bool
) -> list[Column]:
    """Return the headings of the list; those of the table sort it."""
    if not is_table:
        words = (gettext("Hub"), gettext("Firmware"), gettext("Status"), gettext("Now"))
        return [Column(one) for one in words]

    def sorts(words: str, key: str, css: str = "") -> Column:
        direction = {key: "ascending", f"-{key}": "descending"}.get(wish.sort, "")
        is_turned = key and wish.sort == key
        return Column(words, css, f"-{key}" if is_turned else key, direction)

    household = sorts(gettext("Household"), HOUSEHOLD, "on-desks house-of")
    planned = sorts(gettext("Planned"), PLANNED, "on-desks planned")
    return [
        sorts(gettext("Hub"), "name", "named"),
        *([household] if has_households else []),
        sorts(gettext("Model"), "model", "on-desks model"),
        sorts(gettext("Firmware"), "version", "versions"),
        sorts(gettext("Status"), "", "state"),
        *([planned] if shows_planned else []),
        Column(gettext("Now"), "on-phones"),  # on a desk it stands with the status
        sorts(pgettext("since", "Online"), "online", "on-desks aged"),
        sorts(gettext("Checked"), "checked", "on-desks aged checked"),
    ]


def _sorts(request: HttpRequest, user: User) -> list[tuple[str, str]]:
    """Return the orders to choose from; by household only where there are several."""
    is_alone = scope_of(request).household_id is not None or len(households_for(user) or "ab") < 2
    return [
        (key, str(words)) for key, (words, _) in SORTS.items() if key != HOUSEHOLD or not is_alone
    ]


def _usual_sort(request: HttpRequest, sorts: list[tuple[str, str]]) -> str:
    """Return the order that this person chose last, if it is still there to choose."""
    usual = str(request.session.get(SORT, ""))
    return usual if usual.removeprefix("-") in dict(sorts) else ""


def _main_act(
    rows: list[Row], wish: HubFilter, here: HubCounts, *, reviews_all: bool | None
) -> Act | None:
    """Return the one thing to do about the hubs that are listed, those on other pages included.

    `reviews_all`: may this person install or propose on all of them? None: on none.
    """
    ready = [row.act for row in rows if row.act is not None and row.act.is_for_many]
    if here.ready == 1 and ready:
        return ready[0]
    if here.ready and reviews_all is not None and wish.show in {"", "new"}:
        words = ngettext("Review %(n)s update", "Review %(n)s updates", here.ready)
        words = words % {"n": number(here.ready)} if reviews_all else gettext("Review all updates")
        address = f"{reverse('queue_new')}?all=1&{wish.query(with_page=False)}"
        return Act(words, "", address, installs=True)
    if here.attention and wish.show != "attention":
        show = replace(wish, show="attention").query(with_page=False)
        return Act(gettext("See what needs attention"), "", f"{reverse('hubs')}?{show}")
    return None


def _row(
    node: Any,
    may_install: set[int],
    may_manage: set[int],
    may_propose: list[int] | None,
    now: datetime,
) -> Row:
    attention, household_id = Attention(node.attention), node.account.household_id
    standing, about = of_hub(node, attention, now), gettext("for %(node)s") % {"node": node}
    if attention in {Attention.STORED, Attention.DISMISSED, Attention.NONE}:
        return Row(node, standing, None)
    if attention == Attention.TROUBLE:
        see = place("install", node.latest_job.pk)
        return Row(node, standing, Act(gettext("See result"), about, see))
    if attention == Attention.RUNNING:
        watch = place("install", node.latest_job.pk)
        return Row(node, standing, Act(gettext("Watch"), str(node), watch))
    if attention == Attention.SIGNED_OUT and household_id in may_manage:
        sign_in = place("account_reconnect", node.account_id)
        return Row(node, standing, Act(gettext("Sign in again"), about, sign_in))
    if attention == Attention.NEW and household_id in may_install:
        review = place("hub_install", node.pk)
        return Row(node, standing, Act(gettext("Review update"), about, review, installs=True))
    if attention == Attention.OLDER and household_id in may_install:
        review = place("hub_install", node.pk)
        return Row(node, standing, Act(gettext("Review step back"), about, review))
    if attention == Attention.NEW and (may_propose is None or household_id in may_propose):
        propose = place("hub_propose", node.pk)
        return Row(node, standing, Act(gettext("Propose"), about, propose, proposes=True))
    of_it = gettext("of %(node)s") % {"node": node}
    return Row(node, standing, Act(gettext("Details"), of_it, place("hub", node.pk)))


def _seen_at(request: HttpRequest) -> datetime:
    stamp = parse_int(request.GET.get("t"), largest=LATEST_STAMP)
    return datetime.fromtimestamp(stamp or 0, tz=UTC) - OVERLAP
