"""Is the web server there? For the start, for containers, for monitors."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer without touching anything: the database being away does not make the server dead."""
    return HttpResponse("ok", content_type="text/plain")
