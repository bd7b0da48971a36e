"""What every request passes: headers, refusals in our own words, a language, a session's limits."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import ClassVar

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext

from devices.households.access_end import end_oldest_sessions
from devices.models import User
from devices.models.database_trouble import may_be_left_out
from devices.security import sign_in_pace
from devices.security.log_context import set_log_ids
from devices.security.log_formatter import shown_path
from devices.security.password_hashing import TooBusy
from devices.security.request_origin import origin

BEGAN, USED = "began", "used"
NOTED_EVERY_S = 300
VERBS = ("GET", "HEAD", "POST", "OPTIONS")
ALIVE_PATH = "/healthz"
# What monitors ask all the time.
QUIET_PATHS = (ALIVE_PATH, "/readyz", "/metrics")
_REQUEST_ID = re.compile(r"[\w-]{8,64}", re.ASCII)
access_log = logging.getLogger("access")
# An open page takes only answers that carry it: see static/app.js.
MARKER = "HX-Thermacell"
TRY_AGAIN_AFTER_S = 5


class RequestContext:
    """Give every request an id, also answered as X-Request-ID and in every log line; log access.

    A proxy of ours may have given it one already.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        given = request.headers.get("X-Request-ID", "") if settings.BEHIND_PROXY else ""
        number = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.META["REQUEST_ID"] = number
        set_log_ids(request=number)  # until the next one: Django logs refusals after this
        response = self.get_response(request)
        response["X-Request-ID"] = number
        _log_access(request, response, (time.monotonic() - began) * 1000)
        return response


def _log_access(request: HttpRequest, response: HttpResponse, took_ms: float) -> None:
    """Log a request without its query, which may hold what a person looks for."""
    level = logging.DEBUG if request.path in QUIET_PATHS else logging.INFO
    if not access_log.isEnabledFor(level):
        return
    facts = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "ms": round(took_ms, 1),
        "address": origin(request)["address"],
        "person": request.META.get("PERSON", "-"),
    }
    text = " ".join(str(value) for value in facts.values())
    access_log.log(level, "%s", text, extra={"values": facts | {"path": shown_path(request.path)}})


class SecureHeaders:
    """Put on every answer, static files and errors included, what Django's own two do not.

    They and this one come first, so that nothing that answers early is left out. A header that an
    answer has already stays as it is.
    """

    ALWAYS: ClassVar[dict[str, str]] = {
        MARKER: "1",
        "Cross-Origin-Resource-Policy": "same-origin",
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
        if request.path.endswith("/home-assistant.svg"):
            # pages of Home Assistant, which have another origin, show this picture
            response["Cross-Origin-Resource-Policy"] = "cross-origin"
        for name, value in self.ALWAYS.items():
            response.setdefault(name, value)
        match = request.resolver_match
        if request.method == "POST" and match and match.url_name == "account_logout":
            response.setdefault("Clear-Site-Data", '"cache", "storage"')
        return response


class Compressed(GZipMiddleware):
    """Compress pages; a file, or what is written while it travels, goes as it is.

    Django pads what it compresses by a random length, so that a length tells nothing of a page's
    secrets (BREACH), and masks the form token afresh in each page.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        return response if response.streaming else super().process_response(request, response)


class Alive:
    """Answer /healthz before anything is looked up: no session, no host, no database."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == ALIVE_PATH and request.method in {"GET", "HEAD"}:
            return HttpResponse("ok", content_type="text/plain")
        return self.get_response(request)


class KnownProxy:
    """Name the missing setting where https ends at a proxy that this server does not trust.

    A redirect to https would come back as http, for ever.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_unknown = settings.IS_HTTPS and not settings.BEHIND_PROXY
        if not is_unknown or request.is_secure() or request.path in {"/readyz", "/metrics"}:
            return self.get_response(request)
        sentence = gettext(
            "PUBLIC_URL begins with https, and this server does not trust the proxy that adds it. "
            "The administrator sets BEHIND_PROXY=true and restarts the server."
        )
        return refusal(request, 400, gettext("The proxy is not set up yet."), sentence)


class Refusals:
    """Say in our own words what Django and the libraries refuse without any. The API answers for
    itself, as JSON.

    Verbs that no browser form sends get 405 here: the sign-in library would read PUT as POST.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/"):
            return self.get_response(request)
        response = self.get_response(request) if request.method in VERBS else None
        if response is not None and (response.status_code != 405 or response.content):
            return response
        own = refusal(
            request,
            405,
            gettext("This address only takes a form."),
            gettext(
                "It cannot be opened or reloaded as a page. Go back to the page with the button "
                "and press it there. Nothing was changed or sent."
            ),
        )
        own["Allow"] = response["Allow"] if response is not None else ", ".join(VERBS)
        return own

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, TooBusy):
            return None
        return refusal(
            request,
            503,
            gettext("Many people are signing in right now."),
            gettext("Wait a few seconds and try again. The password was not checked."),
            {"Retry-After": str(TRY_AGAIN_AFTER_S)},
        )


def refusal(
    request: HttpRequest,
    status: int,
    headline: str,
    sentence: str,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """Return a page, or JSON for the API, that says what was refused and what to do."""
    response: HttpResponse
    if request.path.startswith("/api/"):
        code = "too_large" if status == 413 else "bad_request"
        error = {"code": code, "sentence": sentence, "reasons": []}
        response = JsonResponse({"error": error}, status=status)
    else:
        values = {"headline": headline, "sentence": sentence}
        response = render(request, "refused.html", values, status=status)
    for name, value in (headers or {}).items():
        response[name] = value
    return response


class Language:
    """Speak the language that a person chose; programs are always answered in the same one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        language = settings.LANGUAGE_CODE if request.path.startswith("/api/") else ""
        if isinstance(request.user, User):
            request.META["PERSON"] = request.user.pk
            language = language or request.user.language
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
        return self.get_response(request)


class SessionLimits:
    """End sessions that are idle for long, or old; record when one was last used.

    What a page polls for does not count as use: a forgotten tab does not keep its session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if isinstance(user, User) and user.is_authenticated:
            self._check(request, user, time.time())
        response = self.get_response(request)
        if "SESSION_BEGAN" in request.META and isinstance(request.user, User):
            sign_in_pace.remember_browser(request, response, request.user)
        return response

    def _check(self, request: HttpRequest, user: User, now: float) -> None:
        began, used = (request.session.get(key) for key in (BEGAN, USED))
        if began is None or used is None:
            begin(request)
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
            with may_be_left_out():
                UserSession.objects.create_from_request(request)
                request.session[USED] = now


def begin(request: HttpRequest) -> None:
    """Count the session's time from now on, and put it into its person's list."""
    request.session[BEGAN] = request.session[USED] = time.time()
    request.META["SESSION_BEGAN"] = "yes"
    UserSession.objects.create_from_request(request)
    if isinstance(request.user, User):
        end_oldest_sessions(request.user)
