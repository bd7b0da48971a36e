"""A household's members: change roles, leave, remove, transfer ownership."""

import os
import re
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from devices.households import members
from devices.models import Household, Membership, Role, User
from tests.support import prepared
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_user,
    person,
)
from tests.support.people import browser, trail

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db


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
        members.change_role(household, other, Role.VIEWER, actor=person(owner))
    client, base = browser(owner), f"/households/{household.pk}/"
    if act in {"leave", "closed"}:
        assert client.post(f"{base}leave/").status_code == 409
    elif act == "remove":
        text = client.post(f"{base}people/{owner.pk}/remove/", follow=True).content.decode()
        assert "You are not in a household" not in text
    else:
        answer = client.post(f"{base}people/{owner.pk}/role/", {"role": "viewer"}, follow=True)
        assert "at least one owner" in answer.content.decode()
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
    assert "•••@cloud.example" in accounts  # a viewer there
    assert f"{household.pk}@cloud.example" not in accounts
    # narrowing is about lists: a link into the other household still opens
    other = household.jobs.get()
    assert client.get(f"/installs/{other.pk}/").status_code == 200
    client.post("/households/choose/")
    assert shown() == {"Front door", "Jetty"}


RACE = """
import sys, time, django
django.setup()
from devices.households import members
from devices.models import Actor, Household, User
mine = User.objects.get(email=sys.argv[1])
actor = Actor(mine.email, mine.pk, "owner")
time.sleep(max(0, float(sys.argv[2]) - time.time()))
for household in Household.objects.order_by("pk"):
    try:
        members.remove(household, mine, actor=actor)
    except members.MembershipError:
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
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
        return text

    prepared.lay(environment)
    run("-c", MAKE)
    at = str(timezone.now().timestamp() + 6)
    both = [start("-c", RACE, f"{name}@example.com", at) for name in ("a", "b")]
    for process in both:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
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
    page, details = (
        f"/households/{household.pk}/settings/",
        {"name": "Cabin", "time_zone": "GB-Eire"},
    )
    assert browser(owner).post(page, details).status_code == 302
    assert browser(owner).post(page, details | {"time_zone": "W-SU"}).status_code == 200
    household.refresh_from_db()
    assert (household.name, household.time_zone) == ("Cabin", "GB-Eire")


def test_every_page_of_a_household_leads_to_all_the_others(
    household: Household, owner: User
) -> None:
    member = make_user(role=Role.MEMBER, household=household)
    shared = ("people", "updates", "notifications", "season", "tokens")
    owners = ("settings", "home-assistant")

    def places(person: User, page: str) -> set[str]:
        text = browser(person).get(f"/households/{household.pk}/{page}/").content.decode()
        nav = text[text.index('class="places"') :].partition("</nav>")[0]
        assert nav.count('aria-current="page"') == 1
        return set(re.findall(rf'href="/households/{household.pk}/([\w-]+)/"', nav))

    for page in shared:
        assert places(member, page) == set(shared)
    for page in (*shared, *owners):
        assert places(owner, page) == {*shared, *owners}


def test_owners_who_may_not_sign_in_are_not_named(household: Household, owner: User) -> None:
    make_user(role=Role.OWNER, household=household, is_active=False)
    make_user(role=Role.MEMBER, household=household)
    other = make_household("Lake cabin")
    assert members.owners_of([household.pk, other.pk]) == {household.pk: [owner], other.pk: []}
