"""The page Server: what an administrator is told to do, and what there is."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from devices.models import AuditCheck, BackupRun, Beat, StaffRole
from devices.security.log_formatter import ErrorFile, JsonFormatter
from tests.support.client import Client
from tests.support.factories import make_user, sign_in
from thermacell_web import __version__, environment

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def an_installation_that_is_well(settings: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    settings.DATA_DIR = tmp_path
    settings.PUBLIC_URL = "http://testserver"
    settings.BEHIND_PROXY = True
    for name in ("installs", "chores", "watchdog"):
        Beat.objects.update_or_create(name=name, defaults={"beat_at": timezone.now()})


def page(client: Client, *, secure: bool = False) -> str:
    sign_in(client, make_user(staff_role=StaffRole.ADMINISTRATOR))
    answer = client.get("/server/", secure=secure)
    assert answer.status_code == 200
    return answer.content.decode()


def todo(client: Client) -> str:
    return page(client).partition('id="todo"')[2].partition("</ul>")[0]


def test_nothing_to_do_and_what_there_is(client: Client, settings: Any) -> None:
    settings.PUBLIC_URL = "https://testserver"
    text = page(client, secure=True)
    assert "Nothing needs you." in text
    assert f"Thermacell Web {__version__}" in text
    assert "None yet." in text


def test_each_trouble_is_one_sentence(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Beat.objects.filter(name="installs").update(beat_at=timezone.now() - timedelta(hours=1))
    AuditCheck.objects.update_or_create(pk=1, defaults={"finding": "entry 3"})
    settings.PUBLIC_URL = "http://elsewhere.example"
    settings.DATA_DIR.chmod(0o755)
    monkeypatch.setattr(environment, "UNKNOWN", ["COLOUR"])
    monkeypatch.setenv("BEHIND_PROXI", "true")
    found = todo(client)
    for words in (
        "Nothing carries out installs.",
        "The audit trail is not as it was written.",
        "You opened http://testserver, and PUBLIC_URL is http://elsewhere.example",
        "Passwords travel unencrypted",
        "(mode 0755)",
        "COLOUR in the settings file",
        "BEHIND_PROXI in the environment",
    ):
        assert words in found
    assert found.count("<li>") == 7


def test_machines_and_backups_are_listed(client: Client) -> None:
    now = timezone.now()
    Beat.leave("watchdog@aaa", now, "shed")
    Beat.leave("watchdog@bbb", now - timedelta(hours=1), "attic")
    yesterday = now - timedelta(days=1)
    BackupRun.objects.create(started_at=yesterday, verified_at=yesterday, file="good.tar.gz")
    BackupRun.objects.create(started_at=now, trouble="No space left on device.")
    text = page(client)
    assert "The last scheduled backup failed." in text
    assert "good.tar.gz" in text
    assert "No space left on device." in text
    assert text.count("silent") == 1
    assert text.index("attic") < text.index("silent") < text.index("shed")


def test_the_last_errors_of_this_machine(client: Client, settings: Any) -> None:
    errors = ErrorFile(settings.DATA_DIR)
    errors.setFormatter(JsonFormatter())
    for number in (*range(12), 11):
        record = logging.makeLogRecord({"msg": "trouble <%s>", "args": (number,), "name": "x"})
        record.created += number
        errors.handle(record)
    errors.close()
    with (settings.DATA_DIR / "log" / "errors.jsonl").open("a") as file:
        file.write('{"at": "2026-')  # cut off by a full disk
    text = page(client)
    assert text.count(" · 2×") == 1
    assert [number for number in range(12) if f"trouble &lt;{number}&gt;" in text] == [
        *range(2, 12)
    ]


def test_an_error_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    errors = ErrorFile(tmp_path)
    errors.handle(logging.makeLogRecord({"msg": "trouble", "levelno": logging.ERROR}))
