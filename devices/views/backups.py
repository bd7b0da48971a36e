"""The server's backups, for administrators: see them, ask for one, download one."""

from typing import Any, cast

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from devices.backup import on_request, schedule
from devices.models import BackupRun, database_clock
from devices.presentation.badges import of_backup
from devices.security.rate_limits import limited
from devices.views.access import admin_required, fresh_factor_required, request_actor
from devices.views.partials import etag_of, layout_etag, live

PER_PAGE = 50
PAGE = "server_backups"


@require_safe
@admin_required
def backups(request: HttpRequest) -> HttpResponse:
    """Every try of the last months, newest first."""
    return render(request, "devices/server/backups.html", _values(request))


@require_safe
@admin_required
def backups_live(request: HttpRequest) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    values = _values(request)
    part = "devices/server/partials/backups.fragment.html"
    return live(request, values["mark"], part, lambda: values)


def _values(request: HttpRequest) -> dict[str, Any]:
    now = database_clock.now()
    listed = Paginator(BackupRun.objects.order_by("-started_at", "-pk"), PER_PAGE).get_page(
        request.GET.get("page")
    )
    rows = [(run, of_backup(run, now), on_request.file_of(run) is not None) for run in listed]
    shown = [(run.pk, standing.words, has_file) for run, standing, has_file in rows]
    return {
        "listed": listed,
        "rows": rows,
        "here": schedule.this_host(),
        "is_busy": on_request.is_busy(now),
        "mark": etag_of(shown, layout_etag(request)),
    }


@require_POST
@admin_required
@fresh_factor_required(PAGE)
def backup_new(request: HttpRequest) -> HttpResponse:
    """Ask a worker for a verified backup."""
    if on_request.ask(request_actor(request), database_clock.now()) is None:
        messages.info(request, gettext("A backup is being made already."))
    return redirect(PAGE)


@require_POST
@admin_required
@fresh_factor_required(PAGE)
@limited("export")
def backup_download(request: HttpRequest, pk: int) -> HttpResponse:
    """Send the file as an attachment; it holds the keys, so nothing on the way may keep it."""
    run = get_object_or_404(BackupRun, pk=pk)
    path = on_request.file_of(run)
    try:
        file = path.open("rb") if path is not None else None
    except FileNotFoundError:  # a newer one took its place in this moment
        file = None
    if file is None:
        words = gettext("This file is not on the machine that answered. It was made on %(host)s.")
        messages.warning(request, words % {"host": run.host or "?"})
        return redirect(PAGE)
    on_request.taken(run, request_actor(request))
    answer = FileResponse(
        file, as_attachment=True, filename=run.file, content_type="application/gzip"
    )
    answer["Cache-Control"] = "no-store"
    return cast(HttpResponse, answer)  # a streaming response
