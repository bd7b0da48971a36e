"""Support proposes updates for many hubs of several households in one review."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.installs.confirmation import read_snapshots
from devices.models import (
    AuditEvent,
    Batch,
    Channel,
    Delivery,
    Dismissal,
    Household,
    Node,
    Notice,
    Offer,
    OtaJob,
    Proposal,
    Role,
    StaffRole,
    State,
    Topic,
)
from devices.planning import queues
from devices.tasks import send_notices
from tests.support.client import Client
from tests.support.factories import (
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


class Homes:
    """Two households that let support in, each with hubs that are offered something."""

    def __init__(self) -> None:
        self.support = make_user("sam@support.example", staff_role=StaffRole.SUPPORT)
        self.birch = self.house("Birch Landing", "Gazebo", "Hot tub")
        self.garden = self.house("Garden house", "Back porch")

    def house(self, name: str, *hubs: str) -> Household:
        until = timezone.now() + timedelta(days=1)
        household = make_household(name, support_until=until)
        make_owner(household)
        account = make_account(household)
        for hub in hubs:
            make_offer(make_node(account, name=hub))
        return household

    def client(self) -> Client:
        return sign_in(Client(), self.support)


@pytest.fixture
def homes() -> Homes:
    return Homes()


def ask_all(client: Client, query: str = "") -> Any:
    return client.get(f"/queues/new/?all=1{query}").context["proposing"]


def send(client: Client, proposing: Any, **fields: Any) -> Any:
    values = {"agreed": proposing.agreed, "words": "It mends the lamp."}
    return client.post("/proposals/new/", values | fields, follow=True)


def test_all_that_match_are_reviewed_and_proposed_with_one_press(homes: Homes) -> None:
    client = homes.client()
    listed = client.get("/").content.decode()
    assert "Review three updates" in listed
    assert listed.count('form="choose"') == 3
    proposing = ask_all(client)
    assert [str(one.household) for one in proposing.sections] == ["Birch Landing", "Garden house"]
    assert proposing.n == 3
    answer = send(client, proposing)
    assert "Proposed for three hubs." in answer.content.decode()
    made = Proposal.objects.order_by("hub_name")
    assert [(one.hub_name, one.household, one.words) for one in made] == [
        ("Back porch", homes.garden, "It mends the lamp."),
        ("Gazebo", homes.birch, "It mends the lamp."),
        ("Hot tub", homes.birch, "It mends the lamp."),
    ]
    assert {one.proposed_by for one in made} == {homes.support}
    events = AuditEvent.objects.filter(action="proposal.made")
    assert {one.household_id for one in events} == {homes.birch.pk, homes.garden.pk}
    assert not OtaJob.objects.exists()
    assert not Batch.objects.exists()


def test_a_filter_and_a_tick_narrow_what_is_proposed(homes: Homes) -> None:
    client = homes.client()
    proposing = ask_all(client, "&q=birch")
    assert [str(one.household) for one in proposing.sections] == ["Birch Landing"]
    gazebo = Node.objects.get(name="Gazebo")
    send(client, proposing, ticks="1", tick=gazebo.pk)
    assert Proposal.objects.get().node == gazebo
    assert send(client, proposing, ticks="1").status_code == 409


def test_what_is_left_out_is_listed_with_the_reason(homes: Homes) -> None:
    household = homes.house("Lake cabin", "Jetty", "Boathouse", "Sauna")
    jetty, boathouse, sauna = household.accounts.get().nodes.order_by("pk")
    refused = Dismissal.objects.create(node=jetty, household=household, version="5.3.3")
    Offer.objects.filter(node=jetty).update(dismissal=refused)
    Node.objects.filter(pk=boathouse.pk).update(is_online=False)
    make_job(sauna, state=State.RUNNING)
    page = homes.client().get(f"/queues/new/?hub={jetty.pk}&hub={boathouse.pk}&hub={sauna.pk}")
    [section] = page.context["proposing"].sections
    left_out = {str(one.node): [str(why) for why in one.reasons] for one in section.choices}
    assert left_out["Boathouse"] == [], "the household may plan it"
    assert left_out["Sauna"] != []
    assert left_out["Jetty"] != []
    text = page.content.decode()
    assert text.count("Left out:") == 2
    assert [one.node_pk for one in read_snapshots(page.context["proposing"].agreed)] == [
        boathouse.pk
    ]


def test_a_hub_is_not_proposed_twice_and_comes_last(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = homes.client()
    first = ask_all(client)
    gazebo = Node.objects.get(name="Gazebo")
    send(client, first, ticks="1", tick=gazebo.pk)
    again = ask_all(client)
    assert again.n == 2
    [out] = [one for part in again.sections for one in part.choices if one.reasons]
    assert (str(out.node), [str(why) for why in out.reasons]) == (
        "Gazebo",
        ["5.3.3 is already proposed."],
    )
    send(client, first)  # a form that was opened before
    assert Proposal.objects.filter(node=gazebo).count() == 1
    assert Proposal.objects.count() == 3
    Proposal.objects.exclude(node=gazebo).delete()
    monkeypatch.setattr(queues, "MOST_HUBS", 2)
    page = client.get("/queues/new/?all=1")
    assert page.context["proposing"].n == 2, "those that are left take the room"
    assert "A review can hold up to 2 hubs." in page.content.decode()


def test_an_offer_that_changed_meanwhile_proposes_nothing(homes: Homes) -> None:
    client = homes.client()
    proposing = ask_all(client)
    Offer.objects.filter(node__name="Hot tub").update(size_bytes=1)
    answer = send(client, proposing)
    assert answer.status_code == 409
    assert "offer for Hot tub has changed" in answer.content.decode()
    assert not Proposal.objects.exists()


def test_each_household_gets_one_mail_with_one_link(homes: Homes, settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    client = homes.client()
    send(client, ask_all(client))
    assert not mail.outbox, "the worker sends them"
    assert Delivery.letters().count() == 2
    send_notices()
    assert not Delivery.letters().exists()
    sent = {tuple(one.to): one for one in mail.outbox}
    owners = {house: house.memberships.get().user.email for house in (homes.birch, homes.garden)}
    assert set(sent) == {(email,) for email in owners.values()}
    several = sent[owners[homes.birch],]
    assert several.subject == "New firmware for two hubs: now, tonight, or not?"
    assert str(several.body).count("/decide/") == 1, "one answer for all of them"
    assert "Gazebo: 5.3.2 → 5.3.3" in several.body
    assert "It mends the lamp." in several.body
    assert "Back porch" not in several.body
    alone = sent[owners[homes.garden],]
    assert alone.subject == "New firmware for Back porch: now, tonight, or not?"
    links = [line for line in str(several.body).splitlines() if "/decide/" in line]
    page = Client().get(links[0].removeprefix(settings.PUBLIC_URL)).content.decode()
    assert "Gazebo" in page
    assert "Hot tub" in page
    assert "Back porch" not in page


def test_each_household_is_notified_once(homes: Homes) -> None:
    for house in (homes.birch, homes.garden):
        Channel.objects.create(
            household=house, user=house.memberships.get().user, topics=[Topic.NEEDS_YOU], is_on=True
        )
    client = homes.client()
    send(client, ask_all(client))
    notices = {one.household: one for one in Notice.objects.filter(topic=Topic.NEEDS_YOU)}
    assert Notice.objects.filter(topic=Topic.NEEDS_YOU).count() == 2
    assert notices[homes.birch].path == f"/households/{homes.birch.pk}/proposals/"
    assert (
        notices[homes.garden].path
        == f"/proposals/{Proposal.objects.get(node__name='Back porch').pk}/"
    )


def test_where_support_may_install_the_review_installs(homes: Homes) -> None:
    Household.objects.filter(pk=homes.garden.pk).update(support_may_install=True)
    page = homes.client().get("/queues/new/?all=1")
    assert [one.household for one in page.context["sections"]] == [homes.garden]
    assert [one.household for one in page.context["proposing"].sections] == [homes.birch]
    text = page.content.decode()
    assert text.count('action="/queues/new/"') == 1
    assert text.count('action="/proposals/new/"') == 1


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_members_do_not_propose_and_viewers_review_nothing(homes: Homes, role: Role) -> None:
    proposing = ask_all(homes.client())
    member = sign_in(Client(), make_user(role=role, household=homes.birch))
    gazebo = Node.objects.get(name="Gazebo")
    assert send(member, proposing, ticks="1", tick=gazebo.pk).status_code == 403
    page = member.get("/queues/new/?all=1")
    assert page.context["proposing"] is None
    assert bool(page.context["sections"]) == (role == Role.MEMBER)


def test_a_household_that_no_longer_lets_support_in_is_out_of_reach(homes: Homes) -> None:
    client = homes.client()
    proposing = ask_all(client)
    Household.objects.filter(pk=homes.birch.pk).update(support_until=None)
    assert send(client, proposing).status_code == 404
    assert not Proposal.objects.exists()


def test_many_households_cost_the_review_no_more_queries(homes: Homes) -> None:
    client = homes.client()

    def queries() -> int:
        client.get("/queues/new/?all=1")
        with CaptureQueriesContext(connection) as asked:
            client.get("/queues/new/?all=1")
        return len(asked)

    few = queries()
    for n in range(5):
        homes.house(f"House {n}", "Porch")
    assert queries() == few
