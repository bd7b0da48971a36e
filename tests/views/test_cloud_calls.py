"""The page about the calls of an account, and that looking at pages makes none."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.accounts.failures import record_failure
from devices.models import CloudAccount, Role, State, Tally
from devices.presentation.cloud_calls import KINDS, asked_next, calls_today
from devices.rainmaker import calls, client
from devices.rainmaker.errors import ServerTrouble
from devices.worker import cloud_tasks
from devices.worker.runner import Runner
from tests.support.engine import PASSWORD, link, run_until
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_owner,
    make_user,
)
from tests.support.people import browser
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.django_db
GARDEN = "garden@example.com"
LIST, CHECK = "GET /v1/user/nodes", "GET /v1/user/nodes/ota_update"


@pytest.fixture
def cloud() -> Iterator[SimCloud]:
    with SimCloud(hubs=3, offers=1, users=[f"{GARDEN}:{PASSWORD}"]) as started:
        yield started


def text_of(account: CloudAccount, user: Any = None) -> str:
    page = browser(user or make_owner(account.household)).get(f"/accounts/{account.pk}/calls/")
    assert page.status_code == 200
    return " ".join(page.content.decode().split())


@pytest.mark.processes
def test_ten_open_tabs_cost_the_cloud_nothing(cloud: SimCloud) -> None:
    household = make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    run_until(lambda: not account.nodes.filter(checked_at=None).exists(), limit_s=20)
    asked = cloud.counters()["requests"]
    stored = Tally.calls_of(account.pk, timezone.now())
    assert stored[CHECK] == 3
    assert stored[LIST] == asked["GET /v1/user/nodes"]
    node, tabs = account.nodes.first(), [browser(owner) for _ in range(10)]
    assert node is not None
    for tab in tabs:
        for path in ("/", "/hubs/live/", f"/hubs/{node.pk}/live/", "/planned/live/"):
            assert tab.get(path).status_code == 200
    assert tabs[0].get(f"/accounts/{account.pk}/calls/").status_code == 200
    # whatever the tabs have made due, the worker would ask now
    Runner("chores", cloud_tasks.find_chores, cloud_tasks.chores_are_idle).run()
    Runner("installs", cloud_tasks.find_installs, cloud_tasks.installs_are_idle).run()
    assert cloud.counters()["requests"] == asked


def test_calls_are_counted_for_their_account_and_day() -> None:
    account, other, now = make_account(), make_account(), timezone.now()
    with calls.counted_for(account.pk):
        calls.count(LIST, "200", 0.1)
        calls.count(CHECK, "200", 0.1)
        with calls.counted_for(other.pk):
            calls.count(LIST, "200", 0.1)
        calls.count(CHECK, "500", 0.1)
    calls.count(CHECK, "200", 0.1)
    found = calls.take_by_account()
    calls.take()
    assert calls.take_by_account() == {}
    yesterday = now - timedelta(days=1)
    Tally.add_calls(found, yesterday)
    assert calls_today(account, now) == []
    Tally.add_calls(found, now)
    Tally.add_calls(found, now)
    assert calls_today(account, now) == [("Look for firmware", 4), ("List of hubs", 2)]
    assert calls_today(other, now) == [("List of hubs", 2)]
    assert Tally.calls_of(account.pk, yesterday) == {}, "earlier days are dropped"
    assert "Six calls to the cloud today." in text_of(account)


def test_what_is_asked_next_comes_in_its_order() -> None:
    later = timezone.now() + timedelta(hours=2)
    account = make_account(next_sync_at=later - timedelta(hours=1))
    make_node(account, next_check_at=later + timedelta(hours=1))
    make_job(make_node(account, next_check_at=later), state=State.RUNNING)
    now = timezone.now()
    found = asked_next(account, now)
    assert [(one.what, one.at) for one in found] == [
        ("Follow an install", None),
        ("List of hubs", later - timedelta(hours=1)),
        ("Look for firmware", later),
    ]
    account.resume_at = now + timedelta(hours=1)
    assert asked_next(account, now)[0].at == account.resume_at, "a rest holds all of it up"
    out = make_account(state="signed_out")
    assert asked_next(out, now) == []
    assert "Nothing, until you sign in again." in text_of(out)


def test_a_back_off_is_shown_with_its_reason() -> None:
    account = make_account()
    assert "the last answers were good" in text_of(account)
    make_node(account, name="Boathouse", check_trouble="server_trouble")
    problem = ServerTrouble("The cloud answered 503.", status=503, was_sent=True)
    assert record_failure(account, problem, timezone.now())
    text = text_of(account)
    assert "The account" in text
    assert "Boathouse" in text
    assert "Asked again" in text


def test_the_page_is_for_who_may_see_the_account_and_writes_nothing() -> None:
    account = make_account()
    viewer = make_user(role=Role.VIEWER, household=account.household)
    text = text_of(account, viewer)
    assert account.email not in text
    assert browser(make_user()).get(f"/accounts/{account.pk}/calls/").status_code == 404
    assert "/calls/" in browser(viewer).get("/accounts/").content.decode()


def test_every_call_of_the_client_has_a_kind() -> None:
    nodes = client._NODES
    used = {f"GET {nodes}{end}" for end in ("", "/status", "/config", "/ota_status")}
    used |= {f"GET {client._OTA_UPDATE}", f"POST {client._OTA_UPDATE}", f"PUT {nodes}/params"}
    used |= {f"POST {client._LOGIN}", f"GET {client._USER}"}
    assert used == set(KINDS)
