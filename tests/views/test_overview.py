"""The Overview: its numbers, that each part leads to what it counts, and what it costs."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Role, State, User
from devices.presentation.charts import away_of, durations_of, versions_of, weeks_of
from devices.presentation.headlines import of_weeks
from tests.support.factories import make_account, make_household, make_job, make_node, make_user
from tests.support.markup import tight
from tests.support.people import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> User:
    return make_user(role=Role.MEMBER, household=make_household("Garden house"))


def account_of(user: User) -> Any:
    return make_account(user.households.get())


def test_versions_are_counted_and_lead_to_their_hubs(member: User) -> None:
    account = account_of(member)
    for name in ("one", "two", "three"):
        make_node(account, name=f"old {name}", fw_version="5.3.2")
    make_node(account, name="the new one", fw_version="5.4.7+beta & more")
    make_node(name="a stranger's", fw_version="5.3.2")
    bars = versions_of(member)
    assert [(bar.label, bar.words) for bar in bars] == [
        ("5.3.2", "3 hubs, 75 %"),
        ("5.4.7+beta & more", "1 hub, 25 %"),
    ]
    text = browser(member).get(bars[1].link).content.decode()
    assert "the new one" in text
    assert "old one" not in text


def test_rare_versions_share_a_bar(member: User) -> None:
    account = account_of(member)
    for n in range(15):
        make_node(account, fw_version=f"1.0.{n}")
    bars = versions_of(member)
    assert len(bars) == 13
    assert bars[-1].label == "3 other versions"
    assert bars[-1].words.startswith("3 hubs")


def test_a_week_begins_on_monday_where_the_household_is(member: User) -> None:
    """23:30 UTC on a Sunday is Monday already in Berlin."""
    account = account_of(member)
    asked = datetime(2026, 9, 27, 22, 30, tzinfo=UTC)
    make_job(make_node(account), state=State.VERIFIED, now=asked)
    make_job(make_node(account), state=State.FAILED, now=asked + timedelta(hours=1))
    make_job(make_node(account), state=State.EXPIRED, now=asked - timedelta(days=1))
    with timezone.override(ZoneInfo("Europe/Berlin")):
        weeks = weeks_of(member, datetime(2026, 10, 7, tzinfo=UTC))
    of = {week.monday: week for week in weeks}
    assert len(of) == 12
    assert of[date(2026, 9, 28)].counts == {
        "verified": 1,
        "attention": 1,
        "unsent": 0,
        "running": 0,
    }
    assert of[date(2026, 9, 21)].counts["unsent"] == 1
    tall = of[date(2026, 9, 28)]
    assert sum(part.height for part in tall.parts) == 160
    assert min(part.y for part in tall.parts) == 0
    assert of_weeks(weeks) == "One of two installs in the last twelve weeks was verified."


def test_a_column_leads_to_its_week(member: User) -> None:
    account = account_of(member)
    now = timezone.now()
    make_job(make_node(account, name="this week"), state=State.VERIFIED, now=now)
    make_job(
        make_node(account, name="long ago"), state=State.VERIFIED, now=now - timedelta(days=21)
    )
    column = next(week for week in reversed(weeks_of(member, now)) if week.total)
    text = browser(member).get(column.link).content.decode()
    assert "this week" in text
    assert "long ago" not in text


def test_every_state_of_an_install_has_its_kind(member: User) -> None:
    account = account_of(member)
    for state in State:
        make_job(make_node(account), state=state)
    assert sum(week.total for week in weeks_of(member, timezone.now())) == len(State)


def test_durations_are_of_verified_installs_alone(member: User) -> None:
    account = account_of(member)
    now = timezone.now()
    for minutes in (2, 3, 10):
        make_job(
            make_node(account, model="liv-2"),
            state=State.VERIFIED,
            now=now,
            pushed_at=now - timedelta(minutes=minutes),
        )
    make_job(
        make_node(account, model="liv-2"),
        state=State.FAILED,
        now=now,
        pushed_at=now - timedelta(hours=9),
    )
    [bar] = durations_of(member)
    assert bar.label == "liv-2 to 5.3.3"
    assert bar.words == "usually 3 minutes; the slowest of three took 10 minutes"
    assert (bar.width, bar.mark) == (100, 30)
    assert browser(member).get(bar.link).content.decode().count('scope="row"') == 3


def test_two_verified_installs_are_both(member: User) -> None:
    account, now = account_of(member), timezone.now()
    for words in (
        "One install in the last twelve weeks, and it was verified.",
        "Both installs in the last twelve weeks were verified.",
        "All three installs in the last twelve weeks were verified.",
    ):
        make_job(make_node(account), state=State.VERIFIED, now=now)
        assert of_weeks(weeks_of(member, now)) == words


def test_running_installs_are_shown_beside_ended_ones(member: User) -> None:
    account, now = account_of(member), timezone.now()
    make_job(make_node(account), state=State.RUNNING, now=now)
    nothing_ended = "No finished installs in the last twelve weeks."
    assert of_weeks(weeks_of(member, now)) == f"{nothing_ended} One is running."
    make_job(make_node(account), state=State.REQUESTED, now=now)
    assert of_weeks(weeks_of(member, now)) == f"{nothing_ended} Two are running."


def test_what_was_tried_with_simulated_hubs_stays_marked(member: User) -> None:
    account, now = account_of(member), timezone.now()
    account.base_url = "http://127.0.0.1:8001"
    account.save()
    node = make_node(account)
    make_job(node, state=State.VERIFIED, now=now)
    node.touch(now, gone_at=now)
    text = browser(member).get("/overview/").content.decode()
    assert "One install was on a simulated hub." in text


def test_an_install_takes_as_many_seconds_as_on_its_own_page(member: User) -> None:
    now = timezone.now()
    pushed_at = now - timedelta(seconds=46.7)
    node = make_node(account_of(member))
    job = make_job(node, state=State.VERIFIED, now=now, pushed_at=pushed_at, ended_at=now)
    assert durations_of(member)[0].words == "46 seconds, one install"
    assert "Finished in 46 s." in browser(member).get(f"/installs/{job.pk}/").content.decode()


def test_offline_hubs_by_how_long(member: User) -> None:
    account = account_of(member)
    now = timezone.now()
    for name, days in (("just now", 0), ("some days", 3), ("weeks", 30)):
        make_node(account, name=name, is_online=False, online_changed_at=now - timedelta(days=days))
    make_node(account, name="who knows", is_online=False, online_changed_at=None)
    bars = away_of(member, now)
    assert [bar.words for bar in bars] == ["1 hub", "1 hub", "2 hubs"]
    client = browser(member)
    for bar, names in zip(bars, [["just now"], ["some days"], ["weeks", "who knows"]], strict=True):
        text = client.get(bar.link).content.decode()
        for name in ("just now", "some days", "weeks", "who knows"):
            assert (f">{name}</a>" in text) is (name in names), bar.link


def test_a_filter_can_be_taken_off_again(member: User) -> None:
    make_node(account_of(member), name="Porch", fw_version="5.3.2")
    client = browser(member)
    text = tight(client.get("/?version=5.3.2&show=offline").content.decode())
    found = re.search(r'href="([^"]+)">version 5\.3\.2', text)
    assert found
    assert found[1] == "/?show=offline"


@pytest.mark.parametrize(
    "address", ["/history/?week=nonsense", "/history/?week=0001-01-01", "/history/?week=9999-12-31"]
)
def test_a_week_that_is_none_shows_what_there_is(member: User, address: str) -> None:
    assert browser(member).get(address).status_code == 200


def test_an_empty_overview_says_what_to_do(member: User) -> None:
    text = browser(member).get("/overview/").content.decode()
    assert "No finished installs" in text
    assert "Link a cloud account" in text


def test_queries_do_not_grow_with_hubs_and_installs(member: User) -> None:
    account, client = account_of(member), browser(member)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/overview/").status_code == 200
        return len(queries)

    make_job(make_node(account), state=State.VERIFIED)
    cost()  # notes that somebody looks
    before = cost()
    for n in range(5):
        make_job(make_node(account, fw_version=f"6.{n}", is_online=False), state=State.VERIFIED)
    assert cost() == before
