"""Progress is told as it is known: from the hub's own words and from finished installs like it."""

from datetime import timedelta
from statistics import median
from time import monotonic
from typing import Any

import pytest
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from devices.installs.statistics import Took, took_by, typical
from devices.models import Household, InstallOutcome, Node, OtaJob, State
from devices.presentation.formatting import roughly, span
from devices.templatetags.devices_ui import breakable
from devices.views.not_modified import SAME_FOR_S
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
)

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def household(client: Client) -> Household:
    household = make_household()
    client.force_login(make_user(role="owner", household=household))
    return household


def finished(count: int, took: timedelta, *, outcome: str = "verified", **fields: Any) -> None:
    state = {"verified": State.VERIFIED, "verified_late": State.VERIFIED}.get(outcome, State.FAILED)
    for _ in range(count):
        now = timezone.now()
        times = {"pushed_at": now - took, "ended_at": now}
        make_job(state=state, outcome=outcome, **times | fields)


def under_way(household: Household, since: timedelta, **fields: Any) -> OtaJob:
    times = {"pushed_at": timezone.now() - since, "last_news_at": timezone.now() - 40 * MINUTE / 60}
    return make_job(make_node(make_account(household)), state=State.RUNNING, **times | fields)


def page_of(client: Client, job: OtaJob) -> str:
    return client.get(reverse("install", args=[job.pk])).content.decode()


def test_finished_installs_tell_how_long_it_takes() -> None:
    finished(11, 4 * MINUTE)
    finished(1, 9 * MINUTE)
    usual = typical("thermacell-hub", "5.3.3")
    assert (usual.count, usual.verified) == (12, 12)
    assert (usual.typical, usual.slowest) == (4 * MINUTE, 9 * MINUTE)
    assert usual.unusual_after == 9 * MINUTE


def test_of_two_the_typical_one_is_between_them() -> None:
    finished(1, timedelta(seconds=47.9))
    finished(1, timedelta(seconds=57.9))
    usual = typical("thermacell-hub", "5.3.3")
    assert roughly(usual.typical) == "52 seconds"
    assert roughly(usual.slowest) == "57 seconds"


def test_one_install_takes_as_many_seconds_on_every_page() -> None:
    for value in (timedelta(seconds=46.7), timedelta(seconds=59.99)):
        assert roughly(value).split()[0] == span(value).split()[0]
    assert roughly(timedelta(seconds=0.2)) == "1 second"


def test_one_that_took_a_night_does_not_make_a_night_usual() -> None:
    finished(39, 4 * MINUTE)
    finished(1, 600 * MINUTE)
    usual = typical("thermacell-hub", "5.3.3")
    assert usual.slowest == 600 * MINUTE
    assert usual.unusual_after == 6 * MINUTE


def test_two_are_too_few_to_call_a_third_unusual() -> None:
    finished(2, 4 * MINUTE)
    assert typical("thermacell-hub", "5.3.3").unusual_after is None


def test_others_and_those_that_say_nothing_of_time_are_not_taken_for_it() -> None:
    finished(3, 4 * MINUTE)
    finished(1, 900 * MINUTE, outcome=InstallOutcome.VERIFIED_LATE)
    finished(2, 30 * MINUTE, outcome=InstallOutcome.ATTEMPTS_FAILED)
    finished(5, 90 * MINUTE, hub_model="another")
    finished(5, 90 * MINUTE, to_version="6.0.0")
    finished(5, 90 * MINUTE, restored_at=timezone.now())
    usual = typical("thermacell-hub", "5.3.3")
    assert (usual.count, usual.verified, usual.slowest) == (6, 4, 4 * MINUTE)


def offered(household: Household) -> Node:
    node = make_node(make_account(household))
    make_offer(node)
    return node


def test_the_form_says_how_similar_installs_went(client: Client, household: Household) -> None:
    confirm = reverse("hub_install", args=[offered(household).pk])
    assert (
        "has not been installed from here on a hub like this"
        in client.get(confirm).content.decode()
    )
    finished(3, MINUTE, outcome=InstallOutcome.ATTEMPTS_FAILED)
    text = client.get(confirm).content.decode()
    assert "No of 3" not in text
    assert "None of the 3 earlier installs of this version was verified." in text
    finished(10, 4 * MINUTE)
    text = client.get(confirm).content.decode()
    assert "Usually takes 4 minutes (10 of 13 earlier installs verified)" in text
    assert "the slowest took 4 minutes" in text


def test_the_few_installs_of_other_households_are_not_shown(
    client: Client, household: Household
) -> None:
    confirm = reverse("hub_install", args=[offered(household).pk])
    other = make_node(make_account(make_household()))
    finished(1, MINUTE, outcome=InstallOutcome.ATTEMPTS_FAILED)
    finished(1, MINUTE, outcome=InstallOutcome.ATTEMPTS_FAILED, node=other)
    nothing = "has not been installed from here on a hub like this"
    assert nothing in client.get(confirm).content.decode()
    job = under_way(household, MINUTE)
    assert "was not verified" not in page_of(client, job)
    # many of one household are still that household's
    for _ in range(5):
        OtaJob.objects.filter(node=other).update(is_latest=False)
        finished(1, MINUTE, outcome=InstallOutcome.ATTEMPTS_FAILED, node=other)
    OtaJob.objects.exclude(node=other).delete()
    assert nothing in client.get(confirm).content.decode()
    mine = make_node(make_account(household))
    finished(1, MINUTE, outcome=InstallOutcome.ATTEMPTS_FAILED, node=mine)
    OtaJob.objects.filter(node=mine).update(household=household)
    assert typical("thermacell-hub", "5.3.3", household).count == 1
    assert "The only earlier install" in client.get(confirm).content.decode()


def test_while_it_runs_the_page_says_how_long_and_when_it_heard_last(
    client: Client, household: Household
) -> None:
    finished(12, 4 * MINUTE)
    text = page_of(
        client,
        under_way(
            household,
            2 * MINUTE,
            cloud_word="in-progress",
            cloud_meaning="in-progress",
            cloud_info="Downloading Firmware Image",
        ),
    )
    assert "Usually takes 4 minutes (12 of 12 earlier installs verified)" in text
    assert "last report <time" in text
    assert ">40 s ago</time>" in text
    assert "This hub does not report a percentage." in text
    assert "<progress" not in text
    assert "unusually long" not in text


def test_a_percent_is_shown_only_when_the_hub_gives_one(
    client: Client, household: Household
) -> None:
    found = {"cloud_word": "in-progress", "cloud_meaning": "in-progress"}
    text = page_of(
        client, under_way(household, MINUTE, cloud_info="Downloaded 40% Firmware Image", **found)
    )
    assert '<progress aria-label="Downloaded" max="100" value="40">' in text
    assert "does not report a percentage" not in text
    # before the download nobody can know whether it will
    text = page_of(
        client,
        under_way(
            household, MINUTE, cloud_info="Starting OTA Upgrade (HTTPS attempt 1/3)", **found
        ),
    )
    assert "does not report a percentage" not in text


def test_what_takes_long_is_said_without_alarm_and_an_open_page_hears_of_it(
    client: Client, household: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(12, 4 * MINUTE)
    job = under_way(household, 2 * MINUTE)
    live = reverse("install_live", args=[job.pk])
    version = client.get(reverse("install", args=[job.pk])).context["mark"]
    assert client.get(live, {"v": version}).status_code == 204
    OtaJob.objects.filter(pk=job.pk).update(pushed_at=timezone.now() - 7 * MINUTE)
    # no row tells that time has passed: the page hears of it with one of its next questions
    later = monotonic() + SAME_FOR_S
    monkeypatch.setattr("devices.views.not_modified.monotonic", lambda: later)
    answer = client.get(live, {"v": version})
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "This is taking unusually long." in text
    assert "That does not mean something is wrong" in text
    assert "You do not need to do anything." in text
    assert client.get(live, {"v": answer.context["mark"]}).status_code == 204


def test_a_line_may_break_before_the_host_of_an_address() -> None:
    assert breakable("ada@example.com") == "ada<wbr>@example.com"
    assert breakable("Ada Lovelace") == "Ada Lovelace"
    assert breakable("<b>@") == "&lt;b&gt;<wbr>@"


def test_a_hub_that_waits_for_its_time_does_not_take_unusually_long(household: Household) -> None:
    finished(5, 3 * MINUTE)
    now = timezone.now()
    job = OtaJob.objects.latest("pk")
    job.state, job.ended_at, job.pushed_at = State.RUNNING, None, now - timedelta(hours=3)
    usual = typical(job.hub_model, job.to_version)
    assert usual.is_unusual(job, now)
    job.delayed_since = now - timedelta(hours=2)
    assert not usual.is_unusual(job, now)


@pytest.mark.parametrize("times", [[5], [5, 9], [9, 1, 4], [2, 2, 2, 30], [7, 3, 8, 1, 60]])
def test_the_database_finds_the_middle_and_the_longest(
    times: list[int], django_assert_num_queries: Any
) -> None:
    for minutes in times:
        finished(1, minutes * MINUTE)
        finished(1, 2 * minutes * MINUTE, to_version="6.0")
    finished(2, 900 * MINUTE, outcome="failed")
    finished(2, 900 * MINUTE, outcome="verified_late")
    finished(1, 900 * MINUTE, restored_at=timezone.now())
    groups = [Q(to_version="5.3.3"), Q(to_version="6.0"), Q(to_version="9.9")]
    with django_assert_num_queries(1):
        took = took_by(OtaJob.objects.all(), groups)
    assert took == {
        n: Took(len(times), factor * median(times) * MINUTE, factor * max(times) * MINUTE)
        for n, factor in enumerate((1, 2))
    }
