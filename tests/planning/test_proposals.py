"""Staff propose, the household decides: now, tonight, or not this one."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from devices.backup.archive import Manifest
from devices.backup.reconcile import settle
from devices.installs.confirmation import snapshot_offer
from devices.models import (
    Actor,
    AuditEvent,
    Node,
    OtaJob,
    Proposal,
    ProposalState,
    Role,
    StaffRole,
    State,
    When,
)
from devices.models.message import Message, MessageCode
from devices.planning import proposals
from devices.planning.plans import NIGHT_ENDS, plan_install, timing_of, tonight
from devices.presentation.proposal_text import HEADLINES
from tests.support.client import Client
from tests.support.factories import (
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
    person,
    sign_in,
)
from tests.support.proposals import EVENING, Home, state_of, turn

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Home:
    return Home()


def test_not_this_one_is_an_answer_and_is_kept(home: Home) -> None:
    proposal, path = home.propose()
    Client().post(path, {"decision": "no"})
    assert state_of(proposal) == ProposalState.DECLINED
    assert not OtaJob.objects.exists()
    declined = AuditEvent.objects.get(action="proposal.declined")
    assert declined.actor_name == f"{home.owner.email} (by the mailed link)"
    assert declined.actor_user_id == home.owner.pk


def test_what_cannot_start_is_not_accepted_and_stays_open(home: Home) -> None:
    proposal, path = home.propose()
    Node.objects.filter(pk=home.node.pk).update(is_online=False)
    answer = Client().post(path, {"decision": "now"})
    assert answer.status_code == 409
    assert "The hub is offline" in answer.content.decode()
    assert state_of(proposal) == ProposalState.OPEN
    assert not AuditEvent.objects.filter(action="proposal.accepted").exists()


def test_another_offer_than_the_proposed_one_is_not_installed(home: Home) -> None:
    proposal, path = home.propose()
    home.offer.ended_at = timezone.now()
    home.offer.save()
    make_offer(home.node, fw_version="5.4.0")
    answer = Client().post(path, {"decision": "now"})
    assert answer.status_code == 409
    assert "offer has changed since the form was opened" in answer.content.decode()
    assert state_of(proposal) == ProposalState.OPEN
    assert not OtaJob.objects.exists()


def test_an_unanswered_proposal_ends(home: Home) -> None:
    proposal, path = home.propose()
    turn(proposal.expires_at + timedelta(minutes=1))
    assert state_of(proposal) == ProposalState.EXPIRED
    assert Client().post(path, {"decision": "now"}).status_code == 409
    assert not OtaJob.objects.exists()


@pytest.mark.parametrize("decision", [None, "tonight"])
def test_one_that_came_to_the_hub_another_way_is_over(home: Home, decision: str | None) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        if decision:
            Client().post(path, {"decision": decision})
        turn(EVENING)
        assert state_of(proposal) == (decision or "open")
        home.node.touch(EVENING, fw_version="5.3.3")
        turn(EVENING)
        assert state_of(proposal) == ProposalState.OVERTAKEN
        assert "Already done: Back porch reports 5.3.3." in Client().get(path).content.decode()
        assert Client().post(path, {"decision": "now"}).status_code == 409
    event = AuditEvent.objects.get(action="proposal.overtaken")
    assert event.outcome == "done"
    assert "the hub runs 5.3.3 already" in event.sentence
    assert not OtaJob.objects.exists()


def test_a_withdrawn_proposal_answers_nothing(home: Home) -> None:
    proposal, path = home.propose()
    sign_in(Client(), home.support).post(f"/proposals/{proposal.pk}/withdraw/")
    assert state_of(proposal) == ProposalState.WITHDRAWN
    page = Client().get(path)
    assert "Withdrawn: nothing is installed" in page.content.decode()
    assert Client().post(path, {"decision": "now"}).status_code == 409


def test_a_newer_proposal_takes_the_place_of_the_older(home: Home) -> None:
    first, _ = home.propose()
    second, _ = home.propose()
    assert state_of(first) == ProposalState.WITHDRAWN
    assert state_of(second) == ProposalState.OPEN


@pytest.mark.parametrize(
    ("zone", "now", "begins", "ends"),
    [
        ("UTC", "2026-06-01T19:30", "2026-06-01T22:00", "2026-06-02T05:00"),
        ("UTC", "2026-06-01T23:30", "2026-06-01T23:30", "2026-06-02T05:00"),
        ("UTC", "2026-06-01T03:00", "2026-06-01T03:00", "2026-06-01T05:00"),
        ("Europe/Berlin", "2026-06-01T19:30", "2026-06-01T20:00", "2026-06-02T03:00"),
        ("America/Chicago", "2026-06-01T19:30", "2026-06-02T03:00", "2026-06-02T10:00"),
        # the night in which the clocks go back is an hour longer
        ("Europe/Berlin", "2026-10-24T12:00", "2026-10-24T20:00", "2026-10-25T04:00"),
        ("Nowhere/Land", "2026-06-01T19:30", "2026-06-01T22:00", "2026-06-02T05:00"),
    ],
)
def test_tonight_is_the_households_own(zone: str, now: str, begins: str, ends: str) -> None:
    household = make_household(time_zone=zone)
    found = tonight(household, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert [at.astimezone(UTC).isoformat()[:16] for at in found] == [begins, ends]


def test_tonight_waits_for_the_night_and_until_the_hub_is_not_in_use(home: Home) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        assert Client().post(path, {"decision": "tonight"}).status_code == 200
        turn(timezone.now())
        assert not OtaJob.objects.exists()
    assert state_of(proposal) == ProposalState.TONIGHT
    night = datetime(2026, 6, 1, 22, 0, 5, tzinfo=UTC)
    Node.objects.filter(pk=home.node.pk).update(repellent="protected", is_on=True)
    with time_machine.travel(night, tick=False):
        turn(timezone.now())
        assert state_of(proposal) == ProposalState.TONIGHT
        assert proposal.why_not == Message.of(MessageCode.HUB_IN_USE)
    Node.objects.filter(pk=home.node.pk).update(repellent="off", is_on=False)
    with time_machine.travel(night + timedelta(seconds=30), tick=False):
        turn(timezone.now())
        assert not OtaJob.objects.exists(), "once a minute is enough"
    with time_machine.travel(night + timedelta(minutes=2), tick=False):
        turn(timezone.now())
        turn(timezone.now())
    assert state_of(proposal) == ProposalState.ACCEPTED
    job = OtaJob.objects.get()
    assert job.state == State.REQUESTED
    assert job.requested_by_name == f"{home.owner.email} (by the mailed link)"
    assert job.requested_via == "proposal"


@pytest.mark.parametrize("when", ["idle", "online", "at"])
def test_an_answer_may_name_another_time(home: Home, when: str) -> None:
    clock = "2026-06-03T02:00"
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        assert "At another time" in Client().get(path).content.decode()
        assert Client().post(path, {"decision": "later"}).status_code == 409
        Node.objects.filter(pk=home.node.pk).update(is_online=False)
        body = {"decision": "later", "when": when, "at": clock}
        assert Client().post(path, body).status_code == 200
        turn(EVENING)
    assert state_of(proposal) == ProposalState.TONIGHT
    assert (proposal.plan.when, proposal.plan.requested_role) == (when, "link")
    Node.objects.filter(pk=home.node.pk).update(is_online=True)
    now = datetime.fromisoformat(clock).replace(tzinfo=UTC)
    turn(now)
    assert state_of(proposal) == ProposalState.ACCEPTED
    assert OtaJob.objects.get().requested_via == "proposal"


def test_a_newer_plan_of_the_hub_ends_the_proposal(home: Home) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        Client().post(path, {"decision": "tonight"})
        turn(EVENING)
        binding = snapshot_offer(home.node, home.offer)
        timing = timing_of(When.IDLE, home.household, EVENING)
        plan_install(
            home.node, binding, timing, user=home.owner, actor=person(home.owner), now=EVENING
        )
        turn(EVENING)
    assert state_of(proposal) == ProposalState.WITHDRAWN


def test_a_night_that_did_not_come_about_installs_nothing_later(home: Home) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        Client().post(path, {"decision": "tonight"})
    Node.objects.filter(pk=home.node.pk).update(is_online=False)
    for at in (datetime(2026, 6, 1, 23, tzinfo=UTC), datetime(2026, 6, 2, 5, 1, tzinfo=UTC)):
        with time_machine.travel(at, tick=False):
            turn(at)
    assert state_of(proposal) == ProposalState.MISSED
    assert "offline" in AuditEvent.objects.get(action="proposal.missed").sentence
    Node.objects.filter(pk=home.node.pk).update(is_online=True)
    turn(datetime(2026, 6, 2, 23, tzinfo=UTC))
    assert not OtaJob.objects.exists()


def test_the_night_of_a_server_that_was_off_is_over(home: Home) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        Client().post(path, {"decision": "tonight"})
    # the server starts again at noon, with everything fit: the night was meant, not the noon
    with time_machine.travel(datetime(2026, 6, 2, 12, tzinfo=UTC), tick=False):
        turn(timezone.now())
    assert NIGHT_ENDS.hour < 12
    assert state_of(proposal) == ProposalState.MISSED
    assert not OtaJob.objects.exists()


def test_after_a_restore_no_answer_from_before_installs_anything(home: Home) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        Client().post(path, {"decision": "tonight"})
        other = make_node(home.node.account)
        home.node, home.offer = other, make_offer(other)
        unanswered, link = home.propose()
    manifest = Manifest(EVENING, "1", "sqlite", "", (), 1, "", 0, {})
    assert settle(manifest, Actor.worker(), {}).dropped == 2
    for one in (proposal, unanswered):
        assert state_of(one) == ProposalState.RESTORED
    turn(datetime(2026, 6, 1, 23, tzinfo=UTC))
    assert "It is not known what happened" in Client().get(link).content.decode()
    assert Client().post(link, {"decision": "now"}).status_code == 409
    assert not OtaJob.objects.exists()


def test_a_running_install_is_not_joined_by_a_second(home: Home) -> None:
    proposal, path = home.propose()
    make_job(home.node, state=State.RUNNING)
    assert Client().post(path, {"decision": "now"}).status_code == 409
    assert OtaJob.objects.count() == 1
    assert state_of(proposal) == ProposalState.OPEN


def test_who_is_mailed_are_those_who_may_install_and_no_staff(home: Home) -> None:
    member = make_user(role=Role.MEMBER, household=home.household)
    make_user(role=Role.VIEWER, household=home.household)
    make_user(role=Role.MEMBER, household=home.household, staff_role=StaffRole.SUPPORT)
    make_user(role=Role.MEMBER, household=home.household, is_active=False)
    found = {one.email for one in proposals.recipients_of(home.household)}
    assert found == {home.owner.email, member.email}


def test_every_state_of_a_proposal_has_its_sentence() -> None:
    assert set(HEADLINES) == set(ProposalState)


def test_an_accepted_proposal_says_which_install_it_retries(home: Home) -> None:
    before = make_job(home.node, state=State.FAILED)
    _, path = home.propose()
    Client().post(path, {"decision": "now"})
    job = OtaJob.objects.get(is_latest=True)
    assert job.retry_of == before
    assert AuditEvent.objects.get(action="install.requested").detail["retry_of"] == before.pk


def test_a_proposal_that_cannot_be_read_holds_up_no_other(home: Home) -> None:
    with time_machine.travel(EVENING, tick=False):
        damaged, _ = home.propose()
        second = Home()
        due, path = second.propose()
        Client().post(path, {"decision": "tonight"})
    Proposal.objects.filter(pk=damaged.pk).update(
        binding={}, expires_at=EVENING - timedelta(hours=1)
    )
    with time_machine.travel(datetime(2026, 6, 1, 22, 0, 5, tzinfo=UTC), tick=False):
        turn(timezone.now())
    assert state_of(due) == ProposalState.ACCEPTED
    assert OtaJob.objects.get().node == second.node
