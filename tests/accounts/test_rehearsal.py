"""Simulated hubs play trouble on request, through the simulated cloud's own controls."""

from collections.abc import Iterator
from typing import Any

import pytest

from devices.models import CloudAccount, Node, Rehearsal, Role, StaffRole
from devices.simcloud.scenarios import CATALOGUE
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_node,
    make_owner,
    make_user,
    sign_in,
)
from tests.support.people import browser, trail
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.django_db


@pytest.fixture
def cloud() -> Iterator[SimCloud]:
    with SimCloud(hubs=2, offers=0) as started:
        yield started


def hub_of(cloud: SimCloud) -> Node:
    account = make_account(make_household("Garden house"), base_url=cloud.url)
    [first, _] = cloud.control("GET", "hubs")["hubs"]
    return make_node(account, node_id=first["node_id"], name="Porch")


def truth(cloud: SimCloud, node: Node) -> dict[str, Any]:
    found: dict[str, Any] = cloud.control("GET", f"hubs/{node.node_id}")
    return found


@pytest.mark.processes
def test_a_hub_plays_what_is_chosen_until_it_is_reset(cloud: SimCloud) -> None:
    node = hub_of(cloud)
    client = browser(make_owner(node.account.household))
    page = f"/hubs/{node.pk}/rehearsal/"
    assert page in client.get(f"/hubs/{node.pk}/").content.decode()
    for trouble in Rehearsal:
        if trouble:
            assert client.post(page, {"act": trouble.value})["Location"] == page
            assert truth(cloud, node)["scenario"]["name"] == trouble.value
    node.refresh_from_db()
    assert node.rehearsal == Rehearsal.SWAPPED
    words = str(Rehearsal.SWAPPED.label)
    for shown in (page, f"/hubs/{node.pk}/", "/"):
        assert words in client.get(shown).content.decode(), shown
    cloud.control("PUT", f"hubs/{node.node_id}/online", {"online": False})
    client.post(page, {"act": "reset"})
    after = truth(cloud, node)
    assert (after["scenario"]["name"], after["online"]) == ("happy", True)
    assert words not in client.get("/").content.decode()
    assert client.post(page, {"act": "nothing"}).status_code == 409
    client.post(page, {"act": "offer"})
    assert truth(cloud, node)["offer"] is not None
    node.refresh_from_db()
    assert node.is_being_checked
    assert len(trail("hub.rehearsed")) == len(Rehearsal) - 1 + 2
    cloud.stop()
    answer = client.post(page, {"act": "stuck"})
    assert answer.status_code == 409
    assert "does not answer" in answer.content.decode()
    node.refresh_from_db()
    assert node.rehearsal == ""


def test_every_trouble_is_one_the_simulated_cloud_plays() -> None:
    assert {one.value for one in Rehearsal if one} <= set(CATALOGUE)


def test_real_hubs_rehearse_nothing_and_members_play_nothing() -> None:
    node = make_node(make_account(base_url="https://api.rainmaker.espressif.com"))
    owner = make_owner(node.account.household)
    page = f"/hubs/{node.pk}/rehearsal/"
    assert browser(owner).get(page).status_code == 404
    assert browser(owner).post(page, {"act": "stuck"}).status_code == 404
    assert page not in browser(owner).get(f"/hubs/{node.pk}/").content.decode()
    CloudAccount.objects.update(base_url="http://127.0.0.1:9")
    member = make_user(role=Role.MEMBER, household=node.account.household)
    assert browser(member).post(page, {"act": "stuck"}).status_code == 403
    auditor = make_user(staff_role=StaffRole.AUDITOR)
    assert sign_in(Client(), auditor).get(page).status_code in {403, 404}
    assert not trail("hub.rehearsed")
