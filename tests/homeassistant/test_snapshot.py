"""What the tables say of a hub, without a broker."""

from datetime import UTC, time
from typing import Any

import pytest
import time_machine

from devices.homeassistant import snapshot
from devices.homeassistant.commands import choose_when
from devices.models import HomeAssistantHub, Household, Role, When
from tests.support.factories import make_account, make_node, make_offer, make_owner, make_plan
from tests.support.homeassistant import allow, link_of
from tests.support.plans import NOON, at

pytestmark = pytest.mark.django_db
NIGHT: dict[str, Any] = {"window_start": time(22), "window_end": time(5)}


def test_a_plan_is_shown_whichever_account_it_was_made_in() -> None:
    household = Household.objects.create(name="Garden house", time_zone="Europe/Berlin")
    link = link_of(household)
    rows = [make_node(make_account(household), node_id="Hub-1") for _ in range(2)]
    for row in rows:
        make_offer(row)
    with time_machine.travel(NOON, tick=False):
        make_plan(rows[1], when=When.TONIGHT, **NIGHT)
        [hub] = snapshot.hubs_of(link, snapshot.revisions_of(link))
        assert hub.data.id == rows[0].pk
        assert hub.plan is not None
        assert hub.plan.hub == rows[1].pk
        assert hub.plan_starts_at == at("2026-06-01T22:00").astimezone(UTC)
        household.stored_at = NOON
        household.save()
        [hub] = snapshot.hubs_of(link, snapshot.revisions_of(link))
        assert (hub.plan is not None, hub.plan_starts_at) == (True, None), "it waits for spring"


def test_the_moment_is_chosen_only_while_who_allowed_installing_may_do_so() -> None:
    household = Household.objects.create(name="Garden house", time_zone="Europe/Berlin")
    owner, link = make_owner(household), link_of(household)
    node = make_node(make_account(household))
    allow(link, by=owner)
    choose_when(link, node, "Tonight", NOON)
    assert HomeAssistantHub.when_of(node) == When.TONIGHT
    owner.memberships.update(role=Role.MEMBER)
    link.refresh_from_db()
    choose_when(link, node, "Now", NOON)
    assert HomeAssistantHub.when_of(node) == When.TONIGHT
