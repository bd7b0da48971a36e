"""/healthz and /readyz: what a monitor learns, and what it never does."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from devices.models import Beat, HomeAssistantLink, Role, StaffRole
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_node, make_user, sign_in
from tests.support.product import ROOT, free_port
from tests.support.started import eventually


def beat(**ages_s: float) -> None:
    now = timezone.now()
    for name, age_s in ages_s.items():
        at = now - timedelta(seconds=age_s)
        Beat.objects.update_or_create(name=name, defaults={"beat_at": at})


def wait_in_queue(settings: Any, seconds: float) -> None:
    at = timezone.now() - timedelta(seconds=seconds)
    OrmQ.objects.create(key=settings.Q_CLUSTER["name"], payload="x", lock=at)


TOKEN = "monitoring-only-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def a_monitor_has_a_token(settings: Any) -> None:
    settings.READY_TOKEN = TOKEN


def ready(client: Client) -> tuple[int, dict[str, dict[str, Any]]]:
    answer = client.get("/readyz", headers=BEARER)
    found = answer.json()
    assert found["ready"] == (answer.status_code == 200)
    assert "no-cache" in answer["Cache-Control"]
    return answer.status_code, found["parts"]


@pytest.mark.django_db
def test_ready_when_both_loops_beat_and_nothing_waits(client: Client, settings: Any) -> None:
    beat(installs=3, chores=70, watchdog=1)
    wait_in_queue(settings, 2)
    status, parts = ready(client)
    assert status == 200
    needed = ["database", "clock", "redis", "queue", "installs", "chores", "watchdog", "here"]
    assert list(parts) == [*needed, "trail", "homeassistant", "notices", "backups", "keys"]
    assert parts["queue"]["due"] == 1
    assert 2 <= parts["queue"]["oldest_due_s"] < 60
    assert 3 <= parts["installs"]["beat_age_s"] < 60


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("part", "ages"),
    [
        ("installs", {"installs": 130, "chores": 1}),
        ("installs", {"chores": 1}),
        ("chores", {"installs": 1, "chores": 130}),
        ("watchdog", {"installs": 1, "chores": 1, "watchdog": 70}),
    ],
)
def test_not_ready_names_the_part(client: Client, part: str, ages: dict[str, float]) -> None:
    beat(**ages)
    status, parts = ready(client)
    assert status == 503
    assert [name for name, found in parts.items() if not found["ok"]] == [part]


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file of ours is never read-only")
def test_a_database_that_only_reads_is_not_ready(client: Client) -> None:
    beat(installs=1, chores=1, watchdog=1)
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    status, parts = ready(client)
    assert status == 503
    kind = {"kind": "postgresql", "is_writable": 0, "trouble": "read_only"}
    assert parts["database"] == {"ok": False, **kind}


@pytest.mark.django_db
def test_no_install_waits_for_the_bridge_or_the_trail_but_both_are_shown(client: Client) -> None:
    beat(installs=1, chores=1, watchdog=1, trail=700, homeassistant=3600)
    for state in ("lost", "connected", "connected"):
        HomeAssistantLink.objects.create(household=make_household(), is_on=True, state=state)
    status, parts = ready(client)
    assert status == 200
    assert parts["trail"]["beat_age_s"] >= 700
    assert parts["homeassistant"]["beat_age_s"] >= 3600
    assert (parts["homeassistant"]["connected"], parts["homeassistant"]["lost"]) == (2, 1)


@pytest.mark.django_db
def test_a_queue_that_is_behind_is_not_ready(client: Client, settings: Any) -> None:
    beat(installs=1, chores=1)
    wait_in_queue(settings, 300)
    status, parts = ready(client)
    assert status == 503
    assert not parts["queue"]["ok"]
    assert parts["queue"]["oldest_due_s"] >= 300


@pytest.mark.django_db
def test_another_installations_queue_is_not_ours(client: Client) -> None:
    beat(installs=1, chores=1)
    long_ago = timezone.now() - timedelta(hours=1)
    OrmQ.objects.create(key="another-server", payload="x", lock=long_ago)
    assert ready(client)[0] == 200


@pytest.mark.django_db
def test_no_hub_address_or_key_is_shown(client: Client, settings: Any) -> None:
    account = make_account()
    node = make_node(account)
    text = client.get("/readyz", headers=BEARER).content.decode()
    for secret in (account.email, account.cloud_host, node.name, node.node_id, node.serial):
        assert secret not in text
    assert settings.SECRET_KEY not in text


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_neither_redirects_behind_a_proxy(client: Client, settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path).status_code in {200, 503}
    assert client.get("/accounts/").status_code == 301
    assert client.post(path).status_code == 405


@pytest.mark.django_db
def test_others_learn_only_whether_it_is_ready(client: Client, settings: Any) -> None:
    beat(installs=1, chores=1, watchdog=1)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN[:-1]}):
        answer = client.get("/readyz", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"ready": True})
    beat(installs=1000)
    assert client.get("/readyz").json() == {"ready": False}
    settings.READY_TOKEN = ""
    assert client.get("/readyz", headers={"Authorization": "Bearer "}).json() == {"ready": False}
    sign_in(client, make_user(role=Role.OWNER))
    assert client.get("/readyz").json() == {"ready": False}


@pytest.mark.django_db
def test_staff_read_the_details(client: Client, settings: Any) -> None:
    settings.READY_TOKEN = ""
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    assert "parts" in client.get("/readyz").json()


def test_alive_runs_no_query_with_any_headers(client: Client) -> None:
    # without django_db every query fails
    client.cookies["sessionid"] = "x" * 32
    answer = client.get("/healthz", headers={"host": "192.0.2.1:8000"})
    assert (answer.status_code, answer.content) == (200, b"ok")


@pytest.mark.processes
def test_with_the_database_away_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "ENV_FILE": ""}
    environment |= {"DATABASE_URL": f"postgres://nobody@127.0.0.1:{free_port()}/nothing"}
    environment |= {"READY_TOKEN": TOKEN}
    command = [sys.executable, "-m", "gunicorn", "thermacell_web.wsgi", "--no-control-socket"]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "critical"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **quiet) as web:
        try:
            eventually(lambda: answer(port, "/healthz")[0] == 200, 60)
            status, text = answer(port, "/readyz", BEARER)
        finally:
            web.terminate()
    assert status == 503
    found = json.loads(text)
    assert found["ready"] is False
    assert not any(part["ok"] for part in found["parts"].values())
    assert "nobody" not in text


def answer(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
