"""The pages of proposals: made by support, shown where it matters, answered by the household."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.accounts.linking import unlink_account
from devices.installs.confirmation import sign, snapshot_offer
from devices.models import (
    AuditEvent,
    Household,
    Node,
    OtaJob,
    Proposal,
    ProposalState,
    Role,
    StaffRole,
    User,
)
from devices.models.text import mask_emails
from devices.planning import proposals
from devices.planning.proposal_links import open_link
from devices.tasks import send_notices
from tests.support.client import Client
from tests.support.factories import (
    make_household,
    make_node,
    make_offer,
    make_owner,
    make_user,
    person,
    sign_in,
)
from tests.support.markup import tight
from tests.support.proposals import EVENING, Home, state_of, turn

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Home:
    return Home()


def test_support_proposes_on_a_form_and_never_sees_the_link(home: Home, settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    browser = sign_in(Client(), home.support)
    path = f"/hubs/{home.node.pk}/propose/"
    page = browser.get(path).content.decode()
    assert mask_emails(home.owner.email) in page
    assert home.owner.email not in page
    fields = {"agreed": sign(snapshot_offer(home.node, home.offer)), "words": "It mends the lamp."}
    answer = browser.post(path, fields, follow=True)
    assert "waiting for the household&#x27;s answer" in answer.content.decode().replace(
        "'", "&#x27;"
    )
    assert not mail.outbox, "no request waits for a mail server"
    send_notices()
    [sent] = mail.outbox
    assert sent.to == [home.owner.email]
    link = re.search(r"/decide/([\w-]+)/", str(sent.body))
    assert link is not None
    assert link[1] not in answer.content.decode()
    opened = open_link(link[1])
    assert opened is not None
    assert (opened.proposals, opened.recipient) == ((Proposal.objects.get(),), home.owner)
    assert link[1] not in str(Proposal.objects.values())
    event = AuditEvent.objects.get(action="proposal.made")
    assert event.actor_name == home.support.email
    assert event.household_id == home.household.pk
    assert home.owner.email not in str(event.detail)


def test_an_answer_by_the_link_needs_no_account(home: Home) -> None:
    proposal, path = home.propose()
    browser = Client()
    page = browser.get(path).content.decode()
    assert "It mends the lamp." in page
    assert "Install now" in page
    assert state_of(proposal) == ProposalState.OPEN, "looking decides nothing"
    answer = browser.post(path, {"decision": "now"})
    assert answer.status_code == 200
    job = OtaJob.objects.get()
    assert (job.node, job.ota_job_id, job.to_version) == (home.node, home.offer.ota_job_id, "5.3.3")
    assert job.requested_by is None
    assert job.requested_by_name == f"{home.owner.email} (by the mailed link)"
    assert state_of(proposal) == ProposalState.ACCEPTED
    assert proposal.job == job
    confirmed = AuditEvent.objects.get(action="install.requested")
    assert confirmed.actor_role == "link"
    assert confirmed.why == f"proposed by {home.support.email}"
    # once
    assert browser.post(path, {"decision": "now"}).status_code == 409
    assert OtaJob.objects.count() == 1


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
    assert "Staff cannot answer on behalf of a household." in page
    assert "Install now" not in page
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
    assert "Install now" in browser.get(f"/proposals/{proposal.pk}/").content.decode()
    answer = browser.post(f"/proposals/{proposal.pk}/", {"decision": "now"})
    assert answer.headers["Location"] == f"/installs/{OtaJob.objects.get().pk}/"
    assert state_of(proposal) == ProposalState.ACCEPTED
    assert proposal.decided_by == member


def test_a_member_is_asked_and_a_viewer_reads_of_the_household(home: Home) -> None:
    address = f"/proposals/{home.propose()[0].pk}/"
    texts = []
    for role in (Role.MEMBER, Role.VIEWER):
        client = Client()
        client.force_login(make_user(role=role, household=home.household))
        texts.append(client.get(address).content.decode().replace("&#x27;", "'"))
    assert "waiting for your answer" in texts[0]
    assert "waiting for the household's answer" in texts[1]
    assert "Your household chooses" in client.get("/proposals/").content.decode()


def test_a_link_made_to_be_passed_on_ends_the_older_one(home: Home) -> None:
    _, older = home.propose()
    browser = sign_in(Client(), home.owner)
    page = browser.post(f"/proposals/{Proposal.objects.get().pk}/link/").content.decode()
    found = re.search(r"/decide/[\w-]+/", page)
    assert found is not None
    assert Client().get(older).status_code == 410
    assert Client().get(found[0]).status_code == 200
    Client().post(found[0], {"decision": "no"})
    declined = AuditEvent.objects.get(action="proposal.declined")
    assert declined.actor_name == f"Someone with a link from {home.owner.email}"
    assert declined.actor_user_id == home.owner.pk


def test_names_and_words_are_text_everywhere(home: Home, settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    Node.objects.filter(pk=home.node.pk).update(name="Porch\r\nBcc: all@example.com <script>")
    browser = sign_in(Client(), home.support)
    node = Node.objects.get(pk=home.node.pk)
    fields = {
        "agreed": sign(snapshot_offer(node, home.offer)),
        "words": "<script>alert(1)</script>",
    }
    page = browser.post(f"/hubs/{home.node.pk}/propose/", fields, follow=True).content.decode()
    assert "<script>alert(1)" not in page
    send_notices()
    assert "\n" not in mail.outbox[0].subject
    assert len(mail.outbox[0].recipients()) == 1


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
    page = tight(sign_in(Client(), user).get("/").content.decode())
    return re.sub(r"<[^>]+>", "", " ".join(re.findall(r'data-say="proposal.*?</p>', page)))


@pytest.mark.parametrize("role", [Role.OWNER, Role.MEMBER])
def test_the_hubs_page_asks_who_may_install(home: Home, role: Role) -> None:
    proposal, _ = home.propose()
    person_ = make_user(role=role, household=home.household)
    page = sign_in(Client(), person_).get("/").content.decode()
    assert f'<a href="/proposals/{proposal.pk}/">Answer the proposal</a>' in page
    assert "sam@support.example proposes 5.3.3 for Back porch." in listed(person_)


def test_the_hubs_page_asks_no_one_else(home: Home) -> None:
    home.propose()
    Household.objects.update(support_may_install=True)
    viewer = make_user(role=Role.VIEWER, household=home.household)
    stranger = make_owner(make_household())
    elsewhere = make_user(role=Role.MEMBER, household=stranger.memberships.get().household)
    elsewhere.memberships.create(household=home.household, role=Role.VIEWER)
    for user in (viewer, stranger, elsewhere, home.support):
        assert listed(user) == ""


def test_people_who_may_not_install_cost_no_query_for_proposals(home: Home) -> None:
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
    page = tight(sign_in(Client(), home.owner).get("/").content.decode())
    assert '<a href="/proposals/">And two more proposals.</a>' in page


def test_one_for_tonight_is_said_before_and_in_the_night(home: Home) -> None:
    paths = ("/", f"/hubs/{home.node.pk}/", f"/hubs/{home.node.pk}/install/")
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        Client().post(path, {"decision": "tonight"})
        browser = sign_in(Client(), home.owner)
        for page in paths:
            text = tight(browser.get(page).content.decode())
            assert "5.3.3 is planned for Back porch tonight, from 22:00." in text
            assert f'href="/proposals/{proposal.pk}/">See the proposal</a>' in text
    Node.objects.filter(pk=home.node.pk).update(repellent="protected", is_on=True)
    with time_machine.travel(datetime(2026, 6, 1, 22, 0, 5, tzinfo=UTC), tick=False):
        turn(timezone.now())
        browser = sign_in(Client(), home.owner)
        for page in paths:
            text = browser.get(page).content.decode()
            assert "planned for Back porch tonight, when not in use." in text


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


@pytest.mark.parametrize(
    "change", ["propose", "tonight", "no", "withdraw", "expire", "wait", "miss"]
)
def test_an_open_list_hears_of_it(home: Home, change: str) -> None:
    with time_machine.travel(EVENING, tick=False):
        proposal, path = home.propose()
        if change in {"wait", "miss"}:
            Client().post(path, {"decision": "tonight"})
            Node.objects.filter(pk=home.node.pk).update(is_online=False)
        browser = sign_in(Client(), home.owner)
        page = browser.get("/").content.decode()
        live = page.split('data-hx-get="')[-1].split('"')[0].replace("&amp;", "&")
        assert browser.get(live).status_code == 204
        if change == "propose":
            home.propose()
        elif change in {"tonight", "no"}:
            Client().post(path, {"decision": change})
        elif change == "withdraw":
            proposals.withdraw(proposal, actor=person(home.support, "support"))
        else:
            after = {"expire": timedelta(days=4), "wait": timedelta(hours=3)}
            turn(timezone.now() + after.get(change, timedelta(hours=10)))
        answer = browser.get(live)
        assert answer.status_code == 200
        says = {"propose": "proposes", "tonight": "from 22:00", "wait": "when not in use"}
        text = answer.content.decode()
        assert says.get(change, 'id="headline"') in text
        assert ('data-say="proposal-' in text) == (change in says)


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
    for proposal, shown in ((first, "withdrawn"), (second, "not this version")):
        line = f'<a href="/proposals/{proposal.pk}/">Proposal of 5.3.3: {shown}</a>'
        assert line in text
    assert text.count("Proposed by sam@support.example.") == 2
    assert f"Answered by {home.owner.email} (by the mailed link) (today" in text


def test_the_install_form_says_that_it_is_proposed(home: Home) -> None:
    proposal, _ = home.propose()
    path, shown = f"/hubs/{home.node.pk}/install/", "proposes 5.3.3 for Back porch."
    browser = sign_in(Client(), home.owner)
    text = browser.get(path).content.decode()
    assert shown in text
    assert f'<a href="/proposals/{proposal.pk}/">Answer the proposal</a>' in text
    Household.objects.update(support_may_install=True)
    text = sign_in(Client(), home.support).get(path).content.decode()
    assert f'<a href="/proposals/{proposal.pk}/">See the proposal</a>' in text
    home.offer.ended_at = timezone.now()
    home.offer.save()
    make_offer(home.node, fw_version="5.4.0")
    assert shown not in browser.get(path).content.decode()


def test_a_hub_of_an_unlinked_account_is_proposed_nothing(home: Home) -> None:
    agreed = sign(snapshot_offer(home.node, home.offer))
    account = home.node.account
    account.forget_secrets()
    unlink_account(account, actor=person(home.owner))
    browser = sign_in(Client(), home.support)
    path = f"/hubs/{home.node.pk}/propose/"
    assert "Nothing to propose for Back porch." in browser.get(path).content.decode()
    answer = browser.post(path, {"agreed": agreed, "words": ""})
    assert answer.status_code == 409
    assert "This hub&#x27;s cloud account is unlinked." in answer.content.decode()
    assert not Proposal.objects.exists()


def test_a_first_proposal_is_news_of_its_hub(home: Home) -> None:
    before = Node.objects.get(pk=home.node.pk).revision
    home.propose()
    assert Node.objects.get(pk=home.node.pk).revision > before
