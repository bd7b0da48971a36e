"""An open page asks every few seconds whether anything changed, and mostly nothing did.

A question that its view has just answered with "nothing" gets the same answer from one small query,
as long as its session is there and nothing that pages show has changed in the whole server. After
half a minute the view is asked again, for what depends on the clock and on rights.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_q.models import OrmQ

from devices.models import Batch, Beat, CloudAccount, Node
from devices.readiness import LOOP_SILENT_AFTER, QUEUE_BEHIND_AFTER

SAME_FOR_S = 30.0
# Questions are remembered for so many open pages; those asked longest ago are forgotten.
REMEMBERED = 10_000
_NODE, _ACCOUNT, _BATCH, _BEAT, _QUEUE, _SESSION = (
    model._meta.db_table for model in (Node, CloudAccount, Batch, Beat, OrmQ, Session)
)
# Every change of a hub, an install or a queue raises a revision; of an account these tell enough.
# Then what is said of the worker: is there a late heartbeat, a late wake-up, a restart?
_MARK = f"""
SELECT
  (SELECT COUNT(*) FROM {_NODE}), (SELECT SUM(revision) FROM {_NODE}),
  (SELECT MAX(id) FROM {_NODE}), (SELECT SUM(revision) FROM {_BATCH}),
  (SELECT COUNT(*) FROM {_ACCOUNT}), (SELECT SUM(failures) FROM {_ACCOUNT}),
  (SELECT MAX(answered_at) FROM {_ACCOUNT}), (SELECT MAX(next_sync_at) FROM {_ACCOUNT}),
  (SELECT COUNT(*) FROM {_BEAT} WHERE name = 'installs' AND beat_at >= %s),
  (SELECT MAX(restarted_at) FROM {_BEAT}),
  (SELECT COUNT(*) FROM {_QUEUE} WHERE lock <= %s)
FROM {_SESSION} WHERE session_key = %s AND expire_date > %s
"""  # noqa: S608 - names of tables of ours

Question = tuple[str, str]


class Unchanged:
    """Stands before the session is read, behind all that puts headers on an answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._known: OrderedDict[Question, tuple[Any, float]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        question = _question(request)
        if question is None:
            return self.get_response(request)
        # before the view looks: what changes meanwhile makes the next question differ
        mark = _mark(question[0])
        with self._lock:
            known, answered_at = self._known.get(question, (None, 0.0))
        if mark is not None and known == mark and monotonic() - answered_at < SAME_FOR_S:
            request.get_host()  # refuses a host that is not ours, as for every page
            return HttpResponse(status=204)
        answer = self.get_response(request)
        if answer.status_code == 204 and mark is not None:
            with self._lock:
                self._known[question] = (mark, monotonic())
                self._known.move_to_end(question)
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return answer


def _question(request: HttpRequest) -> Question | None:
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    if request.method != "GET" or not session or not request.path.endswith("/live/"):
        return None
    return session, request.get_full_path()


def _mark(session: str) -> tuple[Any, ...] | None:
    """Return what differs when anything does; None without such a session. One query."""
    now, adapt = timezone.now(), connection.ops.adapt_datetimefield_value
    silent, behind = now - LOOP_SILENT_AFTER, now - QUEUE_BEHIND_AFTER
    with connection.cursor() as cursor:
        cursor.execute(_MARK, [adapt(silent), adapt(behind), session, adapt(now)])
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row
