"""A backup made while everything runs, and a restore after which nothing is sent twice."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devices.server.orphans import Lock
from devices.taskqueue.allow_list import SCHEDULES
from tests.support import prepared
from tests.support.simcloud_process import SimCloud
from tests.support.terminal import CLOUD_EMAIL, CLOUD_PASSWORD, CONFIRM, OWNER, PACE, Terminal

pytestmark = pytest.mark.processes
LATER, RUNNING, CALLED_OFF, PUSHED, LIMIT_S = 0, 1, 2, 3, 200
# a queue whose only hub had its turn after the backup, as far as the backup can tell
QUEUE = f"""
from dataclasses import asdict
from django.utils import timezone
from datetime import timedelta
from devices.installs.confirmation import snapshot_offer
from devices.models import Batch, Household, Node, Plan, User
home, node = Household.objects.get(), Node.objects.filter(offers__ended_at=None).last()
batch = Batch.objects.create(household=home, state="stopped", requested_by=User.objects.get(
    email="{OWNER}"))
now = timezone.now()
Plan.objects.create(batch=batch, household=home, node=node, hub_name=str(node), when="now",
    not_before=now, expires_at=now + timedelta(hours=12), next_look_at=now, needs_idle=False,
    binding=asdict(snapshot_offer(node, node.offer)))
"""
TOLD = """
import json
from devices.models import OtaJob
print(json.dumps({job.cloud_node_id: [job.state, job.outcome, str(job.restored_at or "")]
                  for job in OtaJob.objects.all()}))
"""


class Kept(Terminal):
    """An installation whose database may be on a server, driven through its own shell."""

    def shell(self, code: str) -> str:
        return self.ok("shell", "-c", code)

    def jobs(self) -> dict[str, list[str]]:
        """Return {node id: [state, outcome, restored at]}."""
        return dict(json.loads(self.shell(TOLD).splitlines()[-1]))

    def actions(self) -> list[str]:
        code = (
            "from devices.models import AuditEvent\n"
            "print(','.join(AuditEvent.objects.order_by('sequence')"
            ".values_list('action', flat=True)))"
        )
        return self.shell(code).splitlines()[-1].split(",")

    def run_until(self, done: str) -> None:
        self.shell(f"{CONFIRM}\nrun_until(lambda: {done}, limit_s={LIMIT_S})")


def the_kind(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    url = the_kind(request)
    users = [f"{CLOUD_EMAIL}:{CLOUD_PASSWORD}"]
    with SimCloud(hubs=4, speed=PACE, offers=1, users=users) as cloud:
        for hub in range(4):
            cloud.set_online(hub, True)
        # a name with what addresses and shells trip over
        terminal = Kept(cloud, tmp_path / "data of 100% & more")
        terminal.environment["DATABASE_URL"] = url
        terminal.set_up()
        yield terminal


def test_what_a_backup_knew_as_live_goes_on_and_nothing_is_sent_twice(
    kept: Kept, tmp_path: Path
) -> None:
    cloud, ids = kept.cloud, kept.cloud.node_ids()
    file = tmp_path / "kept.tar.gz"
    cloud.set_scenario(ids[RUNNING], "slow", factor=8)
    kept.shell(f"{CONFIRM}\ninstall('{ids[RUNNING]}')")
    kept.run_until("OtaJob.objects.filter(state='running').exists()")
    # died between the push and the writing down of its answer
    kept.shell(
        f"{CONFIRM}\njob = install('{ids[PUSHED]}')\nclient = client_of(job)\n"
        "assert claim_for_push(job, check_before_push(client, job), timezone.now())\n"
        "send(client, job, time.monotonic() + 10)"
    )
    kept.shell(QUEUE)
    kept.shell(f"{CONFIRM}\ninstall('{ids[LATER]}')\ninstall('{ids[CALLED_OFF]}')")
    text = kept.ok("backup", str(file))
    assert "AND THE SERVER'S KEYS" in text
    assert file.stat().st_mode & 0o777 == 0o600

    kept.shell(
        f"{CONFIRM}\nfrom devices.installs.requests import cancel\n"
        "from tests.support.factories import person\n"
        f"job = OtaJob.objects.get(cloud_node_id='{ids[CALLED_OFF]}')\n"
        "cancel(job, user=owner, actor=person(owner))"
    )
    kept.run_until(
        f"OtaJob.objects.filter(cloud_node_id='{ids[LATER]}', pushed_at__isnull=False).exists()"
    )
    assert cloud.pushes(ids[LATER]) == {"accepted": 1}

    refused = kept.run("restore", str(file))
    assert refused.returncode == 1
    assert "There is an installation here already (people: 2, households: 1)" in refused.stderr
    text = kept.ok("restore", str(file), "--force")
    assert "never sent again: 3" in text
    assert "go on being followed: 1" in text
    assert "What was here before is kept" in text
    assert "have to be confirmed again: 1" in text
    assert {job[0] for job in kept.jobs().values()} == {"pushing", "running"}
    assert all(job[2] for job in kept.jobs().values())

    kept.run_until("not OtaJob.objects.live().exists()")
    ends = {node: tuple(job[:2]) for node, job in kept.jobs().items()}
    # so slow that it may be given up on before it is proven
    assert ends.pop(ids[RUNNING]) in {("verified", "verified"), ("verified", "verified_late")}
    assert ends == {
        ids[LATER]: ("verified", "verified"),
        ids[PUSHED]: ("verified", "verified"),
        ids[CALLED_OFF]: ("expired", "restored_unsent"),
    }
    assert [cloud.pushes(node).get("accepted", 0) for node in ids] == [1, 1, 0, 1]
    assert [cloud.starts(node) for node in ids] == [1, 1, 0, 1]

    actions = kept.actions()
    assert actions.count("backup.restored") == 1
    assert actions.count("install.asked_after_restore") == 1
    assert "backup.made" not in actions, "it was made before its own entry"
    again = tmp_path / "again.tar.gz"
    kept.ok("backup", str(again))
    assert "backup.made" in kept.actions()
    # the chain goes on over the restore: the second half of a restore would refuse it otherwise
    kept.ok("restore", str(again), "--force")


def test_an_empty_server_takes_a_backup_with_its_keys(filled: Kept, tmp_path: Path) -> None:
    file = tmp_path / "kept.tar.gz"
    filled.shell(
        "from tests.support.factories import make_account\nmake_account()\n"
        "from django.utils import timezone\nfrom devices.models import BackupRun\n"
        "BackupRun.objects.create(started_at=timezone.now())"  # the one that is being made
    )
    filled.ok("backup", str(file))
    keys = (filled.data_dir / "keys.json").read_bytes()
    with an_empty_server(filled, tmp_path / "new server") as other:
        own = "5IRmNQbmlMlGMQoBUTIZTsHuxwHT6J1BPT1cSQD-Gho="
        other.environment["ENCRYPTION_KEYS"] = own
        says(other.run("restore", str(file)), "ENCRYPTION_KEYS", "Nothing was changed")
        del other.environment["ENCRYPTION_KEYS"]
        assert "Restored the backup" in other.ok("restore", str(file))
        assert (other.data_dir / "keys.json").read_bytes() == keys
        assert (other.data_dir / "keys.json").stat().st_mode & 0o777 == 0o600
        opened = other.shell(
            "from devices.models import BackupRun, CloudAccount\n"
            "from devices.accounts.sessions import tokens_of\n"
            "print(tokens_of(CloudAccount.objects.get()).refresh_token, BackupRun.objects.count())"
        )
        assert opened.splitlines()[-1] == "refresh 0", "and another backup may begin"


@contextmanager
def an_empty_server(beside: Kept, data_dir: Path) -> Iterator[Kept]:
    other = Kept(beside.cloud, data_dir)
    url = beside.environment["DATABASE_URL"]
    if not url:
        yield other
        return
    name = f"{url.rpartition('/')[2]}_2"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            other.environment["DATABASE_URL"] = f"{url.rpartition('/')[0]}/{name}"
            yield other
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def test_a_backup_is_whole_while_others_write(filled: Kept, tmp_path: Path) -> None:
    writers = [
        filled.start(
            "shell",
            "-c",
            "from devices.audit import log\nfrom devices.models import Actor\n"
            "while True:\n"
            "    log.record(Actor.worker(), 'test.action', 'An entry. ' * 200)\n",
        )
        for _ in range(2)
    ]
    files = [tmp_path / f"{number}.tar.gz" for number in range(3)]
    try:
        heads = []
        for file in files:
            filled.ok("backup", str(file))
            heads.append(manifest(file)["audit_sequence"])
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate(timeout=30)
    assert heads == sorted(set(heads)), "the writers went on meanwhile"
    text = filled.ok("restore", str(files[1]), "--force")
    assert f"adds up, all {heads[1]} entries" in text


def manifest(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        found = tar.extractfile("manifest.json")
        assert found is not None
        return dict(json.loads(found.read()))


def an_owner_in(terminal: Kept) -> Kept:
    prepared.lay(terminal.environment)
    terminal.ok("household", "create", "Garden", "--owner", OWNER, typed="mosquito-free-evening\n")
    return terminal


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def filled(request: pytest.FixtureRequest, tmp_path: Path, simcloud: SimCloud) -> Kept:
    """Return an installation with an owner, on either database."""
    terminal = Kept(simcloud, tmp_path / "data")
    terminal.environment["DATABASE_URL"] = the_kind(request)
    return an_owner_in(terminal)


@pytest.fixture
def plain(tmp_path: Path, simcloud: SimCloud) -> Kept:
    return an_owner_in(Kept(simcloud, tmp_path / "data"))


def says(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_restore_does_not_touch_what_runs(plain: Kept, tmp_path: Path) -> None:
    file = tmp_path / "kept.tar.gz"
    plain.ok("backup", str(file))
    (plain.data_dir / "run").mkdir()
    with Lock(plain.data_dir / "run" / "start.lock") as lock:
        assert lock.take()
        lock.note("http://localhost:8000 (process 7)")
        done = plain.run("restore", str(file), "--force")
    says(done, "Thermacell Web is running here: http://localhost:8000 (process 7)")


def test_a_damaged_or_foreign_file_is_refused_and_changes_nothing(
    plain: Kept, tmp_path: Path
) -> None:
    file, damaged = tmp_path / "kept.tar.gz", tmp_path / "damaged.tar.gz"
    plain.ok("backup", str(file))
    before = (plain.data_dir / "db.sqlite3").read_bytes()
    whole = file.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    says(plain.run("restore", str(damaged), "--force"), "is damaged", "nothing was restored")
    with tarfile.open(file) as good, tarfile.open(damaged, "w:gz") as bad:
        for member in good:
            content = good.extractfile(member)
            assert content is not None
            changed = content.read().replace(b"Garden", b"Gardem")
            bad.addfile(member, BytesIO(changed))
    says(plain.run("restore", str(damaged), "--force"), "the checksum of its database")
    damaged.write_text("hello")
    says(plain.run("restore", str(damaged), "--force"), "cannot be read as a backup")
    says(plain.run("restore", str(tmp_path / "none")), "There is no file")
    says(plain.run("backup", str(file)), "exists already: choose another name")
    says(plain.run("restore"), "Which backup?")
    assert (plain.data_dir / "db.sqlite3").read_bytes() == before
    assert sorted(path.name for path in plain.data_dir.iterdir() if "re" in path.name) == []


def test_a_damaged_database_is_replaced_and_kept(plain: Kept, tmp_path: Path) -> None:
    file = tmp_path / "kept.tar.gz"
    plain.ok("backup", str(file))
    broken = b"SQLite format 3\0" + b"\xff" * 5000
    (plain.data_dir / "db.sqlite3").write_bytes(broken)
    says(plain.run("restore", str(file)), "There is an installation here already")
    plain.ok("restore", str(file), "--force")
    assert OWNER in plain.ok("household", "list")
    kept = next(plain.data_dir.glob("replaced-*")) / "db.sqlite3"
    assert kept.read_bytes() == broken


def test_a_changed_trail_is_shown_and_restored_only_with_an_option(
    plain: Kept, tmp_path: Path
) -> None:
    plain.shell(
        "from django.db import connection\nfrom devices.models import AuditEvent\n"
        "from tests.management.commands.flush import unguarded\n"
        "with unguarded(connection):\n    AuditEvent.objects.update(sentence='Nothing.')"
    )
    file = tmp_path / "kept.tar.gz"
    plain.ok("backup", str(file))
    plain.shell("from devices.models import User\nUser.objects.all().delete()")
    plain.shell("from devices.models import Household\nHousehold.objects.all().delete()")
    says(plain.run("restore", str(file)), "does not add up: Row 1 was", "--force")
    text = plain.ok("restore", str(file), "--force")
    assert "ITS AUDIT TRAIL DOES NOT ADD UP: Row 1 was" in text


def test_a_backup_of_a_newer_version_or_another_database_is_refused(
    plain: Kept, tmp_path: Path
) -> None:
    file = tmp_path / "newer.tar.gz"
    plain.shell(
        "from django.db.migrations.recorder import MigrationRecorder as R\n"
        "from django.db import connection\nR(connection).record_applied('devices', '9999_future')"
    )
    plain.ok("backup", str(file))
    says(plain.run("restore", str(file), "--force"), "newer version", "9999_future")


@pytest.mark.postgres
def test_without_postgresqls_programs_a_sentence_says_what_to_install(
    postgres_url: str, simcloud: SimCloud, tmp_path: Path
) -> None:
    terminal = Kept(simcloud, tmp_path / "data")
    terminal.environment |= {"DATABASE_URL": postgres_url, "PATH": str(tmp_path)}
    prepared.lay(terminal.environment)
    done = terminal.run("backup", str(tmp_path / "kept.tar.gz"))
    says(done, "pg_dump is not on this machine", "postgresql-client")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


PLANT = """
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task
now = timezone.now()
Schedule.objects.create(name="installs", func="os.system", args="'touch /tmp/x'", next_run=now)
OrmQ.objects.create(key="thermacell-web", payload="garbage", lock=now)
Task.objects.create(id="x", name="x", func="os.system", started=now, stopped=now)
"""
TABLES = """
from django_q.models import OrmQ, Schedule, Task
print(sorted(Schedule.objects.values_list("name", "func")), OrmQ.objects.count(),
      Task.objects.count())
"""


def test_a_restore_takes_no_task_of_the_backup_over(plain: Kept, tmp_path: Path) -> None:
    file = tmp_path / "kept.tar.gz"
    plain.shell(PLANT)
    plain.ok("backup", str(file))
    plain.ok("restore", str(file), "--force")
    ours = sorted((name, function) for name, (function, _) in SCHEDULES.items())
    assert plain.shell(TABLES).splitlines()[-1] == f"{ours} 0 0"


def test_the_mark_names_a_restore_and_nothing_looks_tampered_with(
    plain: Kept, tmp_path: Path
) -> None:
    file, more = tmp_path / "kept.tar.gz", "from tests.audit.test_marks import write\nwrite(20)"
    plain.ok("backup", str(file))
    plain.shell(more)
    plain.ok("restore", str(file), "--force")
    text = plain.ok("verify_audit")
    assert "The audit trail is intact" in text
    assert "by the marks in the data folder" in text
    assert "The marks start again at no." in text
    assert "restored from a backup of" in text
    # the same file copied back by hand is no restore: it is found, and can be explained
    database = plain.data_dir / "db.sqlite3"
    before = database.read_bytes()
    plain.shell(more)
    for ending in ("-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    database.write_bytes(before)
    done = plain.run("verify_audit")
    assert done.returncode == 1
    assert "later rows are missing" in done.stdout
    assert "--explain" in done.stdout
    text = plain.ok("verify_audit", "--explain", "The disk was copied back.")
    assert "The disk was copied back." in text
    assert "is intact" in plain.ok("verify_audit")


def test_a_restore_on_another_server_starts_its_marks_too(plain: Kept, tmp_path: Path) -> None:
    file = tmp_path / "kept.tar.gz"
    plain.ok("backup", str(file))
    other = an_owner_in(Kept(plain.cloud, tmp_path / "other"))
    other.ok("verify_audit")
    other.ok("restore", str(file), "--force")
    text = other.ok("verify_audit")
    assert "is intact" in text
    assert "restored from a backup of" in text
