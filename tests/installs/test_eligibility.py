"""What can be tried once more after an install ended."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.installs.eligibility import OfferSince, can_retry, offer_since
from devices.models import InstallOutcome, Node, OtaJob, State
from tests.support.factories import make_account, make_household, make_job, make_node, make_offer

pytestmark = pytest.mark.django_db


@pytest.fixture
def node() -> Node:
    """A hub that was checked this minute and is offered nothing."""
    return make_node(make_account(make_household()), checked_at=timezone.now())


def ended(node: Node, outcome: InstallOutcome = InstallOutcome.ROLLED_BACK) -> OtaJob:
    before = timezone.now() - timedelta(hours=1)
    job = make_job(node, state=State.REJECTED, outcome=outcome, ended_at=before)
    return OtaJob.objects.select_related("node__account").get(pk=job.pk)


@pytest.mark.parametrize(
    ("version", "since", "is_retried"),
    [
        ("5.3.3", OfferSince.SAME, True),
        ("5.4.0", OfferSince.OTHER, True),
        ("", OfferSince.NONE, False),
    ],
)
def test_what_the_cloud_offers_since_may_be_tried(
    node: Node, version: str, since: OfferSince, is_retried: bool
) -> None:
    if version:
        make_offer(node, fw_version=version)
    job = ended(node)
    assert (offer_since(job), can_retry(job)) == (since, is_retried)


def test_what_a_hub_refuses_each_time_is_not_tried_again_but_another_version_is(node: Node) -> None:
    offer = make_offer(node)
    job = ended(node, InstallOutcome.CHIP_REVISION)
    assert (offer_since(job), can_retry(job)) == (OfferSince.SAME, False)
    type(offer).objects.update(fw_version="5.4.0")
    assert can_retry(OtaJob.objects.get(pk=job.pk))


def test_an_offer_read_before_the_end_tells_nothing(node: Node) -> None:
    make_offer(node)
    Node.objects.update(checked_at=timezone.now() - timedelta(days=1))
    assert offer_since(ended(node)) == OfferSince.UNKNOWN


def test_an_install_that_runs_or_was_verified_is_not_retried(node: Node) -> None:
    make_offer(node, fw_version="5.4.0")
    running = make_job(node, state=State.RUNNING)
    assert (offer_since(running), can_retry(running)) == (OfferSince.IRRELEVANT, False)
    OtaJob.objects.update(state=State.VERIFIED, ended_at=timezone.now())
    assert not can_retry(OtaJob.objects.get())
