"""Wake a worker. The work itself is in the tables; a wake-up only says "look now"."""

import io
import pickle
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature
from django.db import transaction
from django_q import core_signing
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from devices.models import database_clock

INSTALLS = "devices.tasks.installs_loop"
CHORES = "devices.tasks.chores_loop"
NOTICES = "devices.tasks.send_notices"
TRAIL = "devices.tasks.trail_upkeep"
# The only functions a worker ever runs, each without arguments. See allow_list.py.
ALLOWED = frozenset({INSTALLS, CHORES, NOTICES, TRAIL})
# How many queued wake-ups are searched for one of the same kind. More are queued only if something
# else has filled the queue; then one more does no harm.
SEARCHED = 20


class Refused(Exception):
    """A queued task is not one of ours; the text says what it is."""


def wake_installs() -> None:
    """Enqueue the install loop; inside a transaction it is committed with the intent."""
    wake(INSTALLS)


def wake_sync() -> None:
    """Enqueue the loop that reads accounts and checks hubs for firmware."""
    wake(CHORES)


def wake_notices() -> None:
    """Enqueue the delivery of waiting notifications."""
    wake(NOTICES)


def wake_trail() -> None:
    """Enqueue the upkeep of the audit trail."""
    wake(TRAIL)


def wake(function: str) -> None:
    """Enqueue one of the allowed functions, unless it is queued already."""
    # The queued one must still be there when the intent is committed: its row is locked until then
    # (SQLite's transactions write one after the other anyway), and a worker takes it afterwards.
    with transaction.atomic():
        waiting = OrmQ.objects.filter(key=settings.Q_CLUSTER["name"], lock__lt=database_clock.now())
        for row in waiting.order_by("pk")[:SEARCHED]:
            if _is_for(row.payload, function):
                same = waiting.filter(pk=row.pk, lock=row.lock)
                if same.select_for_update(skip_locked=True).exists():
                    return
        async_task(function)


def function_of(payload: str) -> str:
    """Return the allowed function that a queued payload names. Raises Refused.

    The payload is a signed pickle. Nothing is imported while it is read, even if its seal fits.
    """
    try:
        task = core_signing.loads(
            payload, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=_WithoutImports
        )
    except BadSignature as problem:
        raise Refused("a task that is not signed with this server's key") from problem
    except Exception as problem:  # damaged data can raise almost anything
        raise Refused("a task that cannot be read") from problem
    function = task.get("func") if isinstance(task, dict) else None
    if not isinstance(function, str) or function not in ALLOWED:
        raise Refused(str(function)[:100])
    if any(task.get(name) for name in ("args", "kwargs", "hook", "chain", "sync")):
        raise Refused(f"{function} with arguments")
    return function


def _is_for(payload: str, function: str) -> bool:
    try:
        return function_of(payload) == function
    except Refused:
        return False  # the worker drops it


class _WithoutImports:
    """Reads pickles as data: every class in them becomes an empty placeholder."""

    def loads(self, data: bytes) -> Any:
        return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _Placeholder


class _Placeholder:
    def __new__(cls, *_args: object, **_values: object) -> "_Placeholder":
        return super().__new__(cls)
