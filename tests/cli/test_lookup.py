"""How a command finds the hub that is meant."""

import pytest

from devices.cli import lookup
from devices.cli.errors import CommandEnd, Exit
from devices.models import Role
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_owner,
    make_user,
)


@pytest.mark.django_db
def test_a_hub_is_found_by_name_serial_or_node_id() -> None:
    household = make_household()
    owner, account = make_owner(household), make_account(household)
    porch = make_node(account, name="Ärmel Porch", serial="N03HA1", node_id="Node1")
    make_node(account, name="Deck", serial="N03HA2", node_id="Node2")
    for text in ("ärmel porch", "  ÄRMEL PORCH ", "n03ha1", "Node1", f"hub:{porch.pk}"):
        assert lookup.hub(owner, text) == porch


@pytest.mark.django_db
def test_a_hub_named_like_the_serial_of_another_is_not_taken_for_it() -> None:
    household = make_household()
    owner, account = make_owner(household), make_account(household)
    real = make_node(account, name="Porch", serial="N03HA1")
    make_node(account, name="N03HA1", serial="N03HA2")
    assert lookup.hub(owner, "N03HA1") == real


@pytest.mark.django_db
def test_a_name_that_two_hubs_have_is_answered_with_both() -> None:
    household = make_household("Garden")
    owner, account = make_owner(household), make_account(household)
    twins = [make_node(account, name="Porch\x1b[31m") for _ in range(2)]
    with pytest.raises(CommandEnd) as ended:
        lookup.hub(owner, "porch [31m")
    assert ended.value.status == Exit.NOT_UNDERSTOOD
    assert [one["id"] for one in ended.value.facts["candidates"]] == [n.pk for n in twins]
    assert all(node.node_id in ended.value.also for node in twins)
    assert "\x1b" not in ended.value.also


@pytest.mark.django_db
def test_nobody_finds_the_hub_of_a_stranger() -> None:
    node = make_node(name="Porch")
    stranger = make_owner(make_household())
    for text in ("Porch", node.serial, node.node_id, f"hub:{node.pk}"):
        with pytest.raises(CommandEnd) as ended:
            lookup.hub(stranger, text)
        assert node.node_id not in str(ended.value) + ended.value.also
    job = make_job(node)
    with pytest.raises(CommandEnd):
        lookup.install(stranger, str(job.pk), None)


@pytest.mark.django_db
def test_households_that_share_a_hub_tell_it_apart_by_their_name() -> None:
    first, second = make_household("Garden"), make_household("Cabin")
    owner = make_user(role=Role.OWNER, household=first)
    second.members.add(owner, through_defaults={"role": Role.OWNER})
    nodes = [make_node(make_account(home), node_id="NodeS", name="P") for home in (first, second)]
    with pytest.raises(CommandEnd):
        lookup.hub(owner, "NodeS")
    assert lookup.hub(owner, "NodeS", lookup.household(owner, "cabin")) == nodes[1]
