"""Several hubs at once: choose, read the list, confirm once, watch them go one by one."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.db.models import Q, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices import batches
from devices.confirm import Binding, BindingError, bind, read_bindings, sign_list
from devices.context import chosen
from devices.models import Batch, BatchItem, BatchState, Household, ItemState, Node, State
from devices.models.node import NodeQuerySet
from devices.policies import (
    Reason,
    Right,
    being_installed,
    households_for,
    may,
    nodes_for,
    why_unfit,
)
from devices.templatetags.show import number
from devices.views.access import actor_in, batch_for, person, refuse, signed_in
from devices.views.listing import Attention, hubs_of
from devices.views.live import frame_mark, live
from devices.views.standing import Standing, of_job


@dataclass(frozen=True, slots=True)
class Choice:
    """One hub on the list to be read: what it would get, or why it cannot."""

    node: Node
    reasons: list[Reason]


@dataclass(frozen=True, slots=True)
class Section:
    """The chosen hubs of one household: one confirmation."""

    household: Household
    choices: list[Choice]
    agreed: str
    """What the form carries: all that it shows of the hubs that can take it now."""
    fit: int


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def batch_new(request: HttpRequest) -> HttpResponse:
    """The list to be read and agreed to, one form a household."""
    if request.method != "POST":
        return _form(request, _chosen(request))
    return _confirm(request)


def _chosen(request: HttpRequest) -> list[Node]:
    if request.GET.get("all"):
        return _all_new(request)
    named = request.GET.getlist("hub")[: batches.MOST_HUBS + 1]
    return _fetch(
        request, [int(pk) for pk in named if pk.isascii() and pk.isdigit() and len(pk) < 19]
    )


def _all_new(request: HttpRequest) -> list[Node]:
    """Return the hubs that could be installed on now, of those that the Hubs page lists."""
    user, within = person(request), chosen(request)
    hubs = hubs_of(user, within).filter(Q(attention=Attention.NEW))
    ids = households_for(user, Right.INSTALL, within)
    if ids is not None:
        hubs = hubs.filter(account__household_id__in=ids)
    return list(_in_order(hubs)[: batches.MOST_HUBS + 1])


def _fetch(request: HttpRequest, ids: list[int]) -> list[Node]:
    """Return these hubs by household and name; 404 for a stranger's, 403 without the right."""
    user = person(request)
    nodes = list(_in_order(nodes_for(user).filter(pk__in=ids)))
    if len(nodes) != len(set(ids)):
        raise Http404("no such hub")
    for household in {node.account.household for node in nodes}:
        if not may(user, Right.INSTALL, household):
            refuse(request, Right.INSTALL, household, None)
    return nodes


def _in_order(hubs: NodeQuerySet) -> NodeQuerySet:
    order = ("account__household__name", "account__household_id", "name", "pk")
    return hubs.with_offers().with_accounts_once().order_by(*order)


def _form(request: HttpRequest, nodes: list[Node], *, problem: str = "") -> HttpResponse:
    too_many = len(nodes) > batches.MOST_HUBS
    nodes = nodes[: batches.MOST_HUBS]
    busy = being_installed(nodes)
    sections = [
        _section(household, [_choice(node, busy) for node in mine])
        for household, mine in groupby(nodes, key=lambda node: node.account.household)
    ]
    values = {
        "sections": sections,
        "problem": problem,
        "total": sum(section.fit for section in sections),
        "too_many": batches.MOST_HUBS if too_many else 0,
        "at_once": batches.AT_ONCE,
    }
    return render(request, "devices/batch_new.html", values, status=409 if problem else 200)


def _choice(node: Node, busy: set[tuple[str, str]]) -> Choice:
    return Choice(node, why_unfit(node, node.offer, timezone.now(), busy))


def _section(household: Household, choices: list[Choice]) -> Section:
    bound = [
        bind(choice.node, choice.node.offer)
        for choice in choices
        if choice.node.offer is not None and not choice.reasons
    ]
    return Section(household, choices, sign_list(bound), len(bound))


def _confirm(request: HttpRequest) -> HttpResponse:
    try:
        agreed = read_bindings(request.POST.get("agreed", ""))
        bindings = {binding.node_id: binding for binding in agreed}
    except BindingError as problem:
        return _form(request, _posted(request), problem=str(problem))
    nodes = _fetch(request, list(bindings))
    households = {node.account.household for node in nodes}
    if not nodes:
        return _form(request, [], problem=gettext("Nothing was sent: no hub was chosen."))
    if len(households) > 1 or len(nodes) > batches.MOST_HUBS:
        return _form(
            request, nodes, problem=gettext("Nothing was sent: confirm one household at a time.")
        )
    if swapped := [node for node in nodes if not _is_still_offered(node, bindings[node.pk])]:
        names = ", ".join(str(node) for node in swapped)
        return _form(
            request,
            nodes,
            problem=(
                gettext(
                    "Nothing was sent: what the cloud offers for %(names)s changed. Please "
                    "read the list again."
                )
                % {"names": names}
            ),
        )
    [household] = households
    batch = batches.request(
        user=person(request),
        household=household,
        chosen=[(node, bindings[node.pk]) for node in nodes],
        at_once=_at_once(request),
        stops_on_failure="go_on" not in request.POST,
        actor=actor_in(request, household),
    )
    return redirect("batch", batch.pk)


def _posted(request: HttpRequest) -> list[Node]:
    named = request.POST.getlist("hub")[: batches.MOST_HUBS + 1]
    return _fetch(request, [int(pk) for pk in named if pk.isascii() and pk.isdigit()])


def _is_still_offered(node: Node, binding: Binding) -> bool:
    return node.offer is not None and not binding.differences(bind(node, node.offer))


def _at_once(request: HttpRequest) -> int:
    wanted = request.POST.get("at_once", "")
    known = {str(value): value for value in batches.AT_ONCE}
    return known.get(wanted, 1)


@require_safe
@signed_in
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """The queue: what is through, what runs, what waits."""
    return render(request, "devices/batch.html", _batch(request, batch_for(request, pk)))


@require_safe
@signed_in
def batch_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    mine = batch_for(request, pk)
    mark = _mark(request, mine)
    return live(request, mark, "devices/_batch.html", lambda: _batch(request, mine))


@require_POST
@signed_in
def batch_stop(request: HttpRequest, pk: int) -> HttpResponse:
    """Start nothing more; what runs goes on."""
    mine = batch_for(request, pk, Right.INSTALL)
    try:
        batches.stop(mine, actor=actor_in(request, mine.household))
        messages.success(
            request, gettext("Stopped. What is being installed goes on; nothing more starts.")
        )
    except batches.NotNow as problem:
        messages.warning(request, str(problem))
    return redirect("batch", pk)


@require_POST
@signed_in
def batch_go_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a stopped queue start what still waits."""
    mine = batch_for(request, pk, Right.INSTALL)
    try:
        batches.go_on(mine, user=person(request), actor=actor_in(request, mine.household))
    except batches.NotNow as problem:
        messages.warning(request, str(problem))
    return redirect("batch", pk)


@dataclass(frozen=True, slots=True)
class Place:
    """One hub of the queue, as its row shows it."""

    item: BatchItem
    standing: Standing


def _mark(request: HttpRequest, mine: Batch) -> str:
    """Return a short text that differs when the queue or any of its installs changed."""
    jobs = mine.items.aggregate(all=Sum("job__revision"))["all"] or 0
    return f"{mine.revision}-{jobs}.{frame_mark(request)}"


def _batch(request: HttpRequest, mine: Batch) -> dict[str, Any]:
    mark = _mark(request, mine)
    items = list(mine.items.select_related("job").prefetch_related("node__account"))
    places = [Place(item, _standing(item, mine)) for item in items]
    is_under_way = any(item.job is not None and item.job.is_live for item in items)
    may_change = may(person(request), Right.INSTALL, mine.household)
    is_waiting = any(item.state == ItemState.WAITING for item in items)
    return {
        "batch": mine,
        "mark": mark,
        "places": places,
        "headline": headline(mine, items),
        "tone": _tone(mine, items),
        "may_stop": may_change and mine.state == BatchState.RUNNING and is_waiting,
        "may_go_on": may_change and is_waiting and mine.can_go_on(timezone.now()),
        "poll_s": _poll_s(mine, is_under_way),
    }


def _poll_s(mine: Batch, is_under_way: bool) -> int:
    """Return how often an open page asks, in seconds; 0: nothing can change any more."""
    if mine.state == BatchState.RUNNING or is_under_way:
        return 3
    return 30 if mine.can_go_on(timezone.now()) else 0


def _standing(item: BatchItem, mine: Batch) -> Standing:
    if item.job is not None:
        return of_job(item.job)
    if item.state == ItemState.SKIPPED:
        return Standing(gettext("Skipped"), "quiet", "dash")
    if item.state == ItemState.DROPPED or mine.state != BatchState.RUNNING:
        return Standing(gettext("Not started"), "quiet", "dash")
    return Standing(gettext("Waits its turn"), "quiet", "clock")


def headline(mine: Batch, items: list[BatchItem]) -> str:
    """Return the sentence that says how the queue stands."""
    jobs = [item.job for item in items if item.job is not None]
    verified = sum(job.state == State.VERIFIED for job in jobs)
    running = sum(job.is_live for job in jobs)
    bad = sum(job.needs_person for job in jobs)
    waiting = sum(item.state == ItemState.WAITING for item in items)
    total = len(items)
    if verified == total:
        if total == 1:
            return gettext("The hub is verified.")
        if total == 2:
            return gettext("Both hubs are verified.")
        return gettext("All %(n)s hubs are verified.") % {"n": number(total)}
    some = number(verified) if verified else gettext("none")
    parts = [gettext("%(some)s of %(all)s verified") % {"some": some, "all": number(total)}]
    if running:
        words = ngettext("%(some)s is installing", "%(some)s are installing", running)
        parts.append(words % {"some": number(running)})
    if bad:
        words = ngettext("%(some)s needs you", "%(some)s need you", bad)
        parts.append(words % {"some": number(bad)})
    if waiting and mine.state != BatchState.RUNNING:
        words = ngettext("%(some)s was not started", "%(some)s were not started", waiting)
        parts.append(words % {"some": number(waiting)})
    elif waiting:
        words = ngettext("%(some)s waits", "%(some)s wait", waiting)
        parts.append(words % {"some": number(waiting)})
    sentence = ", ".join(parts)
    return sentence[0].upper() + sentence[1:] + "."


def _tone(mine: Batch, items: list[BatchItem]) -> str:
    jobs = [item.job for item in items if item.job is not None]
    if mine.state == BatchState.STOPPED or any(job.needs_person for job in jobs):
        return "attention"
    if mine.state == BatchState.RUNNING:
        return "running"
    is_all_good = jobs and all(job.state == State.VERIFIED for job in jobs)
    return "good" if is_all_good else ""


def running_batches(request: HttpRequest, within: int | None) -> list[Batch]:
    """Return the queues under way that this person may watch. Up to two queries."""
    ids = households_for(person(request), within=within)
    found = Batch.objects.filter(state=BatchState.RUNNING).select_related("household")
    return list((found if ids is None else found.filter(household_id__in=ids)).order_by("pk")[:5])
