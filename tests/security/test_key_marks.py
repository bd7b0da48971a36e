"""Servers at one database have the same keys: one with others does not start."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from devices.models import AuditEvent, KeyMark, KeyName
from devices.security import key_marks
from devices.server import CannotStart, bootstrap
from tests.support import prepared
from tests.support.product import ROOT, free_port
from thermacell_web.keys import KeyRing

pytestmark = pytest.mark.django_db


def test_the_first_start_leaves_the_marks_and_the_next_finds_them() -> None:
    assert key_marks.wrong_key() is None
    kept = dict(KeyMark.objects.values_list("name", "fingerprint"))
    assert set(kept) == set(KeyName)
    assert key_marks.wrong_key() is None
    assert dict(KeyMark.objects.values_list("name", "fingerprint")) == kept


def other_key(settings: Any, name: KeyName) -> None:
    if name == KeyName.SECRET:
        settings.SECRET_KEY = "another" * 10
    elif name == KeyName.AUDIT:
        settings.AUDIT_KEY = "another" * 10
    else:
        settings.KEY_RING = KeyRing((Fernet.generate_key().decode(),), None)


@pytest.mark.parametrize("name", KeyName)
def test_another_key_is_refused_in_one_sentence_until_it_is_adopted(
    settings: Any, name: KeyName
) -> None:
    key_marks.wrong_key()
    other_key(settings, name)
    assert key_marks.wrong_key() == name
    assert not key_marks.is_ours()
    with pytest.raises(CannotStart, match=f"^{name.value} of this server is not the one"):
        bootstrap.prepare_database()
    with pytest.raises(CommandError, match=name.value):
        call_command("worker")
    said = StringIO()
    call_command("rotate_keys", "--adopt", stdout=said)
    assert name.value in said.getvalue()
    assert key_marks.wrong_key() is None
    assert key_marks.is_ours()
    assert AuditEvent.objects.get(action="keys.adopted").detail == {"keys": [name.value]}


def test_a_key_in_front_of_the_known_one_is_a_change_of_keys(settings: Any) -> None:
    key_marks.wrong_key()
    known_secret, known_key = settings.SECRET_KEY, settings.KEY_RING.newest_first()[0]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "fresh" * 12, [known_secret]
    settings.KEY_RING = KeyRing((Fernet.generate_key().decode(), known_key), None)
    assert key_marks.wrong_key() is None
    # and from here a server with only the earlier ones is behind
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = known_secret, []
    assert key_marks.wrong_key() == KeyName.SECRET


@pytest.mark.processes
@pytest.mark.postgres
def test_a_host_with_keys_of_its_own_does_not_start(postgres_url: str, tmp_path: Path) -> None:
    def host(name: str, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ENV_FILE": ""}
        environment |= {"DATA_DIR": str(tmp_path / name), "DATABASE_URL": postgres_url}
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    prepared.lay({"DATABASE_URL": postgres_url, "DATA_DIR": str(tmp_path / "first")})
    assert host("first", "rotate_keys", "--adopt").returncode == 0
    for command in (("start", "--port", str(free_port())), ("worker",)):
        ended = host("second", *command)
        assert ended.returncode == 1, command
        assert ended.stderr.count("\n") == 1, ended.stderr
        assert "is not the one that its database belongs to" in ended.stderr
