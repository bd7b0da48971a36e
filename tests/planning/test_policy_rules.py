"""Which hubs an update policy lets install by itself, or why not; the forecast says the same."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import (
    DropReason,
    Node,
    Offer,
    OtaJob,
    Plan,
    PlanState,
    PolicyMode,
    State,
    UpdatePolicy,
    When,
)
from devices.planning import dismissals, planner, policies
from devices.planning.policies import modes_of, policy_of
from devices.planning.policy_rules import forecast, hub_of
from tests.support.factories import make_account, make_job, make_node, make_offer, person
from tests.support.plans import NOON, at, look
from tests.support.policies import (
    DAY,
    EVENING,
    OPENING,
    PolicyHome,
    codes,
    end,
    evening,
    hold,
    pass_time,
)

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def home() -> PolicyHome:
    return PolicyHome()


# --- which hubs, or why not


@pytest.mark.parametrize(
    ("hub", "offered", "code"),
    [
        ("5.3.4", "5.3.3", "not_newer"),
        ("5.3.3-eu", "5.3.3", "not_newer"),  # nothing tells which is older
        ("", "5.3.3", "not_newer"),
        ("5.3.3", "v5.3.3", "already_installed"),
    ],
)
def test_only_what_is_surely_newer_is_installed(
    home: PolicyHome, hub: str, offered: str, code: str
) -> None:
    home.set(fw_version=hub)
    Offer.objects.update(fw_version=offered)
    home.rule()
    evening(EVENING)
    assert home.plans == []
    assert code in codes(home)["Hub 1"]


def test_a_dismissed_version_is_left_alone(home: PolicyHome) -> None:
    home.rule()
    who = person(home.owner)
    gone = dismissals.dismiss(home.node, "5.3.3", user=home.owner, actor=who, now=NOON)
    evening(EVENING)
    assert (home.plans, codes(home)) == ([], {"Hub 1": ["dismissed"]})
    dismissals.undo(gone, actor=who, now=EVENING)
    evening(EVENING + DAY)
    assert len(home.plans) == 1


def test_of_a_dismissed_version_it_is_said_first(home: PolicyHome) -> None:
    """It is not what the policy asks about, where it asks."""
    home.rule(mode=PolicyMode.ASK)
    dismissals.dismiss(home.node, "5.3.3", user=home.owner, actor=person(home.owner), now=NOON)
    assert codes(home)["Hub 1"][0] == "dismissed"


def test_a_held_version_is_left_alone(home: PolicyHome) -> None:
    home.rule()
    hold(home)
    evening(EVENING)
    assert (home.plans, codes(home)) == ([], {"Hub 1": ["held"]})


def test_what_is_held_after_the_announcement_does_not_start(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    [plan] = home.plans
    hold(home)
    assert look(OPENING, plan) == []
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.HELD)
    assert "will not start. 5.3.3 is held" in home.said[-1]


@pytest.mark.parametrize("state", [State.FAILED, State.REJECTED, State.UNVERIFIED, State.LOST])
def test_what_did_not_end_well_on_a_hub_is_not_tried_again(home: PolicyHome, state: State) -> None:
    end(make_job(home.node, now=NOON), state, NOON)
    home.rule()
    evening(EVENING)
    assert (home.plans, codes(home)) == ([], {"Hub 1": ["tried_here"]})


def test_a_version_waits_its_days_since_it_was_first_seen() -> None:
    home = PolicyHome(hubs=2)
    home.rule(waiting_days=7)
    # the second hub is offered it only now: the version is as old as on the first
    Offer.objects.filter(node=home.nodes[0]).update(first_seen_at=OPENING - 7 * DAY + DAY)
    Offer.objects.filter(node=home.nodes[1]).update(first_seen_at=NOON)
    evening(EVENING)
    assert home.plans == []
    assert codes(home) == {"Hub 1": ["too_new"], "Hub 2": ["too_new"]}
    evening(EVENING + DAY)
    assert [plan.not_before for plan in home.plans] == [OPENING + DAY] * 2


def test_another_file_with_the_same_number_waits_again(home: PolicyHome) -> None:
    home.rule(waiting_days=7)
    home.node.offers.update(ended_at=NOON)
    make_offer(home.node, md5="0" * 32, first_seen_at=NOON)
    evening(EVENING)
    assert codes(home) == {"Hub 1": ["too_new"]}


def test_an_offline_hub_is_planned_when_it_is_back(home: PolicyHome) -> None:
    home.rule()
    home.set(is_online=False)
    evening(EVENING)
    assert home.plans == []
    home.set(is_online=True)
    evening(EVENING + DAY)
    assert len(home.plans) == 1


def test_what_a_person_planned_stays(home: PolicyHome) -> None:
    mine = home.plan(When.AT, clock=at("2026-06-20T02:00").replace(tzinfo=None))
    home.rule()
    evening(EVENING)
    assert list(Plan.objects.all()) == [mine]
    assert codes(home) == {"Hub 1": ["planned"]}


def test_a_hub_may_differ_both_ways() -> None:
    home = PolicyHome(hubs=2)
    first, second = home.nodes
    home.rule(hubs={first.pk: PolicyMode.ASK})
    assert codes(home) == {"Hub 1": ["asks"], "Hub 2": []}
    home.rule(mode=PolicyMode.ASK, hubs={second.pk: PolicyMode.INSTALL})
    assert codes(home) == {"Hub 1": ["asks"], "Hub 2": []}
    evening(EVENING)
    assert [plan.node_id for plan in home.plans] == [second.pk]


def test_another_household_is_no_concern_of_it(home: PolicyHome) -> None:
    home.rule()
    other = PolicyHome()
    end(make_job(other.node, now=NOON), State.FAILED, NOON)
    evening(EVENING)
    assert (len(home.plans), other.plans) == (1, [])


# --- first hub first


def test_the_others_follow_days_after_the_proof_of_the_first() -> None:
    home = PolicyHome(hubs=3)
    home.rule(others_after_days=3)
    evening(EVENING)
    assert [str(plan.node) for plan in home.plans] == ["Hub 1"]
    assert codes(home)["Hub 2"] == ["first_hub"]
    [job] = look(OPENING)
    evening(EVENING + 2 * DAY)
    assert home.plans == [], "nothing while it runs"
    # the hub says that it runs the version: that is a claim
    home.set(home.nodes[0], fw_version="5.3.3")
    evening(EVENING + 3 * DAY)
    assert home.plans == []
    end(job, State.VERIFIED, OPENING + 3 * DAY)
    for days in (3, 4, 5):
        evening(EVENING + days * DAY)
        assert home.plans == []
    evening(EVENING + 6 * DAY)
    assert [str(plan.node) for plan in home.plans] == ["Hub 2", "Hub 3"]
    assert {plan.not_before for plan in home.plans} == {OPENING + 6 * DAY}


@pytest.mark.parametrize("state", [State.REJECTED, State.FAILED, State.UNVERIFIED])
def test_trouble_on_the_first_hub_holds_the_others(state: State) -> None:
    home = PolicyHome(hubs=3)
    home.rule(others_after_days=1)
    evening(EVENING)
    [job] = look(OPENING)
    end(job, state, OPENING + MINUTE)
    evening(EVENING + 5 * DAY)
    assert home.plans == []
    assert codes(home, NOON + 5 * DAY) == {
        "Hub 1": ["tried_here"],
        "Hub 2": ["tried_elsewhere"],
        "Hub 3": ["tried_elsewhere"],
    }


def test_a_first_hub_that_fell_back_holds_the_others() -> None:
    home = PolicyHome(hubs=2)
    home.rule(others_after_days=1)
    evening(EVENING)
    [job] = look(OPENING)
    end(job, State.VERIFIED, OPENING + MINUTE)
    evening(EVENING + 3 * DAY)
    [plan] = home.plans
    OtaJob.objects.filter(pk=job.pk).update(fell_back_at=OPENING + 2 * DAY)
    assert len(look(plan.not_before, plan)) == 1
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.TROUBLE)


def test_in_one_night_trouble_ends_what_waits_and_people_are_told() -> None:
    home = PolicyHome(hubs=2)
    home.rule()
    evening(EVENING)
    [job] = look(OPENING)
    assert len(home.plans) == 1
    end(job, State.REJECTED, OPENING + MINUTE)
    assert len(look(OPENING + 2 * MINUTE)) == 1
    plan = Plan.objects.get(state=PlanState.DROPPED)
    assert plan.drop_reason == DropReason.TROUBLE
    assert "did not end well on Hub 1, so the others are left alone" in home.said[-1]


def beside(home: PolicyHome, base_url: str) -> Node:
    """Return a hub of the same model at another cloud, which is offered the same version."""
    other = make_node(make_account(home.household, base_url=base_url), name="Hub 9")
    make_offer(other, first_seen_at=NOON - 30 * DAY)
    return other


CLOUDS = ["https://api.rainmaker.example.org", "http://127.0.0.1:10"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_proven_at_one_cloud_is_not_at_another(home: PolicyHome, cloud: str) -> None:
    other = beside(home, cloud)
    more = make_node(other.account, name="Hub 99")
    make_offer(more, first_seen_at=NOON - 30 * DAY)
    home.rule(others_after_days=1)
    # each cloud has a first hub of its own
    assert codes(home) == {"Hub 1": [], "Hub 9": [], "Hub 99": ["first_hub"]}
    end(make_job(home.node, now=NOON - 20 * DAY), State.VERIFIED, NOON - 20 * DAY)
    evening(EVENING)
    assert [str(plan.node) for plan in home.plans] == ["Hub 9"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_trouble_at_one_cloud_holds_no_hub_of_another(home: PolicyHome, cloud: str) -> None:
    other = beside(home, cloud)
    home.rule()
    end(make_job(other, now=NOON), State.REJECTED, NOON)
    assert codes(home) == {"Hub 1": [], "Hub 9": ["tried_here"]}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_waiting_days_are_those_of_the_hubs_own_cloud(home: PolicyHome, cloud: str) -> None:
    beside(home, cloud)
    home.node.offers.update(first_seen_at=NOON)
    home.rule(waiting_days=7)
    assert codes(home) == {"Hub 1": ["too_new"], "Hub 9": []}


# --- a hub that two accounts of the household share


def shared(home: PolicyHome) -> Node:
    """Return the row that another account of the household has of the first hub."""
    account = make_account(home.household, base_url=home.account.base_url)
    twin = make_node(account, node_id=home.node.node_id, name="Hub 1")
    make_offer(twin, first_seen_at=NOON - 30 * DAY)
    return twin


@pytest.mark.parametrize("row", [0, 1])
def test_a_hub_has_one_mode_whichever_row_of_it_is_shown(home: PolicyHome, row: int) -> None:
    rows = [home.node, shared(home)]
    policy = home.rule(hubs={rows[row].pk: PolicyMode.ASK})
    assert set(policy.hubs.values_list("node_id", "mode")) == {(one.pk, "ask") for one in rows}
    for account in (home.account, rows[1].account):  # the row of the other account is shown
        type(account).objects.filter(pk=account.pk).update(state="signed_out")
        assert modes_of(policy) == {hub_of(home.node): PolicyMode.ASK}
        assert codes(home)["Hub 1"] == ["asks"]
        type(account).objects.filter(pk=account.pk).update(state="linked")
    policy = home.rule()
    assert (policy.hubs.count(), modes_of(policy)) == (0, {})


def test_of_two_rows_that_differ_the_one_that_asks_counts(home: PolicyHome) -> None:
    twin = shared(home)
    policy = home.rule()
    for node, mode in ((home.node, PolicyMode.ASK), (twin, PolicyMode.INSTALL)):
        policy.hubs.create(node=node, mode=mode)
    assert modes_of(policy) == {hub_of(twin): PolicyMode.ASK}
    assert codes(home) == {"Hub 1": ["asks"]}


# --- the forecast is what happens


@pytest.mark.parametrize("seed", range(6))
def test_what_the_page_shows_is_what_then_starts(seed: int) -> None:
    """Whatever the hubs and the rule are, and whenever the page is looked at."""
    home, random = PolicyHome(hubs=7), Random(seed)
    for node in home.nodes:
        _scramble(home, node, random)
    modes = {
        node.pk: random.choice(list(PolicyMode)) for node in home.nodes if random.random() < 0.3
    }
    home.rule(
        mode=random.choice([PolicyMode.INSTALL, PolicyMode.INSTALL, PolicyMode.ASK]),
        waiting_days=random.choice([0, 3, 7, 14]),
        others_after_days=random.choice([0, 0, 1, 3]),
        hubs=modes,
    )
    looked_at = NOON + timedelta(minutes=random.randrange(6 * 60))
    policy = policy_of(home.household)
    shown = forecast(policy, looked_at, modes_of(policy))
    would = {one.node.pk for one in shown.starting}
    evening(EVENING)
    before = set(OtaJob.objects.values_list("pk", flat=True))
    now = shown.opens_at
    assert now == OPENING
    while any(plan.not_before <= now for plan in home.plans):
        pass_time(now)
        for job in OtaJob.objects.live():
            end(job, State.VERIFIED, now)
        now += MINUTE
        assert now < OPENING + timedelta(hours=1)
    assert set(OtaJob.objects.exclude(pk__in=before).values_list("node_id", flat=True)) == would


def _scramble(home: PolicyHome, node: Node, random: Random) -> None:
    """Give a hub some history and standing."""
    offers = Offer.objects.filter(node=node)
    offers.update(
        first_seen_at=OPENING - random.randrange(20 * 24) * timedelta(hours=1),
        fw_version=random.choice(["5.3.3", "5.3.3", "5.3.4", "5.3.1"]),
        md5=random.choice(["a" * 32, "b" * 32]),
    )
    home.set(
        node,
        is_online=random.random() > 0.2,
        model=random.choice(["thermacell-hub", "thermacell-two"]),
    )
    node.refresh_from_db()
    if random.random() < 0.25:
        state = random.choice([State.VERIFIED, State.FAILED, State.REJECTED, State.EXPIRED])
        job = make_job(node, now=NOON - 40 * DAY, to_version=offers.get().fw_version)
        OtaJob.objects.filter(pk=job.pk).update(
            state=state, ended_at=NOON - random.randrange(5) * DAY, next_poll_at=None
        )
    if random.random() < 0.1:
        dismissals.dismiss(
            node, offers.get().fw_version, user=home.owner, actor=person(home.owner), now=NOON
        )


# --- costs


def test_what_is_due_is_one_query(home: PolicyHome, django_assert_num_queries: Any) -> None:
    home.rule()
    planner.advance(NOON)
    with django_assert_num_queries(1):
        policies.advance(NOON + MINUTE)


def test_more_hubs_cost_no_more_queries() -> None:
    def queries(hubs: int) -> tuple[int, int, int]:
        home = PolicyHome(hubs=hubs)
        for node in home.nodes:
            end(make_job(node, now=NOON, to_version="5.0"), State.VERIFIED, NOON)
            home.set(node, fw_version="5.3.2")
        home.rule()
        with CaptureQueriesContext(connection) as shown:
            forecast(policy_of(home.household), NOON)
        with CaptureQueriesContext(connection) as planned:
            evening(EVENING)
        assert len(home.plans) == hubs
        Plan.objects.waiting().update(next_look_at=OPENING - MINUTE)
        with CaptureQueriesContext(connection) as looked:
            planner.advance(OPENING - MINUTE)
        reads = sum(query["sql"].startswith("SELECT") for query in looked.captured_queries)
        Plan.objects.all().delete()
        UpdatePolicy.objects.all().delete()
        return len(shown), len(planned), reads

    few, many = queries(3), queries(12)
    assert all(more <= less for more, less in zip(many, few, strict=True)), (few, many)


def test_a_hub_with_another_model_has_a_first_hub_of_its_own() -> None:
    home = PolicyHome(hubs=2)
    other = make_node(home.account, name="Hub 3", model="thermacell-two")
    make_offer(other, first_seen_at=NOON - 30 * DAY)
    home.rule(others_after_days=3)
    assert codes(home) == {"Hub 1": [], "Hub 2": ["first_hub"], "Hub 3": []}
