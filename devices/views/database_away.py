"""What is answered while the database cannot be used: a page of its own, at once.

Any layer of a request may be the first to notice, so the answer is made where Django sends every
unexpected error. Once it was noticed that the database does not answer, no other request waits for
that: each few seconds one asks again, and the others are answered without it.
"""

import logging
import sys
from collections.abc import Callable
from select import select
from threading import Lock
from time import monotonic
from typing import Any

from django.contrib.sessions.models import Session
from django.core.exceptions import DisallowedHost
from django.db import Error, OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext
from django.views import defaults

from devices.models.cache_entry import CacheEntry
from devices.models.database_trouble import Trouble, trouble_of
from devices.views.form_drafts import referring_page

log = logging.getLogger(__name__)
ASK_AGAIN_S = 3.0
# A connection from an earlier request must answer within this; a new one has a limit of its own.
ANSWERS_WITHIN_S = 3.0
TRY_AGAIN_AFTER_S = 10
READ_ONLY_VERBS = ("GET", "HEAD", "OPTIONS")
ALWAYS_ASK = ("/readyz", "/metrics")
# Nothing that a person would miss.
_BESIDES = (Session._meta.db_table, CacheEntry._meta.db_table)


class _Away:
    """Whether the database answered when it was asked last. One for all threads."""

    def __init__(self) -> None:
        self.asks = Lock()
        self.until = 0.0

    def note(self, reason: str) -> None:
        """Note that it did not answer."""
        if not self.until:
            log.error("the database does not answer (%s): pages say so", reason)
        self.until = monotonic() + ASK_AGAIN_S

    def is_over(self) -> None:
        """Note that it answers again."""
        log.warning("the database answers again")
        self.until = 0.0


_away = _Away()


class Writes:
    """What a request has written so far; wraps its statements."""

    def __init__(self) -> None:
        self.is_begun = self.is_kept = False

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        result = execute(sql, params, many, context)
        is_write = sql.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE"}
        if is_write and not any(f'"{table}"' in sql for table in _BESIDES):
            self.is_begun = True
            if connection.in_atomic_block:
                transaction.on_commit(self._keep)
            else:
                self._keep()
        return result

    def _keep(self) -> None:
        self.is_kept = True

    def are_undone(self, trouble: Trouble) -> bool:
        """Is it known that nothing of it was kept? A commit whose answer was lost may have come."""
        return not (self.is_kept or (self.is_begun and trouble is Trouble.AWAY))


class DatabaseAway:
    """Answer at once while the database is known not to answer; note what a form writes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not _away.until or request.path in ALWAYS_ASK:
            return self._answer(request)
        if monotonic() < _away.until or not _away.asks.acquire(blocking=False):
            return unavailable(request, Trouble.AWAY)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            _away.is_over()
        finally:
            _away.asks.release()
        return self._answer(request)

    def _answer(self, request: HttpRequest) -> HttpResponse:
        _require_answer()
        if request.method in READ_ONLY_VERBS:
            return self.get_response(request)
        request.META["WRITES"] = writes = Writes()
        with connection.execute_wrapper(writes):
            return self.get_response(request)


def _require_answer() -> None:
    """Raise OperationalError when a kept connection to PostgreSQL does not answer in time: one that
    is silent without having ended would hold the request up for ever.
    """
    kept = connection.connection
    if connection.vendor != "postgresql" or kept is None or connection.in_atomic_block:
        return
    until = monotonic() + ANSWERS_WITHIN_S
    try:
        with connection.wrap_database_errors:
            kept.pgconn.send_query(b"SELECT 1")
            while select([kept.pgconn.socket], [], [], max(0.0, until - monotonic()))[0]:
                kept.pgconn.consume_input()
                while not kept.pgconn.is_busy():
                    if kept.pgconn.get_result() is None:
                        return
    except (Error, OSError, ValueError):
        return  # it has ended: the next query opens another
    connection.close()
    raise OperationalError(f"no answer within {ANSWERS_WITHIN_S:.0f} seconds")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an error that nothing expected; one of the database says so, with 503."""
    error = sys.exception()
    trouble = trouble_of(error)
    if trouble is None:
        if request.path.startswith("/api/"):
            sentence = "Something went wrong on our side. The error was logged."
            return _json(500, "server_error", sentence)
        return defaults.server_error(request)
    reason = " ".join(str(error).split())
    if trouble is Trouble.AWAY:
        _away.note(reason)
    else:
        log.error("the database cannot be used (%s): %s", trouble, reason)
    return unavailable(request, trouble)


def unavailable(request: HttpRequest, trouble: Trouble) -> HttpResponse:
    """Return what a request gets while the database cannot be used: a page, a sentence for an open
    page that asks for news, or JSON for programs.
    """
    writes = request.META.get("WRITES", Writes())
    if request.path == "/readyz":
        answer: HttpResponse = JsonResponse({"ready": False}, status=503)
    elif request.path.startswith("/api/"):
        with translation.override("en"):
            said = (_headline(trouble), _what(trouble), _form(writes, trouble), _hubs())
        answer = _json(503, "unavailable", " ".join(said))
    else:
        with translation.override(_language(request)):
            answer = _page(request, trouble, writes)
    answer["Retry-After"] = str(TRY_AGAIN_AFTER_S)
    # Django would log it with its trace, for each request
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


def _page(request: HttpRequest, trouble: Trouble, writes: Writes) -> HttpResponse:
    is_form = request.method not in READ_ONLY_VERBS
    form = _form(writes, trouble) if is_form else ""
    if request.headers.get("HX-Request"):
        old = gettext("This page may be out of date. Trying again…")
        text = " ".join(filter(None, (_headline(trouble), form, old)))
        return HttpResponse(text, status=503, content_type="text/plain; charset=utf-8")
    values = {
        "headline": _headline(trouble),
        "what": _what(trouble),
        "form": form,
        "hubs": _hubs(),
        "address": _address(request) if is_form else request.get_full_path(),
        "after_s": TRY_AGAIN_AFTER_S,
        "language": translation.get_language(),
    }
    # without the values that every page has: they are in the database
    return HttpResponse(render_to_string("unavailable.html", values), status=503)


def _address(request: HttpRequest) -> str:
    """Return the page that a form was sent from, else that of the hubs."""
    try:
        return referring_page(request) or reverse("hubs")
    except DisallowedHost:
        return reverse("hubs")


def _headline(trouble: Trouble) -> str:
    if trouble in {Trouble.AWAY, Trouble.BUSY}:
        return gettext("The server cannot reach its data right now.")
    return gettext("The server cannot store anything right now.")


def _what(trouble: Trouble) -> str:
    return {
        Trouble.AWAY: gettext("Its database does not answer."),
        Trouble.BUSY: gettext("Its database is busy with something else."),
        Trouble.READ_ONLY: gettext("Its database can only be read."),
        Trouble.FULL: gettext("The disk of its database is full."),
    }[trouble]


def _hubs() -> str:
    return gettext(
        "Your hubs go on by themselves. Nothing is lost: installs that were confirmed go on "
        "when this is over, and none is sent twice."
    )


def _form(writes: Writes, trouble: Trouble) -> str:
    if writes.are_undone(trouble):
        return gettext("Nothing was changed or sent.")
    return gettext(
        "It is not known whether what you pressed was stored. Look at the page when it is back, "
        "before you press again."
    )


def _language(request: HttpRequest) -> str:
    """Return the language that was chosen for the request, or that its browser asks for."""
    chosen = getattr(request, "LANGUAGE_CODE", None)
    return str(chosen or translation.get_language_from_request(request))


def _json(status: int, code: str, sentence: str) -> HttpResponse:
    return JsonResponse(
        {"error": {"code": code, "sentence": sentence, "reasons": []}}, status=status
    )
