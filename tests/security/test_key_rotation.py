"""Changing the encryption key: by the command, by the environment, and while a worker runs."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.utils import timezone

from devices.models import AuditEvent, CloudAccount
from devices.security import key_rotation
from devices.security.encryption import (
    DecryptionError,
    decrypt,
    encrypt,
    reencrypt,
    uses_newest_key,
)
from devices.security.key_rotation import sealed_fields
from tests.support import prepared
from tests.support.factories import make_account
from tests.support.services import ROOT
from thermacell_web.keys import KeyRing, read_keys


@pytest.fixture
def ring(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    """Give this test a key file of its own."""
    for name in ("SECRET_KEY", "ENCRYPTION_KEYS", "AUDIT_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings.KEY_RING = read_keys(tmp_path).ring
    return settings.KEY_RING  # type: ignore[no-any-return]


def rotate(*words: str) -> str:
    from io import StringIO

    text = StringIO()
    call_command("rotate_keys", *words, stdout=text)
    return text.getvalue()


def secrets_of(account: CloudAccount) -> list[str]:
    account.refresh_from_db()
    return [getattr(account, field) for model, field in sealed_fields() if model is CloudAccount]


def test_every_encrypted_field_is_known() -> None:
    assert {field for _, field in sealed_fields()} >= {
        "sealed_access_token",
        "sealed_refresh_token",
        "sealed_password",
    }


@pytest.mark.django_db
def test_a_rotation_encrypts_everything_again_and_then_the_old_key_can_go(ring: KeyRing) -> None:
    accounts = [make_account(sealed_password=encrypt(f"password {n}")) for n in range(5)]
    bare = make_account(sealed_access_token="", sealed_refresh_token="")
    old = ring.newest_first()[0]

    assert "15 encrypted again" in rotate()

    assert len(ring.newest_first()) == 2
    assert ring.newest_first()[1] == old
    for n, account in enumerate(accounts):
        assert all(uses_newest_key(sealed) for sealed in secrets_of(account))
        assert [decrypt(sealed) for sealed in secrets_of(account)] == [
            "access",
            "refresh",
            f"password {n}",
        ]
    assert secrets_of(bare) == ["", "", ""]

    with pytest.raises(CommandError, match="less than five minutes"):
        rotate("--drop-old")
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        assert "1 old key" in rotate("--drop-old")
        assert rotate("--drop-old") == "No old key is known.\n"
    assert ring.newest_first()[0] != old
    assert len(ring.newest_first()) == 1
    assert decrypt(secrets_of(accounts[0])[0]) == "access"
    trail = list(AuditEvent.objects.order_by("sequence").values_list("action", "actor_role"))
    assert trail == [
        ("keys.added", "operator"),
        ("keys.rotated", "operator"),
        ("keys.dropped", "operator"),
    ]
    found = json.dumps(list(AuditEvent.objects.values_list("detail", "sentence")))
    assert old not in found
    assert ring.newest_first()[0] not in found


@pytest.mark.django_db
def test_a_rotation_that_was_cut_off_is_finished_with_the_same_key(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "BATCH", 2)
    accounts = [make_account() for _ in range(7)]
    done = 0

    def dies_after_five(sealed: str) -> str:
        nonlocal done
        done += 1
        if done > 5:
            raise KeyboardInterrupt
        return reencrypt(sealed)

    monkeypatch.setattr(key_rotation, "reencrypt", dies_after_five)
    with pytest.raises(KeyboardInterrupt):
        rotate()
    newest = ring.newest_first()[0]
    monkeypatch.setattr(key_rotation, "reencrypt", reencrypt)
    with (
        time_machine.travel(timezone.now() + timedelta(minutes=6)),
        pytest.raises(CommandError, match="still encrypted with an old key"),
    ):
        rotate("--drop-old")

    assert "9 encrypted again" in rotate()
    assert ring.newest_first()[0] == newest
    assert all(uses_newest_key(sealed) for a in accounts for sealed in secrets_of(a) if sealed)


@pytest.mark.django_db
def test_a_secret_no_key_opens_is_said_and_left_alone(ring: KeyRing) -> None:
    lost = Fernet(Fernet.generate_key()).encrypt(b"lost").decode()
    account = make_account(sealed_access_token=lost)
    with pytest.raises(CommandError, match="1 cannot be opened"):
        rotate()
    account.refresh_from_db()
    assert account.sealed_access_token == lost
    assert uses_newest_key(account.sealed_refresh_token)


@pytest.mark.django_db
def test_what_a_worker_writes_meanwhile_is_not_written_over(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make_account()
    raced: list[str] = []

    def slow(sealed: str) -> str:
        fresh = reencrypt(sealed)
        if not raced:  # the worker refreshes its token between our reading and our writing
            raced.append(sealed)
            CloudAccount.objects.filter(pk=account.pk).update(sealed_access_token=encrypt("newer"))
        return fresh

    monkeypatch.setattr(key_rotation, "reencrypt", slow)
    rotate()
    account.refresh_from_db()
    assert decrypt(account.sealed_access_token) == "newer"
    assert decrypt(account.sealed_refresh_token) == "refresh"
    assert raced


# What a worker does all the time, without its pauses. Prints what it stored last.
WRITER = """
from devices.models import CloudAccount
from devices.security.encryption import encrypt, decrypt
account = CloudAccount.objects.get()
print("writing", flush=True)
n = 0
while True:
    n += 1
    CloudAccount.objects.update(sealed_access_token=encrypt(f"token {n}"))
    account.refresh_from_db()
    assert decrypt(account.sealed_access_token) == f"token {n}"
    if account.household.name == "stop":
        break
    account.household.refresh_from_db()
print(n)
"""


@pytest.mark.processes
def test_tokens_refreshed_all_the_time_survive_three_rotations(tmp_path: Path) -> None:
    """Real processes: what a writer stored last can be opened after each rotation around it."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"ENV_FILE": "", "DATA_DIR": str(tmp_path), "LOG_LEVEL": "WARNING"}

    def start(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*words: str) -> str:
        process = start(*words)
        text, troubled = process.communicate(timeout=120)
        assert process.returncode == 0, troubled
        return text

    prepared.lay(environment)
    run(
        "shell",
        "-v0",
        "-c",
        "from devices.models import *; from devices.security.encryption import encrypt;"
        "CloudAccount.objects.create(household=Household.objects.create(name='home'),"
        "base_url='https://x.example', email='a@example.com',"
        "sealed_access_token=encrypt('token 0'),"
        "sealed_refresh_token=encrypt('refresh'))",
    )
    writer = start("shell", "-v0", "-c", WRITER)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    for _ in range(3):
        assert "encrypted again" in run("rotate_keys")
    run("shell", "-v0", "-c", "from devices.models import *; Household.objects.update(name='stop')")
    last, troubled = writer.communicate(timeout=120)
    assert writer.returncode == 0, troubled
    found = run(
        "shell",
        "-v0",
        "-c",
        "from devices.models import *;"
        "from devices.security.encryption import decrypt, uses_newest_key;"
        "a = CloudAccount.objects.get(); t, r = a.sealed_access_token, a.sealed_refresh_token;"
        "print(decrypt(t), uses_newest_key(t), decrypt(r), uses_newest_key(r))",
    )
    assert found.split() == ["token", last.strip(), "True", "refresh", "True"]
    assert int(last) > 3
    assert len(json.loads((tmp_path / "keys.json").read_text())["encryption"].split(",")) == 4


def test_another_process_uses_the_new_key_at_once_and_the_file_stays_private(
    ring: KeyRing, tmp_path: Path
) -> None:
    elsewhere = read_keys(tmp_path).ring
    ring.add(timezone.now())
    assert elsewhere.newest_first() == ring.newest_first()
    assert len(elsewhere.newest_first()) == 2
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
    kept = json.loads((tmp_path / "keys.json").read_text())
    assert {"secret", "encryption", "audit"} < kept.keys()
    assert repr(ring) == "KeyRing(…)"


def test_keys_stay_in_use_when_the_file_is_gone_for_a_moment(ring: KeyRing, tmp_path: Path) -> None:
    before = ring.newest_first()
    os.rename(tmp_path / "keys.json", tmp_path / "elsewhere.json")
    assert ring.newest_first() == before


@pytest.mark.django_db
def test_keys_of_the_environment_are_rotated_in_the_environment(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    monkeypatch.setenv("ENCRYPTION_KEYS", old)
    settings.KEY_RING = read_keys(tmp_path).ring
    account = make_account()
    with pytest.raises(CommandError, match=r"put a new one .* in front of the old ones"):
        rotate()

    monkeypatch.setenv("ENCRYPTION_KEYS", f"{new}, {old}")
    settings.KEY_RING = read_keys(tmp_path).ring  # what a restart does
    assert "take it out of ENCRYPTION_KEYS and restart" in rotate()
    assert "Nothing needs an old key" in rotate("--drop-old")

    monkeypatch.setenv("ENCRYPTION_KEYS", new)
    settings.KEY_RING = read_keys(tmp_path).ring
    account.refresh_from_db()
    assert decrypt(account.sealed_refresh_token) == "refresh"
    monkeypatch.setenv("ENCRYPTION_KEYS", old)
    settings.KEY_RING = read_keys(tmp_path).ring
    with pytest.raises(DecryptionError):
        decrypt(account.sealed_refresh_token)
