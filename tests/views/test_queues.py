"""The pages of a queue: choose hubs, confirm the list once, watch it."""

import pytest
from django.utils import timezone

from devices.installs.confirmation import read_snapshots, sign, sign_list, snapshot_offer
from devices.models import Batch, Membership, Node, OtaJob, Role, State
from devices.planning import planner, queues
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
)
from tests.support.people import browser
from tests.support.queues import Home, offered

pytestmark = pytest.mark.django_db


def test_the_list_is_read_before_it_is_confirmed() -> None:
    home = Home()
    Node.objects.filter(pk=home.nodes[2].pk).update(is_online=False)
    client = browser(home.owner)
    query = "&".join(f"hub={node.pk}" for node in home.nodes)
    page = client.get(f"/queues/new/?{query}")
    text = page.content.decode()
    assert "Install on up to three hubs?" in text
    assert "It is offline. “Now” leaves it out;" in text
    agreed = page.context["sections"][0].agreed
    assert text.count(f'name="agreed" value="{agreed}"') == 1
    # the one that is offline goes along only when another time than now is chosen
    assert [one.node_pk for one in read_snapshots(agreed)] == [node.pk for node in home.nodes]
    answer = client.post("/queues/new/", {"agreed": agreed, "at_once": "2"})
    batch = Batch.objects.get()
    assert answer["Location"] == f"/queues/{batch.pk}/"
    assert (batch.at_once, batch.stops_on_failure, batch.items.count()) == (2, True, 2)
    assert "Two are waiting." in client.get(answer["Location"]).content.decode()


def test_all_lists_every_hub_with_new_firmware_and_says_which_are_left_out() -> None:
    home = Home(hubs=4)
    Node.objects.filter(pk=home.nodes[0].pk).update(is_online=False)
    make_job(home.nodes[1], state=State.RUNNING)
    page = browser(home.owner).get("/queues/new/?all=1")
    [section] = page.context["sections"]
    assert [one.node_pk for one in read_snapshots(section.agreed)] == [
        node.pk for node in [home.nodes[0], *home.nodes[2:]]
    ]
    assert (section.fit, section.can_wait) == (2, 1)
    assert [one.node.pk for one in section.choices if one.reasons] == [home.nodes[0].pk]
    assert "It is offline. “Now” leaves it out;" in page.content.decode()


def test_more_than_one_queue_takes_is_said_and_the_first_are_shown() -> None:
    home = Home(hubs=queues.MOST_HUBS + 1)
    page = browser(home.owner).get("/queues/new/?all=1")
    assert (
        "A review can hold up to 100 hubs. Only the first ones are shown." in page.content.decode()
    )
    [section] = page.context["sections"]
    assert section.fit == queues.MOST_HUBS == len(read_snapshots(section.agreed))


def test_all_means_all_of_the_household_that_the_lists_are_narrowed_to() -> None:
    home, other = Home(hubs=2), make_household("Lake cabin")
    Membership.objects.create(household=other, user=home.owner, role=Role.OWNER)
    make_offer(make_node(make_account(other), name="Jetty"))
    client = browser(home.owner)
    both = client.get("/queues/new/?all=1").context["sections"]
    assert [section.household.name for section in both] == ["Garden house", "Lake cabin"]
    client.post("/households/choose/", {"household": other.pk})
    [section] = client.get("/queues/new/?all=1").context["sections"]
    assert section.household == other


def test_an_offer_that_changed_while_the_list_was_read_sends_nothing() -> None:
    home = Home(hubs=2)
    agreed = sign_list([snapshot_offer(node, offered(node)) for node in home.nodes])
    home.nodes[0].offers.update(size_bytes=1)
    answer = browser(home.owner).post("/queues/new/", {"agreed": agreed})
    assert answer.status_code == 409
    assert "offer for Hub 1 has changed" in answer.content.decode()
    assert not Batch.objects.exists()


@pytest.mark.parametrize("agreed", ["", "nonsense", "x:y:z", "of one hub", "of no hub"])
def test_a_broken_confirmation_sends_nothing(agreed: str) -> None:
    home = Home()
    first = home.nodes[0]
    signed = {"of one hub": sign(snapshot_offer(first, offered(first))), "of no hub": sign_list([])}
    agreed = signed.get(agreed, agreed)
    answer = browser(home.owner).post("/queues/new/", {"agreed": agreed})
    assert answer.status_code == 409
    assert "Nothing was sent" in answer.content.decode()


def test_a_fragment_without_news_has_no_body() -> None:
    home = Home()
    batch = home.request()
    client = browser(home.owner)
    mark = client.get(f"/queues/{batch.pk}/").context["mark"]
    assert client.get(f"/queues/{batch.pk}/live/?v={mark}").status_code == 204
    planner.advance(timezone.now())
    answer = client.get(f"/queues/{batch.pk}/live/?v={mark}")
    assert "One is installing" in answer.content.decode()


def test_a_running_queue_is_named_on_the_list_and_on_its_installs() -> None:
    home = Home()
    batch = home.request()
    planner.advance(timezone.now())
    client = browser(home.owner)
    assert f"/queues/{batch.pk}/" in client.get("/").content.decode()
    job = OtaJob.objects.get()
    assert f"/queues/{batch.pk}/" in client.get(f"/installs/{job.pk}/").content.decode()
    stranger = browser(make_user(role=Role.OWNER, household=make_household()))
    assert f"/queues/{batch.pk}/" not in stranger.get("/").content.decode()


def test_only_hubs_that_can_be_updated_can_be_chosen() -> None:
    home = Home()
    Node.objects.filter(pk=home.nodes[0].pk).update(is_online=False)
    text = browser(home.owner).get("/").content.decode()
    assert text.count('name="hub"') == 2
    viewer = make_user(role=Role.VIEWER, household=home.household)
    assert 'name="hub"' not in browser(viewer).get("/").content.decode()


def test_the_form_and_the_list_do_not_say_one_by_one_where_several_may_go() -> None:
    home = Home()
    client = Client()
    client.force_login(home.owner)
    form = client.get(f"/queues/new/?hub={home.nodes[0].pk}").content.decode()
    assert "or several at once if you choose" in form
    home.request(at_once=2)
    for text in (form, client.get("/").content.decode()):
        assert "one after the other" not in text
    assert "Several hubs are being updated in a queue" in text
