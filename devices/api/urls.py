"""URLs of the JSON API. Each answers JSON only, is never cached, and treats HEAD as GET."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, path, re_path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from devices.api.errors import not_allowed, not_found
from devices.api.update_policy import api
from devices.api.views import document

View = Callable[..., HttpResponse]


def json_only(view: View) -> View:
    """Add 405 and HEAD in JSON, and no caching, to a view of django-ninja."""

    @csrf_exempt
    @never_cache
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **values: Any) -> HttpResponse:
        asked = request.method
        if asked == "HEAD":  # the web server leaves the body out
            request.method = "GET"
        answer = view(request, *args, **values)
        request.method = asked
        if isinstance(answer, HttpResponseNotAllowed):
            allowed = answer["Allow"].replace("GET", "GET, HEAD")
            return not_allowed(allowed).response()
        return answer

    return answered


def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document."""
    return JsonResponse(document()) if request.method == "GET" else HttpResponseNotAllowed(["GET"])


def nothing(request: HttpRequest, rest: str = "") -> HttpResponse:
    """404 for all other addresses below /api/."""
    return not_found("address").response()


urlpatterns: list[URLPattern] = [
    path("v1/openapi.json", json_only(openapi), name="api_openapi"),
    *(
        path(f"v1/{one.pattern}", json_only(one.callback), name=one.name)
        for one in api.urls[0]
        if isinstance(one, URLPattern) and one.name != "api-root"
    ),
    re_path(r"^(?P<rest>.*)$", json_only(nothing), name="api_nothing"),
]
