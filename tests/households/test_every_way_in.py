"""Every way in, and every event that must end it.

A way in is opened first and works; the event happens; then the way in is used again. What an event
does not end is named too, so that no pair is left out by accident.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.households import api_tokens, members, password_links, staff
from devices.installs.confirmation import snapshot_offer
from devices.models import Actor, Household, Node, Role, Scope, StaffRole, User
from devices.planning import proposals
from devices.planning.proposal_links import make_link
from devices.security.one_time_tokens import sign, standing
from tests.support.client import Client
from tests.support.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_node,
    make_offer,
    make_user,
    person,
    sign_in,
)
from tests.support.people import COMING, browser, invite

pytestmark = pytest.mark.django_db
Way = Callable[["Home"], Callable[[], bool]]
OPERATOR = Actor("operator", None, "terminal", "terminal")
NEW = "an-even-quieter-evening"


class Home:
    """A household with its founder, one more owner whose ways in are tried, and a hub."""

    def __init__(self) -> None:
        self.household = make_household("Garden house")
        self.founder = make_user("olivia@example.com", role=Role.OWNER, household=self.household)
        self.user = make_user("milo@example.com", role=Role.OWNER, household=self.household)
        self.node = make_node(make_account(self.household))
        self.offer = make_offer(self.node)
        self.support = make_user("sam@example.com", staff_role=StaffRole.SUPPORT)
        Household.objects.update(support_until=timezone.now() + timedelta(days=1))
        self.household.refresh_from_db()
        self.client = Client()

    @property
    def page(self) -> str:
        return f"/households/{self.household.pk}/people/"

    def propose(self) -> Any:
        return proposals.propose(
            Node.objects.select_related("account__household").get(pk=self.node.pk),
            user=self.support,
            binding=snapshot_offer(self.node, self.offer),
            words="",
            recipients=[],
            actor=person(self.support, "support"),
        )


def opens(client: Client, page: str) -> Callable[[], bool]:
    return lambda: client.get(page).status_code == 200


def password_session(home: Home) -> Callable[[], bool]:
    home.client.post("/account/login/", {"login": home.user.email, "password": PASSWORD})
    return opens(home.client, home.page)


def invitation_session(home: Home) -> Callable[[], bool]:
    home.user.delete()
    home.client.post(invite(home.founder, home.household, "milo@example.com", "owner"), COMING)
    home.user = User.objects.get(email="milo@example.com")
    User.objects.update(is_address_unproven=False)
    return opens(home.client, home.page)


def setup_session(home: Home) -> Callable[[], bool]:
    from devices.households import setup_link

    people = list(User.objects.all())
    User.objects.all().delete()
    values = {"name": "Milo", "email": "milo@example.com", "password": PASSWORD}
    values |= {"household": "Cabin", "time_zone": "UTC"}
    home.client.post(f"/welcome/{setup_link.make_token()}/", values)
    home.user = User.objects.get()
    for one in people:
        if one.email != home.user.email:
            one.save(force_insert=True)
    home.household = home.user.households.get()
    home.household.memberships.create(user=home.founder, role=Role.OWNER)
    return opens(home.client, home.page)


def api_token(home: Home) -> Callable[[], bool]:
    _, text = api_tokens.create(home.user, home.household, name="Shelf", scope=Scope.READ)
    headers = {"Authorization": f"Bearer {text}"}
    return lambda: Client().get("/api/v1/hubs/", headers=headers).status_code == 200


def calendar_link(home: Home) -> Callable[[], bool]:
    _, text = api_tokens.create(home.user, home.household, name="Phone", scope=Scope.CALENDAR)
    return opens(Client(), f"/calendar/{text}.ics")


def mailed_proposal(home: Home) -> Callable[[], bool]:
    path = make_link(home.propose(), maker=home.support, recipient=home.user)
    return opens(Client(), path)


def passed_on_proposal(home: Home) -> Callable[[], bool]:
    path = proposals.renew_link(home.propose(), maker=home.user, actor=person(home.user))
    return opens(Client(), path)


def reset_link_for_them(home: Home) -> Callable[[], bool]:
    maker = password_links.Maker(home.founder, home.household)
    return _reset(home, home.user, maker)


def reset_link_by_them(home: Home) -> Callable[[], bool]:
    member = make_user(role=Role.MEMBER, household=home.household)
    return _reset(home, member, password_links.Maker(home.user, home.household))


def _reset(home: Home, user: User, maker: password_links.Maker) -> Callable[[], bool]:
    path = password_links.make_path(user, maker=maker, actor=OPERATOR, households=[], why="")
    return lambda: "password1" in Client().get(path, follow=True).content.decode()


def mailed_reset_link(home: Home) -> Callable[[], bool]:
    return _reset(home, home.user, password_links.BY_MAIL)


def invitation_by_them(home: Home) -> Callable[[], bool]:
    return opens(Client(), invite(home.user, home.household, "friend@example.com"))


def address_link(home: Home) -> Callable[[], bool]:
    token = sign("address", [home.user.pk, standing(home.user)])
    return lambda: (
        sign_in(Client(), User.objects.get(pk=home.user.pk))
        .get(f"/profile/address/{token}/")
        .status_code
        == 200
    )


def removed(home: Home) -> None:
    members.remove(home.household, home.user, actor=person(home.founder))


def left(home: Home) -> None:
    members.remove(home.household, home.user, actor=person(home.user))


def role_lowered(home: Home) -> None:
    members.change_role(home.household, home.user, Role.VIEWER, actor=person(home.founder))


def closed(home: Home) -> None:
    staff.close(home.user, actor=OPERATOR, why="")


def closed_and_reopened(home: Home) -> None:
    staff.close(home.user, actor=OPERATOR, why="")
    staff.reopen(home.user, actor=OPERATOR, why="")


def removed_and_added(home: Home) -> None:
    members.remove(home.household, home.user, actor=person(home.founder))
    members.add(home.household, home.user, Role.OWNER, actor=OPERATOR, why="")


def lowered_and_raised(home: Home) -> None:
    role_lowered(home)
    members.change_role(home.household, home.user, Role.OWNER, actor=person(home.founder))


def password_changed(home: Home) -> None:
    form = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    browser(home.user).post("/account/password/change/", form)
    assert User.objects.get(pk=home.user.pk).check_password(NEW)


def password_reset(home: Home) -> None:
    user = User.objects.get(pk=home.user.pk)
    maker = password_links.BY_MAIL
    path = password_links.make_path(user, maker=maker, actor=OPERATOR, households=[], why="")
    coming = Client()
    form = coming.get(path, follow=True).request["PATH_INFO"]
    coming.post(form, {"password1": NEW, "password2": NEW})
    assert User.objects.get(pk=home.user.pk).check_password(NEW)


def signed_out_by_an_administrator(home: Home) -> None:
    staff.sign_out_everywhere(home.user, actor=OPERATOR, why="")


def signed_out_elsewhere(home: Home) -> None:
    here = Client(headers={"User-Agent": "Other/1"})
    here.post("/account/login/", {"login": home.user.email, "password": PASSWORD})
    here.post("/account/sessions/")


def became_staff(home: Home) -> None:
    staff.set_staff_role(home.user, StaffRole.AUDITOR, actor=OPERATOR, why="")


def support_time_over(home: Home) -> None:
    Household.objects.update(support_until=timezone.now() - timedelta(seconds=1))


WAYS = (
    password_session,
    invitation_session,
    setup_session,
    api_token,
    calendar_link,
    mailed_proposal,
    passed_on_proposal,
    reset_link_for_them,
    reset_link_by_them,
    mailed_reset_link,
    invitation_by_them,
    address_link,
)
EVENTS = (
    removed,
    left,
    role_lowered,
    closed,
    closed_and_reopened,
    removed_and_added,
    lowered_and_raised,
    password_changed,
    password_reset,
    signed_out_by_an_administrator,
    signed_out_elsewhere,
    became_staff,
    support_time_over,
)
SESSIONS = {password_session, invitation_session, setup_session}
# What an event does not end, and why not.
GOES_ON: set[tuple[Any, Any]] = {
    # a smaller role is looked at with each page, and membership does not come back with a session
    *((way, role_lowered) for way in SESSIONS),
    *((way, removed_and_added) for way in SESSIONS),
    *((way, lowered_and_raised) for way in SESSIONS),
    # support's own ways in end with its time; these are the household's
    *((way, support_time_over) for way in WAYS if way is not mailed_proposal),
    # sessions only: programs and invitations are listed on pages of their own
    (api_token, signed_out_elsewhere),
    (calendar_link, signed_out_elsewhere),
    (invitation_by_them, signed_out_elsewhere),
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("way", WAYS, ids=lambda one: one.__name__)
def test_every_event_ends_every_way_in(way: Way, event: Callable[[Home], None]) -> None:
    home = Home()
    works = way(home)
    assert works(), "the way in does not work to begin with"
    event(home)
    assert works() is ((way, event) in GOES_ON)


def test_an_invited_persons_session_is_listed(client: Client) -> None:
    home = Home()
    client.post(invite(home.founder, home.household, "nora@example.com"), COMING)
    nora = User.objects.get(email="nora@example.com")
    text = client.get("/account/sessions/").content.decode()
    assert len(re.findall("This session", text)) == 1
    there = Client(headers={"User-Agent": "Other/1"})
    there.post("/account/login/", {"login": nora.email, "password": PASSWORD})
    there.post("/account/sessions/")
    assert client.get("/").status_code == 302
    assert there.get("/").status_code == 200
