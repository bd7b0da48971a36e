"""What is stored of a hub's needs: forgotten at every change, stored again by the worker, and never
other than what is decided.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.accounts.linking import unlink_account
from devices.accounts.sessions import sign_out
from devices.fleet.attention import (
    STORED_AT_ONCE,
    attention_of,
    count,
    forget_wrong_attention,
    hubs_of,
    store_attention,
)
from devices.fleet.checks import keep_offer
from devices.fleet.versions import record_online, record_version
from devices.installs import requests
from devices.installs.confirmation import OfferSnapshot, snapshot_offer
from devices.installs.lifecycle import move_to
from devices.models import InstallOutcome, Node, OtaJob, State, When
from devices.models.attention import IS_KNOWN, Attention
from devices.planning import dismissals, planner, plans, queues, season
from devices.rainmaker.errors import SignInAgain
from devices.rainmaker.schemas import Connectivity, FirmwareOffer
from devices.worker.cloud_tasks import advance_chores, advance_installs
from devices.worker.runner import Taken
from tests.support.factories import make_account, make_job, make_node, make_offer, person
from tests.support.notifications import Home

pytestmark = pytest.mark.django_db


def known(node: Node) -> int | None:
    return Node.objects.filter(IS_KNOWN).values_list("known_attention", flat=True).get(pk=node.pk)


def agreed(node: Node) -> OfferSnapshot:
    return snapshot_offer(node, node.offers.get(ended_at=None))


def store_all() -> None:
    while store_attention():
        pass


def dismiss(home: Home, now: datetime) -> None:
    dismissals.dismiss(home.node, "5.3.3", user=home.owner, actor=person(home.owner))


def install(home: Home, now: datetime) -> OtaJob:
    return requests.request(
        user=home.owner, node=home.node, binding=agreed(home.node), actor=person(home.owner)
    )


def fail(home: Home, now: datetime) -> None:
    job = make_job(home.node, state=State.RUNNING)
    store_all()
    move_to(
        job,
        State.FAILED,
        actor=person(home.owner),
        note="The hub said so.",
        outcome=InstallOutcome.FAILED,
    )


def see(home: Home, now: datetime) -> None:
    job = make_job(home.node, state=State.FAILED)
    store_all()
    dismissals.mark_seen(job, actor=person(home.owner))


def fall_back(home: Home, now: datetime) -> None:
    Node.objects.filter(pk=home.node.pk).update(fw_version="5.3.3")
    home.node.refresh_from_db()
    make_job(home.node, state=State.VERIFIED, from_version="5.3.2", ended_at=now)
    store_all()
    record_version(home.node, "5.3.2", now)


def plan(home: Home, now: datetime) -> Any:
    return plans.plan_install(
        user=home.owner,
        node=home.node,
        binding=agreed(home.node),
        timing=plans.timing_of(When.TONIGHT, home.household, now),
        actor=person(home.owner),
    )


def cancel(home: Home, now: datetime) -> None:
    made = plan(home, now)
    store_all()
    planner.cancel(made, user=home.owner, actor=person(home.owner), now=now)


def stop_queue(home: Home, now: datetime) -> None:
    other = make_node(home.account)
    make_offer(other)
    hubs = [home.node, other]
    batch = queues.request(
        user=home.owner,
        household=home.household,
        chosen=[(node, agreed(node)) for node in hubs],
        at_once=1,
        stops_on_failure=True,
        actor=person(home.owner),
    )
    store_all()
    assert {known(node) for node in hubs} == {Attention.PLANNED}
    queues.stop(batch, actor=person(home.owner))


def withdraw(home: Home, now: datetime) -> None:
    keep_offer(home.node, FirmwareOffer(is_available=False), now)


def other_offer(home: Home, now: datetime) -> None:
    found = FirmwareOffer(is_available=True, ota_job_id="other", fw_version="5.3.0")
    keep_offer(home.node, found, now)


CHANGES: dict[Callable[[Home, datetime], Any], Attention] = {
    dismiss: Attention.DISMISSED,
    install: Attention.RUNNING,
    fail: Attention.TROUBLE,
    see: Attention.NEW,
    fall_back: Attention.TROUBLE,
    plan: Attention.PLANNED,
    cancel: Attention.NEW,
    stop_queue: Attention.NEW,
    withdraw: Attention.NONE,
    other_offer: Attention.OLDER,
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_seen_at_once_and_stored_again(change: Callable[[Home, datetime], Any]) -> None:
    home, now = Home(), timezone.now()
    make_offer(home.node)
    store_all()
    assert known(home.node) == Attention.NEW
    change(home, now)
    assert forget_wrong_attention() == 0  # what became wrong was forgotten at the change
    assert attention_of([home.node])[home.node.pk] == CHANGES[change]
    store_all()
    assert known(home.node) == CHANGES[change]


@pytest.mark.parametrize("what", ["signed_out", "unlinked", "stored", "offline"])
def test_what_changes_around_a_hub_is_seen_at_once(what: str) -> None:
    home, now = Home(), timezone.now()
    make_offer(home.node)
    Node.objects.filter(pk=home.node.pk).update(is_online=what != "stored")
    home.node.refresh_from_db()
    store_all()
    if what == "signed_out":
        sign_out(home.account, SignInAgain("The cloud ended the session."), now)
    elif what == "unlinked":
        unlink_account(home.account, actor=person(home.owner))
    elif what == "stored":
        season.store(home.household, actor=person(home.owner), now=now)
    else:
        record_online(home.node, Connectivity(False, now, ""), now)
    assert forget_wrong_attention() == 0
    expected = {
        "signed_out": Attention.SIGNED_OUT,
        "unlinked": Attention.NONE,
        "stored": Attention.STORED,
        "offline": Attention.WAITING,
    }
    assert attention_of([home.node])[home.node.pk] == expected[what]


def test_each_loop_stores_what_changed_a_part_at_a_time() -> None:
    account = make_account()
    Node.objects.bulk_create(
        Node(account=account, node_id=f"Hub-{n}") for n in range(STORED_AT_ONCE + 1)
    )
    advance_installs(timezone.now(), Taken())
    assert Node.objects.exclude(IS_KNOWN).count() == 1
    advance_chores(timezone.now(), Taken())
    assert not Node.objects.exclude(IS_KNOWN).exists()
    with CaptureQueriesContext(connection) as queries:
        assert store_attention() == 0
    assert len(queries) == 1


def test_what_somebody_wrote_into_the_database_is_right_again(caplog: Any) -> None:
    home = Home()
    make_offer(home.node)
    store_all()
    Node.objects.filter(pk=home.node.pk).update(known_attention=Attention.TROUBLE)
    assert count(hubs_of(home.owner)).attention == 1
    assert forget_wrong_attention() == 1
    assert "changed from outside" in caplog.text
    assert count(hubs_of(home.owner)).new == 1


def test_a_list_of_many_accounts_asks_no_more_than_of_one() -> None:
    home = Home()
    questions = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            count(hubs_of(home.owner))
        questions.append(len(queries))
        for _ in range(3):
            make_node(make_account(home.household), node_id="Hub-1")
    assert questions[0] == questions[1]
    assert count(hubs_of(home.owner)).total == 2
