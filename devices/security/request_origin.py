"""Where a request came from, as the audit trail keeps it."""

from ipaddress import ip_address
from typing import TypedDict

from django.conf import settings
from django.http import HttpRequest


class Origin(TypedDict):
    """Where a request came from, as an Actor keeps it."""

    address: str
    browser: str
    request_id: str


def origin(request: HttpRequest) -> Origin:
    """Return address, browser and request id, as an Actor keeps them.

    Behind proxies the address is the one that the outermost of ours added: what stands before it
    is hearsay.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_PROXY else ""
    steps = [step.strip() for step in forwarded.split(",")][-settings.PROXY_COUNT :]
    return {
        "address": _address(steps[0]) or request.META.get("REMOTE_ADDR") or "0.0.0.0",  # noqa: S104
        "browser": request.META.get("HTTP_USER_AGENT", ""),
        "request_id": request.META.get("REQUEST_ID", ""),
    }


def _address(text: str) -> str:
    """Return the address, or "" for what is none: a header may say anything."""
    try:
        return str(ip_address(text))
    except ValueError:
        return ""
