"""The Hubs page: every hub a person may see, those that need somebody first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.core.paginator import Page
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import retarget

from devices.context import chosen
from devices.models import Node, User
from devices.policies import Right, households_for, jobs_for, nodes_for
from devices.sync import ask_check
from devices.templatetags.show import number, place
from devices.views.access import actor_in, hub_for, person, signed_in
from devices.views.batches import running_batches
from devices.views.listing import (
    HOUSEHOLD,
    SHOWS,
    SORTS,
    Attention,
    Clouds,
    Counts,
    Wish,
    clouds_of,
    count,
    find,
    hubs_of,
    order_mark,
)
from devices.views.live import frame_mark, mark_of
from devices.views.proposals import waiting_proposals
from devices.views.standing import Standing, of_hub
from devices.views.typed import page_or_hubs

# The session's key for the order of the list.
SORT = "sort"
# A change may be committed a little after the time it carries.
OVERLAP = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Act:
    """The one thing to do about a hub: where it is done, and how the list says it."""

    words: str
    about: str
    """Which hub, for whoever hears the words away from their row."""
    address: str
    installs: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One hub on the list, with what its badge says and the one thing to do about it, if any."""

    node: Node
    standing: Standing
    act: Act | None


@dataclass(frozen=True, slots=True)
class Mark:
    """What a rendered page knew: sent back with every question whether anything changed."""

    hubs: str
    """Differs when any hub was added, changed or left."""
    clouds: str
    """Differs when a cloud went wrong or right again, the worker stopped or started, or another
    day began: then the whole list is sent."""
    minute: str
    """When a cloud last answered: only a line of the page speaks of it."""

    @classmethod
    def of(cls, request: HttpRequest, clouds: Clouds) -> "Mark":
        user, within = person(request), chosen(request)
        state = (clouds.accounts, clouds.signed_out, clouds.troubled, clouds.trouble_text)
        return cls(
            hubs=nodes_for(user, within=within).present().fingerprint(),
            clouds=mark_of(*state, clouds.unread, frame_mark(request)),
            minute=f"{clouds.answered_at:%H%M}" if clouds.answered_at else "",
        )

    def __str__(self) -> str:
        return f"{self.hubs}.{self.clouds}.{self.minute}"


@require_safe
@signed_in
def hubs(request: HttpRequest) -> HttpResponse:
    """The whole list; a search typed into it fetches the same page."""
    user, within = person(request), chosen(request)
    clouds = clouds_of(user, within)
    mark = Mark.of(request, clouds)
    if (asked := request.GET.get("sort")) in SORTS and request.session.get(SORT) != asked:
        request.session[SORT] = asked
    return render(request, "devices/hubs.html", _list(request, user, clouds, mark))


@require_safe
@signed_in
def hubs_live(request: HttpRequest) -> HttpResponse:
    """What changed since the page was rendered; 204 without a body when nothing did."""
    user, within = person(request), chosen(request)
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
    answer = render(request, "devices/_hubs_live.html", values)
    # rows alone travel beside the poll; another list takes the place of the whole one
    return answer if is_same_list else retarget(answer, "#hub-list")


@require_POST
@signed_in
def hubs_check(request: HttpRequest) -> HttpResponse:
    """Ask the cloud about all hubs of the households in which this person may."""
    nodes = nodes_for(person(request), Right.CHECK, chosen(request)).present()
    asked = 0
    ordered = nodes.select_related("account__household").order_by("account__household_id", "pk")
    for household, mine in groupby(ordered, key=lambda node: node.account.household):
        asked += ask_check(list(mine), actor=actor_in(request, household))
    if asked:
        said = ngettext(
            "The cloud will be asked about %(n)s hub. Answers appear by themselves.",
            "The cloud will be asked about %(n)s hubs. Answers appear by themselves.",
            asked,
        )
        messages.info(request, said % {"n": number(asked)})
    else:
        messages.warning(request, gettext("There is no hub here that you may have checked."))
    return redirect(page_or_hubs(request))


@require_POST
@signed_in
def hub_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the cloud about one hub."""
    node = hub_for(request, pk, Right.CHECK)
    if ask_check([node], actor=actor_in(request, node.account.household)):
        said = gettext("The cloud will be asked about %(node)s. The answer appears by itself.")
        messages.info(request, said % {"node": node})
    else:
        messages.warning(request, _why_unchecked(node))
    return redirect("hub", node.pk)


def _why_unchecked(node: Node) -> str:
    if node.account.is_unlinked:
        words = gettext("%(node)s cannot be checked: its account is unlinked.")
    else:
        words = gettext("%(node)s cannot be checked: its account is not signed in.")
    return words % {"node": node}


def _list(request: HttpRequest, user: User, clouds: Clouds, mark: Mark) -> dict[str, Any]:
    now = timezone.now()
    within = chosen(request)
    sorts = _sorts(request, user)
    wish = Wish.read(request.GET, _usual_sort(request, user, sorts))
    hubs = hubs_of(user, within)
    counts = count(hubs)
    listed: Page[Node] = find(hubs, wish, counts)
    may_install = set(households_for(user, Right.INSTALL) or [])
    may_manage = set(households_for(user, Right.MANAGE) or [])
    may_check = households_for(user, Right.CHECK)
    rows = [_row(node, may_install, may_manage, now) for node in listed]
    may_choose = sum(row.act is not None and row.act.installs for row in rows) > 1
    # an account was just linked: its hubs come, and are asked one after the other
    comes = not clouds.signed_out and not clouds.troubled
    is_first_read = clouds.unread or (counts.unchecked and comes)
    return {
        "wish": wish,
        "counts": counts,
        "headline": headline(counts, clouds),
        "clouds": clouds,
        "shows": [(key, words, counts.shown_by(key)) for key, (words, _) in SHOWS.items()],
        "sorts": sorts,
        "by_household": wish.sort == HOUSEHOLD,
        "listed": listed,
        "rows": rows,
        "may_choose": may_choose,
        "may_check": may_check is None or bool(may_check),
        "may_install": bool(may_install),
        "may_manage": bool(may_manage),
        "mark": mark,
        "order": f"{order_mark(listed)}-{may_choose:d}" if counts.total else "",
        "rendered_at": int(now.timestamp()),
        "poll_s": 3 if counts.running or counts.asked or is_first_read else 30,
        "is_first_update": bool(may_manage and rows)
        and not any(row.node.latest_job for row in rows)
        and not jobs_for(user, within=within).exists(),
        "queues": running_batches(request, within),
        "proposals": waiting_proposals(request, within),
    }


def _sorts(request: HttpRequest, user: User) -> list[tuple[str, str]]:
    """Return the orders to choose from; by household only where there are several."""
    is_alone = chosen(request) is not None or len(households_for(user) or "ab") < 2
    return [
        (key, str(words)) for key, (words, _) in SORTS.items() if key != HOUSEHOLD or not is_alone
    ]


def _usual_sort(request: HttpRequest, user: User, sorts: list[tuple[str, str]]) -> str:
    """Return the order that this person chose last, if it is still there to choose."""
    usual = request.session.get(SORT, HOUSEHOLD if user.staff_role else "")
    return usual if usual in dict(sorts) else ""


def _row(node: Any, may_install: set[int], may_manage: set[int], now: datetime) -> Row:
    attention, household_id = Attention(node.attention), node.account.household_id
    standing, about = of_hub(node, attention, now), gettext("for %(node)s") % {"node": node}
    if attention == Attention.NONE:
        return Row(node, standing, None)
    if attention == Attention.TROUBLE:
        see = place("install", node.latest_job.pk)
        return Row(node, standing, Act(gettext("See evidence"), about, see))
    if attention == Attention.RUNNING:
        watch = place("install", node.latest_job.pk)
        return Row(node, standing, Act(gettext("Watch"), str(node), watch))
    if attention == Attention.SIGNED_OUT and household_id in may_manage:
        sign_in = place("account_reconnect", node.account_id)
        return Row(node, standing, Act(gettext("Sign in again"), about, sign_in))
    if attention == Attention.NEW and household_id in may_install:
        review = place("hub_install", node.pk)
        return Row(node, standing, Act(gettext("Review update"), about, review, installs=True))
    of_it = gettext("of %(node)s") % {"node": node}
    return Row(node, standing, Act(gettext("Details"), of_it, place("hub", node.pk)))


def _seen_at(request: HttpRequest) -> datetime:
    stamp = request.GET.get("t", "")
    is_time = stamp.isascii() and stamp.isdigit() and len(stamp) < 12
    return datetime.fromtimestamp(int(stamp) if is_time else 0, tz=UTC) - OVERLAP


def headline(counts: Counts, clouds: Clouds) -> str:
    """Return the sentence that answers what people came to ask."""
    if not counts.total:
        if clouds.unread:
            return gettext("Your hubs are being read.")
        return gettext("No hubs here yet.")
    total = counts.total
    parts = []
    if counts.new:
        parts.append(_have_new(counts.new, total))
    if counts.running:
        parts.append(_are_installing(counts.running, 0 if parts else total))
    if counts.attention:
        parts.append(_need_you(counts.attention, 0 if parts else total))
    if not parts:
        if counts.unchecked == total:
            return _not_checked(total)
        if total == 1:
            return gettext("Your hub is up to date.")
        if total == 2:
            return gettext("Both hubs are up to date.")
        return gettext("All %(n)s hubs are up to date.") % {"n": number(total)}
    sentence = ", ".join(parts)
    if len(parts) == 3:
        names = dict(zip(("first", "second", "third"), parts, strict=True))
        sentence = gettext("%(first)s, %(second)s, and %(third)s") % names
    return sentence[0].upper() + sentence[1:] + "."


def _have_new(some: int, total: int) -> str:
    said = {"some": number(some), "all": number(total)}
    if total == 1:
        return gettext("your hub has new firmware")
    if some == total:
        both = gettext("both hubs have new firmware")
        return both if total == 2 else gettext("all %(all)s hubs have new firmware") % said
    return (
        ngettext(
            "%(some)s of %(all)s hubs has new firmware",
            "%(some)s of %(all)s hubs have new firmware",
            some,
        )
        % said
    )


def _are_installing(some: int, total: int) -> str:
    """Return how many are; total 0 when the sentence has said of how many already."""
    said = {"some": number(some), "all": number(total)}
    if not total:
        return ngettext("%(some)s is installing", "%(some)s are installing", some) % said
    if total == 1:
        return gettext("your hub is installing")
    if some == total:
        both = gettext("both hubs are installing")
        return both if total == 2 else gettext("all %(all)s hubs are installing") % said
    return (
        ngettext(
            "%(some)s of %(all)s hubs is installing",
            "%(some)s of %(all)s hubs are installing",
            some,
        )
        % said
    )


def _need_you(some: int, total: int) -> str:
    """Return how many do; total 0 when the sentence has said of how many already."""
    said = {"some": number(some), "all": number(total)}
    if not total:
        return ngettext("%(some)s needs you", "%(some)s need you", some) % said
    if total == 1:
        return gettext("your hub needs you")
    if some == total:
        both = gettext("both hubs need you")
        return both if total == 2 else gettext("all %(all)s hubs need you") % said
    return (
        ngettext("%(some)s of %(all)s hubs needs you", "%(some)s of %(all)s hubs need you", some)
        % said
    )


def _not_checked(total: int) -> str:
    if total == 1:
        return gettext("Your hub is not checked yet.")
    if total == 2:
        return gettext("Neither hub is checked yet.")
    return gettext("All %(n)s hubs are not checked yet.") % {"n": number(total)}
