"""Households and their people: invite, accept, change roles, leave, hand over."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from devices import people
from devices.forms import HouseholdForm
from devices.models import AuditEvent, Household, Invitation, Membership, Role, StaffRole, User
from tests import prepared
from tests.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_job,
    make_node,
    make_user,
    person,
    sign_in,
)

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.django_db


@pytest.fixture
def household() -> Household:
    return make_household("Garden house", time_zone="Europe/Berlin")


@pytest.fixture
def owner(household: Household) -> User:
    return make_user("olivia@example.com", role=Role.OWNER, household=household, name="Olivia")


def browser(user: User | None = None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def invite(owner: User, household: Household, email: str, role: str = "member") -> str:
    """Invite on the page and return the path of the link that it shows."""
    page = f"/households/{household.pk}/people/"
    text = browser(owner).post(page, {"email": email, "role": role}).content.decode()
    found = re.search(r"http://localhost:8000(/invitation/[^<\s]+)", text)
    assert found, text
    return found.group(1)


def trail(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action).order_by("sequence"))


COMING = {"name": "Nora New", "password": PASSWORD}


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
    assert "accepted or withdrawn already" in again
    assert len(trail("household.invitation_withdrawn")) == 1
    assert not User.objects.filter(email="nora@example.com").exists()


def test_what_a_former_owner_offered_ends_with_the_right_to_offer_it(
    household: Household, owner: User
) -> None:
    other = make_user(role=Role.OWNER, household=household)
    link = invite(other, household, "friend@example.com", "owner")
    people.change_role(household, other, Role.MEMBER, actor=person(owner))
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
    assert "a little too often" in browser().get("/invitation/guess/").content.decode()


def test_roles_change_with_from_and_to_in_the_trail(household: Household, owner: User) -> None:
    member = make_user(role=Role.MEMBER, household=household)
    page = f"/households/{household.pk}/people/{member.pk}/role/"
    browser(owner).post(page, {"role": "viewer"})
    browser(owner).post(page, {"role": "viewer"})
    browser(owner).post(page, {"role": "king"})
    assert household.memberships.get(user=member).role == Role.VIEWER
    assert [(one.detail["from"], one.detail["to"]) for one in trail("household.role_changed")] == [
        ("member", "viewer")
    ]
    settings_page = f"/households/{household.pk}/settings/"
    browser(owner).post(settings_page, {"name": "Cabin", "time_zone": "Europe/Berlin"})
    changed = trail("household.settings_changed")[0].detail
    assert changed == {"from": {"name": "Garden house"}, "to": {"name": "Cabin"}}


@pytest.mark.parametrize("act", ["leave", "remove", "role", "closed"])
def test_the_last_owner_stays(household: Household, owner: User, act: str) -> None:
    other = make_user(role=Role.OWNER, household=household, is_active=act != "closed")
    if act != "closed":
        people.change_role(household, other, Role.VIEWER, actor=person(owner))
    client, base = browser(owner), f"/households/{household.pk}/"
    if act in {"leave", "closed"}:
        assert client.post(f"{base}leave/").status_code == 409
    elif act == "remove":
        text = client.post(f"{base}people/{owner.pk}/remove/", follow=True).content.decode()
        assert "You belong to no household" not in text
    else:
        answer = client.post(f"{base}people/{owner.pk}/role/", {"role": "viewer"}, follow=True)
        assert "no owner left" in answer.content.decode()
    assert household.memberships.get(user=owner).role == Role.OWNER
    assert not trail("household.left")


@pytest.mark.parametrize("becomes", ["viewer", "", "owner"])
def test_handing_over(household: Household, owner: User, becomes: str) -> None:
    heir = make_user(role=Role.VIEWER, household=household)
    page = f"/households/{household.pk}/hand-over/"
    browser(owner).post(page, {"to": heir.pk, "becomes": becomes})
    roles = dict(household.memberships.values_list("user_id", "role"))
    assert roles == {heir.pk: "owner"} | ({owner.pk: becomes} if becomes else {})
    assert all(one.why == "handed over" for one in trail("household.role_changed"))


def test_a_removed_person_is_out_at_once(household: Household, owner: User) -> None:
    member = make_user(role=Role.MEMBER, household=household)
    job, client = make_job(make_node(make_account(household))), browser(member)
    client.post("/households/choose/", {"household": household.pk})
    assert client.get(f"/installs/{job.pk}/").status_code == 200
    browser(owner).post(f"/households/{household.pk}/people/{member.pk}/remove/")
    for page in (f"/installs/{job.pk}/", f"/households/{household.pk}/people/"):
        assert client.get(page).status_code == 404
    assert "Garden house" not in client.get("/").content.decode()
    removed = trail("household.removed")[0]
    assert (removed.actor_name, removed.actor_role) == (owner.email, "owner")
    assert removed.detail == {"user_id": member.pk, "from": "member", "to": ""}


def test_a_person_of_two_households_looks_at_one_or_all(household: Household, owner: User) -> None:
    cabin = make_household("Lake cabin", time_zone="Asia/Tokyo")
    Membership.objects.create(user=owner, household=cabin, role=Role.VIEWER)
    seen = timezone.now()
    for home, name in ((household, "Front door"), (cabin, "Jetty")):
        make_job(make_node(make_account(home, email=f"{home.pk}@cloud.example"), name=name))
    client = browser(owner)

    def shown() -> set[str]:
        texts = [client.get(page).content.decode() for page in ("/", "/history/")]
        assert ("Front door" in texts[0], "Jetty" in texts[0]) == (
            "Front door" in texts[1],
            "Jetty" in texts[1],
        )
        return {name for name in ("Front door", "Jetty") if name in texts[0]}

    assert shown() == {"Front door", "Jetty"}
    client.post("/households/choose/", {"household": cabin.pk})
    assert shown() == {"Jetty"}
    assert (
        f"{seen.astimezone(ZoneInfo('Asia/Tokyo')):%H:}" in client.get("/history/").content.decode()
    )
    accounts = client.get("/accounts/").content.decode()
    assert f"{cabin.pk}@cloud.example" in accounts
    assert f"{household.pk}@cloud.example" not in accounts
    # narrowing is about lists: a link into the other household still opens
    other = household.jobs.get()
    assert client.get(f"/installs/{other.pk}/").status_code == 200
    client.post("/households/choose/")
    assert shown() == {"Front door", "Jetty"}


RACE = """
import sys, time, django
django.setup()
from devices import people
from devices.models import Actor, Household, User
mine = User.objects.get(email=sys.argv[1])
actor = Actor(mine.email, mine.pk, "owner")
time.sleep(max(0, float(sys.argv[2]) - time.time()))
for household in Household.objects.order_by("pk"):
    try:
        people.remove(household, mine, actor=actor)
    except people.NotPossible:
        pass
"""
MAKE = """
import django
django.setup()
from devices.models import Household, Membership, User
users = [User.objects.create_user(f"{name}@example.com") for name in ("a", "b")]
for n in range(20):
    household = Household.objects.create(name=f"House {n}")
    for user in users:
        Membership.objects.create(user=user, household=household, role="owner")
"""
COUNT = """
import django
django.setup()
from devices.models import AuditEvent, Household
print(*(one.memberships.filter(role="owner").count() for one in Household.objects.all()))
print(AuditEvent.objects.filter(action="household.left").count())
"""


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_two_owners_who_leave_at_once_leave_one_behind(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ENV_FILE": ""}
    environment |= {"DATA_DIR": str(tmp_path)}
    environment |= {"DJANGO_SETTINGS_MODULE": "thermacell_web.settings"}
    if kind == "postgres":
        environment["DATABASE_URL"] = request.getfixturevalue("postgres_url")

    def start(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(*words: str) -> str:
        process = start(*words)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return said

    prepared.lay(environment)
    run("-c", MAKE)
    at = str(timezone.now().timestamp() + 6)
    both = [start("-c", RACE, f"{name}@example.com", at) for name in ("a", "b")]
    for process in both:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    owners, left = run("-c", COUNT).strip().splitlines()
    assert owners.split() == ["1"] * 20
    assert left == "20"


def test_only_time_zones_of_places_are_offered_and_what_a_household_has(
    household: Household, owner: User
) -> None:
    def offered() -> set[str]:
        page = browser(owner).get(f"/households/{household.pk}/settings/").content.decode()
        return set(re.findall(r'<option value="([A-Za-z_/+-]+)"', page))

    found = offered()
    assert {"Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"} <= found
    assert not found & {"Factory", "localtime", "W-SU", "GB-Eire", "EST", "Etc/UTC", "GB"}
    Household.objects.filter(pk=household.pk).update(time_zone="GB-Eire")
    assert offered() == found | {"GB-Eire"}
    page, told = f"/households/{household.pk}/settings/", {"name": "Cabin", "time_zone": "GB-Eire"}
    assert browser(owner).post(page, told).status_code == 302
    assert browser(owner).post(page, told | {"time_zone": "W-SU"}).status_code == 200
    household.refresh_from_db()
    assert (household.name, household.time_zone) == ("Cabin", "GB-Eire")


def test_the_servers_own_time_zone_is_offered_to_a_new_household(settings: Any) -> None:
    settings.TIME_ZONE = "Etc/GMT+3"
    text = str(HouseholdForm()["time_zone"])
    assert '<option value="Etc/GMT+3" selected>' in text
    assert "Etc/GMT+4" not in text


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
        assert ("set PUBLIC_URL to where people open it" in text) is is_local
