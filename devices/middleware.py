"""Where a request comes from, kept for the audit trail."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class RequestContext:
    """Give every request an id, also answered as X-Request-ID."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.META["REQUEST_ID"] = uuid.uuid4().hex
        response = self.get_response(request)
        response["X-Request-ID"] = request.META["REQUEST_ID"]
        return response
