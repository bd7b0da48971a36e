"""What travels to an open page: a mark tells whether anything it shows has changed."""

import zlib
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from devices.context import worker_now


def mark_of(*parts: object) -> str:
    """Return a short text that differs when any of these reads differently."""
    return f"{zlib.crc32(' '.join(str(part) for part in parts).encode()):x}"


def frame_mark(request: HttpRequest) -> str:
    """Return a mark of the frame of a page: it differs on another day, when "today" and "yesterday"
    are other days, and when something else is to be said of the worker.
    """
    return mark_of(timezone.localdate(), worker_now(request))


def live(
    request: HttpRequest, mark: str, template: str, values: Callable[[], dict[str, Any]]
) -> HttpResponse:
    """Return the fragment and what is said of the worker; 204 without a body when the page that
    asks has this mark.
    """
    if request.GET.get("v") == mark:
        return HttpResponse(status=204)
    return render(request, "devices/_live.html", values() | {"part": template})
