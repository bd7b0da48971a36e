"""What version 0.1.0 stored, signed and sent out goes on working: written here as it wrote it."""

from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.core import signing
from django.utils import timezone

from devices.homeassistant.commands import press
from devices.models import (
    Channel,
    HomeAssistantHub,
    HomeAssistantLink,
    MayInstall,
    Node,
    OtaJob,
    Plan,
)
from devices.planning import planner
from tests.support.client import Client
from tests.support.factories import sign_in
from tests.support.queues import Home, offered

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Home:
    return Home(hubs=2)


def shown(node: Node) -> dict[str, Any]:
    """Return what a form showed, in the field names of 0.1.0."""
    offer = offered(node)
    return {
        "node_id": node.pk,
        "offer_id": offer.pk,
        "ota_job_id": offer.ota_job_id,
        "from_version": node.fw_version,
        "to_version": offer.fw_version,
        "size_bytes": offer.size_bytes,
        "md5": offer.md5,
    }


def test_a_form_that_was_open_during_the_upgrade_installs(home: Home) -> None:
    node = home.nodes[0]
    agreed = signing.dumps(shown(node), salt="devices.confirm")
    answer = sign_in(Client(), home.owner).post(f"/hubs/{node.pk}/install/", {"agreed": agreed})
    assert answer["Location"] == f"/installs/{OtaJob.objects.get(node=node).pk}/"


def test_a_form_of_several_hubs_that_was_open_starts_its_queue(home: Home) -> None:
    agreed = signing.dumps([shown(node) for node in home.nodes], salt="devices.confirm.list")
    answer = sign_in(Client(), home.owner).post("/queues/new/", {"agreed": agreed, "at_once": "1"})
    assert answer.status_code == 302
    assert [item.node for item in Plan.objects.order_by("position")] == home.nodes


def test_a_queue_that_waited_goes_on(home: Home) -> None:
    batch = home.request()
    for item in batch.items.select_related("node"):
        Plan.objects.filter(pk=item.pk).update(binding=shown(item.node))
    planner.advance(timezone.now())
    [job] = OtaJob.objects.all()
    assert job.node == home.nodes[0]


def test_a_retained_message_of_home_assistant_still_installs(home: Home) -> None:
    node = home.nodes[0]
    link = HomeAssistantLink.objects.create(
        household=home.household, is_on=True, may_install=MayInstall.ALL, allowed_by=home.owner
    )
    HomeAssistantHub.objects.create(node=node)
    signer = signing.Signer(salt="devices.homeassistant.press")
    press(
        link,
        node,
        signer.sign_object(shown(node) | {"press": 0}),
        is_retained=False,
        now=timezone.now(),
    )
    assert OtaJob.objects.get().node == node


def test_the_unsubscribe_link_of_an_old_mail_works(home: Home) -> None:
    channel = Channel.objects.create(household=home.household, user=home.owner, is_on=True)
    token = signing.dumps(channel.pk, salt="notifications-off")
    Client().post(f"/notifications/off/{token}/")
    channel.refresh_from_db()
    assert not channel.is_on


@pytest.mark.parametrize("name", ["installs_loop", "chores_loop", "send_notices", "trail_upkeep"])
def test_queued_tasks_and_schedules_find_their_functions(name: str) -> None:
    assert callable(getattr(import_module("devices.tasks"), name))
    assert settings.Q_CLUSTER["name"]
