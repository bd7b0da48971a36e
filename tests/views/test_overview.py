"""The Overview: its numbers, that each part leads to what it counts, and what it costs."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.fleet.versions import record_version
from devices.models import LIVE, AccountState, Role, State, User
from devices.presentation.adoption_chart import results_of
from devices.presentation.charts import away_of, versions_of, weeks_of
from devices.presentation.formatting import roughly
from devices.presentation.headlines import of_weeks
from devices.presentation.waiting import WAITS
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_plan,
    make_proposal,
    make_user,
)
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
    make_node(account, fw_version="")
    bars = versions_of(member)
    assert len(bars) == 14
    assert bars[-2].label == "3 other versions"
    assert bars[-2].words.startswith("3 hubs")
    assert bars[-1].label == "not known yet"
    client = browser(member)
    assert client.get(bars[-2].link).context["listed"].paginator.count == 3
    assert client.get(bars[-1].link).context["listed"].paginator.count == 1


def test_a_version_in_two_spellings_is_one(member: User) -> None:
    account = account_of(member)
    for version in ("5.4.0", "v5.4", "5.4.0", "5.4.0+build7"):
        make_node(account, fw_version=version)
    bars = versions_of(member)
    assert [(bar.label, bar.words) for bar in bars] == [
        ("5.4.0", "3 hubs, 75 %"),
        ("5.4.0+build7", "1 hub, 25 %"),
    ]
    for bar, n in zip(bars, (3, 1), strict=True):
        assert browser(member).get(bar.link).context["listed"].paginator.count == n


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


def test_times_are_of_verified_installs_alone(member: User) -> None:
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
    [row] = results_of(member)
    assert (row.version, row.model, row.total) == ("5.3.3", "liv-2", 4)
    assert (row.usual, row.longest) == (timedelta(minutes=3), timedelta(minutes=10))
    assert [(cell.count, words) for words, cell in row.cells if cell.count] == [
        (3, "Verified"),
        (1, "Not verified"),
    ]


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
    assert roughly(results_of(member)[0].usual) == "46 seconds"
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


def rows_at(client: Any, link: str) -> int:
    """Return how many rows the list at this address has, on all of its pages."""
    answer = client.get(link)
    assert answer.status_code == 200, link
    return int(answer.context["listed"].paginator.count)


def lived_in(member: User) -> Any:
    """Make hubs, installs, plans and proposals of every kind; return the member's browser."""
    account, now = account_of(member), timezone.now()
    for n, state in enumerate(State):
        node = make_node(account, fw_version="", model=("thermacell-hub", "liv-2", "")[n % 3])
        for back in range(n % 4, -1, -1):
            version = ("5.3.2", "v5.3.2.0", "5.4.0", "5.5.0", "5.6.0", "5.7.0", "5.8.0")[
                (n + 2 * back) % 7
            ]
            record_version(node, version, now - timedelta(weeks=3 * back, hours=n))
            node.refresh_from_db()
        for _ in range(1 if state in LIVE else 1 + n % 3):
            make_job(
                node,
                state=state,
                now=now - timedelta(days=9 * n),
                to_version=("5.4.0", "V5.4", "5.5.0")[n % 3],
                is_latest=False,
            )
    for n, waits_for in enumerate(("", "too_early", "outside_window", "hub_offline", "no_notice")):
        offered = make_offer(make_node(account, is_online=n % 2 == 0)).node
        make_plan(offered, waits_for=waits_for)
    make_proposal(make_offer(make_node(account)).node)
    make_node(account, fw_version="", is_online=False, online_changed_at=now)
    household = member.households.get()
    out = make_account(household, state=AccountState.SIGNED_OUT)
    make_node(out)
    # nothing of this is the member's
    stranger = make_node(fw_version="5.4.0", is_online=False)
    make_job(stranger, state=State.FAILED, to_version="5.4.0")
    make_plan(stranger, waits_for="too_early")
    return browser(member)


def test_every_number_is_the_number_of_rows_it_leads_to(member: User) -> None:
    client = lived_in(member)
    shown = client.get("/overview/").context
    assert len(shown["waiting"]) >= 8
    for line in shown["waiting"]:
        assert line.count == rows_at(client, line.link), line
    adoption = shown["adoption"]
    assert [key for key, _ in adoption.names] == ["v1", "v2", "v3", "v4", "v5", "others"]
    for week in (*adoption.weeks, *shown["weeks"]):
        assert sum(cell.count for cell in week.cells) == week.total
        for count, link in ((week.total, week.link), *((c.count, c.link) for c in week.cells)):
            assert count == rows_at(client, link), (week.monday, link)
    assert shown["results"]
    for row in shown["results"]:
        assert row.total == sum(cell.count for _, cell in row.cells) == rows_at(client, row.link)
        assert all(cell.count == rows_at(client, cell.link) for _, cell in row.cells)
        assert client.get(row.address).status_code == 200
    for bar in (*shown["versions"], *shown["hubs"], *shown["away"]):
        assert int(bar.words.split()[0]) == rows_at(client, bar.link), bar


def test_the_last_week_is_what_the_hubs_run_now(member: User) -> None:
    shown = lived_in(member).get("/overview/").context
    known = [bar for bar in shown["versions"] if "version=%3F" not in bar.link]
    assert shown["adoption"].weeks[-1].total == sum(int(bar.words.split()[0]) for bar in known)


def test_a_plan_that_waits_says_for_what(member: User) -> None:
    waiting = lived_in(member).get("/overview/").context["waiting"]
    counts = {line.what: line.count for line in waiting}
    assert counts["Planned for later"] == 2
    assert counts["Planned, the hub is offline"] == 1
    assert counts["Planned, looked at in a moment"] == 1
    assert counts["Planned, for another reason"] == 1
    assert counts["Proposals to answer"] == 1
    assert counts["Cloud accounts to sign in again"] == 1


def test_a_reason_to_wait_is_named_once() -> None:
    codes = [code for wait in WAITS.values() for code in wait.codes]
    assert len(codes) == len(set(codes))


def test_tables_are_there_to_be_printed(member: User) -> None:
    text = tight(lived_in(member).get("/overview/").content.decode())
    assert text.count("<details open>") == 2
    assert "style=" not in text
    assert "<script" not in text.split("<main")[1]
