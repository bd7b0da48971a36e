"""What every request passes: an id, where it comes from, and verbs that no page has."""

import uuid
from collections.abc import Callable
from typing import TypedDict

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

VERBS = ("GET", "HEAD", "POST", "OPTIONS")


class RequestContext:
    """Give every request an id, also answered as X-Request-ID."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.META["REQUEST_ID"] = uuid.uuid4().hex
        response = self.get_response(request)
        response["X-Request-ID"] = request.META["REQUEST_ID"]
        return response


class OnlyFormVerbs:
    """Answer 405 to what no browser form sends: the sign-in library would read PUT as POST."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in VERBS:
            return HttpResponseNotAllowed(VERBS)
        return self.get_response(request)


class Origin(TypedDict):
    """Where a request came from, as an Actor keeps it."""

    address: str
    browser: str
    request_id: str


def origin(request: HttpRequest) -> Origin:
    """Return address, browser and request id, as an Actor keeps them.

    Behind a proxy the address is the one the proxy added last: anything before it is hearsay.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_PROXY else ""
    return {
        "address": forwarded.split(",")[-1].strip() or request.META.get("REMOTE_ADDR", ""),
        "browser": request.META.get("HTTP_USER_AGENT", ""),
        "request_id": request.META.get("REQUEST_ID", ""),
    }
