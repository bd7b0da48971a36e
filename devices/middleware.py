"""What every request passes: an id, where it comes from, and verbs that no page has."""

import time
import uuid
from collections.abc import Callable
from ipaddress import ip_address
from typing import ClassVar, TypedDict

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils import translation

from devices.models import User

BEGAN, USED = "began", "used"
NOTED_EVERY_S = 300
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


class SecureHeaders:
    """Put on every answer, static files and errors included, what keeps browsers strict.

    First of all, so that nothing that answers early is left out. What is said already stays.
    """

    ALWAYS: ClassVar[dict[str, str]] = {
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Permitted-Cross-Domain-Policies": "none",
        "Permissions-Policy": (
            "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), "
            "fullscreen=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), "
            "midi=(), payment=(), picture-in-picture=(), screen-wake-lock=(), serial=(), "
            "usb=(), xr-spatial-tracking=()"
        ),
        # Pages have their own, wider one.
        "Content-Security-Policy": (
            "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        ),
        # Static files say for how long they are good.
        "Cache-Control": "no-store",
    }

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in self.ALWAYS.items():
            response.setdefault(name, value)
        match = request.resolver_match
        if request.method == "POST" and match and match.url_name == "account_logout":
            response.setdefault("Clear-Site-Data", '"cache", "storage"')
        return response


class Compressed(GZipMiddleware):
    """Compress pages; a file, or what is written while it travels, goes as it is.

    Django pads what it compresses by a random length, so that a length tells nothing of a page's
    secrets (BREACH), and masks the form token anew in each page.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        return response if response.streaming else super().process_response(request, response)


class OnlyFormVerbs:
    """Answer 405 to what no browser form sends: the sign-in library would read PUT as POST."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in VERBS:
            return HttpResponseNotAllowed(VERBS)
        return self.get_response(request)


class Language:
    """Speak the language that a person chose; programs are always answered in the same one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        language = settings.LANGUAGE_CODE if request.path.startswith("/api/") else ""
        if not language and isinstance(request.user, User):
            language = request.user.language
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
        return self.get_response(request)


class SessionLimits:
    """End sessions that nobody used for long, or that are old; note when one was last used.

    What a page asks for by itself is no use: a forgotten tab does not keep its session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if isinstance(user, User) and user.is_authenticated:
            self._look(request, user, time.time())
        return self.get_response(request)

    def _look(self, request: HttpRequest, user: User, now: float) -> None:
        began, used = (request.session.get(key) for key in (BEGAN, USED))
        if began is None or used is None:
            begin(request)
            UserSession.objects.create_from_request(request)
            return
        idle, longest = (
            (settings.STAFF_IDLE, settings.STAFF_LONGEST)
            if user.staff_role
            else (settings.SESSION_IDLE, settings.SESSION_LONGEST)
        )
        if now - used > idle.total_seconds() or now - began > longest.total_seconds():
            request.META["SESSION_OVER"] = "yes"
            logout(request)
        elif now - used > NOTED_EVERY_S and not request.headers.get("HX-Request"):
            request.session[USED] = now
            UserSession.objects.create_from_request(request)


def begin(request: HttpRequest) -> None:
    """Count the session's time from now on."""
    request.session[BEGAN] = request.session[USED] = time.time()


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
