"""The sentence at the top of a queue's page."""

import pytest
from django.utils.translation import override

from devices.models import Batch, BatchState, PlanState
from devices.models.message import NO_MESSAGE, Message, MessageCode
from devices.presentation.headlines import of_queue
from tests.support.factories import make_account, make_job, make_node, make_plan

FAILED_HUB = Message.of(MessageCode.QUEUE_HUB_FAILED, hub="Fire pit")


def queue_of(*kinds: str, state: str = BatchState.RUNNING, why: Message = NO_MESSAGE) -> Batch:
    """Return a queue with one hub of each of these: states of an install, or of a queue's item."""
    account = make_account()
    batch = Batch.objects.create(household=account.household, state=state, why_stopped=why)
    for position, kind in enumerate(kinds, start=1):
        node = make_node(account)
        is_item = kind in {PlanState.WAITING, PlanState.DROPPED}
        make_plan(
            node,
            batch=batch,
            position=position,
            state=kind if is_item else PlanState.STARTED,
            drop_reason="refused" if kind == PlanState.DROPPED else "",
            job=None if is_item else make_job(node, state=kind),
        )
    return batch


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kinds", "stopped_by", "expected"),
    [
        (
            ("unverified", "waiting", "waiting", "waiting"),
            FAILED_HUB,
            "Stopped: Fire pit was not verified. Three hubs are still waiting. "
            "One needs attention.",
        ),
        (
            ("verified", "waiting"),
            Message.of(MessageCode.QUEUE_SIGNED_OUT),
            "Stopped: the cloud account is signed out. One hub is still waiting. "
            "One of two verified.",
        ),
        (
            ("running", "waiting"),
            Message.of(MessageCode.QUEUE_STOPPED_BY, name="Ann"),
            "Stopped by Ann. One hub is still waiting. One is installing.",
        ),
        (
            ("waiting", "waiting"),
            Message.of(MessageCode.QUEUE_STOPPED_BY, name="Ann"),
            "Stopped by Ann. Two hubs are still waiting.",
        ),
        (("verified", "verified"), None, "Both updates are verified."),
        (("running", "waiting"), None, "One is installing, one is waiting."),
        (
            ("verified", "dropped", "refused", "expired", "cancelled", "dropped", "lost"),
            None,
            "One of seven verified, one needs attention, five were not sent.",
        ),
    ],
)
def test_the_headline_says_what_stopped_the_queue_and_counts_each_hub_once(
    kinds: tuple[str, ...], stopped_by: Message | None, expected: str
) -> None:
    state = BatchState.STOPPED if stopped_by else BatchState.RUNNING
    batch = queue_of(*kinds, state=state, why=stopped_by or NO_MESSAGE)
    items = list(batch.items.select_related("job"))
    assert of_queue(batch, items) == expected
    for language in ("de", "es"):
        with override(language):
            assert of_queue(batch, items) != expected
