"""Work goes by the database's clock when several machines may share the database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from devices.audit.log import record
from devices.models import Actor, AuditAction, AuditEvent, database_clock
from devices.taskqueue import health
from devices.taskqueue.leases import Lease

pytestmark = [pytest.mark.django_db]
is_sqlite = connection.vendor == "sqlite"


@pytest.fixture(autouse=True)
def measured_anew(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.DATABASE_CLOCK = not is_sqlite
    monkeypatch.setattr(database_clock, "_last", None)
    yield
    database_clock._last = None


def true_now() -> datetime:
    """Return the time by PostgreSQL, or by this machine, before its clock was moved."""
    if is_sqlite:
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found.astimezone(UTC)


@pytest.mark.parametrize("minutes", [-300, -5, 5, 300])
def test_a_machine_whose_clock_is_off_goes_by_the_databases(minutes: int) -> None:
    off = timedelta(minutes=minutes)
    right = true_now()
    with time_machine.travel(right + off):
        assert abs(database_clock.now() - true_now()) < timedelta(seconds=3)
        assert abs(database_clock.last_known() - true_now()) < timedelta(seconds=3)
        part = health.clock()
        if not is_sqlite:
            assert part.figures["is_off"] == 1
            assert part.figures["ahead_s"] == pytest.approx(off.total_seconds(), abs=3)


def test_a_lease_is_not_taken_from_a_holder_by_a_clock_that_is_ahead() -> None:
    right = true_now()
    ttl = timedelta(seconds=45)
    assert Lease("installs", ttl, "one").acquire()
    with time_machine.travel(right + timedelta(minutes=5)):
        taken = Lease("installs", ttl, "two").acquire()
    assert taken is is_sqlite, "one machine's clock that jumps ends a lease; another's does not"


def test_moments_in_the_trail_are_the_databases() -> None:
    right = true_now()
    with time_machine.travel(right + timedelta(minutes=5)):
        record(Actor.worker(), AuditAction.HUB_FOUND, "A hub was found.")
    event = AuditEvent.objects.get()
    assert (event.at - right < timedelta(minutes=1)) is not is_sqlite


def test_a_clock_that_is_right_is_not_touched() -> None:
    before = timezone.now()
    assert before <= database_clock.now() <= timezone.now()
    assert health.clock().figures["is_off"] == 0
