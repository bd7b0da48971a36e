"""Small decisions about a hub: not this version, seen, put the settings back."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from devices.installs import restoring
from devices.permissions import Right
from devices.planning import dismissals
from devices.views.access import (
    current_user,
    get_hub_or_404,
    get_job_or_404,
    login_required_here,
    request_actor,
)


@require_POST
@login_required_here
def hub_dismiss(request: HttpRequest, pk: int) -> HttpResponse:
    """Dismiss the version that the page showed, for this hub or for all of the household."""
    node = get_hub_or_404(request, pk, Right.INSTALL)
    household, version = node.account.household, request.POST.get("version", "")
    try:
        dismissals.dismiss(
            node,
            version,
            user=current_user(request),
            actor=request_actor(request, household),
            everywhere=request.POST.get("where") == "household",
        )
    except dismissals.DismissalError as problem:
        messages.warning(request, str(problem))
    return redirect("hub", node.pk)


@require_POST
@login_required_here
def hub_undismiss(request: HttpRequest, pk: int) -> HttpResponse:
    """Undo what dismisses the version that this hub is offered."""
    node = get_hub_or_404(request, pk, Right.INSTALL)
    dismissals.undo_all(node, actor=request_actor(request, node.account.household))
    return redirect("hub", node.pk)


@require_POST
@login_required_here
def install_put_back(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the hub's settings put back to what they were before this install."""
    job = get_job_or_404(request, pk, Right.INSTALL)
    try:
        restoring.ask(job, actor=request_actor(request, job.household))
    except restoring.RestoreError as problem:
        messages.warning(request, str(problem))
    return redirect("install", job.pk)


@require_POST
@login_required_here
def install_seen(request: HttpRequest, pk: int) -> HttpResponse:
    """Mark how an install ended as seen, or undo that."""
    job = get_job_or_404(request, pk, Right.INSTALL)
    actor = request_actor(request, job.household)
    try:
        if "undo" in request.POST:
            dismissals.mark_unseen(job, actor=actor)
        else:
            dismissals.mark_seen(job, actor=actor)
            words = gettext("Marked as seen. %(hub)s no longer needs attention for this install.")
            messages.success(request, words % {"hub": job.hub_name})
    except dismissals.DismissalError as problem:
        messages.warning(request, str(problem))
    return redirect("install", job.pk)
