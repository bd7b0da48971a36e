"""The calendar of plans: its link, and the file, read as a calendar app reads it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from icalendar import Calendar

from devices.households import api_tokens, members
from devices.models import ApiToken, Plan, Role, Scope, StaffRole, When
from devices.planning import plans
from devices.presentation.plan_calendar import LONGEST_LINE
from tests.support.client import Client
from tests.support.factories import make_user, person, sign_in
from tests.support.people import browser, trail
from tests.support.plans import NIGHT, NOON, Home, at, look

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def noon() -> Any:
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


@pytest.fixture
def home() -> Home:
    return Home()


def link_of(home: Home, client: Client | None = None) -> str:
    """Make a link on the page and return its path."""
    answer = (client or browser(home.owner)).post(f"/households/{home.household.pk}/calendar/")
    return str(answer.context["fresh"]).removeprefix("http://localhost:8000")


def read(path: str) -> Any:
    answer = Client().get(path)
    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    lines = answer.content.split(b"\r\n")
    assert b"\n" not in b"".join(lines)
    assert max(map(len, lines)) <= LONGEST_LINE
    return Calendar.from_ical(answer.content)


def events(path: str) -> list[Any]:
    return list(read(path).walk("VEVENT"))


@pytest.mark.parametrize(
    ("when", "begins", "ends"),
    [
        (When.TONIGHT, at("2026-06-01T22:00"), at("2026-06-02T05:00")),
        (When.AT, at("2026-06-05T02:00"), at("2026-06-05T05:00")),
        (When.IDLE, date(2026, 6, 1), date(2026, 6, 2)),
        (When.ONLINE, date(2026, 6, 1), date(2026, 6, 2)),
    ],
)
def test_a_plan_is_an_event_in_the_time_in_which_it_may_start(
    home: Home, when: When, begins: Any, ends: Any
) -> None:
    clock = begins.replace(tzinfo=None) if when == When.AT else None
    plan = home.plan(when, clock=clock)
    [event] = events(link_of(home))
    assert (event["DTSTART"].dt, event["DTEND"].dt) == (begins, ends)
    assert event["SUMMARY"] == "Firmware 5.3.3 on Hub 1 (simulated)"
    assert str(event["UID"]) == f"plan-{plan.pk}@localhost"
    assert event["DTSTAMP"].dt == NOON
    assert (event["TRANSP"], event["SEQUENCE"]) == ("TRANSPARENT", 0)
    assert event["URL"] == "http://localhost:8000/planned/"


def test_an_event_stays_the_same_one_when_it_moves(home: Home, noon: Any) -> None:
    plan = home.plan()
    path = link_of(home)
    [first] = events(path)
    noon.move_to(NIGHT)
    home.set(is_online=False)
    look(NIGHT)
    [same] = events(path)
    assert (same["DTSTART"].dt, same["SEQUENCE"]) == (first["DTSTART"].dt, 0), "it is that night"
    assert "offline" in same["DESCRIPTION"]
    noon.move_to(NIGHT + timedelta(days=2))
    [moved] = events(path)
    timing = plans.timing_of(When.IDLE, home.household, NIGHT)
    plan.refresh_from_db()
    plans.change(plan, timing, user=home.owner, actor=person(home.owner), now=NIGHT)
    [changed] = events(path)
    assert {one["UID"] for one in (same, moved, changed)} == {first["UID"]}
    assert 0 < moved["SEQUENCE"] < changed["SEQUENCE"]
    noon.move_to(timing.expires_at)
    assert events(path) == [], "what can no longer start is not shown"


@pytest.mark.parametrize(
    "name", ["Küche, Bad; Flur\\Bad", "Veranda " * 24, "🦟" * 60, "a\r\nBEGIN:VEVENT\r\n", "גינה"]
)
def test_any_name_survives(home: Home, name: str) -> None:
    plan = home.plan()
    Plan.objects.filter(pk=plan.pk).update(hub_name=name)
    [event] = events(link_of(home))
    assert event["SUMMARY"] == f"Firmware 5.3.3 on {' '.join(name.split())} (simulated)"


def test_the_calendar_shows_this_household_only_in_its_language(home: Home) -> None:
    Home().plan()
    home.plan()
    home.household.language = "de"
    home.household.save()
    found = read(link_of(home))
    assert found["X-WR-CALNAME"] == "Firmware: Garden house"
    [event] = found.walk("VEVENT")
    assert "Hub 1" in event["SUMMARY"]
    assert "heute Nacht" in event["DESCRIPTION"]


def test_the_link_is_shown_once_and_ends_with_a_press(home: Home) -> None:
    client, page = browser(home.owner), f"/households/{home.household.pk}/calendar/"
    assert page in client.get("/planned/").content.decode()
    path = link_of(home, client)
    token = path.removeprefix("/calendar/").removesuffix(".ics")
    assert events(path) == []
    assert token not in client.get(page).content.decode()
    [kept] = ApiToken.objects.all()
    assert (kept.scope, kept.last_used_at) == (Scope.CALENDAR, NOON)
    assert token not in kept.digest
    answer = client.post(
        f"/households/{home.household.pk}/tokens/{kept.pk}/revoke/",
        headers={"Referer": f"http://testserver{page}"},
    )
    assert answer["Location"] == page, "back to the page with the button"
    assert Client().get(path).status_code == 404
    assert [len(trail(f"token.{what}")) for what in ("made", "revoked")] == [1, 1]


def test_a_calendars_token_opens_no_api_and_a_programs_token_no_calendar(home: Home) -> None:
    token = link_of(home).removeprefix("/calendar/").removesuffix(".ics")
    headers = {"Authorization": f"Bearer {token}"}
    assert Client().get("/api/v1/hubs/", headers=headers).status_code == 401
    _, other = api_tokens.create(home.owner, home.household, name="Shelf", scope=Scope.INSTALL)
    assert Client().get(f"/calendar/{other}.ics").status_code == 404
    answer = browser(home.owner).post(
        f"/households/{home.household.pk}/tokens/", {"name": "x", "scope": "calendar"}
    )
    assert answer.context["fresh"] == ""


def test_the_link_ends_when_its_person_leaves(home: Home) -> None:
    viewer = make_user(role=Role.VIEWER, household=home.household)
    path = link_of(home, browser(viewer))
    assert events(path) == []
    members.remove(home.household, viewer, actor=person(home.owner))
    assert Client().get(path).status_code == 404


def test_staff_who_do_not_belong_get_no_link(home: Home) -> None:
    home.household.support_until = NOON + timedelta(days=1)
    home.household.save()
    client = sign_in(Client(), make_user(staff_role=StaffRole.SUPPORT))
    page = f"/households/{home.household.pk}/calendar/"
    assert client.post(page).status_code == 409
    assert not ApiToken.objects.exists()
    assert page not in client.get("/planned/").content.decode()


def test_many_plans_cost_as_many_queries_as_few(django_assert_num_queries: Any) -> None:
    for hubs in (1, 6):
        home = Home(hubs=hubs)
        for node in home.nodes:
            home.plan(node=node)
        path = link_of(home)
        events(path)
        with django_assert_num_queries(6):
            assert len(events(path)) == hubs


def test_times_are_utc(home: Home) -> None:
    home.plan()
    text = Client().get(link_of(home)).content.decode()
    assert "DTSTART:20260601T200000Z" in text
    assert datetime(2026, 6, 1, 20, tzinfo=UTC) == at("2026-06-01T22:00")
