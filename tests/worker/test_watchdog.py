"""When the watchdog enqueues a quiet loop and when it restarts, by the test's own clock."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, transaction
from django.utils import timezone
from django_q.models import OrmQ

from devices.models import AuditEvent, Beat
from devices.taskqueue import lease_holder, leases
from devices.taskqueue.leases import Lease
from devices.taskqueue.wakeups import wake_installs, wake_sync
from devices.worker import watchdog
from devices.worker.watchdog import ASK_AFTER_S, LONGEST_PATIENCE_S, PATIENCE_S, Watchdog

pytestmark = pytest.mark.django_db
LEASE = timedelta(seconds=45)


class Cluster:
    """Stands for the processes: counts how often it was ended."""

    def __init__(self) -> None:
        self.pid: int | None = 100
        self.ended = 0

    def main_pid(self) -> int | None:
        return self.pid

    def end(self) -> None:
        self.ended += 1
        self.pid = (self.pid or 0) + 1


class Watch:
    """A watchdog whose time passes as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cluster = Cluster()
        self.dog = Watchdog(self.cluster, clock=lambda: self.now)
        self.dog.look()

    def quiet(self, seconds: float) -> None:
        """Let time pass in which no loop leaves a heartbeat."""
        for _ in range(int(seconds / 2)):
            self.now += 2
            self.dog.look()

    def beat(self) -> None:
        for name in ("installs", "chores"):
            Lease(name, LEASE, "x").acquire(timezone.now())
            Lease(name, LEASE, "x").renew(now=timezone.now())
            Lease(name, LEASE, "x").release()


@pytest.fixture
def watch() -> Watch:
    return Watch()


def queued() -> int:
    return int(OrmQ.objects.count())


def test_a_quiet_loop_is_enqueued_before_anything_is_restarted(watch: Watch) -> None:
    watch.quiet(ASK_AFTER_S - 2)
    assert queued() == 0
    watch.quiet(6)
    assert queued() == 2
    watch.beat()
    OrmQ.objects.all().delete()
    watch.quiet(ASK_AFTER_S - 4)
    assert queued() == 0
    assert watch.cluster.ended == 0


def test_a_loop_that_stays_quiet_is_restarted_once_and_recorded(watch: Watch) -> None:
    watch.quiet(ASK_AFTER_S + PATIENCE_S - 4)
    assert watch.cluster.ended == 0
    watch.quiet(8)
    assert watch.cluster.ended == 1
    event = AuditEvent.objects.get(action="worker.restarted")
    assert "had not answered for 7" in event.sentence
    assert (event.actor_role, event.via) == ("watchdog", "watchdog")
    assert Beat.every()["worker"].restarts == 1
    watch.quiet(20)
    assert watch.cluster.ended == 1, "the new one gets its time"
    assert AuditEvent.objects.count() == 1, "its own restart is not taken for a death"


def test_one_loop_that_stalls_is_enough(watch: Watch) -> None:
    for _ in range(8):
        watch.quiet(10)
        Lease("installs", LEASE, "x").acquire(timezone.now())
        Lease("installs", LEASE, "x").release()
    assert watch.cluster.ended == 1
    assert AuditEvent.objects.get().detail["loop"] == "chores"


def test_what_no_restart_cures_is_not_restarted_for_ever(watch: Watch) -> None:
    watch.quiet(3600)
    without_back_off = 3600 / (ASK_AFTER_S + PATIENCE_S)
    assert 5 <= watch.cluster.ended <= 10 < without_back_off
    assert watch.dog.patience_now_s <= LONGEST_PATIENCE_S
    watch.beat()
    for _ in range(200):
        watch.quiet(10)
        watch.beat()
    assert watch.dog.patience_now_s == PATIENCE_S, "calm again"


def test_a_clock_that_jumps_restarts_nothing(watch: Watch, monkeypatch: Any) -> None:
    for hours in (0, 48, -48, 0):
        at = timezone.now() + timedelta(hours=hours)
        monkeypatch.setattr(timezone, "now", lambda at=at: at)
        watch.quiet(10)
        watch.beat()
    assert watch.cluster.ended == 0


def test_a_lease_taken_by_a_clock_that_is_ahead_is_free_again_soon(watch: Watch) -> None:
    elsewhere = "machine:1:abc"
    Lease("installs", LEASE, elsewhere).acquire(timezone.now() + timedelta(seconds=30))
    Lease("chores", LEASE, elsewhere).acquire(timezone.now())
    watch.quiet(LEASE.total_seconds() - 5)
    assert not Lease("installs", LEASE, "me").acquire(timezone.now())
    watch.quiet(10)
    assert Lease("installs", LEASE, "me").acquire(timezone.now())


def test_the_lease_of_a_process_that_is_gone_is_free_at_once(watch: Watch) -> None:
    machine = lease_holder.new_holder_id().partition(":")[0]
    gone = f"{machine}:{2**22 + 1}:abc"
    Lease("installs", LEASE, gone).acquire(timezone.now())
    alive = lease_holder.new_holder_id()
    Lease("chores", LEASE, alive).acquire(timezone.now())
    watch.dog.look()
    beats = Beat.every()
    assert beats["installs"].holder == ""
    assert beats["chores"].holder == alive
    assert queued() == 1, "and somebody is asked to take it up"


def test_a_holder_on_another_machine_is_never_declared_gone() -> None:
    assert not lease_holder.is_dead(f"elsewhere:{2**22 + 1}:abc")
    assert not lease_holder.is_dead("nonsense")
    assert not lease_holder.is_dead("")


def test_a_worker_that_crashed_and_was_started_again_is_recorded(watch: Watch) -> None:
    watch.cluster.pid = None
    watch.quiet(4)
    assert not AuditEvent.objects.exists()
    watch.cluster.pid = 555
    watch.quiet(4)
    assert AuditEvent.objects.get().sentence == "The worker had stopped and was started again."
    assert Beat.every()["worker"].restarted_at is not None


def test_a_database_that_is_away_is_no_reason_to_restart(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise DatabaseError("gone")

    with monkeypatch.context() as during:
        during.setattr(Beat, "every", away)
        watch.quiet(600)
    watch.quiet(ASK_AFTER_S)
    assert watch.cluster.ended == 0


@pytest.mark.parametrize(
    ("words", "restarts"), [("database is locked", 1), ("database or disk is full", 0)]
)
def test_a_worker_that_locks_the_database_is_restarted_too(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, words: str, restarts: int
) -> None:
    def refused(*_: object) -> None:
        if not watch.cluster.ended:  # the one that froze in the middle of a transaction
            raise OperationalError(words)

    monkeypatch.setattr(leases, "free", refused)
    for write in ("leave", "note_restart"):
        monkeypatch.setattr(Beat, write, refused)
    for name in watchdog.ASKS:
        monkeypatch.setitem(watchdog.ASKS, name, refused)
    Lease("installs", LEASE, "somebody who froze").acquire(timezone.now())
    watch.quiet(ASK_AFTER_S + PATIENCE_S + 10)
    assert watch.cluster.ended == restarts
    assert AuditEvent.objects.filter(action="worker.restarted").count() == restarts


def test_wake_ups_do_not_pile_up_while_no_worker_takes_them() -> None:
    for _ in range(50):
        wake_installs()
        wake_sync()
    assert queued() == 2


def test_a_wake_up_that_was_taken_does_not_stand_for_a_new_intent() -> None:
    wake_installs()
    OrmQ.objects.update(lock=timezone.now() + timedelta(minutes=10))
    wake_installs()
    assert queued() == 2


def test_wake_ups_of_another_secret_key_are_not_counted_on(settings: Any) -> None:
    OrmQ.objects.create(
        key=settings.Q_CLUSTER["name"], payload="not:signed:by-us", lock=timezone.now()
    )
    wake_installs()
    assert queued() == 2


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_is_undone_with_the_intent_it_belongs_to() -> None:
    with transaction.atomic():
        wake_installs()
        assert queued() == 1
        transaction.set_rollback(True)
    assert queued() == 0


def test_a_machine_that_is_gone_for_a_day_is_forgotten_and_the_loops_are_not() -> None:
    now = timezone.now()
    for name, hours in (("installs", 99), ("installs@old", 25), ("watchdog@here", 1)):
        Beat.objects.create(name=name, beat_at=now - timedelta(hours=hours))
    Beat.forget_machines(now)
    assert set(Beat.objects.values_list("name", flat=True)) == {"installs", "watchdog@here"}
