"""Not this version, and seen: what needs no attention any more, everywhere, and undone again."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.fleet.attention import attention_of
from devices.fleet.checks import keep_offer
from devices.fleet.versions import record_version
from devices.homeassistant import snapshot
from devices.homeassistant.commands import press
from devices.homeassistant.discovery import messages
from devices.households import api_tokens
from devices.installs.confirmation import snapshot_offer
from devices.installs.eligibility import why_unfit
from devices.installs.lifecycle import move_to
from devices.models import (
    Actor,
    AuditEvent,
    Delivery,
    Dismissal,
    HomeAssistantLink,
    InstallOutcome,
    Node,
    Offer,
    OtaJob,
    ProposalState,
    Role,
    Scope,
    StaffRole,
    State,
    Topic,
    User,
)
from devices.models.attention import Attention
from devices.notifications.delivery import send_due
from devices.planning import dismissals, proposals
from devices.rainmaker.schemas import FirmwareOffer
from tests.support.client import Client
from tests.support.factories import make_account, make_job, make_node, make_offer, make_user, person
from tests.support.homeassistant import allow, link_of
from tests.support.notifications import Home

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Home:
    """A household with a hub that is offered 5.3.3, and two others."""
    home = Home()
    make_offer(home.node)
    make_node(home.account, name="Fire pit")
    return home


@pytest.fixture
def client(home: Home) -> Client:
    client = Client()
    client.force_login(home.owner)
    return client


def found(version: str, job: str = "OTA_JOB_X") -> FirmwareOffer:
    return FirmwareOffer(is_available=True, fw_version=version, ota_job_id=job, size_bytes=1)


def fresh(node: Node) -> Node:
    return Node.objects.for_list().get(pk=node.pk)


def update_entity(link: HomeAssistantLink, node: Node) -> dict[str, Any]:
    (hub,) = snapshot.hubs_of(link, [node.pk])
    there = snapshot.home_of(link)
    value: dict[str, Any] = json.loads(messages(there, hub)[there.hub_topic(node.pk, "update")])
    return value


def dismiss(home: Home, version: str = "5.3.3", **options: Any) -> Dismissal:
    return dismissals.dismiss(
        fresh(home.node), version, user=home.owner, actor=person(home.owner), **options
    )


def test_one_press_ends_the_asking_everywhere_and_one_undoes_it(home: Home, client: Client) -> None:
    link, address = link_of(home.household), f"/hubs/{home.node.pk}/"
    assert update_entity(link, home.node)["latest_version"] == "5.3.3"
    client.post(f"{address}dismiss/", {"version": "5.3.3", "where": "hub"})
    text = client.get("/").content.decode()
    assert "Nothing to do. You dismissed the update of one hub." in text
    assert "5.3.3 dismissed" in text
    assert ">Back porch</a>" in client.get("/?show=dismissed").content.decode()
    assert ">Back porch</a>" not in client.get("/?show=new").content.decode()
    page = client.get(address).content.decode()
    assert "5.3.3 is dismissed" in page
    assert "for this hub" in page
    assert update_entity(link, home.node)["latest_version"] == "5.3.2"
    assert [reason.code for reason in why_unfit(fresh(home.node), fresh(home.node).offer)] == [
        "dismissed"
    ]
    client.post(f"{address}undismiss/")
    assert "New firmware: 5.3.3" in client.get(address).content.decode()
    assert update_entity(link, home.node)["latest_version"] == "5.3.3"
    events = AuditEvent.objects.filter(action__startswith="offer.").order_by("sequence")
    assert [one.action for one in events] == ["offer.dismissed", "offer.wanted"]


def test_a_household_dismisses_a_version_for_hubs_still_to_come(home: Home) -> None:
    dismiss(home, everywhere=True)
    other = make_node(home.account, name="Boathouse")
    keep_offer(other, found("v5.3.3.0"), timezone.now())
    assert attention_of([other])[other.pk] == Attention.DISMISSED
    assert not Delivery.objects.exists()
    stranger = make_node()
    keep_offer(stranger, found("5.3.3"), timezone.now())
    assert fresh(stranger).new_offer is not None


def test_another_version_is_offered_again_and_the_dismissed_one_stays_away(home: Home) -> None:
    dismiss(home)
    now = timezone.now()
    keep_offer(fresh(home.node), found("5.3.3", job="ANOTHER_JOB"), now)
    assert fresh(home.node).new_offer is None
    keep_offer(fresh(home.node), found("5.4.0"), now)
    assert fresh(home.node).new_offer is not None
    assert Delivery.objects.count() == 1
    keep_offer(fresh(home.node), found("5.3.3", job="THIRD"), now)
    assert fresh(home.node).new_offer is None


def test_a_version_that_was_not_shown_is_not_dismissed(home: Home, client: Client) -> None:
    Offer.objects.update(fw_version="5.4.0")
    answer = client.post(f"/hubs/{home.node.pk}/dismiss/", {"version": "5.3.3"}, follow=True)
    assert "no longer offers this version" in answer.content.decode()
    assert not Dismissal.objects.exists()


def test_both_rows_of_a_shared_hub_are_dismissed(home: Home) -> None:
    twin = make_node(make_account(home.household), node_id=home.node.node_id, role="primary")
    make_offer(twin, fw_version="v5.3.3")
    dismiss(home)
    assert attention_of([twin, home.node]) == {
        twin.pk: Attention.DISMISSED,
        home.node.pk: Attention.DISMISSED,
    }


def test_what_waits_in_the_outbox_about_a_dismissed_version_is_dropped(
    home: Home, settings: Any
) -> None:
    settings.HAS_MAIL_SERVER = True
    now = timezone.now()
    Offer.objects.all().delete()
    home.channel.pace = "daily"
    home.channel.save()
    for node in Node.objects.all():
        keep_offer(node, found("5.3.3"), now)
    dismiss(home)
    send_due(now + timedelta(days=2))
    (message,) = mail.outbox
    assert "Fire pit" in message.body
    assert "Back porch" not in message.body
    assert "2 hubs" not in message.body
    assert not Delivery.waiting().exists()


def test_a_proposal_of_it_ends_and_none_is_made(home: Home) -> None:
    support = make_user(staff_role=StaffRole.SUPPORT)
    node = fresh(home.node)
    binding = snapshot_offer(node, make_binding_offer(node))
    asked: dict[str, Any] = {
        "user": support,
        "binding": binding,
        "words": "",
        "recipients": [],
        "actor": person(support, "support"),
    }
    proposal = proposals.propose(node, **asked)
    dismiss(home)
    proposal.refresh_from_db()
    assert (proposal.state, proposal.decided_by) == (ProposalState.DECLINED, home.owner)
    with pytest.raises(proposals.ProposalError, match="does not want this version"):
        proposals.propose(fresh(home.node), **asked)


def make_binding_offer(node: Node) -> Offer:
    offer = node.offer
    assert offer is not None
    return offer


def test_a_press_kept_from_before_is_refused(home: Home) -> None:
    link = link_of(home.household)
    allow(link, by=home.owner)
    (hub,) = snapshot.hubs_of(link, [home.node.pk])
    assert hub.press is not None
    dismiss(home)
    assert press(link, fresh(home.node), hub.press, is_retained=False, now=timezone.now()) is None
    assert not OtaJob.objects.exists()


def test_an_install_marked_as_seen_needs_no_attention(home: Home, client: Client) -> None:
    Offer.objects.all().delete()
    job = make_job(home.node, state=State.FAILED, outcome=InstallOutcome.FAILED)
    assert "(1) Hubs" in client.get("/").content.decode()
    client.post(f"/installs/{job.pk}/seen/")
    assert "<title>Hubs" in client.get("/").content.decode()
    page = client.get(f"/installs/{job.pk}/").content.decode()
    assert f"Marked as seen by {home.owner.email}" in page
    assert 'data-tab-needs="0"' in page
    client.post(f"/installs/{job.pk}/seen/", {"undo": "1"})
    assert "(1) Hubs" in client.get("/").content.decode()
    actions = AuditEvent.objects.filter(job_id=job.pk).order_by("sequence")
    assert [one.action for one in actions] == ["install.seen", "install.unseen"]


def test_what_comes_after_seen_is_shown_again(home: Home) -> None:
    lost = make_job(home.node, state=State.LOST, outcome=InstallOutcome.SILENT)
    dismissals.mark_seen(lost, actor=person(home.owner))
    lost.refresh_from_db()
    move_to(
        lost, State.REJECTED, actor=Actor.worker(), note="Late.", outcome=InstallOutcome.ROLLED_BACK
    )
    assert attention_of([home.node])[home.node.pk] == Attention.TROUBLE
    now, other = timezone.now(), make_node(home.account, fw_version="5.3.3")
    make_job(other, state=State.VERIFIED, from_version="5.3.2", now=now, outcome="verified")
    record_version(other, "5.3.2", now + timedelta(hours=1))
    assert attention_of([other])[other.pk] == Attention.TROUBLE


def test_dismissing_a_version_that_failed_here_counts_as_seen(home: Home) -> None:
    job = make_job(home.node, state=State.REJECTED, outcome=InstallOutcome.ROLLED_BACK)
    OtaJob.objects.update(requested_at=timezone.now() + timedelta(minutes=1))
    assert attention_of([home.node])[home.node.pk] == Attention.TROUBLE
    dismiss(home)
    job.refresh_from_db()
    assert job.seen_at is not None
    assert job.went_wrong
    assert attention_of([home.node])[home.node.pk] == Attention.DISMISSED


def test_each_install_that_counts_as_seen_costs_only_its_audit_event(home: Home) -> None:
    def queries(version: str, hubs: int) -> int:
        Offer.objects.filter(ended_at=None).update(ended_at=timezone.now())
        for node in [home.node, *(make_node(home.account) for _ in range(hubs))]:
            make_job(node, state=State.FAILED, to_version=version)
            make_offer(node, fw_version=version)
        with CaptureQueriesContext(connection) as found:
            dismiss(home, version, everywhere=True)
        assert not OtaJob.objects.filter(to_version=version, seen_at=None).exists()
        return len(found)

    queries("6.0", 2)
    assert queries("6.1", 6) - queries("6.2", 3) == 3 * 4
    assert AuditEvent.objects.filter(action="install.seen").count() == 3 + 7 + 4


@pytest.mark.parametrize(("role", "status"), [(Role.MEMBER, 302), (Role.VIEWER, 403)])
def test_who_may_install_may_dismiss(home: Home, role: Role, status: int) -> None:
    client = Client()
    client.force_login(make_user(role=role, household=home.household))
    job = make_job(Node.objects.get(name="Fire pit"), state=State.FAILED)
    for address in (f"/hubs/{home.node.pk}/dismiss/", f"/installs/{job.pk}/seen/"):
        assert client.post(address, {"version": "5.3.3"}).status_code == status
    assert Dismissal.objects.exists() == (status == 302)
    text = client.get(f"/hubs/{home.node.pk}/").content.decode()
    assert ("Undo" in text) == (status == 302)


def test_a_viewer_reads_whose_choice_it_was_without_the_address(home: Home) -> None:
    dismiss(home)
    client = Client()
    client.force_login(make_user(role=Role.VIEWER, household=home.household))
    assert home.owner.email not in client.get(f"/hubs/{home.node.pk}/").content.decode()


def test_the_api_dismisses_and_marks(home: Home) -> None:
    _, token = api_tokens.create(home.owner, home.household, name="Shelf", scope=Scope.INSTALL)
    job = make_job(Node.objects.get(name="Fire pit"), state=State.FAILED)
    said = {"Authorization": f"Bearer {token}"}
    address, kind = f"/api/v1/hubs/{home.node.pk}/dismissal/", "application/json"
    refused = Client().post(address, {"fw_version": "9.9"}, kind, headers=said)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "offer_swapped")
    hub = Client().post(address, {"fw_version": "5.3.3"}, kind, headers=said).json()
    assert (hub["ota_available"], hub["dismissed_version"]) == (False, "5.3.3")
    assert [reason["code"] for reason in hub["why_not_now"]] == ["dismissed"]
    wanted = {"fw_version": "5.3.3", "dismissed": False}
    assert Client().post(address, wanted, kind, headers=said).json()["ota_available"] is True
    seen = Client().post(f"/api/v1/installs/{job.pk}/seen/", {}, kind, headers=said)
    assert seen.json()["seen_at"] is not None
    again = Client().post(f"/api/v1/installs/{job.pk}/seen/", {}, kind, headers=said)
    assert again.status_code == 409


def test_a_viewers_token_changes_nothing(home: Home) -> None:
    viewer: User = make_user(role=Role.VIEWER, household=home.household)
    _, token = api_tokens.create(viewer, home.household, name="Shelf", scope=Scope.READ)
    answer = Client().post(
        f"/api/v1/hubs/{home.node.pk}/dismissal/",
        {"fw_version": "5.3.3"},
        "application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 403
    assert not Dismissal.objects.exists()


def test_the_terminal_dismisses_and_marks(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        call_command("firmware", *words, "--as", home.owner.email)
        return capsys.readouterr().out

    assert "5.3.3 is not offered on any hub" in run("dismiss", "Back porch", "--everywhere")
    assert fresh(home.node).new_offer is None
    assert "is offered 5.3.3 again" in run("dismiss", "Back porch", "--undo")
    job = make_job(Node.objects.get(name="Fire pit"), state=State.FAILED)
    assert f"Install {job.pk} is marked as seen." in run("seen", "Fire pit")
    assert f"Install {job.pk} is not marked as seen." in run("seen", str(job.pk), "--undo")


def test_a_notice_names_only_hubs_that_are_still_offered_it(home: Home) -> None:
    Offer.objects.all().delete()
    keep_offer(fresh(home.node), found("5.3.3"), timezone.now())
    record_version(fresh(home.node), "5.3.3", timezone.now())
    assert Delivery.objects.get().notice.topic == Topic.NEW_FIRMWARE
    send_due(timezone.now() + timedelta(minutes=5))
    assert mail.outbox == []
    assert Delivery.objects.get().dropped_at is not None
