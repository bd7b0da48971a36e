"""Two machines with one PostgreSQL: each carries its share, and one takes over from the other.

A machine is a start of its own, in a data folder and under a host name of its own. What a process
sees of another machine is its name and the database.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import psutil
import psycopg
import pytest
import requests
from cryptography.fernet import Fernet

from tests.conftest import leave_out
from tests.support import prepared
from tests.support.simcloud_process import SimCloud
from tests.support.started import Started, eventually, under_host_name

ROOT = Path(__file__).resolve().parents[2]
PACE, ACCOUNTS, HUBS = 6, 4, 3
OWNER, PASSWORD, CLOUD_PASSWORD = "owner@example.com", "mosquito-free-evening", "quiet-evening"
READY = token_urlsafe(20)
CONFIRM_ALL = """
from devices.installs import requests
from devices.installs.confirmation import snapshot_offer
from devices.models import Actor, Node, User
owner = User.objects.get()
for node in Node.objects.select_related("account__household"):
    if node.offer is not None and node.is_online:
        requests.request(
            user=owner,
            node=node,
            binding=snapshot_offer(node, node.offer),
            actor=Actor.person(owner, role="owner", via="cli"),
        )
"""

pytestmark = [pytest.mark.processes, pytest.mark.postgres]


class Machine(Started):
    """A start under a host name of its own."""

    def __init__(self, folder: Path, name: str, shared: dict[str, str]) -> None:
        super().__init__(folder / name, demo=False)
        self.data_dir.mkdir()
        self.environment |= shared | {"DATA_DIR": str(self.data_dir), "PORT": str(self.port)}
        self.under = under_host_name(name)

    def set_clock(self, ahead_s: int) -> None:
        """Let every process of this machine that starts from now on see another time."""
        moved = self.data_dir / "clock"
        moved.write_text(str(ahead_s))
        path = os.pathsep.join([str(ROOT / "tests" / "chaos" / "clock"), str(ROOT)])
        self.environment |= {"PYTHONPATH": path, "CHAOS_CLOCK": str(moved)}

    def send_all(self, number: int) -> None:
        """Signal everything that runs on this machine at once."""
        for process in [psutil.Process(self.process.pid), *self.processes()]:
            with suppress(psutil.Error):
                process.send_signal(number)

    def vanish(self) -> None:
        self.send_all(signal.SIGKILL)
        self.process.wait(10)


class Home:
    """A household with a few accounts, and the two machines."""

    def __init__(
        self, folder: Path, url: str, cloud: SimCloud, stack: ExitStack, off_s: int
    ) -> None:
        self.cloud = cloud
        shared = {"DATABASE_URL": url, "DEFAULT_CLOUD_URL": cloud.url, "ALLOWED_CLOUDS": "loopback"}
        shared |= {
            "ENGINE_PACE": str(PACE),
            "SECRET_KEY": token_urlsafe(50),
            "LOG_LEVEL": "WARNING",
            "READY_TOKEN": READY,
        }
        shared |= {
            "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "AUDIT_KEY": token_urlsafe(50),
        }
        self.machines = [Machine(folder, name, shared) for name in ("one", "two")]
        if off_s:
            self.machines[1].set_clock(off_s)
        prepared.lay(self.machines[0].environment)
        self.manage("household", "create", "Garden", "--owner", OWNER, typed=f"{PASSWORD}\n")
        self.tables = stack.enter_context(psycopg.connect(url, autocommit=True))
        for machine in self.machines:
            stack.enter_context(machine)
            stack.callback(machine.clean)
        for email in emails():
            link = ("cloud_account", "link", "--email", email)
            self.manage(*link, typed=f"{CLOUD_PASSWORD}\n")
        eventually(lambda: self.count("devices_offer") >= ACCOUNTS * HUBS, 60, self.says)

    def manage(self, *words: str, typed: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.machines[0].environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def rows(self, sql: str) -> list[Any]:
        return [row[0] for row in self.tables.execute(sql.encode()).fetchall()]

    def whole(self, table: str) -> str:
        return "\n".join(self.rows(f"SELECT to_json(one)::text FROM {table} one"))

    def count(self, table: str, where: str = "true") -> int:
        return int(self.rows(f"SELECT count(*) FROM {table} WHERE {where}")[0])

    def at_work(self) -> set[str]:
        """Return the machines that work for an account in the installs loop now."""
        held = "SELECT holder FROM devices_claim WHERE loop = 'installs' AND held_until > now()"
        return {holder.partition(":")[0] for holder in self.rows(held)}

    def leader(self) -> Machine | None:
        """Return the machine that leads the installs loop."""
        sql = "SELECT holder FROM devices_beat WHERE name = 'installs' AND held_until > now()"
        for holder in self.rows(sql):
            number = int(holder.split(":")[1])
            for machine in self.machines:
                if number in {process.pid for process in machine.processes()}:
                    return machine
        return None

    def by_lead(self) -> tuple[Machine, Machine]:
        """Return the machine that leads and the other one, once one leads."""
        eventually(self.leader, 30, self.says)
        one, two = self.machines
        return (one, two) if self.leader() is one else (two, one)

    def here(self, machine: Machine) -> int:
        """Return how many machines this one counts, once it is ready with a worker of its own."""

        def part() -> dict[str, Any]:
            bearer = {"Authorization": f"Bearer {READY}"}
            answer = requests.get(f"{machine.url}/readyz", headers=bearer, timeout=10)
            return dict(answer.json()["parts"]["here"]) if answer.status_code == 200 else {}

        eventually(lambda: part().get("worker_age_s") is not None, 30, self.says)
        return int(part()["machines"])

    def goes_on_within_half_a_minute(self, left: Machine) -> None:
        """Wait until this machine leads what still runs and asks about it; then, however busy the
        processors are, about all of it.
        """
        now = self.rows("SELECT now()")[0].isoformat()
        eventually(
            lambda: self.leader() is left and self.count("devices_otajob", f"asked_at > '{now}'"),
            30,
            self.says,
        )
        late = f"ended_at IS NULL AND (asked_at IS NULL OR asked_at < '{now}')"
        eventually(lambda: self.count("devices_otajob", late) == 0, 30, self.says)

    def confirm_all(self) -> None:
        """Return when both machines are at work and all is sent; until then no hub comes far.

        What a machine had claimed and not sent when it ended is never sent by another.
        """
        self.manage("shell", "-c", CONFIRM_ALL)
        eventually(lambda: len(self.at_work()) == 2, 60, self.says)
        eventually(lambda: self.count("devices_otajob", "pushed_at IS NULL") == 0, 60, self.says)
        self.cloud.set_speed(PACE)

    def unfinished(self) -> int:
        return self.count("devices_otajob", "ended_at IS NULL")

    def says(self) -> str:
        tables = ("devices_otajob", "devices_claim", "devices_beat")
        found = "\n".join(f"{table}: {self.whole(table)}" for table in tables)
        return f"{found}\n" + "".join(one.text[-3000:] for one in self.machines)


def emails() -> list[str]:
    return [f"garden{number}@example.com" for number in range(ACCOUNTS)]


@pytest.fixture
def home(postgres_url: str, tmp_path: Path, request: Any) -> Iterator[Home]:
    """Yield a home; as a parameter, by how many seconds the second machine's clock is ahead."""
    if shutil.which("unshare") is None:
        leave_out("Without unshare (Linux) processes cannot have another host name.")
    users = [f"{email}:{CLOUD_PASSWORD}:{HUBS}" for email in emails()]
    with SimCloud(hubs=ACCOUNTS * HUBS, offers=1, users=users) as cloud, ExitStack() as stack:
        for node_id in cloud.node_ids():
            cloud.set_online(node_id, True)
        yield Home(tmp_path, postgres_url, cloud, stack, getattr(request, "param", 0))


def assert_sent_once_and_verified(home: Home) -> None:
    states = home.rows("SELECT state FROM devices_otajob")
    assert states == ["verified"] * ACCOUNTS * HUBS, home.says()
    for node_id in home.cloud.node_ids():
        assert home.cloud.pushes(node_id) == {"accepted": 1}, node_id
    assert "intact" in home.manage("verify_audit")


def test_two_machines_share_the_installs_and_one_that_vanishes_is_replaced(home: Home) -> None:
    assert [home.here(machine) for machine in home.machines] == [2, 2]
    home.confirm_all()
    leader, other = home.by_lead()
    assert home.unfinished() > 0, "both were at work while installs ran"
    leader.vanish()
    home.goes_on_within_half_a_minute(other)
    eventually(lambda: home.unfinished() == 0, 120, home.says)
    assert other.process.poll() is None
    assert_sent_once_and_verified(home)


def test_a_frozen_machine_delays_no_other_and_sends_nothing_twice(home: Home) -> None:
    home.confirm_all()
    leader, other = home.by_lead()
    leader.send_all(signal.SIGSTOP)
    try:
        home.goes_on_within_half_a_minute(other)
        eventually(lambda: home.unfinished() == 0, 120, home.says)
    finally:
        leader.send_all(signal.SIGCONT)
    assert_sent_once_and_verified(home)


@pytest.mark.parametrize("home", [300, -300], indirect=True)
def test_a_machine_whose_clock_is_minutes_off_works_by_the_databases(home: Home) -> None:
    home.confirm_all()
    eventually(lambda: home.unfinished() == 0, 120, home.says)
    assert_sent_once_and_verified(home)
    actions = home.rows("SELECT DISTINCT action FROM devices_auditevent")
    assert not {"clock.set_back", "install.expired"} & set(actions)
    late = "at > now() + interval '10 seconds' OR at < now() - interval '4 minutes'"
    assert home.count("devices_auditevent", late) == 0, "no moment in the trail is untrue"
