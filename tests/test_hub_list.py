"""The list of hubs: its order, remembered and by household, and how often it asks."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from devices.models import Role, StaffRole, State
from tests.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db


def names(client: Client, path: str = "/") -> list[str]:
    """Return the hubs and the headings between them, in the order of the page."""
    text = client.get(path).content.decode()
    found = re.findall(r'class="name"[^>]*>([^<]+)<|scope="rowgroup"[^>]*>([^<]+)<', text)
    return [hub or f"# {household}" for hub, household in found]


def test_the_order_that_was_chosen_is_remembered(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    make_node(account, name="A", fw_version="5.9")
    make_node(account, name="B", fw_version="5.1")
    sign_in(client, make_owner(household))
    assert names(client) == ["A", "B"]
    assert names(client, "/?sort=version") == ["B", "A"]
    assert names(client) == ["B", "A"]
    assert names(client, "/?sort=nonsense") == ["A", "B"]
    assert names(client) == ["B", "A"]  # nonsense is not kept
    assert names(client, "/?sort=") == ["A", "B"]
    assert names(client) == ["A", "B"]


def test_staff_see_the_hubs_household_by_household(client: Client, settings: Any) -> None:
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    for house, hubs in (("West", ["C"]), ("East", ["B", "A"])):
        account = make_account(make_household(house))
        for hub in hubs:
            make_node(account, name=hub)
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    assert names(client) == ["# East", "A", "B", "# West", "C"]
    assert names(client, "/?sort=name") == ["A", "B", "C"]


def test_staff_who_see_one_household_see_what_needs_attention_first(client: Client) -> None:
    account = make_account(make_household(support_until=timezone.now() + timedelta(days=1)))
    make_node(account, name="A")
    make_offer(make_node(account, name="B"))
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    assert names(client) == ["B", "A"]


def test_two_households_of_the_same_name_stay_two(client: Client) -> None:
    user = make_user()
    for hub in ("A", "B", "C"):
        household = make_household("House")
        household.memberships.create(user=user, role=Role.OWNER)
        make_node(make_account(household), name=hub)
    sign_in(client, user)
    assert names(client, "/?sort=household") == ["# House", "A", "# House", "B", "# House", "C"]


def test_one_household_needs_no_order_by_household(client: Client) -> None:
    household = make_household()
    make_node(make_account(household))
    sign_in(client, make_owner(household))
    assert "Household by household" not in client.get("/").content.decode()


@pytest.mark.parametrize(("what", "every_s"), [("nothing", 30), ("an install", 3), ("a check", 3)])
def test_it_asks_often_only_while_something_runs(client: Client, what: str, every_s: int) -> None:
    household = make_household()
    node = make_node(make_account(household))
    if what == "an install":
        make_job(node, state=State.RUNNING)
    if what == "a check":
        node.touch(timezone.now(), check_asked_at=timezone.now())
    sign_in(client, make_owner(household))
    for path in ("/", f"/hubs/{node.pk}/"):
        text = client.get(path).content.decode()
        assert f'data-hx-trigger="every {every_s}s, seen"' in text, path


def test_the_way_to_the_first_update_says_where_one_stands(client: Client) -> None:
    household = make_household()
    sign_in(client, make_owner(household))

    def step(path: str) -> str:
        found = re.findall(r'aria-current="step">([^<]+)<', client.get(path).content.decode())
        return found[0] if found else ""

    assert [step("/"), step("/accounts/link/")] == ["Your cloud account"] * 2
    account = make_account(household)
    assert [step("/"), step("/accounts/link/")] == ["Your hubs", ""]
    node = make_node(account)
    assert step("/") == "The first update"
    make_job(node)
    assert step("/") == ""
