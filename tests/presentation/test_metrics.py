"""/metrics: what it counts, and that dashboard and alerts use nothing that it does not have."""

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families as families

from devices.models import AuditCheck, BackupRun, Beat, Claim, StaffRole, State, Tally
from devices.rainmaker import calls
from tests.conftest import LEFT_OUT
from tests.support.client import Client
from tests.support.factories import make_account, make_job, make_node, make_user, sign_in
from tests.support.product import ROOT

MONITORING = ROOT / "docs" / "monitoring"
TOKEN = "monitoring-only-0123456789"
# Debian's package `prometheus` has it. Without it, parsers judge what they can.
PROMTOOL = shutil.which("promtool")
Found = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(autouse=True)
def a_monitor_has_a_token(settings: Any) -> None:
    settings.READY_TOKEN = TOKEN
    calls.take()


def page(client: Client) -> str:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return answer.content.decode()


def figures(client: Client) -> Found:
    return {
        (sample.name.removeprefix("thermacell_"), tuple(sample.labels.values())): sample.value
        for family in families(page(client))
        for sample in family.samples
    }


@pytest.mark.django_db
def test_what_is_due_and_since_when(client: Client) -> None:
    now = timezone.now()
    for late_s, state in ((3, State.REQUESTED), (60, State.RUNNING), (-600, State.RUNNING)):
        at = now - timedelta(seconds=late_s)
        make_job(make_node(), state=state, next_poll_at=at)
    with time_machine.travel(now, tick=False):
        found = figures(client)
    assert (found["due", ("install",)], found["polls_late", ()]) == (2, 1)
    assert found["oldest_due_seconds", ("install",)] == 60
    assert found["installs_live", ("running",)] == 2
    assert found["hubs", ()] == 3
    assert found["ready", ()] == 0  # no worker runs beside this test
    assert found["part_ok", ("database",)] == 1


@pytest.mark.django_db
def test_sign_in_failures_and_calls_are_counted_once_for_every_process(client: Client) -> None:
    for _ in range(2):
        client.post("/account/login/", {"login": "a@example.com", "password": "wrong"})
    calls.count("GET /v1/user/nodes", "200", 0.5)
    calls.count("GET /v1/user/nodes", "200", 0.25)
    Tally.add("cloud_call", {("GET /v1/user/nodes", "200"): (3, 1.0)})  # of another process
    for _ in range(2):  # asking counts nothing twice
        found = figures(client)
        assert found["audit_events_total", ("person.sign_in_failed", "refused")] == 2
        assert found["cloud_call_seconds_count", ("GET /v1/user/nodes", "200")] == 5
        assert found["cloud_call_seconds_sum", ("GET /v1/user/nodes", "200")] == 1.75


@pytest.mark.django_db
def test_machines_the_trail_and_restarts(client: Client) -> None:
    now = timezone.now()
    for machine, many in (("aaa", 2), ("bbb", 1)):
        for number in range(many):
            Claim.objects.create(
                loop="installs",
                account=make_account(),
                holder=f"{machine}:{number}:x",
                held_until=now + timedelta(seconds=20),
            )
    AuditCheck.objects.update_or_create(
        pk=1, defaults={"verified_at": now, "verified_sequence": 7, "finding": "entry 3 changed"}
    )
    Beat.objects.update_or_create(name="worker", defaults={"restarts": 4, "beat_at": None})
    found = figures(client)
    assert found["claims", ("installs", "aaa")] == 2
    assert found["claims", ("installs", "bbb")] == 1
    assert (found["trail_intact", ()], found["trail_verified_entries", ()]) == (0, 7)
    assert found["worker_restarts_total", ()] == 4


@pytest.mark.django_db
def test_it_costs_the_same_queries_however_many_rows(
    client: Client, django_assert_num_queries: Any
) -> None:
    make_job(make_node(), state=State.RUNNING)
    with CaptureQueriesContext(connection) as one:
        page(client)
    for _ in range(3):
        make_job(make_node(), state=State.RUNNING)
    with django_assert_num_queries(len(one)):
        page(client)


@pytest.mark.django_db
def test_only_staff_and_monitors_read_it(client: Client, settings: Any) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert client.get("/metrics", headers=headers).status_code == 401
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "no-cache" in answer["Cache-Control"]


@pytest.mark.django_db
def test_nothing_about_a_household_is_in_it(client: Client) -> None:
    account = make_account()
    node = make_node(account)
    text = page(client)
    for secret in (account.email, account.household.name, node.name, node.node_id, node.serial):
        assert secret not in text


def expressions() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    alerts = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    return [
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(rule["expr"] for group in alerts["groups"] for rule in group["rules"]),
    ]


@pytest.mark.django_db
def test_dashboard_and_alerts_ask_for_what_there_is(client: Client) -> None:
    AuditCheck.objects.update_or_create(pk=1, defaults={"verified_at": timezone.now()})
    BackupRun.objects.create(started_at=timezone.now(), verified_at=timezone.now())
    calls.count("GET /v1/user/nodes", "200", 0.5)
    known = {f"thermacell_{name}" for name, _ in figures(client)}
    known |= set(re.findall(r"^# TYPE (\S+)", page(client), re.MULTILINE))
    asked = {name for one in expressions() for name in re.findall(r"thermacell_\w+", one)}
    assert asked - known == set()


def promtool(*words: str, text: str = "") -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *words], input=text, capture_output=True, text=True, cwd=MONITORING
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
@pytest.mark.skipif(
    PROMTOOL is None, reason=LEFT_OUT + "Only parsers judged /metrics: there is no promtool."
)
def test_promtool_finds_nothing_wrong(client: Client, tmp_path: Path) -> None:
    calls.count("GET /v1/user/nodes", "200", 0.5)
    make_job(make_node(), state=State.RUNNING)
    promtool("check", "metrics", text=page(client))
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")
    rules = [{"record": f"panel{at}", "expr": expr} for at, expr in enumerate(expressions())]
    everything = tmp_path / "panels.yml"
    everything.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(everything))
