"""What a hub was set to before an install is kept, compared afterwards, and shown."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.fleet.settings_kept import differences, keep_after
from devices.fleet.sync import ask_reading
from devices.installs import restoring
from devices.models import AuditEvent, Node, OtaJob, Role, State
from devices.rainmaker.parsers import read_hub_facts, read_nodes_page
from devices.rainmaker.schemas import NodeDetails
from devices.simcloud import liv
from devices.worker.cloud_tasks import advance_installs
from devices.worker.runner import Taken
from tests.support.client import Client
from tests.support.engine import confirm, end_of, link, run_until
from tests.support.factories import make_household, make_job, make_node, make_owner, make_user
from tests.support.simcloud_process import SimCloud
from tests.support.stage import Stage

BEFORE = {
    "name": "Back porch",
    "power": True,
    "led_brightness": 60,
    "led_hue": 200,
    "schedules": [{"id": "a"}],
    "refill_percent": 62.0,
}


def details(node: Node, *, is_online: bool = True) -> NodeDetails:
    element = {
        "id": node.node_id,
        "status": {"connectivity": {"connected": is_online}},
        "params": {"LIV Hub": {"LED Hue": 0}},
    }
    (found,) = read_nodes_page({"nodes": [node.node_id], "node_details": [element]}).nodes
    return found


def test_the_settings_are_read_as_the_contract_names_them() -> None:
    hub = {"Name": "Porch", "LED Brightness": 60, "LED Hue": 200, "Enable Repellers": True}
    schedules = [{"id": "b"}, {"id": "a"}]
    facts = read_hub_facts({"LIV Hub": hub, "Schedule": {"Schedules": schedules}})
    assert facts is not None
    assert (facts.led_brightness, facts.led_hue) == (60, 200)
    assert facts.schedules == [{"id": "a"}, {"id": "b"}], "in one order, whatever the cloud's"
    bare = read_hub_facts({"LIV Hub": {"LED Hue": 361, "LED Brightness": "bright"}})
    assert bare is not None
    assert (bare.led_brightness, bare.led_hue, bare.schedules) == (None, None, None)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({}, []),
        ({"led_hue": 0}, ["led_hue"]),
        ({"schedules": [], "power": False}, ["power", "schedules"]),
        ({"refill_percent": 58.0}, []),
        ({"refill_percent": 100.0}, ["refill_percent"]),
    ],
)
def test_what_is_used_up_or_unknown_is_no_difference(
    after: dict[str, Any], expected: list[str]
) -> None:
    assert differences(BEFORE, BEFORE | after) == expected
    assert differences(BEFORE, after) == [name for name in expected if name in after]
    assert differences(None, after) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "is_online", "later_s", "is_kept"),
    [
        (State.VERIFIED, True, 60, True),
        (State.REJECTED, True, 60, True),
        (State.VERIFIED, False, 60, False),  # it could not report them yet
        (State.VERIFIED, True, -60, False),  # asked for before the end
        (State.LOST, True, 60, False),
        (State.RUNNING, True, 60, False),
    ],
)
def test_they_are_compared_once_the_hub_is_read_again(
    state: State, is_online: bool, later_s: int, is_kept: bool
) -> None:
    now = timezone.now()
    node = make_node(settings=BEFORE | {"led_hue": 0})
    job = make_job(node, state=state, now=now, settings_before=BEFORE)
    asked_at = now + timedelta(seconds=later_s)
    keep_after([(node, details(node, is_online=is_online))], now, asked_at=asked_at)
    job.refresh_from_db()
    assert (job.settings_after_at is not None) == is_kept
    events = AuditEvent.objects.filter(action="install.settings_changed")
    assert events.count() == is_kept
    if is_kept:
        assert events.get().detail["led_hue"] == [200, 0]
        node.settings = BEFORE
        keep_after([(node, details(node))], now, asked_at=asked_at)
        job.refresh_from_db()
        assert job.settings_after != BEFORE, "once: what people change later is theirs"


@pytest.mark.django_db
def test_the_verdict_page_and_the_receipt_say_what_differs(client: Client) -> None:
    now = timezone.now()
    after = BEFORE | {"led_hue": 0, "schedules": []}
    job = make_job(state=State.VERIFIED, outcome="verified", settings_before=BEFORE)
    client.force_login(make_owner(job.household))
    addresses = (f"/installs/{job.pk}/", f"/installs/{job.pk}/receipt/")
    assert "Compared at the next reading" in client.get(addresses[0]).content.decode()
    OtaJob.objects.update(settings_after=after, settings_after_at=now, settings_before_at=now)
    for address in addresses:
        text = client.get(address).content.decode()
        assert "These are not as they were before the install." in text
        assert "200°" in text
        assert "one schedule" in text
    OtaJob.objects.update(settings_after=BEFORE)
    for address in addresses:
        assert "The same as before the install" in client.get(address).content.decode()


def test_a_simulated_hub_loses_settings_until_they_are_written_again() -> None:
    stage = Stage("loses_setting")
    schedules = {"Schedules": [{"id": "a", "operation": "add"}]}
    liv.write(stage.hub, {"LIV Hub": {"LED Hue": 200}, "Schedule": schedules}, stage.now)
    stage.install()
    params = liv.params(stage.hub, stage.now)
    assert params["LIV Hub"]["LED Hue"] == 0
    assert params["Schedule"]["Schedules"] == []
    liv.write(stage.hub, {"LIV Hub": {"LED Hue": 200}}, stage.now + 1)
    assert liv.params(stage.hub, stage.now + 2)["LIV Hub"]["LED Hue"] == 200
    assert liv.params(stage.hub, stage.now + 2)["Schedule"]["Schedules"] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("scenario", "changed"), [("loses_setting", True), ("happy", False)])
def test_from_the_push_to_the_comparison(settings: Any, scenario: str, changed: bool) -> None:
    settings.ENGINE_PACE = 60
    users = ["porch@example.com:quiet-evening"]
    with SimCloud(hubs=1, offers=1.0, speed=60, users=users) as cloud:
        cloud.set_scenario(0, scenario)
        cloud.set_params(0, **{"LED Hue": 200})
        household = make_household()
        owner = make_owner(household)
        account = link(cloud, household, owner, "porch@example.com")
        job = confirm(owner, account.nodes.get())
        assert end_of(job) == ("verified", "verified")

        def is_compared() -> bool:
            ask_reading(account, timezone.now())
            return OtaJob.objects.filter(settings_after_at__isnull=False).exists()

        run_until(is_compared)
    job.refresh_from_db()
    # the simulated household may have switched the repellent meanwhile
    found = set(differences(job.settings_before, job.settings_after)) - {"power"}
    assert found == ({"led_hue"} if changed else set())


def test_what_is_put_back_is_one_write_without_the_repellent() -> None:
    after = BEFORE | {"led_hue": 0, "power": False, "schedules": [{"id": "b"}]}
    job = OtaJob(settings_before=BEFORE, settings_after=after)
    assert restoring.what_to_write(job) == {
        "LIV Hub": {"LED Hue": 200},
        "Schedule": {"Schedules": [{"id": "a", "operation": "add"}]},
    }
    job.settings_after = BEFORE | {"power": False}
    assert restoring.what_to_write(job) == {}


@pytest.mark.django_db
@pytest.mark.parametrize("why", ["later install", "offline", "just asked", "nothing", "viewer"])
def test_nothing_is_put_back_that_cannot_be(why: str) -> None:
    now, node = timezone.now(), make_node(is_online=why != "offline")
    after = BEFORE if why == "nothing" else BEFORE | {"led_hue": 0}
    job = make_job(node, state=State.VERIFIED, settings_before=BEFORE, settings_after=after)
    OtaJob.objects.update(settings_after_at=now, settings_before_at=now)
    if why == "later install":
        make_job(node, state=State.VERIFIED)
    if why == "just asked":
        OtaJob.objects.update(put_back_asked_at=now)
    client, household = Client(), node.account.household
    role = Role.VIEWER if why == "viewer" else Role.MEMBER
    client.force_login(make_user(role=role, household=household))
    assert 'id="put-back"' not in client.get(f"/installs/{job.pk}/").content.decode()
    status = client.post(f"/installs/{job.pk}/put-back/").status_code
    assert status == (403 if why == "viewer" else 302)
    assert not AuditEvent.objects.filter(action="install.put_back_asked").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [False, True])
def test_a_press_puts_them_back_and_the_next_reading_proves_it(settings: Any, fault: bool) -> None:
    settings.ENGINE_PACE = 60
    users = ["porch@example.com:quiet-evening"]
    with SimCloud(hubs=1, offers=1.0, speed=60, users=users) as cloud:
        cloud.set_params(0, **{"LED Hue": 7})
        household = make_household()
        owner = make_owner(household)
        account = link(cloud, household, owner, "porch@example.com")
        now = timezone.now()
        node = account.nodes.get()
        assert node.settings is not None
        before = node.settings | {"led_hue": 200}
        job = make_job(
            node,
            state=State.VERIFIED,
            now=now,
            settings_before=before,
            settings_after=node.settings,
            settings_after_at=now,
            settings_before_at=now,
        )
        if fault:
            cloud.fault("500", method="PUT", path="*/params", count=1)
        client = Client()
        client.force_login(owner)
        assert 'id="put-back"' in client.get(f"/installs/{job.pk}/").content.decode()
        client.post(f"/installs/{job.pk}/put-back/")

        def is_done() -> bool:
            job.refresh_from_db()
            return job.put_back_asked_at is None

        run_until(is_done)
        text = client.get(f"/installs/{job.pk}/").content.decode()
        if fault:
            assert "They could not be put back" in text
            assert 'id="put-back"' in text, "and may be asked for again"
            return
        assert "Put back by" in text

        def is_compared() -> bool:
            ask_reading(account, timezone.now())
            return OtaJob.objects.filter(settings_after_at__isnull=False).exists()

        run_until(is_compared)
    job.refresh_from_db()
    assert job.settings_after is not None
    assert job.settings_after["led_hue"] == 200
    done = AuditEvent.objects.filter(job_id=job.pk, action__startswith="install.put_back")
    assert [one.actor_name for one in done.order_by("sequence")] == [owner.email, "Thermacell Web"]


@pytest.mark.django_db
def test_a_wish_that_could_not_be_carried_out_in_time_ends_and_is_shown(client: Client) -> None:
    now, after = timezone.now(), BEFORE | {"led_hue": 0}
    job = make_job(state=State.VERIFIED, settings_before=BEFORE, settings_after=after)
    times = {"settings_after_at": now, "settings_before_at": now}
    OtaJob.objects.update(**times, put_back_asked_at=now, put_back_by_name="owner@example.com")
    advance_installs(now + restoring.ASKED_FOR - timedelta(seconds=1), Taken())
    assert not AuditEvent.objects.filter(action="install.put_back").exists()
    for _ in range(2):
        advance_installs(now + restoring.ASKED_FOR, Taken())
    event = AuditEvent.objects.get(action="install.put_back")
    assert (event.outcome, event.job_id) == ("failed", job.pk)
    client.force_login(make_owner(job.household))
    page = client.get(f"/installs/{job.pk}/").content.decode()
    assert "The cloud could not be asked within ten minutes." in page
    assert "Settings could not be put back" in client.get(f"/hubs/{job.node_id}/").content.decode()
