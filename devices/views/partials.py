"""Fragments for open pages, with an etag that changes when their content does."""

import zlib
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from devices.request_scope import scope_of


def etag_of(*parts: object) -> str:
    """Return a short text that differs when any of these does."""
    return f"{zlib.crc32(' '.join(str(part) for part in parts).encode()):x}"


def layout_etag(request: HttpRequest) -> str:
    """Return the etag of a page's frame: it changes with the day, because pages say "today", and
    with the notice about the worker.
    """
    return etag_of(timezone.localdate(), scope_of(request).worker)


def live(
    request: HttpRequest, mark: str, template: str, values: Callable[[], dict[str, Any]]
) -> HttpResponse:
    """Return the fragment and the notice about the worker; 204 without a body when the page has
    this etag.
    """
    if request.GET.get("v") == mark:
        return HttpResponse(status=204)
    return render(request, "components/live.fragment.html", values() | {"part": template})
