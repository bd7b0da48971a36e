"""While nobody looks, accounts are read less often; who opens a page gets fresh facts at once."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from devices.fleet.looking import LONGEST_PAUSE, NOTED_EVERY, SYNC_EVERY, note_look, pause_of
from devices.models import Batch, CloudAccount, Household, Proposal, StaffRole, State
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_plan,
    make_user,
    sign_in,
)
from tests.support.homeassistant import link_of

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def account(*, looked: timedelta | None, linked: timedelta = timedelta(days=9)) -> CloudAccount:
    household = make_household()
    if looked is not None:
        household.looked_at = NOW - looked
        household.save()
    return make_account(household, linked_at=NOW - linked, synced_at=NOW - timedelta(minutes=29))


@pytest.mark.parametrize(
    ("looked", "minutes"),
    [
        (timedelta(), 2),
        (timedelta(minutes=15), 2),
        (timedelta(hours=1), 7.5),
        (timedelta(hours=3), 22.5),
        (timedelta(hours=5), 30),
        (timedelta(days=300), 30),
        (None, 30),
        (timedelta(minutes=-90), 2),  # by a clock that was ahead
    ],
)
def test_the_pause_grows_while_no_one_looks(looked: timedelta | None, minutes: float) -> None:
    assert pause_of(account(looked=looked), 0, NOW) == timedelta(minutes=minutes)


def test_a_large_account_is_not_read_more_often_than_it_is_when_watched() -> None:
    watched, idle = account(looked=timedelta()), account(looked=timedelta(days=1))
    assert pause_of(watched, 5000, NOW) == SYNC_EVERY + timedelta(seconds=500)
    assert pause_of(idle, 5000, NOW) == LONGEST_PAUSE
    assert pause_of(idle, 50_000, NOW) == SYNC_EVERY + timedelta(seconds=5000)


def test_a_new_account_an_install_and_home_assistant_count_as_a_person_who_looks() -> None:
    assert pause_of(account(looked=None, linked=timedelta(minutes=3)), 0, NOW) == SYNC_EVERY
    installing = account(looked=timedelta(days=1))
    make_job(make_node(installing), state=State.RUNNING)
    assert pause_of(installing, 1, NOW) < timedelta(minutes=3)
    shown = account(looked=timedelta(days=1))
    link_of(shown.household)
    assert pause_of(shown, 0, NOW) == SYNC_EVERY


def next_sync_s(one: CloudAccount) -> float:
    one.refresh_from_db()
    return (one.next_sync_at - timezone.now()).total_seconds()


def test_who_opens_a_page_has_old_facts_read_again_at_once(client: Client) -> None:
    idle, other = account(looked=timedelta(days=1)), account(looked=timedelta(days=1))
    CloudAccount.objects.update(next_sync_at=timezone.now() + timedelta(minutes=20))
    client.force_login(make_owner(idle.household))
    assert next_sync_s(idle) > 1000
    assert client.get("/").status_code == 200
    assert next_sync_s(idle) <= 0
    assert next_sync_s(other) > 1000, "another household's account stays as it was"


def test_what_was_read_a_moment_ago_is_not_read_again() -> None:
    fresh, now = account(looked=timedelta(days=1)), timezone.now()
    CloudAccount.objects.update(
        synced_at=now - timedelta(seconds=30), next_sync_at=now + timedelta(minutes=29)
    )
    note_look([fresh.household], now)
    assert next_sync_s(fresh) > 1000


def test_a_look_is_written_down_once_in_a_while(django_assert_num_queries: Any) -> None:
    household = account(looked=None).household
    note_look([household], NOW)
    with django_assert_num_queries(0):
        note_look([household], NOW + NOTED_EVERY - timedelta(seconds=1))
    assert Household.objects.get(pk=household.pk).looked_at == NOW
    note_look([household], NOW + NOTED_EVERY)
    assert Household.objects.get(pk=household.pk).looked_at == NOW + NOTED_EVERY


@pytest.mark.parametrize("what", ["queue", "proposal"])
def test_what_waits_for_a_hub_is_decided_by_fresh_facts(what: str) -> None:
    idle = account(looked=timedelta(days=1))
    node = make_node(idle)
    make_offer(node)
    assert pause_of(idle, 0, NOW) == LONGEST_PAUSE
    if what == "queue":
        batch = Batch.objects.create(household=idle.household, requested_at=NOW, at_once=1)
        make_plan(node, batch=batch, next_look_at=NOW)
    else:
        Proposal.objects.create(
            household=idle.household,
            node=node,
            hub_name="Porch",
            binding={"to_version": "5.3.3"},
            token_digest="0" * 64,
            proposed_by_name="support@example.com",
            expires_at=NOW + timedelta(days=1),
        )
    assert pause_of(idle, 0, NOW) == SYNC_EVERY


def test_support_who_opens_a_hub_looks_at_its_household_too(client: Client) -> None:
    idle = account(looked=timedelta(days=1))
    node = make_node(idle)
    Household.objects.update(support_until=timezone.now() + timedelta(days=1))
    CloudAccount.objects.update(next_sync_at=timezone.now() + timedelta(minutes=20))
    support = sign_in(client, make_user("support@example.com", staff_role=StaffRole.SUPPORT))
    assert support.get(f"/hubs/{node.pk}/").status_code == 200
    assert next_sync_s(idle) <= 0


def test_a_database_that_takes_no_changes_stops_no_page(client: Client) -> None:
    idle = account(looked=timedelta(days=1))
    client.force_login(make_owner(idle.household))
    is_sqlite = connection.vendor == "sqlite"
    connection.check_constraints()  # of the rows above, while that may be written
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only=ON" if is_sqlite else "SET TRANSACTION READ ONLY")
        try:
            assert client.get("/").status_code == 200
        finally:
            cursor.execute("PRAGMA query_only=OFF" if is_sqlite else "SELECT 1")
