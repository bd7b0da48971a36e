"""Proofs: of an address, before a second factor, and of staff who use a token."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.audit.log import record
from devices.forms import password_reset
from devices.forms.names import NameField
from devices.households import api_tokens
from devices.installs.confirmation import snapshot_offer
from devices.models import (
    Actor,
    ApiToken,
    AuditAction,
    AuditEvent,
    Household,
    Proposal,
    Role,
    Scope,
    StaffRole,
    User,
)
from devices.models.text import clean_name
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
    sign_in,
)
from tests.support.people import COMING, browser, invite

pytestmark = pytest.mark.django_db
FACTOR, CODE = "/account/factors/totp/activate/", "/profile/two-step-code/"
NEW = {"password1": "an-even-quieter-one", "password2": "an-even-quieter-one"}


@pytest.fixture
def boss() -> Client:
    return sign_in(Client(), make_user("boss@example.com", staff_role=StaffRole.ADMINISTRATOR))


def use_link(text: str) -> None:
    """Set a new password by the link on the page."""
    found = re.search(r"http://localhost:8000(/account/[^<\s]+)", text)
    assert found, text
    coming = Client()
    coming.post(coming.get(found.group(1), follow=True).request["PATH_INFO"], NEW)


def enter(user: User, password: str = NEW["password1"]) -> Client:
    client = Client()
    client.post("/account/login/", {"login": user.email, "password": password})
    return client


def test_a_factor_right_after_a_passed_on_link_needs_another_proof(
    household: Household, owner: User, boss: Client, time_machine: Any
) -> None:
    now = timezone.now()
    time_machine.move_to(now)
    member = make_user(role=Role.MEMBER, household=household)
    page = f"/households/{household.pk}/people/{member.pk}/reset/"
    use_link(browser(owner).post(page).content.decode())
    used = AuditEvent.objects.get(action="person.password_reset")
    assert used.detail["made_by"] == owner.pk
    assert f"a link from {owner.email}" in used.sentence
    client = enter(member)
    for path in (FACTOR, "/account/factors/webauthn/add/"):
        assert client.get(path)["Location"] == CODE
        assert client.post(path, {"code": "123456"})["Location"] == CODE
    assert "not right" in client.post(CODE, {"code": "12345678"}).content.decode()
    act = f"/server/people/{member.pk}/act/"
    code = re.search(r"mono\">(\d{8})<", boss.post(act, {"act": "code"}).content.decode())
    assert code
    assert client.post(CODE, {"code": code.group(1)})["Location"] == "/account/factors/"
    assert client.get(FACTOR).status_code in {200, 302}
    assert client.get(FACTOR).get("Location", "") != CODE
    User.objects.filter(pk=member.pk).update(password_by_link_at=timezone.now())
    assert client.get(FACTOR)["Location"] == CODE
    time_machine.move_to(now + timedelta(hours=24, minutes=1))
    assert client.get(FACTOR).get("Location", "") != CODE


def test_a_mailed_link_proves_the_address_and_is_no_link_of_another_person(
    owner: User, settings: Any
) -> None:
    settings.HAS_MAIL_SERVER = True
    User.objects.update(is_address_unproven=True)
    Client().post("/account/password/reset/", {"email": owner.email})
    use_link(str(mail.outbox[0].body))
    assert enter(owner).get(FACTOR).get("Location", "") != CODE
    owner.refresh_from_db()
    assert owner.is_address_unproven is False


@pytest.mark.parametrize("is_mailed", [True, False])
def test_an_address_only_an_owner_vouched_for_is_not_enough(
    household: Household, owner: User, boss: Client, settings: Any, is_mailed: bool
) -> None:
    settings.HAS_MAIL_SERVER = is_mailed
    link = invite(owner, household, "chief@example.com")
    if is_mailed:
        found = re.search(r"http://localhost:8000(/invitation/\S+)", str(mail.outbox[0].body))
        assert found
        link = found.group(1)
    assert browser().post(link, COMING)["Location"] == "/"
    chief = User.objects.get(email="chief@example.com")
    assert chief.is_address_unproven is not is_mailed
    act = f"/server/people/{chief.pk}/act/"
    founding = {"name": "Cabin", "time_zone": "UTC", "owner": chief.email}
    boss.post("/server/households/new/", founding)
    boss.post(act, {"act": "role", "role": "administrator"})
    chief.refresh_from_db()
    assert chief.staff_role == ("administrator" if is_mailed else "")
    assert Household.objects.filter(name="Cabin").exists() is is_mailed
    if not is_mailed:
        boss.post(act, {"act": "address"})
        boss.post(act, {"act": "role", "role": "administrator"})
        chief.refresh_from_db()
        assert chief.staff_role == "administrator"
        assert AuditEvent.objects.filter(action="person.address_proven").exists()


def test_the_mark_of_the_mail_cannot_be_made_up(household: Household, owner: User) -> None:
    link = invite(owner, household, "chief@example.com")
    browser().post(f"{link}?mail={'0' * 32}", COMING)
    assert User.objects.get(email="chief@example.com").is_address_unproven


def test_a_person_confirms_the_address_by_mail(owner: User, settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    User.objects.update(is_address_unproven=True)
    client = browser(owner)
    client.post("/profile/address/")
    found = re.search(r"http://localhost:8000(/profile/address/\S+)", str(mail.outbox[0].body))
    assert found
    assert browser(make_user()).post(found.group(1)).status_code == 410
    assert client.get(found.group(1)).status_code == 200
    assert User.objects.get(pk=owner.pk).is_address_unproven, "looking confirms nothing"
    client.post(found.group(1))
    assert not User.objects.get(pk=owner.pk).is_address_unproven


def test_a_token_of_support_obeys_what_pages_of_support_obey(
    household: Household, owner: User, time_machine: Any
) -> None:
    now = timezone.now().replace(hour=9)
    time_machine.move_to(now)
    support = make_user("sam@example.com", staff_role=StaffRole.SUPPORT)
    page = f"/households/{household.pk}/support/"
    browser(owner).post(page, {"days": "30"})
    _, text = api_tokens.create(support, household, name="x", scope=Scope.READ)

    def status() -> int:
        headers = {"Authorization": f"Bearer {text}"}
        return int(Client().get("/api/v1/hubs/", headers=headers).status_code)

    assert status() == 401, "no second factor"
    sign_in(Client(), support)
    assert [status(), status()] == [200, 200]
    looked = AuditEvent.objects.filter(action="access.staff", household_id=household.pk, via="api")
    assert looked.count() == 1
    for minutes in range(20, 700, 20):
        time_machine.move_to(now + timedelta(minutes=minutes))
        assert status() == 200
    time_machine.move_to(now + timedelta(minutes=735))
    assert status() == 401, "half a day is over"
    token, text = api_tokens.create(support, household, name="y", scope=Scope.READ)
    time_machine.move_to(now + timedelta(minutes=735 + 31))
    assert status() == 401, "nobody used it for half an hour"
    _, text = api_tokens.create(support, household, name="z", scope=Scope.READ)
    browser(owner).post(page, {"days": "0"})
    browser(owner).post(page, {"days": "1"})
    assert status() == 401, "it does not come back with the next time"
    assert ApiToken.objects.filter(pk=token.pk, revoked_at=None).count() == 0


def test_a_stranger_uses_up_nothing_of_an_owner(household: Household, owner: User) -> None:
    stranger = browser(make_user(role=Role.VIEWER, household=household))
    page = f"/households/{household.pk}/people/"
    reset = f"{page}{owner.pk}/reset/"
    outsider = browser(make_user(role=Role.OWNER, household=make_household()))
    for n in range(70):
        form = {"email": f"p{n}@example.com", "role": "viewer"}
        assert stranger.post(page, form).status_code == 403
        assert outsider.post(reset).status_code == 404
    form = {"email": "new@example.com", "role": "viewer"}
    assert browser(owner).post(page, form).status_code == 200


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Ann\r\nBcc: x", "Ann Bcc: x"),
        ("A\u200bn\u200dn\ufeff", "Ann"),
        ("\u202eevil\u2066 name\u2069", "evil name"),
        ("a\x00\x1b[31mb", "a [31mb"),
        ("\u3164\u2800", ""),
        ("  Zoë   Müller 🏡 ", "Zoë Müller 🏡"),
    ],
)
def test_names_show_and_hide_nothing(typed: str, kept: str) -> None:
    assert clean_name(typed) == kept
    assert NameField(required=False).clean(typed) == kept


@pytest.mark.django_db(transaction=True)
def test_a_reset_looks_nothing_up_while_the_person_waits(settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    waiting: list[Any] = []
    user = make_user("olivia@example.com")
    queries = []
    for email in (user.email, "nobody@example.com"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(password_reset._mailer, "submit", lambda *work: waiting.append(work))
            with CaptureQueriesContext(connection) as seen:
                Client().post("/account/password/reset/", {"email": email})
            queries.append(len(seen))
    assert queries[0] == queries[1]
    assert not mail.outbox
    for work, *words in waiting:
        work(*words)
    assert [one.to for one in mail.outbox] == [[user.email]]


def test_a_viewer_reads_no_address_of_others(household: Household, owner: User) -> None:
    viewer = make_user("vera@example.com", role=Role.VIEWER, household=household)
    member = make_user("milo@example.com", role=Role.MEMBER, household=household)
    invite(owner, household, "secret.guest@example.com")
    people = f"/households/{household.pk}/people/"
    for page in ("/audit/", "/audit/export.csv", "/audit/export.jsonl", people):
        seen = [b"".join(browser(one).get(page)) for one in (viewer, member)]
        for address in (b"secret.guest@", b"olivia"):
            assert address not in seen[0], page
            assert address in seen[1] or page == people, page
    assert "vera@example.com" in browser(viewer).get(people).content.decode().replace("<wbr>", "")
    for search in ("person=oliv", "text=olivia@exa", "text=secret.gu"):
        entries = [browser(one).get(f"/audit/?{search}").content for one in (viewer, member)]
        assert [b'<span lang="en">' in page for page in entries] == [False, True], search
    job = make_job(
        make_node(make_account(household, email="cloud.login@example.com")),
        state="running",
        requested_by_name="olivia@example.com",
    )
    hub = f"/hubs/{job.node_id}/"
    offer = make_offer(job.node)
    Proposal.objects.create(
        household=household,
        node=job.node,
        hub_name="Porch",
        binding=snapshot_offer(job.node, offer).dump(),
        token_digest="0" * 64,
        proposed_by_name="olivia@example.com",
        expires_at=timezone.now() + timedelta(days=1),
    )
    pages = (f"/installs/{job.pk}/", f"/installs/{job.pk}/receipt/", "/history/", hub, "/accounts/")
    for page in (*pages, "/proposals/"):
        seen = [browser(one).get(page).content for one in (viewer, member)]
        for address in (b"olivia@", b"cloud.login@"):
            assert address not in seen[0], page
        assert b"olivia@" in seen[1] or b"cloud.login@" in seen[1], page
    tokens = [
        api_tokens.create(one, household, name="script", scope=Scope.READ)[1]
        for one in (viewer, member)
    ]
    for page in ("/api/v1/hubs/", f"/api/v1{hub}", f"/api/v1/installs/{job.pk}/"):
        answers = [
            Client().get(page, headers={"authorization": f"Bearer {token}"}).content
            for token in tokens
        ]
        assert [b"olivia@" in answer for answer in answers] == [False, True], page
    assert "s•••@example.com" in browser(viewer).get("/audit/").content.decode()


def test_a_viewer_reads_their_own_rows_whole(household: Household) -> None:
    viewer = make_user("vera@example.com", role=Role.VIEWER, household=household)
    other = make_user("olaf@example.com", role=Role.MEMBER, household=household)
    for one in (viewer, other):
        actor = Actor.person(one, role="viewer", via="web")
        record(actor, AuditAction.HUB_FOUND, f"{one.email} looked.", household=household)
    for page in ("/audit/", "/audit/export.csv", "/audit/export.jsonl"):
        seen = b"".join(browser(viewer).get(page)).decode()
        assert "vera@example.com looked." in seen, page
        assert "olaf@example.com looked." not in seen, page


def test_an_owner_without_a_proven_address_reads_so_at_a_new_household(
    household: Household, owner: User
) -> None:
    User.objects.update(is_address_unproven=True)
    answer = browser(owner).post("/households/new/", {"name": "Cabin", "time_zone": "UTC"})
    assert answer.status_code == 200
    assert f"The address {owner.email} is not confirmed." in answer.content.decode()
    assert not Household.objects.filter(name="Cabin").exists()
