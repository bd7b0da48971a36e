"""Staff propose, the household decides: now, tonight, or not this one."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices import proposals, tasks
from devices.accounts import unlink_account
from devices.backup.archive import Manifest
from devices.backup.restored import settle
from devices.confirm import bind, sign
from devices.models import (
    Actor,
    AuditEvent,
    Household,
    Node,
    OtaJob,
    Proposal,
    ProposalState,
    Role,
    StaffRole,
    State,
    User,
)
from devices.proposals import NIGHT_ENDS, by_token, masked, tonight
from tests.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
    person,
    sign_in,
)

pytestmark = pytest.mark.django_db
EVENING = datetime(2026, 6, 1, 19, 30, tzinfo=UTC)


class Home:
    """A household that lets support in, with one hub that is offered something."""

    def __init__(self, **fields: Any) -> None:
        self.household = make_household("Garden house", **fields)
        Household.objects.filter(pk=self.household.pk).update(
            support_until=timezone.now() + timedelta(days=400)
        )
        self.owner = make_owner(self.household)
        self.support = make_user("sam@support.example", staff_role=StaffRole.SUPPORT)
        self.node = make_node(make_account(self.household), name="Back porch")
        self.offer = make_offer(self.node)

    def propose(self, words: str = "It mends the lamp.") -> tuple[Proposal, str]:
        """Let support propose; return the proposal and a link's path, as a mail holds it."""
        proposal, token = proposals.propose(
            Node.objects.select_related("account__household").get(pk=self.node.pk),
            user=self.support,
            binding=bind(self.node, self.offer),
            words=words,
            recipients=[],
            actor=person(self.support, "support"),
        )
        return proposal, f"/decide/{token}/"


@pytest.fixture
def home() -> Home:
    return Home()


def state_of(proposal: Proposal) -> str:
    proposal.refresh_from_db()
    return proposal.state


def turn(now: datetime) -> None:
    """Let the worker's loop look once."""
    list(tasks.find_installs(now, frozenset()))


def test_support_proposes_on_a_form_and_never_sees_the_link(home: Home, settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    browser = sign_in(Client(), home.support)
    path = f"/hubs/{home.node.pk}/propose/"
    page = browser.get(path).content.decode()
    assert masked(home.owner.email) in page
    assert home.owner.email not in page
    told = {"agreed": sign(bind(home.node, home.offer)), "words": "It mends the lamp."}
    answer = browser.post(path, told, follow=True)
    assert "waits for the household&#x27;s answer" in answer.content.decode().replace("'", "&#x27;")
    sent = mail.outbox[0]
    assert sent.to == [home.owner.email]
    link = re.search(r"/decide/([\w-]+)/", str(sent.body))
    assert link is not None
    assert link[1] not in answer.content.decode()
    assert by_token(link[1]) == Proposal.objects.get()
    assert link[1] not in str(Proposal.objects.values())
    event = AuditEvent.objects.get(action="proposal.made")
    assert event.actor_name == home.support.email
    assert event.household_id == home.household.pk
    assert home.owner.email not in str(event.detail)


def test_nobody_needs_an_account_to_say_now(home: Home) -> None:
    proposal, path = home.propose()
    browser = Client()
    page = browser.get(path).content.decode()
    assert "It mends the lamp." in page
    assert "Install it now" in page
    assert state_of(proposal) == ProposalState.OPEN, "looking decides nothing"
    answer = browser.post(path, {"decision": "now"})
    assert answer.status_code == 200
    job = OtaJob.objects.get()
    assert (job.node, job.ota_job_id, job.to_version) == (home.node, home.offer.ota_job_id, "5.3.3")
    assert job.requested_by is None
    assert job.requested_by_name == "Whoever had the link"
    assert state_of(proposal) == ProposalState.ACCEPTED
    assert proposal.job == job
    confirmed = AuditEvent.objects.get(action="install.requested")
    assert confirmed.actor_role == "link"
    assert confirmed.why == f"proposed by {home.support.email}"
    # once
    assert browser.post(path, {"decision": "now"}).status_code == 409
    assert OtaJob.objects.count() == 1


def test_not_this_one_is_an_answer_and_is_kept(home: Home) -> None:
    proposal, path = home.propose()
    Client().post(path, {"decision": "no"})
    assert state_of(proposal) == ProposalState.DECLINED
    assert not OtaJob.objects.exists()
    assert AuditEvent.objects.get(action="proposal.declined").actor_name == "Whoever had the link"


@pytest.mark.parametrize("decision", ["", "yes", "NOW", "\x00"])
def test_what_is_no_answer_decides_nothing(home: Home, decision: str) -> None:
    proposal, path = home.propose()
    assert Client().post(path, {"decision": decision}).status_code == 409
    assert state_of(proposal) == ProposalState.OPEN


@pytest.mark.parametrize("role", [StaffRole.SUPPORT, StaffRole.AUDITOR, StaffRole.ADMINISTRATOR])
def test_staff_cannot_answer_not_even_with_the_link(home: Home, role: StaffRole) -> None:
    proposal, path = home.propose()
    Household.objects.update(support_may_install=True)
    browser = sign_in(Client(), make_user(staff_role=role))
    page = browser.get(path).content.decode()
    assert "Staff cannot answer for a household." in page
    assert "Install it now" not in page
    for decision in ("now", "tonight", "no"):
        assert browser.post(path, {"decision": decision}).status_code == 409
    assert state_of(proposal) == ProposalState.OPEN
    refusals = AuditEvent.objects.filter(action="proposal.answer_refused")
    assert refusals.count() == 3
    if role == StaffRole.SUPPORT:
        answer = browser.post(f"/proposals/{proposal.pk}/", {"decision": "now"})
        assert answer.status_code == 403


def test_a_member_decides_signed_in_and_is_named(home: Home) -> None:
    proposal, _ = home.propose()
    member = make_user(role=Role.MEMBER, household=home.household)
    browser = sign_in(Client(), member)
    assert "Install it now" in browser.get(f"/proposals/{proposal.pk}/").content.decode()
    answer = browser.post(f"/proposals/{proposal.pk}/", {"decision": "now"})
    assert answer.headers["Location"] == f"/installs/{OtaJob.objects.get().pk}/"
    assert state_of(proposal) == ProposalState.ACCEPTED
    assert proposal.decided_by == member


def test_a_link_made_to_be_passed_on_ends_the_older_one(home: Home) -> None:
    _, older = home.propose()
    browser = sign_in(Client(), home.owner)
    page = browser.post(f"/proposals/{Proposal.objects.get().pk}/link/").content.decode()
    found = re.search(r"/decide/[\w-]+/", page)
    assert found is not None
    assert Client().get(older).status_code == 410
    assert Client().get(found[0]).status_code == 200


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
    assert "no longer what the form showed" in answer.content.decode()
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
    proposal, path = home.propose()
    if decision:
        Client().post(path, {"decision": decision})
    now = timezone.now()
    turn(now)
    assert state_of(proposal) == (decision or "open")
    home.node.touch(now, fw_version="5.3.3")
    turn(now)
    assert state_of(proposal) == ProposalState.OVERTAKEN
    assert "Done another way: Back porch runs 5.3.3 already." in Client().get(path).content.decode()
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


def test_tonight_waits_for_the_night_and_for_nobody_to_sit_outside(home: Home) -> None:
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
        assert proposal.why_not == "The hub is in use."
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
    assert job.requested_by_name == "Whoever had the link"
    assert job.requested_via == "proposal"


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
    assert "is not known here" in Client().get(link).content.decode()
    assert Client().post(link, {"decision": "now"}).status_code == 409
    assert not OtaJob.objects.exists()


def test_a_running_install_is_not_joined_by_a_second(home: Home) -> None:
    proposal, path = home.propose()
    make_job(home.node, state=State.RUNNING)
    assert Client().post(path, {"decision": "now"}).status_code == 409
    assert OtaJob.objects.count() == 1
    assert state_of(proposal) == ProposalState.OPEN


def test_names_and_words_are_text_everywhere(home: Home, settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    Node.objects.filter(pk=home.node.pk).update(name="Porch\r\nBcc: all@example.com <script>")
    browser = sign_in(Client(), home.support)
    node = Node.objects.get(pk=home.node.pk)
    told = {"agreed": sign(bind(node, home.offer)), "words": "<script>alert(1)</script>"}
    page = browser.post(f"/hubs/{home.node.pk}/propose/", told, follow=True).content.decode()
    assert "<script>alert(1)" not in page
    assert "\n" not in mail.outbox[0].subject
    assert len(mail.outbox[0].recipients()) == 1


def test_who_is_mailed_are_those_who_may_install_and_no_staff(home: Home) -> None:
    member = make_user(role=Role.MEMBER, household=home.household)
    make_user(role=Role.VIEWER, household=home.household)
    make_user(role=Role.MEMBER, household=home.household, staff_role=StaffRole.SUPPORT)
    make_user(role=Role.MEMBER, household=home.household, is_active=False)
    found = {one.email for one in proposals.recipients_of(home.household)}
    assert found == {home.owner.email, member.email}


def test_the_list_costs_the_same_however_long(
    home: Home, django_assert_max_num_queries: Any
) -> None:
    browser = sign_in(Client(), home.owner)
    for _ in range(6):
        home.propose()
    with django_assert_max_num_queries(12):
        assert "Back porch" in browser.get("/proposals/").content.decode()
    assert User.objects.filter(email=home.support.email).exists()


def listed(user: User) -> str:
    """Return what the Hubs page says of proposals to this person."""
    page = sign_in(Client(), user).get("/").content.decode()
    return re.sub(r"<[^>]+>", "", " ".join(re.findall(r'data-say="proposal.*?</p>', page)))


@pytest.mark.parametrize("role", [Role.OWNER, Role.MEMBER])
def test_the_hubs_page_asks_who_may_install(home: Home, role: Role) -> None:
    proposal, _ = home.propose()
    person_ = make_user(role=role, household=home.household)
    page = sign_in(Client(), person_).get("/").content.decode()
    assert f'<a href="/proposals/{proposal.pk}/">Answer the proposal</a>' in page
    assert "sam@support.example proposes 5.3.3 for Back porch." in listed(person_)


def test_the_hubs_page_asks_nobody_else(home: Home) -> None:
    home.propose()
    Household.objects.update(support_may_install=True)
    viewer = make_user(role=Role.VIEWER, household=home.household)
    stranger = make_owner(make_household())
    elsewhere = make_user(role=Role.MEMBER, household=stranger.memberships.get().household)
    elsewhere.memberships.create(household=home.household, role=Role.VIEWER)
    for user in (viewer, stranger, elsewhere, home.support):
        assert listed(user) == ""


def test_whoever_may_not_install_pays_for_no_look_at_proposals(home: Home) -> None:
    home.propose()
    for role, looks in ((Role.VIEWER, 0), (Role.MEMBER, 1)):
        browser = sign_in(Client(), make_user(role=role, household=home.household))
        with CaptureQueriesContext(connection) as queries:
            browser.get("/")
        assert sum("devices_proposal" in one["sql"] for one in queries) == looks


def test_the_household_that_is_shown_is_the_one_asked_of(home: Home) -> None:
    home.propose()
    other = make_household("Lake house")
    other.memberships.create(user=home.owner, role=Role.OWNER)
    assert "Garden house: sam@support.example proposes" in listed(home.owner)
    browser = sign_in(Client(), home.owner)
    browser.post("/households/choose/", {"household": other.pk})
    assert "proposes" not in browser.get("/").content.decode()


def test_three_are_named_and_the_others_counted(home: Home) -> None:
    for _ in range(5):
        home.node = make_node(home.node.account)
        home.offer = make_offer(home.node)
        home.propose()
    assert listed(home.owner).count("proposes 5.3.3") == 3
    page = sign_in(Client(), home.owner).get("/").content.decode()
    assert '<a href="/proposals/">And two more proposals.</a>' in page


def test_one_for_tonight_is_said_before_and_in_the_night(home: Home) -> None:
    paths = ("/", f"/hubs/{home.node.pk}/", f"/hubs/{home.node.pk}/install/")
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        Client().post(path, {"decision": "tonight"})
        browser = sign_in(Client(), home.owner)
        for page in paths:
            text = browser.get(page).content.decode()
            assert "5.3.3 is to be installed on Back porch tonight, from 22:00." in text
            assert f'href="/proposals/{proposal.pk}/">See the proposal</a>' in text
    Node.objects.filter(pk=home.node.pk).update(repellent="protected", is_on=True)
    with time_machine.travel(datetime(2026, 6, 1, 22, 0, 5, tzinfo=UTC), tick=False):
        turn(timezone.now())
        browser = sign_in(Client(), home.owner)
        for page in paths:
            text = browser.get(page).content.decode()
            assert "installed on Back porch tonight, once nobody uses it." in text


def test_what_is_over_or_moot_is_asked_no_more(home: Home) -> None:
    proposal, _ = home.propose()
    assert "proposes" in listed(home.owner)
    home.node.touch(timezone.now(), fw_version="5.3.3")
    assert listed(home.owner) == ""  # it runs it already
    home.node.touch(timezone.now(), fw_version="5.3.2", gone_at=timezone.now())
    assert listed(home.owner) == ""
    home.node.touch(timezone.now(), gone_at=None)
    Proposal.objects.update(expires_at=timezone.now())
    assert listed(home.owner) == ""  # before the worker ends it, too
    assert state_of(proposal) == ProposalState.OPEN


@pytest.mark.parametrize("deed", ["propose", "tonight", "no", "withdraw", "expire", "wait", "miss"])
def test_an_open_list_hears_of_it(home: Home, deed: str) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        if deed in {"wait", "miss"}:
            Client().post(path, {"decision": "tonight"})
            Node.objects.filter(pk=home.node.pk).update(is_online=False)
        browser = sign_in(Client(), home.owner)
        page = browser.get("/").content.decode()
        live = page.split('data-hx-get="')[-1].split('"')[0].replace("&amp;", "&")
        assert browser.get(live).status_code == 204
        if deed == "propose":
            home.propose()
        elif deed in {"tonight", "no"}:
            Client().post(path, {"decision": deed})
        elif deed == "withdraw":
            proposals.withdraw(proposal, actor=person(home.support, "support"))
        else:
            after = {"expire": timedelta(days=4), "wait": timedelta(hours=3)}
            turn(timezone.now() + after.get(deed, timedelta(hours=10)))
        answer = browser.get(live)
        assert answer.status_code == 200
        says = {"propose": "proposes", "tonight": "from 22:00", "wait": "once nobody uses it"}
        text = answer.content.decode()
        assert says.get(deed, 'id="headline"') in text
        assert ('data-say="proposal-' in text) == (deed in says)


def test_a_night_that_goes_on_is_news_once(home: Home) -> None:
    with time_machine.travel(EVENING, tick=False):
        _, path = home.propose()
        Client().post(path, {"decision": "tonight"})
    Node.objects.filter(pk=home.node.pk).update(is_online=False)
    revisions = []
    for minute in (0, 2, 4):
        turn(datetime(2026, 6, 1, 22, minute, 5, tzinfo=UTC))
        revisions.append(Node.objects.get(pk=home.node.pk).revision)
    assert len(set(revisions)) == 1


def test_the_hub_keeps_what_became_of_each(home: Home) -> None:
    first, _ = home.propose()
    second, path = home.propose()
    Client().post(path, {"decision": "no"})
    text = sign_in(Client(), home.owner).get(f"/hubs/{home.node.pk}/").content.decode()
    for proposal, said in ((first, "withdrawn"), (second, "not this one")):
        line = f'<a href="/proposals/{proposal.pk}/">Proposal of 5.3.3: {said}</a>'
        assert line in text
    assert text.count("Proposed by sam@support.example.") == 2
    assert "Whoever had the link answered today" in text


def test_the_install_form_says_that_it_is_proposed(home: Home) -> None:
    proposal, _ = home.propose()
    path, said = f"/hubs/{home.node.pk}/install/", "proposes 5.3.3 for Back porch."
    browser = sign_in(Client(), home.owner)
    text = browser.get(path).content.decode()
    assert said in text
    assert f'<a href="/proposals/{proposal.pk}/">Answer the proposal</a>' in text
    Household.objects.update(support_may_install=True)
    text = sign_in(Client(), home.support).get(path).content.decode()
    assert f'<a href="/proposals/{proposal.pk}/">See the proposal</a>' in text
    home.offer.ended_at = timezone.now()
    home.offer.save()
    make_offer(home.node, fw_version="5.4.0")
    assert said not in browser.get(path).content.decode()


def test_a_hub_of_an_unlinked_account_is_proposed_nothing(home: Home) -> None:
    agreed = sign(bind(home.node, home.offer))
    account = home.node.account
    account.forget_secrets()
    unlink_account(account, actor=person(home.owner))
    browser = sign_in(Client(), home.support)
    path = f"/hubs/{home.node.pk}/propose/"
    assert "Nothing to propose for Back porch." in browser.get(path).content.decode()
    answer = browser.post(path, {"agreed": agreed, "words": ""})
    assert answer.status_code == 409
    assert "The cloud account of this hub is unlinked." in answer.content.decode()
    assert not Proposal.objects.exists()


def test_a_first_proposal_is_news_of_its_hub(home: Home) -> None:
    before = Node.objects.get(pk=home.node.pk).revision
    home.propose()
    assert Node.objects.get(pk=home.node.pk).revision > before
