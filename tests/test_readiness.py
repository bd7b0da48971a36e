"""/healthz and /readyz: what a monitor is told, and what it is never told."""

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
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from devices.models import Beat, HomeAssistantLink
from tests.factories import make_account, make_household, make_node
from tests.product import ROOT, free_port
from tests.test_start import eventually


def beat(**ages_s: float) -> None:
    now = timezone.now()
    for name, age_s in ages_s.items():
        at = now - timedelta(seconds=age_s)
        Beat.objects.update_or_create(name=name, defaults={"beat_at": at})


def wait_in_queue(settings: Any, seconds: float) -> None:
    at = timezone.now() - timedelta(seconds=seconds)
    OrmQ.objects.create(key=settings.Q_CLUSTER["name"], payload="x", lock=at)


def ready(client: Client) -> tuple[int, dict[str, dict[str, Any]]]:
    answer = client.get("/readyz")
    told = answer.json()
    assert told["ready"] == (answer.status_code == 200)
    assert "no-cache" in answer["Cache-Control"]
    return answer.status_code, told["parts"]


@pytest.mark.django_db
def test_ready_when_both_loops_beat_and_nothing_waits(client: Client, settings: Any) -> None:
    beat(installs=3, chores=70, watchdog=1)
    wait_in_queue(settings, 2)
    status, parts = ready(client)
    assert status == 200
    needed = ["database", "queue", "installs", "chores", "watchdog"]
    assert list(parts) == [*needed, "trail", "homeassistant", "notices"]
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
    assert [name for name, told in parts.items() if not told["ok"]] == [part]


@pytest.mark.django_db
def test_no_install_waits_for_the_bridge_or_the_trail_but_both_are_told(client: Client) -> None:
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
    OrmQ.objects.create(key="somebody-elses", payload="x", lock=long_ago)
    assert ready(client)[0] == 200


@pytest.mark.django_db
def test_nobodys_hub_address_or_key_is_told(client: Client, settings: Any) -> None:
    account = make_account()
    node = make_node(account)
    text = client.get("/readyz").content.decode()
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


@pytest.mark.processes
def test_with_the_database_away_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "ENV_FILE": ""}
    environment |= {"DATABASE_URL": f"postgres://nobody@127.0.0.1:{free_port()}/nothing"}
    command = [sys.executable, "-m", "gunicorn", "thermacell_web.wsgi", "--no-control-socket"]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "critical"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **quiet) as web:
        try:
            eventually(lambda: answer(port, "/healthz")[0] == 200, 60)
            status, text = answer(port, "/readyz")
        finally:
            web.terminate()
    assert status == 503
    told = json.loads(text)
    assert told["ready"] is False
    assert not any(part["ok"] for part in told["parts"].values())
    assert "nobody" not in text


def answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
