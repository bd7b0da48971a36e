"""Reviewing the audit trail: filters, pages that stay, and rows of others that never show."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from devices import review
from devices.models import (
    Actor,
    AuditCheck,
    AuditEvent,
    Household,
    Outcome,
    Role,
    StaffRole,
    State,
    User,
    audit,
)
from devices.review import Asked, Trail
from tests.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db
WORKER = Actor.worker()


@pytest.fixture
def auditor() -> User:
    return make_user(staff_role=StaffRole.AUDITOR)


def deeds(number: int, household: Household | None = None, **more: Any) -> None:
    for n in range(number):
        audit.record(WORKER, "test.deed", f"Deed {n}.", household=household, **more)


def sequences(page: review.Page) -> list[int]:
    return [event.sequence for event in page]


def walk(trail: Trail) -> list[int]:
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
    deeds(130)
    trail = Trail(auditor, Asked())
    first = trail.page()
    assert (sequences(first), first.total) == (list(range(130, 80, -1)), 130)
    deeds(7)
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
    monkeypatch.setattr(review, "WINDOW", window)
    mine, theirs = make_household("Mine"), make_household("Theirs")
    for n in range(90):
        household = (mine, theirs, None)[n % 3]
        word = "needle" if n % 14 == 0 else "hay"
        audit.record(WORKER, "test.deed", f"A {word}.", household=household)
    both = make_user(role=Role.OWNER, household=mine)
    for user, asked, expected in (
        (auditor, Asked(text="needle"), [n + 1 for n in range(90) if n % 14 == 0]),
        (auditor, Asked(text="no such word"), []),
        (auditor, Asked(household="Mine"), [n + 1 for n in range(90) if n % 3 == 0]),
        (both, Asked(), [n + 1 for n in range(90) if n % 3 == 0]),
        (both, Asked(text="needle"), [n + 1 for n in range(90) if n % 42 == 0]),
    ):
        assert walk(Trail(user, asked)) == expected[::-1], asked


def test_every_filter_finds_its_rows_and_no_others(auditor: User) -> None:
    job = make_job(state=State.VERIFIED)
    long_ago = timezone.now() - timedelta(days=40)
    ann = Actor(name="ann@example.com", role="owner", address="192.0.2.7", request_id="abc123")
    audit.record(ann, "install.requested", "Confirmed.", job=job, detail={"to_version": "9.9.9"})
    audit.record(WORKER, "offer.seen", "An offer.", node=job.node)
    audit.record(ann, "access.refused", "No.", outcome=Outcome.REFUSED, household=job.household)
    audit.record(WORKER, "check.asked", "Long ago.", at=long_ago)
    day = timezone.localtime(long_ago).date()
    for asked, expected in (
        (Asked(person="ann@example.com"), [3, 1]),
        (Asked(person="ANN"), [3, 1]),
        (Asked(role="worker"), [4, 2]),
        (Asked(hub=job.hub_name), [2, 1]),
        (Asked(hub=job.hub_name[:4].lower()), [2, 1]),
        (Asked(household=job.household.name), [3, 2, 1]),
        (Asked(household="nowhere"), []),
        (Asked(action="install."), [1]),
        (Asked(action="nothing."), []),
        (Asked(outcome="refused"), [3]),
        (Asked(since=day + timedelta(days=1)), [3, 2, 1]),
        (Asked(until=day), [4]),
        (Asked(since=day, until=day), [4]),
        (Asked(since=day - timedelta(days=9), until=day - timedelta(days=1)), []),
        (Asked(job=job.pk), [1]),
        (Asked(text="9.9.9"), [1]),
        (Asked(text="192.0.2.7 confirmed"), [1]),
        (Asked(text="abc123"), [3, 1]),
        (Asked(text="%"), []),
        (Asked(person="ann@example.com", outcome="done", role="owner"), [1]),
    ):
        assert walk(Trail(auditor, asked)) == expected, asked


def test_rows_of_others_never_show_whatever_is_asked() -> None:
    mine, theirs = make_household("Mine"), make_household("Nightingale")
    owner = make_user(role=Role.OWNER, household=mine)
    secret = make_job()
    deeds(3, mine)
    deeds(3, theirs)
    deeds(3)
    audit.record(Actor(name="nightingale@example.com"), "install.requested", "Sh.", job=secret)
    audit.record(Actor.person(owner, role="owner", via="web"), "person.signed_in", "In.")
    for asked in (
        Asked(),
        Asked(household="Nightingale"),
        Asked(job=secret.pk),
        Asked(hub=secret.hub_name),
        Asked(person="nightingale@example.com"),
        Asked(action="install."),
        Asked(text="Nightingale"),
        Asked(outcome="done"),
    ):
        page = Trail(owner, asked).page()
        seen = {event.household_id for event in page}
        assert seen <= {mine.pk, None}, asked
        assert all(event.household_id or event.actor_user_id == owner.pk for event in page)
        assert page.total is None, "how many rows others have is none of their business"
    assert len(sequences(Trail(owner, Asked()).page())) == 4
    assert walk(Trail(make_user(), Asked())) == []
    assert walk(Trail(make_user(staff_role=StaffRole.ADMINISTRATOR), Asked())) == []


def test_the_filter_is_in_the_address_and_the_links_keep_it(auditor: User) -> None:
    household = make_household("Lark")
    deeds(60, household)
    deeds(5)
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
    assert "Nothing fits" in client.get("/audit/?since=never").content.decode()


def test_a_page_costs_the_same_queries_for_few_rows_and_many(
    auditor: User, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(auditor)
    deeds(3)
    with django_assert_max_num_queries(14) as few:
        client.get("/audit/")
    deeds(200)
    with django_assert_num_queries(len(few)):
        client.get("/audit/")


def test_the_state_of_the_chain_says_what_was_found(auditor: User) -> None:
    deeds(2)
    client = signed_in(auditor)
    assert "Not verified yet" in client.get("/audit/chain/").content.decode()
    check = AuditCheck.load()
    check.verified_at, check.finding = timezone.now(), "Row 1 was changed."
    check.save()
    page = client.get("/audit/chain/").content.decode()
    assert "The trail was tampered with." in page
    assert "Row 1 was changed." in page


def test_a_sign_in_says_every_role_that_is_held() -> None:
    household = make_household()
    user = make_user(role=Role.OWNER, household=household)
    staff = make_user(staff_role=StaffRole.AUDITOR)
    nobody = make_user()
    for who in (user, staff, nobody):
        signed_in(who)
    roles = AuditEvent.objects.filter(action="person.signed_in").order_by("sequence")
    assert list(roles.values_list("actor_role", flat=True)) == ["owner", "auditor", "person"]


def test_a_receipt_has_the_witnesses_the_words_and_the_proof() -> None:
    job = make_job(state=State.VERIFIED, outcome="verified", cloud_word="success")
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
    event = audit.record(Actor(name="ann@example.com"), "install.requested", "Confirmed.", job=job)
    deeds(3)
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
    assert "<dd>Verified</dd>" in page
    assert "<strong>Is the hub safe?</strong> Yes. It runs the new firmware" in page
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


def test_the_clouds_time_is_told_where_the_household_is_and_with_its_day() -> None:
    household = make_household(time_zone="Asia/Tokyo")
    client = signed_in(make_user(role=Role.OWNER, household=household))
    job = make_job(make_node(make_account(household)), state=State.LOST)
    heard_at = datetime(2026, 3, 5, 3, tzinfo=UTC)
    for n, ago in enumerate((timedelta(hours=14), timedelta(hours=4, seconds=5)), 1):
        at = heard_at - ago
        said = {"word": "in-progress", "meaning": "in_progress", "cloud_at": at}
        said |= {"raw_timestamp": f"{at.timestamp():.0f}000"}
        job.reports.create(sequence=n, heard_at=heard_at, last_heard_at=heard_at, **said)
    receipt = client.get(f"/installs/{job.pk}/receipt/").content.decode()
    install = client.get(f"/installs/{job.pk}/").content.decode()
    assert ">4 Mar 2026, 22:00:00</time>" in receipt
    assert '<span class="sub mono">1772629200000</span>' in receipt
    assert ">5 Mar 2026, 07:59:55</time>" in receipt
    assert ">4 Mar 2026, 22:00:00</time>" in install
    assert ">07:59:55</time>" in install
