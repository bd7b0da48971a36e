"""The page Backups: a fresh second factor, a worker that makes one, and the download."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, hotp_value, yield_hotp_counters_from_time
from django.utils import timezone
from django_q.models import OrmQ

from devices.backup import on_request, schedule
from devices.models import Actor, AuditEvent, BackupRun, StaffRole, User
from devices.taskqueue.wakeups import TRAIL, function_of
from tests.support.client import Client
from tests.support.factories import make_user, sign_in

pytestmark = pytest.mark.django_db
SECRET = "JBSWY3DPEHPK3PXP"
REAUTHENTICATE = "/account/factors/reauthenticate/"


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.BACKUP_DIR = tmp_path
    return tmp_path


@pytest.fixture
def boss() -> User:
    user = make_user("boss@example.com", staff_role=StaffRole.ADMINISTRATOR)
    TOTP.activate(user, SECRET)
    return user


@pytest.fixture
def stale(client: Client, boss: User) -> Client:
    """A browser whose second factor was shown long ago."""
    return sign_in(client, boss)


@pytest.fixture
def fresh(stale: Client) -> Client:
    """The same a moment after its person showed the second factor."""
    shown(stale, {"method": "mfa", "at": time.time()})
    return stale


def shown(client: Client, record: dict[str, Any]) -> None:
    session = client.session
    session["account_authentication_methods"] += [record]
    session.save()


def made(folder: Path, content: bytes = b"the database and the keys", **fields: Any) -> BackupRun:
    now, name = timezone.now(), "requested-20260101-000000.tar.gz"
    (folder / name).write_bytes(content)
    values = {"file": name, "size_bytes": len(content), "verified_at": now, "ended_at": now}
    return BackupRun.objects.create(started_at=now, **values | fields)


def actions() -> list[str]:
    return list(
        AuditEvent.objects.filter(action__startswith="backup.").values_list("action", flat=True)
    )


def test_an_old_second_factor_leads_to_it_and_back_and_then_the_press_counts(
    stale: Client, boss: User
) -> None:
    # the password alone is not enough
    shown(stale, {"method": "password", "at": time.time(), "reauthenticated": True})
    answer = stale.post("/server/backups/new/")
    assert answer["Location"].startswith("/account/")
    assert not BackupRun.objects.exists()
    page = stale.get(answer["Location"])
    assert "Use your second factor once more" in page.content.decode()
    with time_machine.travel(timezone.now(), tick=False):  # a code is good for half a minute
        code = hotp_value(SECRET, next(iter(yield_hotp_counters_from_time())))
        back = stale.post(answer["Location"], {"code": f"{code:06}"})
    assert back["Location"] == "/server/backups/"
    stale.post("/server/backups/new/")
    assert BackupRun.objects.get().asked_by_name == boss.email
    assert Authenticator.objects.filter(user=boss).exists()


def test_a_worker_is_woken_once_however_often_it_is_asked(fresh: Client, boss: User) -> None:
    for _ in range(2):
        assert fresh.post("/server/backups/new/")["Location"] == "/server/backups/"
    [run] = BackupRun.objects.all()
    assert run.is_waiting
    assert actions() == ["backup.asked"]
    assert [function_of(row.payload) for row in OrmQ.objects.all()] == [TRAIL]
    text = fresh.get("/server/backups/").content.decode()
    assert "A backup is being made already." in text
    assert "Waiting for a worker" in text
    assert "data-poll" in text


def test_the_page_shows_how_far_it_is_and_stops_asking(fresh: Client, folder: Path) -> None:
    run = on_request.ask(Actor.worker(), timezone.now())
    assert run is not None
    for changes, words, polls in (
        ({"is_waiting": False}, "Making the backup", True),
        ({"file": "requested-20260101-000000.tar.gz"}, "Verifying the backup", True),
        ({"ended_at": timezone.now(), "trouble": "No space left."}, "No space left.", False),
    ):
        BackupRun.objects.filter(pk=run.pk).update(**changes)
        text = fresh.get("/server/backups/live/").content.decode()
        assert words in text
        assert ("data-poll" in text) is polls
    mark = fresh.get("/server/backups/").context["mark"]
    assert fresh.get(f"/server/backups/live/?v={mark}").status_code == 204


def test_it_is_streamed_whole_kept_by_nobody_and_recorded(fresh: Client, folder: Path) -> None:
    run = made(folder, b"x" * 3_000_000)
    answer: Any = fresh.post(f"/server/backups/{run.pk}/file/")
    assert answer.streaming
    assert b"".join(answer.streaming_content) == b"x" * 3_000_000
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Type"] == "application/gzip"
    assert answer["Content-Disposition"] == f'attachment; filename="{run.file}"'
    event = AuditEvent.objects.get(action="backup.taken")
    assert run.file in event.sentence
    assert "keys" in event.sentence


def test_a_download_needs_the_second_factor_again_after_five_minutes(
    stale: Client, folder: Path
) -> None:
    run = made(folder)
    shown(stale, {"method": "mfa", "at": time.time() - 301})
    answer = stale.post(f"/server/backups/{run.pk}/file/")
    assert answer["Location"].startswith(REAUTHENTICATE)
    assert actions() == []


def test_a_file_of_another_machine_is_refused_with_its_name(fresh: Client, folder: Path) -> None:
    run = made(folder, host="attic")
    (folder / run.file).unlink()
    assert "Not on this machine" in fresh.get("/server/backups/").content.decode()
    answer = fresh.post(f"/server/backups/{run.pk}/file/", follow=True)
    assert "It was made on attic." in answer.content.decode()
    assert actions() == []


@pytest.mark.parametrize(
    "fields", [{"file": "../keys.json"}, {"file": "keys.json"}, {"verified_at": None}]
)
def test_only_a_verified_backup_is_a_file_to_download(
    fresh: Client, folder: Path, fields: dict[str, Any]
) -> None:
    (folder / "keys.json").write_text("{}")
    (folder.parent / "keys.json").write_text("{}")
    run = made(folder, **fields)
    assert fresh.post(f"/server/backups/{run.pk}/file/")["Location"] == "/server/backups/"
    (folder.parent / "keys.json").unlink()


def test_one_that_was_asked_for_comes_before_the_clock_and_never_beside_another() -> None:
    now = timezone.now()
    BackupRun.objects.create(started_at=now - timedelta(minutes=1))
    assert on_request.ask(Actor.worker(), now) is None, "one is being made"
    assert schedule.running(now) is not None
    assert schedule.running(now + timedelta(hours=12)) is None, "it was cut off"
    assert on_request.ask(Actor.worker(), now + timedelta(hours=12)) is not None
    assert not schedule.is_due(now), "what only waits does not count as a try"
