"""Invitations: made by an owner, accepted once by the invited person."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from devices.households import members
from devices.models import AuditEvent, Household, Invitation, Role, StaffRole, User
from tests.support.client import Client
from tests.support.factories import PASSWORD, make_user, person, sign_in
from tests.support.people import COMING, browser, invite, trail

pytestmark = pytest.mark.django_db


def test_a_new_person_comes_in_by_the_link_and_the_link_works_once(
    household: Household, owner: User
) -> None:
    link = invite(owner, household, "Nora@Example.com")
    token = link.split("/")[2]
    assert token not in str(list(Invitation.objects.values()))
    assert token not in str(list(AuditEvent.objects.values()))
    coming = browser()
    for _ in range(3):  # a mail scanner looks, and decides nothing
        assert coming.get(link).status_code == 200
        assert coming.head(link).status_code == 200
    assert not User.objects.filter(email="nora@example.com").exists()
    assert "too short" in coming.post(link, COMING | {"password": "short"}).content.decode()
    assert coming.post(link, COMING)["Location"] == "/"
    assert "Garden house" in coming.get("/households/").content.decode()
    nora = User.objects.get(email="nora@example.com")
    assert (nora.name, nora.check_password(PASSWORD)) == ("Nora New", True)
    assert household.memberships.get(user=nora).role == Role.MEMBER
    assert browser().get(link).status_code == 410
    assert browser().post(link, COMING).status_code == 410
    joined = trail("household.joined")[0]
    assert (joined.actor_name, joined.actor_user_id) == ("nora@example.com", nora.pk)
    assert joined.why == "invited by Olivia"


def test_somebody_known_must_sign_in_as_the_invited_address(
    household: Household, owner: User
) -> None:
    known, other = make_user("known@example.com"), make_user("other@example.com")
    link = invite(owner, household, "KNOWN@example.com", "viewer")
    assert f"next={link}" in browser().get(link).content.decode()
    for who in (None, other, owner):
        assert browser(who).post(link, COMING).status_code == 409
    assert not household.memberships.filter(user__in=[known, other]).exists()
    assert browser(known).post(link)["Location"] == "/"
    assert household.memberships.get(user=known).role == Role.VIEWER
    assert User.objects.filter(email__iexact="known@example.com").count() == 1


def test_an_invitation_ends_by_time_by_withdrawal_and_by_a_newer_one(
    household: Household, owner: User, time_machine: Any
) -> None:
    first = invite(owner, household, "nora@example.com")
    second = invite(owner, household, "nora@example.com", "viewer")
    assert browser().get(first).status_code == 410
    assert browser().get(second).status_code == 200
    now = timezone.now()
    time_machine.move_to(now + timedelta(days=7, minutes=1))
    assert browser().post(second, COMING).status_code == 410
    time_machine.move_to(now)
    page = f"/households/{household.pk}/invitations/{Invitation.objects.latest('pk').pk}/withdraw/"
    browser(owner).post(page)
    assert browser().post(second, COMING).status_code == 410
    again = browser(owner).post(page, follow=True).content.decode()
    assert "already been accepted or withdrawn" in again
    assert len(trail("household.invitation_withdrawn")) == 1
    assert not User.objects.filter(email="nora@example.com").exists()


def test_what_a_former_owner_offered_ends_with_the_right_to_offer_it(
    household: Household, owner: User
) -> None:
    other = make_user(role=Role.OWNER, household=household)
    link = invite(other, household, "friend@example.com", "owner")
    members.change_role(household, other, Role.MEMBER, actor=person(owner))
    assert browser().get(link).status_code == 410


def test_an_invitation_is_mailed_when_there_is_a_mail_server(
    household: Household, owner: User, settings: Any
) -> None:
    link = invite(owner, household, "one@example.com")
    assert not mail.outbox
    settings.HAS_MAIL_SERVER = True
    Household.objects.update(name="Garden\r\nBcc: all@example.com")
    link = invite(owner, household, "two@example.com")
    assert mail.outbox[0].to == ["two@example.com"]
    assert link in mail.outbox[0].body
    assert mail.outbox[0].subject == "An invitation to Garden Bcc: all@example.com"
    assert len(mail.outbox) == 1


def test_invitations_and_links_are_limited(household: Household, owner: User) -> None:
    client, page = browser(owner), f"/households/{household.pk}/people/"
    sent = [
        client.post(page, {"email": f"p{n}@example.com", "role": "viewer"}).status_code
        for n in range(31)
    ]
    assert sent == [200] * 30 + [429]
    guesses = [browser().get(f"/invitation/guess-{n}/").status_code for n in range(61)]
    assert guesses == [410] * 60 + [429]
    assert "Too many attempts" in browser().get("/invitation/guess/").content.decode()


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("http://localhost:8000", True),
        ("http://127.0.0.1:8000", True),
        ("https://hubs.example.org", False),
    ],
)
def test_a_link_that_opens_only_here_says_so(
    household: Household, owner: User, settings: Any, address: str, is_local: bool
) -> None:
    settings.PUBLIC_URL = address
    member = make_user(role=Role.MEMBER, household=household)
    people = f"/households/{household.pk}/people/"
    client = browser(owner)
    invited = client.post(people, {"email": "new@example.com", "role": "member"})
    reset = client.post(f"{people}{member.pk}/reset/")
    staff = sign_in(Client(), make_user(staff_role=StaffRole.ADMINISTRATOR))
    person = staff.post(f"/server/people/{member.pk}/act/", {"act": "link"})
    for answer in (invited, reset, person):
        text = answer.content.decode()
        assert f"{address}/" in text
        assert ("can set PUBLIC_URL" in text) is is_local
