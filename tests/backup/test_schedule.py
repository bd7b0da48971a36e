"""Backups made by themselves: when they are due, that each is proven, kept, passed on, reported."""

import json
import resource
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from devices.backup import CannotKeep, create, schedule
from devices.models import BackupRun
from tests.backup.test_restore import the_kind
from tests.support import prepared
from tests.support.product import Product
from tests.support.smtp_server import SmtpServer
from tests.support.started import eventually
from tests.support.terminal import Done, Terminal

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
ADMINISTRATOR = "boss@example.com"
RUN = """
from django.utils import timezone
from devices.models import BackupRun
print(BackupRun.objects.create(started_at=timezone.now()).pk)
"""
SHOWN = """
import json
from devices.models import BackupRun
print(json.dumps([[run.file, run.size_bytes, bool(run.verified_at), bool(run.ended_at), run.trouble]
                  for run in BackupRun.objects.order_by("pk")]))
"""


@pytest.mark.django_db
def test_one_is_due_by_the_clock_and_sooner_after_a_failed_one(settings: Any) -> None:
    now = timezone.now()
    assert not schedule.is_due(now)  # the tables were made just now
    assert schedule.is_due(now + timedelta(hours=25))
    good = BackupRun.objects.create(started_at=now, verified_at=now, ended_at=now)
    assert not schedule.is_due(now + timedelta(hours=23))
    assert schedule.is_due(now + timedelta(hours=24))
    # it could not be made, or it is good and BACKUP_HOOK failed
    for verified_at in (None, now):
        BackupRun.objects.filter(pk=good.pk).update(verified_at=verified_at, trouble="No space.")
        assert not schedule.is_due(now + timedelta(minutes=59))
        assert schedule.is_due(now + timedelta(hours=1))
    BackupRun.objects.filter(pk=good.pk).update(ended_at=None, verified_at=None, trouble="")
    assert not schedule.is_due(now + timedelta(hours=11)), "it may still run"
    assert schedule.is_due(now + timedelta(hours=12))
    settings.BACKUP_EVERY_HOURS = 0
    assert not schedule.is_due(now + timedelta(days=9))


@pytest.mark.django_db
@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), CannotKeep("no.")])
def test_each_failure_is_stored_and_what_was_cut_off_is_named(
    problem: Exception, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    settings.BACKUP_DIR = tmp_path
    (tmp_path / ".prove-left").mkdir()
    now = timezone.now()
    cut_off = BackupRun.objects.create(started_at=now - timedelta(days=1))

    def stop(*_: object) -> None:
        raise problem

    monkeypatch.setattr(create, "make", stop)
    run = BackupRun.objects.create(started_at=now)
    schedule.carry_out(run)
    run.refresh_from_db()
    cut_off.refresh_from_db()
    assert run.trouble == str(problem)
    assert run.ended_at is not None
    assert (cut_off.ended_at, cut_off.trouble) == (now, "It did not come to its end.")
    assert not (tmp_path / ".prove-left").exists()


@pytest.mark.django_db(transaction=True)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, limits[1]))  # no file grows beyond it
    try:
        with pytest.raises(CannotKeep):
            create.make(tmp_path / "kept.tar.gz", None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


class Keeper(Terminal):
    """An installation without a worker whose scheduled backups are run one by one."""

    def __init__(self, folder: Path, url: str) -> None:
        self.data_dir = folder
        self.environment = Product(folder, demo=False).environment
        self.environment |= {"LOG_LEVEL": "ERROR", "BACKUP_KEEP": "2", "DATABASE_URL": url}

    def shell(self, code: str) -> Any:
        return json.loads(self.ok("shell", "-c", code).splitlines()[-1])

    def back_up(self) -> Done:
        return self.run("backup", "--run", str(self.shell(RUN)))

    def files(self) -> list[str]:
        return sorted(one.name for one in (self.data_dir / "backups").glob("*.gz"))


@pytest.fixture(params=BOTH)
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Keeper:
    kept = Keeper(tmp_path / "data", the_kind(request))
    prepared.lay(kept.environment)
    words = ("household", "staff", ADMINISTRATOR, "--role", "administrator")
    kept.ok(*words, typed="mosquito-free-evening\n")
    return kept


@pytest.mark.processes
def test_each_is_proven_kept_and_passed_on(keeper: Keeper, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text('#!/bin/sh\ncp "$1" "$(dirname "$0")/elsewhere"\n')
    hook.chmod(stat.S_IRWXU)
    keeper.environment["BACKUP_HOOK"] = str(hook)
    (keeper.data_dir / "backups").mkdir(mode=0o700, exist_ok=True)
    mine = keeper.data_dir / "backups" / "thermacell-web-20200101-000000.tar.gz"
    mine.touch()
    old = [mine.with_name(f"scheduled-2020010{day}-000000.tar.gz") for day in (1, 2)]
    for one in old:
        one.touch()
    assert keeper.back_up().returncode == 0
    [[name, size, is_verified, has_ended, trouble]] = keeper.shell(SHOWN)
    assert (is_verified, has_ended, trouble) == (True, True, "")
    # those of people are never removed, and of the scheduled ones two are kept
    assert keeper.files() == [old[1].name, name, mine.name]
    assert (tmp_path / "elsewhere").stat().st_size == size > 1000
    assert (mine.parent / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.processes
def test_what_goes_wrong_is_stored_and_mailed_once(keeper: Keeper, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho 'the other place is full' >&2\nexit 3\n")
    hook.chmod(stat.S_IRWXU)
    keeper.environment["BACKUP_HOOK"] = str(hook)
    with SmtpServer() as server:
        keeper.environment["EMAIL_URL"] = f"smtp://127.0.0.1:{server.port}"
        keeper.back_up()
        keeper.back_up()
    rows = keeper.shell(SHOWN)
    assert {row[4] for row in rows} == {"BACKUP_HOOK ended with status 3. the other place is full"}
    assert len(rows) == 2
    [mail] = server.messages
    assert mail["To"] == ADMINISTRATOR
    assert "the other place is full" in mail.get_content()


@pytest.mark.processes
@pytest.mark.parametrize("keeper", ["sqlite"], indirect=True)
def test_a_backup_whose_trail_does_not_verify_is_no_good_one(keeper: Keeper) -> None:
    code = "from django.db import connection as c\n"
    names = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    code += f'with c.cursor() as q:\n    q.execute("{names}")\n'
    code += "    [q.execute(f'DROP TRIGGER \"{name}\"') for (name,) in q.fetchall()]\n"
    code += "    q.execute(\"UPDATE devices_auditevent SET sentence = 'x' WHERE sequence = 1\")\n"
    keeper.ok("shell", "-c", code)
    keeper.back_up()
    [[_, _, is_verified, has_ended, trouble]] = keeper.shell(SHOWN)
    assert (is_verified, has_ended) == (False, True)
    assert trouble


@pytest.mark.processes
@pytest.mark.parametrize("keeper", ["sqlite"], indirect=True)
def test_a_worker_starts_it_when_it_is_due(keeper: Keeper) -> None:
    code = "from datetime import timedelta\nfrom django.utils import timezone\n"
    code += "from devices.models import BackupRun\nat = timezone.now() - timedelta(days=2)\n"
    code += "BackupRun.objects.create(started_at=at, verified_at=at)\n"
    code += "from devices.tasks import trail_upkeep\ntrail_upkeep()\n"
    # it goes on after the process that started it
    assert keeper.run("shell", "-c", code).returncode == 0
    eventually(lambda: keeper.shell(SHOWN)[-1][2:] == [True, True, ""], 60)
    assert len(keeper.shell(SHOWN)) == 2


@pytest.mark.processes
@pytest.mark.parametrize("keeper", ["sqlite"], indirect=True)
def test_a_worker_makes_what_a_person_asked_for_and_keeps_the_newest(keeper: Keeper) -> None:
    (keeper.data_dir / "backups").mkdir(mode=0o700, exist_ok=True)
    for day in (1, 2):
        (keeper.data_dir / "backups" / f"requested-2020010{day}-000000.tar.gz").touch()
    code = "from django.utils import timezone\nfrom devices.models import Actor\n"
    code += "from devices.backup import on_request\n"
    code += "on_request.ask(Actor.worker(), timezone.now())\n"
    code += "from devices.tasks import trail_upkeep\ntrail_upkeep()\n"
    assert keeper.run("shell", "-c", code).returncode == 0
    eventually(lambda: keeper.shell(SHOWN)[-1][2:] == [True, True, ""], 60)
    [[name, *_]] = keeper.shell(SHOWN)
    assert keeper.files() == ["requested-20200102-000000.tar.gz", name]
    assert name.startswith("requested-")


@pytest.mark.django_db
def test_one_whose_process_died_here_blocks_no_other(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.BACKUP_DIR = tmp_path
    left = tmp_path / ".prove-1"
    left.mkdir()
    now, started = timezone.now(), list[BackupRun]()
    monkeypatch.setattr(schedule, "_start", started.append)
    dead = BackupRun.objects.create(started_at=now, host=schedule.this_host())
    asked = BackupRun.objects.create(started_at=now, is_waiting=True, asked_by_name=ADMINISTRATOR)
    schedule.start_if_due(now + timedelta(seconds=30))
    assert started == [], "its process may not be there yet"
    BackupRun.objects.filter(pk=dead.pk).update(host="elsewhere")
    schedule.start_if_due(now + timedelta(minutes=2))
    assert started == [], "another machine makes it"
    BackupRun.objects.filter(pk=dead.pk).update(host=schedule.this_host())
    schedule.start_if_due(now + timedelta(minutes=2))
    assert started == [asked]
    dead.refresh_from_db()
    assert dead.trouble == "It did not come to its end."
    assert not left.exists()
