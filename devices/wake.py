"""Wake a worker. What is to be done lives in the tables; a wake-up only says "look now"."""

from django.conf import settings
from django.core.signing import BadSignature
from django.db import transaction
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from django_q.tasks import async_task

INSTALLS = "devices.tasks.installs_loop"
CHORES = "devices.tasks.chores_loop"
NOTICES = "devices.tasks.send_notices"
# So many wake-ups are looked at to find one of the same kind; more are there only when something
# else has filled the queue, and then one more does no harm.
LOOKED_AT = 20


def wake_installs() -> None:
    """Ask for the install loop: in a transaction the wake-up is committed with the intent."""
    _wake(INSTALLS)


def wake_chores() -> None:
    """Ask for the loop that reads accounts and checks hubs for firmware."""
    _wake(CHORES)


def wake_notices() -> None:
    """Ask for what waits in the outbox to be sent."""
    _wake(NOTICES)


def _wake(function: str) -> None:
    # One that waits already says the same, so that a worker which was away catches up once. It
    # must still be there when the intent is committed: its row is locked until then (SQLite's
    # transactions write one after the other anyway), and a worker takes it only afterwards.
    with transaction.atomic():
        waiting = OrmQ.objects.filter(key=settings.Q_CLUSTER["name"], lock__lt=timezone.now())
        for row in waiting.order_by("pk")[:LOOKED_AT]:
            if _function_of(row) == function:
                same = waiting.filter(pk=row.pk, lock=row.lock)
                if same.select_for_update(skip_locked=True).exists():
                    return
        async_task(function)


def _function_of(row: OrmQ) -> str:
    try:
        return str(SignedPackage.loads(row.payload)["func"])
    except (BadSignature, KeyError, TypeError):
        return ""  # of another secret key: the worker drops it
