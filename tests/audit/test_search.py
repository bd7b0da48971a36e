"""Reviewing the audit trail: filters, pages that stay, and rows of others that never show."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from django.utils.html import escape

from devices.audit import log as audit_log
from devices.audit import search
from devices.audit.search import AuditFilter, AuditSearch
from devices.installs.lifecycle import move_to
from devices.models import (
    Actor,
    AuditAction,
    AuditCheck,
    AuditEvent,
    Household,
    InstallOutcome,
    OtaJob,
    Outcome,
    Role,
    StaffRole,
    State,
    User,
    audit,
)
from devices.models.install import OUTCOMES
from devices.presentation.badges import of_event, of_job
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_user,
    sign_in,
)
from tests.support.markup import tight

pytestmark = pytest.mark.django_db
WORKER = Actor.worker()


@pytest.fixture
def auditor() -> User:
    return make_user(staff_role=StaffRole.AUDITOR)


def entries(number: int, household: Household | None = None, **more: Any) -> None:
    for n in range(number):
        audit_log.record(
            WORKER, AuditAction.CHECK_ASKED, f"Entry {n}.", household=household, **more
        )


def sequences(page: search.Page) -> list[int]:
    return [event.sequence for event in page]


def walk(trail: AuditSearch) -> list[int]:
    """Return every position from the newest page to the last, by the links of the pages."""
    page, found = trail.page(), []
    for _ in range(1000):
        found += sequences(page)
        if page.older is None:
            return found
        page = trail.page(before=page.older)
    raise AssertionError("the pages never end")


def signed_in(user: User) -> Client:
    return sign_in(Client(), user)


def test_pages_go_on_where_they_ended_although_rows_come(auditor: User) -> None:
    entries(130)
    trail = AuditSearch(auditor, AuditFilter())
    first = trail.page()
    assert (sequences(first), first.total) == (list(range(130, 80, -1)), 130)
    entries(7)
    second = trail.page(before=first.older)
    assert sequences(second) == list(range(80, 30, -1))
    assert sequences(trail.page(before=second.older)) == list(range(30, 0, -1))
    back = trail.page(after=second.newer)
    assert sequences(back) == list(range(130, 80, -1))
    assert sequences(trail.page(after=back.newer))[0] == 137
    assert walk(trail) == list(range(137, 0, -1))


@pytest.mark.parametrize("window", [3, 10, 1000])
def test_nothing_is_missed_however_little_a_page_looks_at(
    auditor: User, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW", window)
    mine, theirs = make_household("Mine"), make_household("Theirs")
    for n in range(90):
        household = (mine, theirs, None)[n % 3]
        word = "needle" if n % 14 == 0 else "hay"
        audit_log.record(WORKER, AuditAction.CHECK_ASKED, f"A {word}.", household=household)
    both = make_user(role=Role.OWNER, household=mine)
    for user, asked, expected in (
        (auditor, AuditFilter(text="needle"), [n + 1 for n in range(90) if n % 14 == 0]),
        (auditor, AuditFilter(text="no such word"), []),
        (auditor, AuditFilter(household="Mine"), [n + 1 for n in range(90) if n % 3 == 0]),
        (both, AuditFilter(), [n + 1 for n in range(90) if n % 3 == 0]),
        (both, AuditFilter(text="needle"), [n + 1 for n in range(90) if n % 42 == 0]),
    ):
        assert walk(AuditSearch(user, asked)) == expected[::-1], asked


def test_every_filter_finds_its_rows_and_no_others(auditor: User) -> None:
    job = make_job(state=State.VERIFIED)
    long_ago = timezone.now() - timedelta(days=40)
    ann = Actor(name="ann@example.com", role="owner", address="192.0.2.7", request_id="abc123")
    audit_log.record(
        ann, AuditAction.INSTALL_REQUESTED, "Confirmed.", job=job, detail={"to_version": "9.9.9"}
    )
    audit_log.record(WORKER, AuditAction.OFFER_SEEN, "An offer.", node=job.node)
    audit_log.record(
        ann, AuditAction.ACCESS_REFUSED, "No.", outcome=Outcome.REFUSED, household=job.household
    )
    audit_log.record(WORKER, AuditAction.CHECK_ASKED, "Long ago.", at=long_ago)
    day = timezone.localtime(long_ago).date()
    for asked, expected in (
        (AuditFilter(person="ann@example.com"), [3, 1]),
        (AuditFilter(person="ANN"), [3, 1]),
        (AuditFilter(role="worker"), [4, 2]),
        (AuditFilter(hub=job.hub_name), [2, 1]),
        (AuditFilter(hub=job.hub_name[:4].lower()), [2, 1]),
        (AuditFilter(household=job.household.name), [3, 2, 1]),
        (AuditFilter(household="nowhere"), []),
        (AuditFilter(action="install."), [1]),
        (AuditFilter(action="nothing."), []),
        (AuditFilter(outcome="refused"), [3]),
        (AuditFilter(since=day + timedelta(days=1)), [3, 2, 1]),
        (AuditFilter(until=day), [4]),
        (AuditFilter(since=day, until=day), [4]),
        (AuditFilter(since=day - timedelta(days=9), until=day - timedelta(days=1)), []),
        (AuditFilter(job=job.pk), [1]),
        (AuditFilter(text="9.9.9"), [1]),
        (AuditFilter(text="192.0.2.7 confirmed"), [1]),
        (AuditFilter(text="abc123"), [3, 1]),
        (AuditFilter(text="%"), []),
        (AuditFilter(person="ann@example.com", outcome="done", role="owner"), [1]),
    ):
        assert walk(AuditSearch(auditor, asked)) == expected, asked


def test_no_filter_shows_rows_of_others() -> None:
    mine, theirs = make_household("Mine"), make_household("Nightingale")
    owner = make_user(role=Role.OWNER, household=mine)
    secret = make_job()
    entries(3, mine)
    entries(3, theirs)
    entries(3)
    audit_log.record(
        Actor(name="nightingale@example.com"), AuditAction.INSTALL_REQUESTED, "Sh.", job=secret
    )
    audit_log.record(
        Actor.person(owner, role="owner", via="web"), AuditAction.PERSON_SIGNED_IN, "In."
    )
    for asked in (
        AuditFilter(),
        AuditFilter(household="Nightingale"),
        AuditFilter(job=secret.pk),
        AuditFilter(hub=secret.hub_name),
        AuditFilter(person="nightingale@example.com"),
        AuditFilter(action="install."),
        AuditFilter(text="Nightingale"),
        AuditFilter(outcome="done"),
    ):
        page = AuditSearch(owner, asked).page()
        seen = {event.household_id for event in page}
        assert seen <= {mine.pk, None}, asked
        assert all(event.household_id or event.actor_user_id == owner.pk for event in page)
        assert page.total is None, "how many rows others have is none of their business"
    assert len(sequences(AuditSearch(owner, AuditFilter()).page())) == 4
    assert walk(AuditSearch(make_user(), AuditFilter())) == []
    assert walk(AuditSearch(make_user(staff_role=StaffRole.ADMINISTRATOR), AuditFilter())) == []


def test_the_filter_is_in_the_address_and_the_links_keep_it(auditor: User) -> None:
    household = make_household("Lark")
    entries(60, household)
    entries(5)
    client = signed_in(auditor)
    page = client.get("/audit/?household=Lark&action=&outcome=done").content.decode()
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older is not None
    following = client.get("/audit/" + older[1].replace("&amp;", "&")).content.decode()
    assert following.count('<tr id="no-') == 10
    assert "Lark" in following
    assert 'href="/audit/export.csv?household=Lark' in page
    assert client.get("/audit/?before=x&after=-1").status_code == 200
    assert client.get("/audit/?before=99999999999999999999").status_code == 200
    assert "No matches" in client.get("/audit/?since=never").content.decode()


def test_a_page_costs_the_same_queries_for_few_rows_and_many(
    auditor: User, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(auditor)
    entries(3)
    with django_assert_max_num_queries(14) as few:
        client.get("/audit/")
    entries(200)
    with django_assert_num_queries(len(few)):
        client.get("/audit/")


def test_the_state_of_the_chain_says_what_was_found(auditor: User) -> None:
    entries(2)
    client = signed_in(auditor)
    assert "Not verified yet" in client.get("/audit/chain/").content.decode()
    check = AuditCheck.load()
    check.verified_at, check.finding = timezone.now(), "Row 1 was changed."
    check.save()
    page = client.get("/audit/chain/").content.decode()
    assert "The audit trail is not as it was written." in page
    assert "Row 1 was changed." in page


def test_a_sign_in_says_every_role_that_is_held() -> None:
    household = make_household()
    user = make_user(role=Role.OWNER, household=household)
    staff = make_user(staff_role=StaffRole.AUDITOR)
    no_one = make_user()
    for who in (user, staff, no_one):
        signed_in(who)
    roles = AuditEvent.objects.filter(action="person.signed_in").order_by("sequence")
    assert list(roles.values_list("actor_role", flat=True)) == ["owner", "auditor", "person"]


def test_the_filter_by_role_finds_people_with_several_roles(auditor: User) -> None:
    for role in ("owner", "owner, viewer", "support, owner", "viewer", "watchdog"):
        audit_log.record(Actor(name=role, role=role), AuditAction.CHECK_ASKED, "Checked.")
    client = signed_in(auditor)
    page = client.get("/audit/?role=owner").content.decode()
    assert page.count("<tr id=") == 3
    assert client.get("/audit/?role=watchdog").content.decode().count("<tr id=") == 1


@pytest.mark.parametrize("outcome", InstallOutcome)
def test_an_install_has_the_same_name_in_the_trail_as_everywhere(
    auditor: User, outcome: InstallOutcome
) -> None:
    job = make_job(state=State.PUSHING)
    state = next(one for one, outcomes in OUTCOMES.items() if outcome in outcomes)
    OtaJob.objects.filter(pk=job.pk).update(state=STATE_BEFORE.get(state, State.VERIFYING))
    job.refresh_from_db()
    move_to(job, state, actor=Actor.worker(), note="x", outcome=outcome, version_seen="9.9.9")
    event = AuditEvent.objects.get(action=f"install.{state.value}")
    assert of_event(event).words == of_job(job).words
    page = signed_in(auditor).get("/audit/").content.decode()
    assert escape(of_job(job).words) in page


STATE_BEFORE = {
    State.REFUSED: State.PUSHING,
    State.CANCELLED: State.REQUESTED,
    State.EXPIRED: State.REQUESTED,
}


def test_a_receipt_has_the_witnesses_the_words_and_the_proof() -> None:
    job = make_job(state=State.VERIFIED, outcome=InstallOutcome.VERIFIED, cloud_word="success")
    owner = make_user(role=Role.OWNER, household=job.household)
    now = datetime.now(tz=timezone.get_default_timezone())
    job.reports.create(
        sequence=1,
        heard_at=now,
        last_heard_at=now,
        word="in-progress",
        meaning="in_progress",
        info="Downloaded 40% Firmware Image",
        verbatim='{"status":"in-progress"}',
    )
    event = audit_log.record(
        Actor(name="ann@example.com"), AuditAction.INSTALL_REQUESTED, "Confirmed.", job=job
    )
    entries(3)
    client = signed_in(owner)
    page = client.get(f"/installs/{job.pk}/receipt/").content.decode()
    for words in (
        "Downloaded 40% Firmware Image",
        "{&quot;status&quot;:&quot;in-progress&quot;}",
        event.digest,
        event.previous_digest,
        audit.AuditHead.objects.get().digest,
        job.md5,
        job.ota_job_id,
        job.requested_by_name,
        "The hub reports",
    ):
        assert words in page, words
    assert "<dd>Verified</dd>" in tight(page)
    assert "<strong>Is the hub safe?</strong> Yes. It reported the new firmware" in page
    install = client.get(f"/installs/{job.pk}/").content.decode()
    assert f"/installs/{job.pk}/receipt/" in install
    assert signed_in(make_user()).get(f"/installs/{job.pk}/receipt/").status_code == 404


def test_a_receipt_names_an_outcome_that_the_verdict_does_not_and_asks_before_it_answers() -> None:
    household = make_household()
    client = signed_in(make_user(role=Role.OWNER, household=household))
    for state, outcome in ((State.LOST, "silent"), (State.RUNNING, "")):
        job = make_job(make_node(make_account(household)), state=state, outcome=outcome)
        page = client.get(f"/installs/{job.pk}/receipt/").content.decode()
        assert ('<span class="sub mono">silent</span>' in page) is bool(outcome)
        assert page.count("<strong>Is the hub safe?</strong>") == 1


def test_the_clouds_time_is_shown_in_the_households_zone_with_its_day() -> None:
    household = make_household(time_zone="Asia/Tokyo")
    client = signed_in(make_user(role=Role.OWNER, household=household))
    job = make_job(make_node(make_account(household)), state=State.LOST)
    heard_at = datetime(2026, 3, 5, 3, tzinfo=UTC)
    for n, ago in enumerate((timedelta(hours=14), timedelta(hours=4, seconds=5)), 1):
        at = heard_at - ago
        text = {"word": "in-progress", "meaning": "in_progress", "cloud_at": at}
        text |= {"raw_timestamp": f"{at.timestamp():.0f}000"}
        job.reports.create(sequence=n, heard_at=heard_at, last_heard_at=heard_at, **text)
    receipt = client.get(f"/installs/{job.pk}/receipt/").content.decode()
    install = client.get(f"/installs/{job.pk}/").content.decode()
    assert ">4 Mar 2026, 22:00:00</time>" in receipt
    assert '<span class="sub mono">1772629200000</span>' in receipt
    assert ">5 Mar 2026, 07:59:55</time>" in receipt
    assert ">4 Mar 2026, 22:00:00</time>" in install
    assert ">07:59:55</time>" in install
