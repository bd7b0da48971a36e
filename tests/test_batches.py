"""Queues: one confirmation for several hubs, carried out one by one, through real loops."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from devices import batches
from devices.confirm import bind, read_bindings, sign, sign_list
from devices.models import (
    AuditEvent,
    Batch,
    BatchState,
    Household,
    ItemState,
    Membership,
    Node,
    OtaJob,
    Role,
    State,
    User,
)
from tests.engine import PASSWORD, link, run_until
from tests.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
    person,
)
from tests.simcloud_process import SimCloud

pytestmark = pytest.mark.django_db


class Home:
    def __init__(self, hubs: int = 3) -> None:
        self.household = make_household("Garden house")
        self.owner = make_owner(self.household)
        account = make_account(self.household)
        self.nodes = [make_node(account, name=f"Hub {n}") for n in range(1, hubs + 1)]
        for node in self.nodes:
            make_offer(node)

    def request(self, **options: Any) -> Batch:
        values: dict[str, Any] = {"at_once": 1, "stops_on_failure": True}
        return batches.request(
            user=self.owner,
            household=self.household,
            chosen=[(node, bind(node, offered(node))) for node in self.nodes],
            actor=person(self.owner),
            **values | options,
        )


def offered(node: Node) -> Any:
    assert node.offer is not None
    return node.offer


def states(batch: Batch) -> list[str]:
    return [
        item.job.state if item.job is not None else item.state
        for item in batch.items.select_related("job")
    ]


def end(batch: Batch, position: int, state: State) -> None:
    job = batch.items.get(position=position).job
    assert job is not None
    OtaJob.objects.filter(pk=job.pk).update(state=state, ended_at=timezone.now())


def test_hubs_go_one_by_one() -> None:
    home = Home()
    batch = home.request()
    now = timezone.now()
    for _ in range(3):
        batches.advance(now)
    assert states(batch) == ["requested", "waiting", "waiting"]
    end(batch, 1, State.VERIFIED)
    batches.advance(now)
    assert states(batch) == ["verified", "requested", "waiting"]


def test_more_at_a_time_when_asked_for() -> None:
    batch = Home(hubs=5).request(at_once=2)
    batches.advance(timezone.now())
    assert states(batch).count("requested") == 2


def test_an_offline_hub_is_skipped_with_its_reason() -> None:
    home = Home()
    batch = home.request()
    Node.objects.filter(pk=home.nodes[0].pk).update(is_online=False)
    batches.advance(timezone.now())
    assert states(batch) == ["skipped", "requested", "waiting"]
    assert "offline" in batch.items.get(position=1).reason


def test_a_failure_stops_the_rest_until_somebody_lets_them_go_on() -> None:
    home = Home()
    batch = home.request()
    batches.advance(timezone.now())
    end(batch, 1, State.UNVERIFIED)
    batches.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.STOPPED
    assert states(batch) == ["unverified", "waiting", "waiting"]
    batches.go_on(batch, user=home.owner, actor=person(home.owner))
    batches.advance(timezone.now())
    assert states(batch) == ["unverified", "requested", "waiting"]
    end(batch, 2, State.FAILED)
    batches.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.STOPPED


def test_told_so_it_goes_on_after_a_failure() -> None:
    batch = Home().request(stops_on_failure=False)
    batches.advance(timezone.now())
    end(batch, 1, State.FAILED)
    batches.advance(timezone.now())
    assert states(batch) == ["failed", "requested", "waiting"]


def test_what_was_confirmed_is_what_is_asked_for() -> None:
    """An offer that changed while the hub waited its turn is not installed."""
    home = Home()
    batch = home.request()
    home.nodes[0].offers.update(ended_at=timezone.now())
    make_offer(home.nodes[0], fw_version="9.9.9")
    batches.advance(timezone.now())
    assert states(batch) == ["skipped", "requested", "waiting"]
    assert "no longer what the form showed" in batch.items.get(position=1).reason


def test_a_person_who_lost_the_right_starts_nothing_more() -> None:
    home = Home()
    batch = home.request()
    home.owner.memberships.update(role=Role.VIEWER)
    batches.advance(timezone.now())
    assert states(batch) == ["skipped", "skipped", "skipped"]
    assert not OtaJob.objects.exists()


def test_a_signed_out_account_stops_the_queue_and_keeps_what_waits() -> None:
    home = Home()
    batch = home.request()
    home.nodes[0].account.state = "signed_out"
    home.nodes[0].account.save()
    batches.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.STOPPED
    assert "sign in again" in batch.why_stopped
    assert states(batch) == ["waiting"] * 3


def test_hubs_of_a_cloud_that_does_not_answer_keep_their_turn() -> None:
    home = Home()
    batch = home.request()
    now = timezone.now()
    account = home.nodes[0].account
    account.resume_at = now + timedelta(minutes=2)
    account.save()
    batches.advance(now)
    assert states(batch) == ["waiting"] * 3
    batches.advance(now + timedelta(minutes=3))
    assert states(batch) == ["requested", "waiting", "waiting"]


def test_a_confirmation_does_not_last_for_ever() -> None:
    home = Home()
    batch = home.request()
    batches.advance(timezone.now() + batches.VALID)
    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert states(batch) == [ItemState.DROPPED] * 3
    with pytest.raises(batches.NotNow):
        batches.go_on(batch, user=home.owner, actor=person(home.owner))


def test_stopping_lets_what_runs_go_on() -> None:
    home = Home()
    batch = home.request()
    batches.advance(timezone.now())
    batch.refresh_from_db()
    batches.stop(batch, actor=person(home.owner))
    batches.advance(timezone.now())
    assert states(batch) == ["requested", "waiting", "waiting"]
    with pytest.raises(batches.NotNow):
        batches.stop(batch, actor=person(home.owner))


def test_an_item_taken_twice_starts_once() -> None:
    """Two workers that both believe the lease is theirs."""
    home = Home(hubs=1)
    batch = home.request()
    item = batch.items.get()
    stale = batch.items.get()
    assert item.take()
    assert not stale.take()


def test_a_finished_queue_says_so_in_the_trail() -> None:
    home = Home(hubs=2)
    batch = home.request(at_once=2)
    batches.advance(timezone.now())
    end(batch, 1, State.VERIFIED)
    end(batch, 2, State.VERIFIED)
    batches.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert not batches.is_anything_due()
    actions = AuditEvent.objects.order_by("sequence").values_list("action", flat=True)
    assert list(actions) == [
        "queue.requested",
        "install.requested",
        "install.requested",
        "queue.finished",
    ]


# The pages


def entered(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_list_is_read_before_it_is_confirmed() -> None:
    home = Home()
    Node.objects.filter(pk=home.nodes[2].pk).update(is_online=False)
    client = entered(home.owner)
    query = "&".join(f"hub={node.pk}" for node in home.nodes)
    page = client.get(f"/queues/new/?{query}")
    text = page.content.decode()
    assert "Install on two hubs?" in text
    assert "The hub is offline" in text
    agreed = page.context["sections"][0].agreed
    assert text.count(f'name="agreed" value="{agreed}"') == 1
    assert [one.node_id for one in read_bindings(agreed)] == [node.pk for node in home.nodes[:2]]
    answer = client.post("/queues/new/", {"agreed": agreed, "at_once": "2"})
    batch = Batch.objects.get()
    assert answer["Location"] == f"/queues/{batch.pk}/"
    assert (batch.at_once, batch.stops_on_failure, batch.items.count()) == (2, True, 2)
    assert "two wait" in client.get(answer["Location"]).content.decode()


def test_all_means_all_that_could_be_installed_now() -> None:
    home = Home(hubs=4)
    Node.objects.filter(pk=home.nodes[0].pk).update(is_online=False)
    make_job(home.nodes[1], state=State.RUNNING)
    [section] = entered(home.owner).get("/queues/new/?all=1").context["sections"]
    assert [one.node_id for one in read_bindings(section.agreed)] == [
        node.pk for node in home.nodes[2:]
    ]


def test_more_than_one_queue_takes_is_said_and_the_first_are_shown() -> None:
    home = Home(hubs=batches.MOST_HUBS + 1)
    page = entered(home.owner).get("/queues/new/?all=1")
    assert "One queue takes up to 100 hubs; these are the first." in page.content.decode()
    [section] = page.context["sections"]
    assert section.fit == batches.MOST_HUBS == len(read_bindings(section.agreed))


def test_all_means_all_of_the_household_that_the_lists_are_narrowed_to() -> None:
    home, other = Home(hubs=2), make_household("Lake cabin")
    Membership.objects.create(household=other, user=home.owner, role=Role.OWNER)
    make_offer(make_node(make_account(other), name="Jetty"))
    client = entered(home.owner)
    both = client.get("/queues/new/?all=1").context["sections"]
    assert [section.household.name for section in both] == ["Garden house", "Lake cabin"]
    client.post("/households/choose/", {"household": other.pk})
    [section] = client.get("/queues/new/?all=1").context["sections"]
    assert section.household == other


def test_an_offer_that_changed_while_the_list_was_read_sends_nothing() -> None:
    home = Home(hubs=2)
    agreed = sign_list([bind(node, offered(node)) for node in home.nodes])
    home.nodes[0].offers.update(size_bytes=1)
    answer = entered(home.owner).post("/queues/new/", {"agreed": agreed})
    assert answer.status_code == 409
    assert "what the cloud offers for Hub 1 changed" in answer.content.decode()
    assert not Batch.objects.exists()


@pytest.mark.parametrize("agreed", ["", "nonsense", "x:y:z", "of one hub", "of no hub"])
def test_a_broken_confirmation_sends_nothing(agreed: str) -> None:
    home = Home()
    first = home.nodes[0]
    signed = {"of one hub": sign(bind(first, offered(first))), "of no hub": sign_list([])}
    agreed = signed.get(agreed, agreed)
    answer = entered(home.owner).post("/queues/new/", {"agreed": agreed})
    assert answer.status_code == 409
    assert "Nothing was sent" in answer.content.decode()


@pytest.mark.parametrize("query", ["hub=x", "hub=", "hub=99999999999999999999", "hub=²"])
def test_a_hub_that_is_no_number_is_no_hub(query: str) -> None:
    assert entered(Home().owner).get(f"/queues/new/?{query}").status_code == 200


def test_a_fragment_without_news_has_no_body() -> None:
    home = Home()
    batch = home.request()
    client = entered(home.owner)
    mark = client.get(f"/queues/{batch.pk}/").context["mark"]
    assert client.get(f"/queues/{batch.pk}/live/?v={mark}").status_code == 204
    batches.advance(timezone.now())
    answer = client.get(f"/queues/{batch.pk}/live/?v={mark}")
    assert "one is installing" in answer.content.decode()


def test_a_running_queue_is_named_on_the_list_and_on_its_installs() -> None:
    home = Home()
    batch = home.request()
    batches.advance(timezone.now())
    client = entered(home.owner)
    assert f"/queues/{batch.pk}/" in client.get("/").content.decode()
    job = OtaJob.objects.get()
    assert f"/queues/{batch.pk}/" in client.get(f"/installs/{job.pk}/").content.decode()
    stranger = entered(make_user(role=Role.OWNER, household=make_household()))
    assert f"/queues/{batch.pk}/" not in stranger.get("/").content.decode()


def test_only_hubs_that_can_be_updated_can_be_chosen() -> None:
    home = Home()
    Node.objects.filter(pk=home.nodes[0].pk).update(is_online=False)
    text = entered(home.owner).get("/").content.decode()
    assert text.count('name="hub"') == 2
    viewer = make_user(role=Role.VIEWER, household=home.household)
    assert 'name="hub"' not in entered(viewer).get("/").content.decode()


# Through the real loops


@pytest.fixture
def cloud() -> Iterator[SimCloud]:
    with SimCloud(hubs=4, offers=1.0, speed=60, users=[f"porch@example.com:{PASSWORD}"]) as opened:
        yield opened


@pytest.mark.django_db(transaction=True)
def test_a_queue_runs_to_its_end_against_a_cloud(cloud: SimCloud, settings: Any) -> None:
    settings.ENGINE_PACE = 60
    household: Household = make_household("Garden house")
    owner = make_owner(household)
    account = link(cloud, household, owner, "porch@example.com")
    nodes = list(account.nodes.order_by("name"))
    fit = [node for node in nodes if node.offer is not None and node.is_online]
    assert len(fit) > 1
    batch = batches.request(
        user=owner,
        household=household,
        chosen=[(node, bind(node, offered(node))) for node in fit],
        at_once=1,
        stops_on_failure=True,
        actor=person(owner),
    )
    most = 0

    def is_over() -> bool:
        nonlocal most
        batch.refresh_from_db()
        most = max(most, OtaJob.objects.live().count())
        return batch.state != BatchState.RUNNING

    run_until(is_over, limit_s=120)
    assert states(batch) == ["verified"] * len(fit)
    assert most == 1
    for node in fit:
        assert cloud.pushes(node.node_id) == {"accepted": 1}


def test_the_form_and_the_list_do_not_say_one_by_one_where_several_may_go() -> None:
    home = Home()
    client = Client()
    client.force_login(home.owner)
    form = client.get(f"/queues/new/?hub={home.nodes[0].pk}").content.decode()
    assert "as many at a time as you choose" in form
    home.request(at_once=2)
    for text in (form, client.get("/").content.decode()):
        assert "one after the other" not in text
    assert "Several hubs are being updated in a queue" in text
