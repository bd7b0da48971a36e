"""Is the web server there, and can it do what it is for? For the start, containers and monitors."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from devices import readiness


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer without touching anything: the database being away does not make the server dead."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Say part by part whether an install would go its way now: 200 when all are fit, else 503."""
    parts = readiness.look()
    is_ready = all(part.is_ok for part in parts.values())
    told = {name: {"ok": part.is_ok, **part.figures} for name, part in parts.items()}
    return JsonResponse({"ready": is_ready, "parts": told}, status=200 if is_ready else 503)
