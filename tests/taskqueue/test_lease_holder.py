"""A lease has one holder at a time, is always released, and is free when its holder is dead."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from devices import tasks
from devices.homeassistant.bridge import Bridge
from devices.models import Beat
from devices.models.lease import BRIDGE, NOTICES, TRAIL, WATCHDOG
from devices.notifications import delivery
from devices.taskqueue import lease_holder
from devices.taskqueue.leases import Lease, held
from devices.worker import cloud_tasks
from devices.worker.runner import Runner
from tests.support.services import ROOT

pytestmark = pytest.mark.django_db
LEASE = timedelta(seconds=10)
SAY_WHO_AND_DIE = (
    "import os, signal, django; django.setup(); "
    "from devices.taskqueue.lease_holder import new_holder_id; "
    "print(new_holder_id(), flush=True); "
    "os.kill(os.getpid(), signal.SIGKILL)"
)


def name_of_a_killed_process() -> str:
    """Return what a process that was killed a moment ago called itself."""
    killed = subprocess.run(
        [sys.executable, "-c", SAY_WHO_AND_DIE],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
    )
    assert killed.returncode == -9
    return killed.stdout.strip()


def is_held_by(name: str, holder: str) -> None:
    """Let the lease be in the hands of that holder for a while."""
    Beat.objects.create(name=name, holder=holder, held_until=timezone.now() + LEASE)


def run_loop() -> None:
    Runner("installs", cloud_tasks.find_installs, lambda now: True).run()


def run_bridge() -> None:
    bridge = Bridge()
    bridge.turn()
    bridge.close()


WORK: dict[str, Callable[[], object]] = {
    "installs": run_loop,
    TRAIL: tasks.trail_upkeep,
    NOTICES: lambda: delivery.send_due(timezone.now()),
    BRIDGE: run_bridge,
}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of everything that takes a lease."""
    names: list[str] = []
    acquire = Lease.acquire

    def noted(self: Lease, now: datetime | None = None) -> bool:
        is_taken = acquire(self, now)
        if is_taken:
            names.append(self.holder)
        return is_taken

    monkeypatch.setattr(Lease, "acquire", noted)
    return names


@pytest.mark.parametrize("name", WORK)
def test_the_lease_of_a_killed_process_is_free_at_once(name: str, taken: list[str]) -> None:
    is_held_by(name, name_of_a_killed_process())
    WORK[name]()
    [mine] = taken
    assert not lease_holder.is_dead(mine), "and this process can be recognised in its turn"
    assert mine.split(":")[:2] == lease_holder.new_holder_id().split(":")[:2]
    assert Beat.objects.get(name=name).holder == "", "given back"


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("other", ["machine:1:abc", "alive"])
def test_a_lease_whose_holder_may_be_alive_is_not_taken(
    name: str, other: str, taken: list[str]
) -> None:
    other = lease_holder.new_holder_id() if other == "alive" else other
    is_held_by(name, other)
    WORK[name]()
    assert taken == []
    assert Beat.objects.get(name=name).holder == other


def test_the_next_holder_knows_which_calls_of_a_killed_process_were_in_flight() -> None:
    killed = Lease("installs", LEASE, name_of_a_killed_process())
    assert killed.acquire()
    assert killed.set_in_flight(["job:1"])
    with held("installs", LEASE) as lease:
        assert lease is not None
        assert lease.pop_in_flight() == ["job:1"]
        assert not killed.renew()
        assert lease.renew()


def test_a_lease_is_released_when_the_work_fails() -> None:
    with pytest.raises(ZeroDivisionError), held("trail", LEASE):
        raise ZeroDivisionError
    with held("trail", LEASE) as lease:
        assert lease is not None
        with held("trail", LEASE) as second:
            assert second is None
        assert lease.renew(), "the one who did not get it gave nothing back"


def test_a_database_that_is_away_at_the_end_hides_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(self: Lease) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(Lease, "_mine", away)
    with pytest.raises(ZeroDivisionError), held("trail", LEASE):
        raise ZeroDivisionError


def test_the_upkeep_of_the_trail_lets_another_machine_go_on_within_half_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[timedelta] = []

    def work(now: datetime, *, may_go_on: Callable[[], bool]) -> None:
        Beat.objects.filter(name=TRAIL).update(held_until=timezone.now())  # it took a while
        assert may_go_on()
        held_until = Beat.objects.get(name=TRAIL).held_until
        assert held_until is not None
        left.append(held_until - timezone.now())

    monkeypatch.setattr(tasks, "run_due", work)
    tasks.trail_upkeep()
    assert [timedelta(seconds=10) < one <= timedelta(seconds=30) for one in left] == [True]


def test_two_starts_on_one_machine_are_two_and_see_each_others_processes(
    settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path / "one"
    first, here = lease_holder.new_holder_id(), lease_holder.place()
    assert not lease_holder.is_elsewhere(first)
    settings.DATA_DIR = tmp_path / "two"
    assert lease_holder.place() != here == lease_holder.place_of(first)
    assert lease_holder.is_elsewhere(first), "the other start leads, so this one may help"
    assert not lease_holder.is_dead(first), "but its process is on this machine"
    # an earlier version named the machine only
    assert not lease_holder.is_elsewhere(first.rpartition(":")[0])


def test_each_start_with_its_own_folder_counts_as_a_machine(settings: Any, tmp_path: Path) -> None:
    now = timezone.now()
    for name in ("one", "two"):
        settings.DATA_DIR = tmp_path / name
        Beat.leave(f"{WATCHDOG}@{lease_holder.place()}", now, "shed")
    assert Beat.machines(now) == 2
