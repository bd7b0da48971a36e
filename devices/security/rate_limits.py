"""Rate limits: how often something may be done, counted in the shared cache.

A window begins with the first use and ends when its time is over. With the file cache two
processes that count in the same instant may count one use; Redis counts each.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TypeVar, cast

from django.core.cache import cache
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from devices.security.request_origin import origin

View = TypeVar("View", bound=Callable[..., HttpResponseBase])
MINUTE_S, HOUR_S = 60, 3600


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many uses in one window, for each person or each address."""

    most: int
    window_s: int
    per: str
    """"person" or "address"."""


LIMITS = {
    "push": (Limit(30, HOUR_S, "person"), Limit(60, HOUR_S, "address")),
    "invite": (Limit(30, HOUR_S, "person"), Limit(60, HOUR_S, "address")),
    "export": (Limit(10, MINUTE_S, "person"),),
    "link": (Limit(60, MINUTE_S, "address"),),
}


def spend(what: str, most: int, window_s: int = MINUTE_S) -> int:
    """Count one use; return the seconds to wait when there were too many in this window, else 0."""
    now = time.time()
    began = cache.get_or_set(f"limit:{what}", now, window_s) or now
    is_over = count_up(f"limit:{what}:{began}", window_s) > most
    return max(1, int(began + window_s - now)) if is_over else 0


def count_up(key: str, window_s: int) -> int:
    """Count one use under this key; return how many there were in its window, 0 as it ends."""
    cache.add(key, 0, window_s)
    try:
        used: int = cache.incr(key)
    except ValueError:  # the window ended between the two
        return 0
    cache.touch(key, window_s)  # some caches forget the time limit of what they count up
    return used


def address_of(request: HttpRequest) -> str:
    """Return the address that limits count by; of IPv6 the network, since each home has many."""
    text = origin(request)["address"]
    try:
        address = ip_address(text)
    except ValueError:  # a server behind a socket gives none
        return text
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
    return text


def limited(action: str) -> Callable[[View], View]:
    """Answer 429 when LIMITS has no more of this action left; looking counts like using, since a
    GET tells whether a link is good.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: object, **values: object) -> HttpResponseBase:
            for limit in LIMITS[action]:
                who = request.user.pk if limit.per == "person" else address_of(request)
                if spend(f"{action}:{who}", limit.most, limit.window_s):
                    return render(request, "429.html", status=429)
            return view(request, *args, **values)

        return cast(View, guarded)

    return decorate
