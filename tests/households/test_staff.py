"""Staff: what support, auditors and administrators may do, and that their looking is recorded."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.installs.confirmation import sign, snapshot_offer
from devices.models import AuditEvent, Household, Node, OtaJob, Role, StaffRole, User
from tests.support.client import Client
from tests.support.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_node,
    make_offer,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def household() -> Household:
    return make_household("Garden house")


@pytest.fixture
def owner(household: Household) -> User:
    return make_user("olivia@example.com", role=Role.OWNER, household=household)


@pytest.fixture
def hub(household: Household) -> Node:
    node = make_node(make_account(household), name="Front door")
    make_offer(node)
    return node


def trail(action: str, household: Household | None) -> list[AuditEvent]:
    pk = household.pk if household is not None else None
    return list(AuditEvent.objects.filter(action=action, household_id=pk).order_by("sequence"))


def test_support_sees_a_household_only_while_it_lets_support_in(
    household: Household, owner: User, hub: Node, time_machine: Any
) -> None:
    support = sign_in(Client(), make_user("sam@example.com", staff_role=StaffRole.SUPPORT))
    page, owners = f"/hubs/{hub.pk}/", sign_in(Client(), owner)
    assert support.get(page).status_code == 404
    assert "Front door" not in support.get("/").content.decode()
    owners.post(f"/households/{household.pk}/support/", {"days": "1"})
    assert "Front door" in support.get("/").content.decode()
    assert support.get(page).status_code == 200
    assert support.get(f"{page}install/").status_code == 403
    owners.post(f"/households/{household.pk}/support/", {"days": "1", "may_install": "on"})
    agreed = sign(snapshot_offer(hub, hub.offers.get()))
    answer = support.post(f"{page}install/", {"agreed": agreed})
    assert answer["Location"] == f"/installs/{OtaJob.objects.get().pk}/"
    owners.post(f"/households/{household.pk}/support/", {"days": "0", "may_install": "on"})
    assert support.get(page).status_code == 404
    household.refresh_from_db()
    assert household.support_may_install is False
    changes = [
        (one.detail["from"]["install"], one.detail["to"]["install"])
        for one in trail("household.support", household)
    ]
    assert changes == [(False, False), (False, True), (True, False)]


def test_leave_for_support_ends_by_time(household: Household, hub: Node, time_machine: Any) -> None:
    now = timezone.now()
    time_machine.move_to(now, tick=False)
    Household.objects.update(support_until=now + timedelta(minutes=10))
    support = sign_in(Client(), make_user(staff_role=StaffRole.SUPPORT))
    assert support.get(f"/hubs/{hub.pk}/").status_code == 200
    time_machine.move_to(now + timedelta(minutes=10), tick=False)
    assert support.get(f"/hubs/{hub.pk}/").status_code == 404
    assert support.get("/households/").content.decode().count("Garden house") == 0


def test_a_server_that_shows_support_everything_lets_it_confirm_nothing_by_that(
    household: Household, hub: Node, settings: Any, time_machine: Any
) -> None:
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    now = timezone.now()
    time_machine.move_to(now, tick=False)
    Household.objects.update(support_until=now + timedelta(minutes=20), support_may_install=True)
    client = sign_in(Client(), make_user(staff_role=StaffRole.SUPPORT))
    page = f"/hubs/{hub.pk}/install/"
    assert client.get(page).status_code == 200
    time_machine.move_to(now + timedelta(minutes=20), tick=False)
    assert client.get(page).status_code == 403
    assert client.get(f"/hubs/{hub.pk}/").status_code == 200
    assert "Review update" not in client.get("/").content.decode()


def test_support_who_is_a_viewer_at_home_stays_a_viewer_there(
    household: Household, hub: Node
) -> None:
    Household.objects.update(
        support_until=timezone.now() + timedelta(days=1), support_may_install=True
    )
    mixed = make_user(staff_role=StaffRole.SUPPORT, role=Role.VIEWER, household=household)
    client = sign_in(Client(), mixed)
    assert client.get(f"/hubs/{hub.pk}/install/").status_code == 403
    assert "Review update" not in client.get("/").content.decode()
    assert client.post(f"/hubs/{hub.pk}/check/").status_code == 403


def test_staff_looking_is_in_the_households_own_trail_once_a_day(
    household: Household, owner: User, hub: Node, time_machine: Any
) -> None:
    now = timezone.now().replace(hour=9)
    time_machine.move_to(now)
    Household.objects.update(support_until=now + timedelta(days=9))
    staff = make_user("sam@example.com", staff_role=StaffRole.SUPPORT)
    for day in range(2):
        time_machine.move_to(now + timedelta(days=day))
        support = sign_in(Client(), staff)
        for page in ("/", f"/hubs/{hub.pk}/", f"/hubs/{hub.pk}/live/", "/history/", "/"):
            assert support.get(page).status_code == 200
        assert len(trail("access.staff", household)) == day + 1
    event = trail("access.staff", household)[0]
    assert (event.actor_role, event.why) == ("support", "the household lets support in for now")
    text = sign_in(Client(), owner).get("/audit/").content.decode()
    assert "sam@example.com of support looked into Garden house." in text


def test_an_auditor_reads_the_trail_and_nothing_else(household: Household, hub: Node) -> None:
    auditor = sign_in(Client(), make_user(staff_role=StaffRole.AUDITOR))
    assert auditor.get("/audit/").status_code == 200
    for page in (f"/hubs/{hub.pk}/", f"/households/{household.pk}/people/"):
        assert auditor.get(page).status_code == 404
    assert auditor.get("/server/people/").status_code == 403
    assert "Front door" not in auditor.get("/").content.decode()


def test_an_administrator_makes_a_sign_in_a_household_and_staff(
    household: Household, hub: Node
) -> None:
    boss = sign_in(Client(), make_user("boss@example.com", staff_role=StaffRole.ADMINISTRATOR))
    made = boss.post("/server/people/new/", {"email": "Nora@example.com", "name": "Nora"})
    nora = User.objects.get(email="nora@example.com")
    assert made["Location"] == f"/server/people/{nora.pk}/"
    again = boss.post("/server/people/new/", {"email": "nora@EXAMPLE.com"}).content.decode()
    assert "is already registered here" in again
    assert not nora.has_usable_password()
    text = boss.post(f"{made['Location']}act/", {"act": "link"}).content.decode()
    link = re.search(r"http://localhost:8000(/account/[^<\s]+)", text)
    assert link
    coming = Client()
    form = coming.get(link.group(1), follow=True).request["PATH_INFO"]
    coming.post(form, {"password1": PASSWORD, "password2": PASSWORD})
    founding = {"name": "Lake cabin", "time_zone": "UTC", "owner": "nora@example.com"}
    boss.post("/server/households/new/", founding)
    boss.post(f"{made['Location']}act/", {"act": "role", "role": "auditor"})
    nora.refresh_from_db()
    assert (nora.staff_role, nora.memberships.get().role) == ("auditor", Role.OWNER)
    # being an administrator opened neither household
    for home in Household.objects.all():
        assert boss.get(f"/households/{home.pk}/people/").status_code == 404
    assert "Front door" not in boss.get("/").content.decode()
    changed = trail("person.staff_role", Household.objects.get(name="Lake cabin"))[0]
    assert (changed.detail["from"], changed.detail["to"]) == ("", "auditor")
    assert (changed.actor_name, changed.actor_role) == ("boss@example.com", "administrator")


def test_a_closed_sign_in_is_out_at_once_and_no_household_loses_its_only_owner(
    household: Household, owner: User
) -> None:
    boss_user = make_user(staff_role=StaffRole.ADMINISTRATOR)
    boss, member = sign_in(Client(), boss_user), make_user(role=Role.MEMBER, household=household)
    there = sign_in(Client(), member)
    assert there.get("/").status_code == 200

    def act(user: User, what: str) -> str:
        page = f"/server/people/{user.pk}/act/"
        return str(boss.post(page, {"act": what}, follow=True).content.decode())

    act(member, "close")
    assert there.get("/").status_code == 302
    coming = Client()
    coming.post("/account/login/", {"login": member.email, "password": PASSWORD})
    assert coming.get("/").status_code == 302
    act(member, "reopen")
    coming.post("/account/login/", {"login": member.email, "password": PASSWORD})
    assert coming.get("/").status_code == 200
    act(member, "sessions")
    assert coming.get("/").status_code == 302
    assert "at least one owner" in act(owner, "close")
    assert "Ask another administrator" in act(boss_user, "close")
    assert User.objects.filter(is_active=True).count() == 3
    assert boss.post(f"/server/people/{owner.pk}/act/", {"act": "x"}).status_code == 404
    events = AuditEvent.objects.filter(household_id=household.pk).order_by("sequence")
    assert [one.action for one in events] == [
        "person.closed",
        "person.reopened",
        "person.sessions_ended",
    ]


@pytest.mark.parametrize("role", ["", "emperor"])
def test_a_role_that_was_not_changed_is_not_called_done(owner: User, role: str) -> None:
    boss = make_user("boss@example.com", staff_role=StaffRole.ADMINISTRATOR)
    act = f"/server/people/{owner.pk}/act/"
    page = sign_in(Client(), boss).post(act, {"act": "role", "role": role}, follow=True)
    assert "Nothing was changed." in page.content.decode()
    assert "Done." not in page.content.decode()
    assert not AuditEvent.objects.filter(action="person.staff_role").exists()
