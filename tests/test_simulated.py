"""Simulated hubs are told apart from real ones wherever anybody reads of them."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from devices import batches, homelink
from devices.api.show import hub_json, install_json
from devices.confirm import bind
from devices.homeassistant import mirror
from devices.homeassistant.discovery import announcement
from devices.models import (
    Actor,
    AuditEvent,
    Channel,
    CloudAccount,
    Node,
    Notice,
    OtaJob,
    Proposal,
    State,
    Topic,
    audit,
)
from devices.notices import sentence
from tests.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    sign_in,
)

pytestmark = pytest.mark.django_db
CLOUDS = {"simulated": "http://127.0.0.1:9", "real": "https://api.rainmaker.example"}


class Home:
    """A household with one hub of this cloud, and what was done to it."""

    def __init__(self, cloud: str) -> None:
        self.household = make_household("Garden house")
        self.owner = make_owner(self.household)
        self.account: CloudAccount = make_account(self.household, base_url=CLOUDS[cloud])
        self.node: Node = make_node(self.account, name="Back porch")
        make_offer(self.node)
        Channel.objects.create(household=self.household, user=self.owner, topics=list(Topic.values))
        self.job: OtaJob = make_job(self.node, state=State.RUNNING)
        actor = Actor.person(self.owner, role="owner", via="web", address="", browser="")
        audit.record(actor, "hub.checked", "A check.", node=self.node)
        self.job.move_to(State.LOST, actor=actor, note="x")
        self.browser = sign_in(Client(), self.owner)

    def proposal(self) -> Proposal:
        return Proposal.objects.create(
            node=self.node,
            hub_name="Back porch",
            household=self.household,
            proposed_by_name="support@example.com",
            token_digest=self.household.pk,
            binding={"from_version": "5.3.2", "to_version": "5.3.3", "size_bytes": 1, "md5": ""},
            expires_at=timezone.now() + timedelta(days=1),
        )

    def file(self, path: str) -> str:
        answer: Any = self.browser.get(path)
        return b"".join(answer.streaming_content).decode()

    def page(self, path: str) -> str:
        return self.browser.get(path).content.decode().partition("<main")[2]


def said_in_the_terminal(home: Home) -> str:
    told = StringIO()
    call_command("firmware", "list", "--as", home.owner.email, stdout=told)
    return told.getvalue()


def values_in_the_terminal(home: Home) -> str:
    told = StringIO()
    call_command("firmware", "list", "--as", home.owner.email, "--json", stdout=told)
    hub = json.loads(told.getvalue().splitlines()[0])
    return "simulated" if hub["is_simulated"] else ""


def told_to_home_assistant(home: Home) -> str:
    link = homelink.link_of(home.household)
    link.is_on = True
    link.save()
    ((hub, _),) = mirror.hubs_of(link, [home.node.pk])
    return str(announcement(mirror.home_of(link), hub)["device"]["name"])


def answered_to_programs(home: Home) -> str:
    node = Node.objects.for_list().get(pk=home.node.pk)
    told = hub_json(node)["is_simulated"], install_json(home.job)["is_simulated"]
    assert told[0] == told[1]
    return "simulated" if all(told) else ""


def mailed_about_a_proposal(home: Home) -> str:
    return render_to_string("mail/proposal.txt", {"proposal": home.proposal(), "link": "x"})


def listed_among_the_proposals(home: Home) -> str:
    home.proposal()
    return home.page("/proposals/")


PLACES: dict[str, Callable[[Home], str]] = {
    "the list": lambda home: home.page("/"),
    "the hub": lambda home: home.page(f"/hubs/{home.node.pk}/"),
    "the form": lambda home: home.page(f"/hubs/{home.node.pk}/install/"),
    "the install": lambda home: home.page(f"/installs/{home.job.pk}/"),
    "the receipt": lambda home: home.page(f"/installs/{home.job.pk}/receipt/"),
    "the history": lambda home: home.page("/history/"),
    "the overview": lambda home: home.page("/overview/"),
    "several at once": lambda home: home.page(f"/queues/new/?hub={home.node.pk}"),
    "a proposal": lambda home: home.page(f"/proposals/{home.proposal().pk}/"),
    "the proposals": listed_among_the_proposals,
    "the accounts": lambda home: home.page("/accounts/"),
    "the account's end": lambda home: home.page(f"/accounts/{home.account.pk}/unlink/"),
    "signing in again": lambda home: home.page(f"/accounts/{home.account.pk}/sign-in/"),
    # the badge, not the fact among the others
    "the trail": lambda home: home.page("/audit/").replace("simulated", ""),
    "the trail as CSV": lambda home: home.file("/audit/export.csv"),
    "the trail as JSON": lambda home: home.file("/audit/export.jsonl"),
    "whom Home Assistant may let install": lambda home: home.page(
        f"/households/{home.household.pk}/home-assistant/"
    ),
    "a notice": lambda home: sentence(Notice.objects.get(household=home.household)),
    "a proposal's mail": mailed_about_a_proposal,
    "Home Assistant": told_to_home_assistant,
    "the JSON addresses": answered_to_programs,
    "the terminal": said_in_the_terminal,
    "the terminal's JSON": values_in_the_terminal,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_simulated_hub_is_marked_and_a_real_one_is_not(place: str) -> None:
    marked = {cloud: "simulated" in PLACES[place](Home(cloud)).lower() for cloud in CLOUDS}
    assert marked == {"simulated": True, "real": False}


def test_the_mark_is_part_of_what_the_chain_proves() -> None:
    home = Home("simulated")
    event = AuditEvent.objects.get(action="hub.checked")
    assert event.node_id == home.node.pk
    assert event.detail == {"simulated": True}
    event.detail = {}
    assert event.expected_content_digest() != event.content_digest


def test_a_queue_of_simulated_hubs_is_marked_from_its_confirmation_to_its_end() -> None:
    marked = {}
    for cloud in CLOUDS:
        home = Home(cloud)
        node = make_node(home.account)
        actor = Actor.person(home.owner, role="owner", via="web", address="", browser="")
        queue = batches.request(
            household=home.household,
            chosen=[(node, bind(node, make_offer(node)))],
            user=home.owner,
            at_once=1,
            stops_on_failure=True,
            actor=actor,
        )
        batches.stop(queue, actor=actor)
        events = AuditEvent.objects.filter(household_id=home.household.pk)
        told = events.filter(action__startswith="queue.")
        marked[cloud] = [event.is_simulated for event in told]
    assert marked == {"simulated": [True, True], "real": [False, False]}
