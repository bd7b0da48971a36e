"""Trouble belongs to the call, the hub or the account, by what fails and for how many."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.accounts.failures import SICK_HUBS, SICK_WITHIN, record_failure
from devices.models import CloudAccount, Node
from devices.rainmaker.errors import (
    AnotherUser,
    AnswerLost,
    AnswerUnreadable,
    Busy,
    CloudError,
    NotTrusted,
    NotYourHub,
    ServerTrouble,
    Unreachable,
)
from tests.support.factories import make_account, make_node

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 20, 0, tzinfo=UTC)
DOWN = ServerTrouble("The cloud has trouble of its own (HTTP 500).", status=500, was_sent=True)
LOST = AnswerLost("No answer came.")


def hubs(count: int) -> list[Node]:
    account = make_account(answered_at=NOW - timedelta(hours=1))
    return [make_node(account) for _ in range(count)]


def is_resting(account: CloudAccount, now: datetime = NOW) -> bool:
    return CloudAccount.objects.get(pk=account.pk).is_resting(now)


ELSEWHERE = NotTrusted("The cloud points to another server.", status=302)


@pytest.mark.parametrize(
    "problem", [DOWN, LOST, ELSEWHERE, AnswerUnreadable("Not JSON."), NotYourHub("No.")]
)
def test_one_hub_never_rests_its_account_however_often_it_fails(problem: CloudError) -> None:
    sick, *_ = hubs(4)
    for seconds in range(60):
        now = NOW + timedelta(seconds=seconds)
        assert not record_failure(sick.account, problem, now, hub=sick)
    assert not is_resting(sick.account)
    assert CloudAccount.objects.get(pk=sick.account.pk).failures == 0


def test_several_hubs_that_fail_alike_within_a_short_time_are_trouble_of_the_account() -> None:
    many = hubs(SICK_HUBS + 1)
    rests = [record_failure(hub.account, DOWN, NOW, hub=hub) for hub in many[:SICK_HUBS]]
    assert rests == [False] * (SICK_HUBS - 1) + [True]
    assert is_resting(many[0].account)


def test_hubs_that_fail_in_different_ways_or_far_apart_are_each_in_trouble() -> None:
    many = hubs(SICK_HUBS)
    for number, hub in enumerate(many):
        assert not record_failure(hub.account, DOWN, NOW + number * SICK_WITHIN, hub=hub)
    other = hubs(SICK_HUBS)
    problems = [DOWN, LOST, DOWN]
    for hub, problem in zip(other, problems, strict=True):
        assert not record_failure(hub.account, problem, NOW, hub=hub)


def test_a_good_answer_in_between_shows_that_the_account_is_well() -> None:
    many = hubs(SICK_HUBS)
    for hub in many[:-1]:
        record_failure(hub.account, DOWN, NOW, hub=hub)
    later = NOW + timedelta(seconds=5)
    many[0].account.answered(later)
    assert not record_failure(many[-1].account, DOWN, later + timedelta(seconds=1), hub=many[-1])


@pytest.mark.parametrize(
    "problem", [Unreachable("No route."), Busy("Too many.", status=429)], ids=["unreachable", "429"]
)
def test_what_no_hub_can_cause_rests_the_account_at_once(problem: CloudError) -> None:
    hub, _ = hubs(2)
    assert record_failure(hub.account, problem, NOW, hub=hub)
    assert is_resting(hub.account)


def test_the_accounts_own_call_rests_the_account() -> None:
    account = make_account()
    assert record_failure(account, DOWN, NOW)
    assert is_resting(account)


def test_another_users_session_concerns_the_account_after_any_call() -> None:
    node = make_node()
    problem = AnotherUser("Another user.", status=200, was_sent=True)
    assert record_failure(node.account, problem, NOW, hub=node)
    node.account.refresh_from_db()
    assert node.account.trouble == "another_user"


@pytest.mark.parametrize("asked_s", [301, 3600, 31_536_000, 999_999_999])
def test_a_cloud_may_not_ask_for_a_pause_that_leaves_installs_unwatched(asked_s: float) -> None:
    hub = hubs(1)[0]
    busy = Busy("Too many requests.", status=429)
    busy.retry_after_s = asked_s
    assert record_failure(hub.account, busy, NOW, hub=hub)
    assert is_resting(hub.account, NOW + timedelta(minutes=4))
    assert not is_resting(hub.account, NOW + timedelta(minutes=5))
