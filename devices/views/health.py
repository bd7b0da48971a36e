"""Can the server do what it is for? For the start, containers and monitors."""

from secrets import compare_digest

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from devices.models import User
from devices.presentation import metrics as metrics_page
from devices.presentation.server_status import facts, todo
from devices.security import key_marks
from devices.taskqueue import health
from devices.views.access import admin_required


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Never reached with GET: the middleware Alive answers before anything is looked up."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when an install could be carried out now, else 503.

    The parts with their figures are shown to staff and to who has READY_TOKEN.
    """
    parts = _parts()
    is_ready = health.is_ready(parts)
    answer: dict[str, object] = {"ready": is_ready}
    # without a database there are no sessions
    if _has_token(request) or (parts["database"].is_ok and _is_staff(request)):
        answer["parts"] = {name: {"ok": part.is_ok, **part.figures} for name, part in parts.items()}
    return JsonResponse(answer, status=200 if is_ready else 503)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with figures for Prometheus, to staff and to who has READY_TOKEN."""
    if not (_has_token(request) or _is_staff(request)):
        return HttpResponse("READY_TOKEN is needed.\n", status=401, content_type="text/plain")
    return HttpResponse(metrics_page.text(_parts()), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@require_safe
@admin_required
def server_status(request: HttpRequest) -> HttpResponse:
    """The page Server: is all well, what to do, versions, machines, queue, disk, last errors."""
    asked_at = f"{request.scheme}://{request.get_host()}"
    values = facts() | {"todo": list(todo(_parts(), asked_at))}
    return render(request, "devices/server/status.html", values)


def _parts() -> dict[str, health.Part]:
    parts = health.check_all()
    if parts["database"].is_ok:  # a web server may run that no start of ours has checked
        parts["keys"] = health.Part(key_marks.is_ours())
    return parts


def _has_token(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    token = settings.READY_TOKEN
    return bool(token) and compare_digest(given.encode(), token.encode())


def _is_staff(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and bool(request.user.staff_role)
