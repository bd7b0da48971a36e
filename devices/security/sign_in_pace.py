"""How fast passwords may be tried: slower and slower, without a lock-out.

Wrong passwords are counted for each account and address, and for each account over all unknown
addresses. A browser that signed in here before, and an address this person has a session from,
are counted on their own: other people's tries do not slow them down.
"""

from collections.abc import Iterator
from contextlib import suppress

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

from devices.models import User
from devices.security.rate_limits import address_of, count_up
from devices.security.request_origin import origin

WINDOW_S = 900
# So many tries are free; then each costs a wait that doubles up to the longest.
FREE_TRIES, FREE_TRIES_OF_STRANGERS = 5, 20
LONGEST_WAIT_S = 60
_SALT = "known browser"
_COOKIE_AGE_S = 180 * 24 * 3600
_MOST_PEOPLE = 5


def cookie_name() -> str:
    return "__Host-known-browser" if settings.IS_HTTPS else "known-browser"


def is_known_browser(request: HttpRequest, email: str) -> bool:
    """Did this person sign in with this browser before?"""
    people = User.objects.filter(pk__in=_people_of(request), email__iexact=email)
    return people.exists()


def begin_try(request: HttpRequest, email: str) -> int:
    """Count one try before the password is looked at; return the seconds to wait first, else 0."""
    return next(filter(None, (_slow(who, free) for who, free in _counts(request, email))), 0)


def take_back_try(request: HttpRequest, email: str) -> None:
    """Uncount a try whose password was not looked at after all."""
    for who, _ in _counts(request, email):
        with suppress(ValueError):  # its window has ended
            cache.decr(f"pace:tries:{who}")


def _counts(request: HttpRequest, email: str) -> Iterator[tuple[str, int]]:
    """Yield what a try counts against, each with the number of free tries."""
    if is_known_browser(request, email):
        yield f"browser:{email}", FREE_TRIES
        return
    yield f"{email}:{address_of(request)}", FREE_TRIES
    user = User.objects.filter(email__iexact=email).first()
    if user is None or not _is_known_address(request, user):
        yield f"{email}:strangers", FREE_TRIES_OF_STRANGERS


def succeeded(request: HttpRequest, email: str) -> None:
    """Forget the tries of this browser and address; those of strangers still count."""
    own = [f"{email}:{address_of(request)}", f"browser:{email}"]
    cache.delete_many([f"pace:{kind}:{who}" for who in own for kind in ("tries", "wait")])


def _slow(who: str, free: int) -> int:
    """Count one try; return the seconds to wait when it comes too early."""
    tries, gate = f"pace:tries:{who}", f"pace:wait:{who}"
    used = count_up(tries, WINDOW_S) - 1
    if used < free:
        return 0
    wait_s: int = min(2 ** min(used - free + 1, 10), LONGEST_WAIT_S)
    is_let_through = cache.add(gate, 1, wait_s)  # of several at once, one
    return 0 if is_let_through else wait_s


def remember_browser(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Let this browser be recognised the next time this person signs in."""
    pks = [user.pk, *(pk for pk in _people_of(request) if pk != user.pk)][:_MOST_PEOPLE]
    response.set_cookie(
        cookie_name(),
        signing.dumps(pks, salt=_SALT),
        max_age=_COOKIE_AGE_S,
        secure=settings.IS_HTTPS,
        httponly=True,
        samesite="Lax",
    )


def _people_of(request: HttpRequest) -> list[int]:
    try:
        found = signing.loads(
            request.COOKIES.get(cookie_name(), ""), salt=_SALT, max_age=_COOKIE_AGE_S
        )
    except signing.BadSignature:
        return []
    return found if isinstance(found, list) else []


def _is_known_address(request: HttpRequest, user: User) -> bool:
    known = UserSession.objects.filter(user=user, ip=origin(request)["address"])
    return bool(known.exists())
