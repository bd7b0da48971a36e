"""Queues: confirm the review of several hubs, and follow the installs."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import Exists, OuterRef, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.installs.confirmation import SnapshotError
from devices.models import LIVE, Batch, BatchState, Plan, PlanState, State, When, database_clock
from devices.permissions import Right, mask_people, may, queues_for
from devices.planning import queues
from devices.planning.plans import PlanError, read_timing
from devices.presentation import headlines
from devices.presentation.badges import Badge, of_job, of_plan
from devices.views.access import current_user, get_queue_or_404, login_required_here, request_actor
from devices.views.hub_reviews import agreed, chosen, fetch, posted, review, swapped
from devices.views.moments import posted_when
from devices.views.partials import layout_etag, live


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def queue_new(request: HttpRequest) -> HttpResponse:
    """The review of several hubs; a POST confirms the installs of one household."""
    if request.method != "POST":
        return review(request, chosen(request))
    return _confirm(request)


def _confirm(request: HttpRequest) -> HttpResponse:
    try:
        bindings = agreed(request)
    except SnapshotError as problem:
        return review(request, posted(request, Right.INSTALL), problem=str(problem))
    nodes = fetch(request, bindings, Right.INSTALL)
    households = {node.account.household for node in nodes}
    if not nodes:
        return review(request, [], problem=gettext("Nothing was sent: no hub was selected."))
    if len(households) > 1 or len(nodes) > queues.MOST_HUBS:
        return review(
            request, nodes, problem=gettext("Nothing was sent: confirm one household at a time.")
        )
    if changed := swapped(nodes, bindings):
        return review(request, nodes, problem=changed)
    [household] = households
    now = database_clock.now()
    try:
        timing = read_timing(posted_when(request), household, now)
    except PlanError as problem:
        return review(request, nodes, problem=str(problem))
    if timing is None:  # who is offline cannot have a turn now
        nodes = [node for node in nodes if node.is_online is not False]
    if not nodes:
        return review(
            request,
            posted(request, Right.INSTALL),
            problem=gettext("All selected hubs are offline."),
        )
    batch = queues.request(
        user=current_user(request),
        household=household,
        chosen=[(node, bindings[node.pk]) for node in nodes],
        at_once=_at_once(request),
        stops_on_failure="go_on" not in request.POST,
        actor=request_actor(request, household),
        timing=timing,
        now=now,
    )
    return redirect("queue", batch.pk)


def _at_once(request: HttpRequest) -> int:
    wanted = request.POST.get("at_once", "")
    known = {str(value): value for value in queues.AT_ONCE}
    return known.get(wanted, 1)


@require_safe
@login_required_here
def queue(request: HttpRequest, pk: int) -> HttpResponse:
    """The queue's page: finished, running and waiting installs."""
    return render(
        request, "devices/queues/queue.html", _batch(request, get_queue_or_404(request, pk))
    )


@require_safe
@login_required_here
def queue_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    mine = get_queue_or_404(request, pk)
    mark = _mark(request, mine)
    return live(
        request, mark, "devices/queues/partials/queue.fragment.html", lambda: _batch(request, mine)
    )


@require_POST
@login_required_here
def queue_stop(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop the queue. Running installs continue; no more are started."""
    mine = get_queue_or_404(request, pk, Right.INSTALL)
    try:
        queues.stop(mine, actor=request_actor(request, mine.household))
        messages.success(
            request, gettext("Stopped. Installs in progress continue; no more will start.")
        )
    except queues.QueueError as problem:
        messages.warning(request, str(problem))
    return redirect("queue", pk)


@require_POST
@login_required_here
def queue_resume(request: HttpRequest, pk: int) -> HttpResponse:
    """Resume a stopped queue."""
    mine = get_queue_or_404(request, pk, Right.INSTALL)
    try:
        queues.resume(
            mine, user=current_user(request), actor=request_actor(request, mine.household)
        )
    except queues.QueueError as problem:
        messages.warning(request, str(problem))
    return redirect("queue", pk)


@dataclass(frozen=True, slots=True)
class Place:
    """One row of the queue's table."""

    item: Plan
    standing: Badge


def _mark(request: HttpRequest, mine: Batch) -> str:
    """Return a short text that differs when the queue or any of its installs changed."""
    jobs = mine.items.aggregate(all=Sum("job__revision"))["all"] or 0
    return f"{mine.revision}-{jobs}.{layout_etag(request)}"


def _batch(request: HttpRequest, mine: Batch) -> dict[str, Any]:
    mark = _mark(request, mine)
    items = list(mine.items.select_related("job").prefetch_related("node__account"))
    for item in items:
        mask_people(current_user(request), item, mine.household_id)
    places = [Place(item, _standing(item, mine)) for item in items]
    is_under_way = any(item.job is not None and item.job.is_live for item in items)
    may_change = may(current_user(request), Right.INSTALL, mine.household)
    is_waiting = any(item.is_waiting for item in items)
    return {
        "batch": mine,
        "mark": mark,
        "places": places,
        "headline": headlines.of_queue(mine, items),
        "pace": _pace(mine),
        "tone": _tone(mine, items),
        "valid_until": max((item.expires_at for item in items), default=None),
        "has_begun": any(item.job is not None for item in items),
        "is_under_way": is_under_way,
        "is_waiting": is_waiting,
        "may_stop": may_change and mine.state == BatchState.RUNNING and is_waiting,
        "may_go_on": may_change and is_waiting and mine.state == BatchState.STOPPED,
        "poll_s": _poll_s(mine, is_under_way, is_waiting),
    }


def _pace(mine: Batch) -> str:
    """Return how many hubs install at a time, as part of a sentence."""
    if mine.at_once == 1:
        words = gettext("one at a time; stops if one fails")
        return words if mine.stops_on_failure else gettext("one at a time")
    words = gettext("%(at_once)s at a time; stops if one fails")
    words = words if mine.stops_on_failure else gettext("%(at_once)s at a time")
    return words % {"at_once": mine.at_once}


def _poll_s(mine: Batch, is_under_way: bool, is_waiting: bool) -> int:
    """Return how often an open page polls, in seconds; 0 when nothing can change any more."""
    if mine.state == BatchState.RUNNING or is_under_way:
        return 3
    return 30 if mine.state == BatchState.STOPPED and is_waiting else 0


def _standing(item: Plan, mine: Batch) -> Badge:
    if item.job is not None:
        return of_job(item.job)
    if item.state in {PlanState.DROPPED, PlanState.DONE}:
        return Badge(gettext("Skipped"), "quiet", "dash")
    if not item.is_waiting or mine.state != BatchState.RUNNING:
        return Badge(gettext("Not started"), "quiet", "dash")
    if item.when != When.NOW:
        return of_plan(item, mine.household)
    return Badge(gettext("Waiting in the queue"), "quiet", "clock")


def _tone(mine: Batch, items: list[Plan]) -> str:
    jobs = [item.job for item in items if item.job is not None]
    if mine.state == BatchState.STOPPED or any(job.went_wrong for job in jobs):
        return "attention"
    if mine.state == BatchState.RUNNING:
        return "running"
    is_all_good = jobs and all(job.state == State.VERIFIED for job in jobs)
    return "good" if is_all_good else ""


def running_batches(request: HttpRequest, within: int | None) -> list[Batch]:
    """Return the queues at work now that this person may see. Up to two queries."""
    members = Plan.objects.filter(batch=OuterRef("pk"))
    is_now = members.waiting().filter(when=When.NOW) | members.filter(job__state__in=sorted(LIVE))
    found = queues_for(current_user(request), within).filter(state=BatchState.RUNNING)
    return list(found.filter(Exists(is_now)).order_by("pk")[:5])
