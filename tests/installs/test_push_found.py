"""What the last look before a push finds is kept, also when it ends the install."""

from dataclasses import replace

import pytest
from django.utils import timezone

from devices.installs.push import PrePushCheck, claim_for_push, push_failed
from devices.models import Node, OtaJob
from devices.rainmaker.errors import OfferGone
from devices.rainmaker.schemas import Connectivity, FirmwareOffer, NodeConfig
from tests.support.factories import make_job, make_node, make_offer

pytestmark = pytest.mark.django_db
NEW = FirmwareOffer(
    is_available=True,
    ota_job_id="OTA_NEW",
    fw_version="5.4.0",
    description="Fixes",
    size_bytes=245760,
    md5="",
)


def job() -> OtaJob:
    node = make_node(fw_version="5.3.2")
    make_offer(node, ota_job_id="OTA_OLD", fw_version="5.3.3")
    return make_job(node, ota_job_id="OTA_OLD", md5="")


def look(node: Node, offer: FirmwareOffer, runs: str = "5.3.2") -> PrePushCheck:
    return PrePushCheck(
        offer=offer,
        config=NodeConfig(
            node_id=node.node_id,
            fw_version=runs,
            name=node.name,
            model=node.model,
            type="",
            project_name="",
            platform="",
            serial=node.serial,
            device_names=(),
            has_ota_service=True,
        ),
        connectivity=Connectivity(True, timezone.now(), "1"),
        status=None,
    )


def test_the_offer_that_ended_an_install_is_shown_at_once() -> None:
    one = job()
    revision = Node.objects.get().revision
    assert not claim_for_push(one, look(one.node, NEW), timezone.now())
    node = Node.objects.get()
    assert node.offer is not None
    assert (node.offer.ota_job_id, node.offer.fw_version) == ("OTA_NEW", "5.4.0")
    assert node.offer.description == "Fixes"
    assert node.revision > revision, "so that open pages and Home Assistant show it"
    assert OtaJob.objects.get().outcome == "offer_swapped"


def test_an_offer_that_is_gone_is_no_longer_shown() -> None:
    one = job()
    nothing = replace(NEW, is_available=False)
    assert not claim_for_push(one, look(one.node, nothing), timezone.now())
    assert Node.objects.get().offer is None
    assert OtaJob.objects.get().outcome == "offer_withdrawn"


@pytest.mark.parametrize(
    ("runs", "outcome"), [("5.3.3", "already_installed"), ("5.2.0", "offer_swapped")]
)
def test_the_version_that_ended_an_install_is_kept(runs: str, outcome: str) -> None:
    one = job()
    same = replace(NEW, ota_job_id="OTA_OLD", fw_version="5.3.3")
    assert not claim_for_push(one, look(one.node, same, runs), timezone.now())
    assert Node.objects.get().fw_version == runs
    assert OtaJob.objects.get().outcome == outcome


def test_a_push_refused_for_its_offer_asks_for_the_present_one() -> None:
    one = job()
    OtaJob.objects.update(state="pushing")
    one.refresh_from_db()
    push_failed(one, OfferGone("gone", refused=True, was_sent=True), timezone.now())
    assert OtaJob.objects.get().state == "refused"
    assert Node.objects.get().next_check_at <= timezone.now()
