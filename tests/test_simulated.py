"""Simulated hubs are marked as such everywhere people see them."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.template.loader import render_to_string
from django.utils import timezone

from devices.audit import log as audit_log
from devices.audit.log import expected_content_digest
from devices.homeassistant import settings as homeassistant_settings
from devices.homeassistant import snapshot
from devices.homeassistant.discovery import announcement
from devices.installs.confirmation import snapshot_offer
from devices.installs.lifecycle import move_to
from devices.models import (
    Actor,
    AuditAction,
    AuditEvent,
    Channel,
    CloudAccount,
    Node,
    Notice,
    OtaJob,
    Proposal,
    State,
    Topic,
)
from devices.notifications.messages import sentence
from devices.planning import queues
from devices.presentation.proposal_mail import mail_values
from devices.presentation.serializers import HubData, InstallData
from tests.support.client import Client
from tests.support.factories import (
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
        audit_log.record(actor, AuditAction.CHECK_ASKED, "A check.", node=self.node)
        move_to(self.job, State.LOST, actor=actor, note="x")
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
    shown = StringIO()
    call_command("firmware", "list", "--as", home.owner.email, stdout=shown)
    return shown.getvalue()


def values_in_the_terminal(home: Home) -> str:
    shown = StringIO()
    call_command("firmware", "list", "--as", home.owner.email, "--json", stdout=shown)
    hub = json.loads(shown.getvalue().splitlines()[0])
    return "simulated" if hub["is_simulated"] else ""


def told_to_home_assistant(home: Home) -> str:
    link = homeassistant_settings.link_of(home.household)
    link.is_on = True
    link.save()
    (hub,) = snapshot.hubs_of(link, [home.node.pk])
    return str(announcement(snapshot.home_of(link), hub)["device"]["name"])


def answered_to_programs(home: Home) -> str:
    node = Node.objects.for_list().get(pk=home.node.pk)
    shown = HubData.of(node).is_simulated, InstallData.of(home.job).is_simulated
    assert shown[0] == shown[1]
    return "simulated" if all(shown) else ""


def mailed_about_a_proposal(home: Home) -> str:
    return render_to_string("mail/proposal.txt", mail_values([home.proposal()], "x"))


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
    event = AuditEvent.objects.get(action=AuditAction.CHECK_ASKED)
    assert event.node_id == home.node.pk
    assert event.detail == {"simulated": True}
    event.detail = {}
    assert expected_content_digest(event) != event.content_digest


def test_a_queue_of_simulated_hubs_is_marked_from_its_confirmation_to_its_end() -> None:
    marked = {}
    for cloud in CLOUDS:
        home = Home(cloud)
        node = make_node(home.account)
        actor = Actor.person(home.owner, role="owner", via="web", address="", browser="")
        queue = queues.request(
            household=home.household,
            chosen=[(node, snapshot_offer(node, make_offer(node)))],
            user=home.owner,
            at_once=1,
            stops_on_failure=True,
            actor=actor,
        )
        queues.stop(queue, actor=actor)
        events = AuditEvent.objects.filter(household_id=home.household.pk)
        shown = events.filter(action__startswith="queue.")
        marked[cloud] = [event.is_simulated for event in shown]
    assert marked == {"simulated": [True, True], "real": [False, False]}
