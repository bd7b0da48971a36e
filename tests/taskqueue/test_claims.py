"""Accounts are claimed by one process at a time, shared evenly, and free again when it is gone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Beat, Claim
from devices.taskqueue.claims import LEFT_FOR, RENEW_EVERY, TTL, UNUSED_AFTER, Claims
from tests.support.factories import make_account

pytestmark = pytest.mark.django_db
ONE, TWO = "machine-one:11:aaaa", "machine-two:22:bbbb"
NOW = timezone.now()


def claims(holder: str, *, is_shared: bool = True) -> Claims:
    return Claims("installs", holder, is_shared=is_shared)


def accounts(count: int) -> list[int]:
    return [make_account().pk for _ in range(count)]


def runs(*names: str) -> None:
    """Let these loops be at work."""
    for name in names:
        Beat.objects.update_or_create(name=name, defaults={"held_until": NOW + timedelta(hours=1)})


def test_an_account_is_claimed_by_one_at_a_time() -> None:
    one, two, wanted = claims(ONE), claims(TWO), accounts(3)
    assert one.take(wanted[:2], NOW) == set(wanted[:2])
    assert two.take(wanted, NOW) == {wanted[2]}
    assert one.take(wanted, NOW) == set(wanted[:2])
    other_loop = Claims("chores", TWO, is_shared=True)
    assert other_loop.take(wanted, NOW) == set(wanted)


def test_a_claim_that_is_renewed_stays_and_one_that_is_not_runs_out() -> None:
    one, two, (account,) = claims(ONE), claims(TWO), accounts(1)
    one.take([account], NOW)
    for second in range(0, 60, 2):
        now = NOW + timedelta(seconds=second)
        one.take([account], now)
        one.look(now, [])
        assert two.take([account], now) == set()
    end = now + TTL
    assert two.take([account], end - timedelta(seconds=6)) == set()
    assert two.take([account], end + timedelta(seconds=1)) == {account}
    one.look(end + timedelta(seconds=2), [])
    assert one.take([account], end + timedelta(seconds=2)) == set(), "it learns that it lost it"
    assert account in one.elsewhere


def test_what_is_not_used_is_given_back_and_what_is_in_flight_is_not() -> None:
    one, two, (idle, busy) = claims(ONE), claims(TWO), accounts(2)
    one.take([idle, busy], NOW)
    later = NOW + UNUSED_AFTER + timedelta(seconds=1)
    one.look(later, [busy])
    assert two.take([idle, busy], later) == {idle}


@pytest.mark.parametrize("stalled_s", [20, 26, 200])
def test_a_process_that_stalled_takes_its_account_back_or_another_does(stalled_s: int) -> None:
    one, two, (account,) = claims(ONE), claims(TWO), accounts(1)
    one.take([account], NOW)
    now = NOW + timedelta(seconds=stalled_s)
    one.look(now, [account])  # a call of it was in flight all the time
    assert one.take([account], now + timedelta(seconds=1)) == {account}
    late = now + TTL + timedelta(seconds=2)
    assert two.take([account], late) == {account}
    assert one.take([account], late + RENEW_EVERY) <= {account}
    one.look(late + RENEW_EVERY, [account])
    assert one.take([account], late + RENEW_EVERY) == set()


def test_a_clean_end_frees_everything_at_once() -> None:
    one, two, wanted = claims(ONE), claims(TWO), accounts(3)
    one.take(wanted, NOW)
    one.give_back_all()
    assert two.take(wanted, NOW) == set(wanted)


def test_a_second_machine_gets_its_share_and_keeps_it() -> None:
    one, two, wanted = claims(ONE), claims(TWO), accounts(9)
    runs("installs")
    one.take(wanted, NOW)
    one.look(NOW, [])
    assert len(one.take(wanted, NOW)) == 9, "alone it keeps all"
    runs("installs", "installs@machine-two")
    held = {}
    for second in range(40):
        now = NOW + timedelta(seconds=10 + second)
        for each in (one, two):
            each.look(now, wanted[:1] if each is one else [])
            held[each.holder] = each.take([pk for pk in wanted if pk not in each.elsewhere], now)
    assert {len(mine) for mine in held.values()} == {4, 5}
    assert held[ONE] | held[TWO] == set(wanted)
    assert wanted[0] in held[ONE], "what is being asked about is not given away"


def test_a_machine_that_gets_no_help_takes_back_what_it_offered() -> None:
    one, wanted = claims(ONE), accounts(4)
    runs("installs", "installs@machine-two")
    one.take(wanted, NOW)
    one.look(NOW, [])
    assert len(one.take(wanted, NOW)) == 2
    later = NOW + LEFT_FOR + RENEW_EVERY
    one.look(later - timedelta(seconds=1), [])
    Beat.objects.filter(name="installs@machine-two").delete()
    one.look(later + RENEW_EVERY, [])
    assert len(one.take(wanted, later + RENEW_EVERY)) == 4


def test_a_claim_from_a_clock_that_was_ahead_does_not_last() -> None:
    one, two, (account,) = claims(ONE), claims(TWO), accounts(1)
    one.take([account], NOW + timedelta(hours=2))
    assert two.take([account], NOW) == {account}


def test_with_one_machine_nothing_is_claimed() -> None:
    alone, wanted = claims(ONE, is_shared=False), accounts(2)
    assert alone.take(wanted, NOW) == set(wanted)
    alone.look(NOW, [])
    alone.give_back_all()
    assert not Claim.objects.exists()
    assert alone.elsewhere == set()
