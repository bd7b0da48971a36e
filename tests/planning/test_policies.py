"""Update policies: announced the evening before, started by their rule, or left alone."""

from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from devices.households.access_end import end_grants
from devices.installs.lifecycle import expire, notify_end
from devices.installs.push import _may_still
from devices.models import (
    AuditEvent,
    Delivery,
    Dismissal,
    DropReason,
    Offer,
    OtaJob,
    Plan,
    PlanState,
    PolicyMode,
    Role,
    State,
    UpdatePolicy,
    When,
)
from devices.planning import dismissals, planner, plans, policies, season
from devices.planning.policies import policy_of
from devices.planning.policy_rules import forecast, hub_of, next_window
from tests.support.factories import make_offer, make_plan, make_user, person
from tests.support.plans import NOON, at, look
from tests.support.policies import (
    DAY,
    EVENING,
    OPENING,
    PolicyHome,
    codes,
    evening,
    pass_time,
    wishes,
)

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def home() -> PolicyHome:
    return PolicyHome()


# --- announced, then started


def test_what_is_announced_in_the_evening_starts_the_next_night(home: PolicyHome) -> None:
    home.rule()
    planner.advance(NOON)
    planner.advance(EVENING - MINUTE)
    assert home.plans == []
    planner.advance(EVENING)
    [plan] = home.plans
    assert (plan.not_before, plan.announced_at) == (OPENING, EVENING)
    [words] = home.said
    assert "5.3.3 installs itself on Hub 1, from 2026-06-02 22:00" in words
    pass_time(at("2026-06-01T23:00"))
    pass_time(OPENING - MINUTE)
    assert not OtaJob.objects.exists(), "not in the night of the announcement"
    pass_time(OPENING)
    [job] = OtaJob.objects.all()
    assert job.requested_via == "policy"
    assert job.requested_by == home.owner
    assert job.requested_by_name == (f"update policy of Garden house, set by {home.owner.email}")
    asked = AuditEvent.objects.get(action="install.requested")
    assert (asked.actor_role, asked.via) == ("owner", "policy")
    evening(EVENING + DAY)
    assert len(home.said) == 1, "the verdict is the install's own notice"


@pytest.mark.parametrize(
    ("state", "ended", "read_at"),
    [
        (State.VERIFIED, "2026-06-03T01:00", "2026-06-03T05:00"),
        (State.VERIFIED, "2026-06-02T22:10", "2026-06-03T05:00"),
        (State.VERIFIED, "2026-06-03T05:10", "2026-06-03T05:10"),
        (State.REJECTED, "2026-06-03T01:00", "2026-06-03T01:00"),
    ],
)
def test_a_good_end_is_reported_in_the_morning_and_trouble_at_once(
    home: PolicyHome, state: State, ended: str, read_at: str
) -> None:
    home.rule()
    evening(EVENING)
    [job] = look(OPENING)
    job.refresh_from_db()
    Delivery.objects.all().delete()
    notify_end(job, state, at(ended))
    [delivery] = Delivery.objects.all()
    assert delivery.due_at == at(read_at)


def test_who_started_it_themselves_reads_a_good_end_at_once(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    [plan] = home.plans
    job = planner.start_now(plan, user=home.owner, actor=person(home.owner), now=OPENING)
    job.refresh_from_db()
    Delivery.objects.all().delete()
    notify_end(job, State.VERIFIED, OPENING + 10 * MINUTE)
    [delivery] = Delivery.objects.all()
    assert delivery.due_at == OPENING + 10 * MINUTE


def test_an_evening_is_planned_once(home: PolicyHome) -> None:
    home.rule()
    for _ in range(3):
        evening(EVENING)
    assert (len(home.plans), len(home.said)) == (1, 1)


def test_one_notice_for_all_hubs() -> None:
    home = PolicyHome(hubs=3)
    home.rule()
    evening(EVENING)
    assert len(home.plans) == 3
    [words] = home.said
    assert "5.3.3 installs itself on 3 hubs" in words


def test_a_plan_that_was_not_announced_cannot_be_stored(home: PolicyHome) -> None:
    values = {"when": When.POLICY, "not_before": OPENING}
    for announced_at in (None, OPENING):
        with pytest.raises(IntegrityError), transaction.atomic():
            make_plan(home.node, announced_at=announced_at, **values)
    make_plan(home.node, announced_at=EVENING, **values)


@pytest.mark.parametrize("how", ["no channel", "off", "other topics"])
def test_nothing_starts_where_nobody_is_notified(home: PolicyHome, how: str) -> None:
    home.rule()
    if how == "no channel":
        home.channel.delete()
    else:
        home.channel.is_on, home.channel.topics = how != "off", ["failed"]
        home.channel.save()
    evening(EVENING)
    pass_time(OPENING)
    assert not Plan.objects.exists()
    found = forecast(policy_of(home.household), NOON)
    assert ([one.code for one in found.against], found.starting) == (["no_notice"], [])


@pytest.mark.parametrize(
    ("now", "window", "opens"),
    [
        ("2026-06-01T12:00", ("22:00", "05:00"), "2026-06-02T22:00"),
        ("2026-06-01T23:30", ("22:00", "05:00"), "2026-06-02T22:00"),
        ("2026-06-02T01:00", ("22:00", "05:00"), "2026-06-03T22:00"),
        ("2026-06-01T18:00", ("00:00", "04:00"), "2026-06-02T00:00"),
        ("2026-06-01T20:00", ("00:00", "04:00"), "2026-06-03T00:00"),  # too short a notice
        ("2026-06-01T23:00", ("02:00", "05:00"), "2026-06-03T02:00"),
        ("2026-03-28T18:00", ("02:00", "03:00"), "2026-03-30T02:00"),  # the clock skips it
        ("2026-03-28T18:00", ("02:30", "05:00"), "2026-03-29T03:00"),
        ("2026-10-24T18:00", ("02:00", "03:00"), "2026-10-25T02:00"),  # it comes twice
        ("2026-10-24T18:00", ("22:00", "05:00"), "2026-10-25T22:00"),
    ],
)
def test_the_next_window_is_a_later_days(
    home: PolicyHome, now: str, window: tuple[str, str], opens: str
) -> None:
    policy = policy_of(home.household)
    policy.window_start, policy.window_end = (
        at(f"2026-01-01T{clock}").time().replace(tzinfo=None) for clock in window
    )
    # in UTC, for a time that comes twice equals no other
    assert next_window(policy, at(now)) == at(opens).astimezone(UTC)


@pytest.mark.parametrize(
    ("evening_before", "night"),
    [("2026-03-27T18:00", "2026-03-28T22:00"), ("2026-10-23T18:00", "2026-10-24T22:00")],
)
def test_in_the_nights_the_clocks_change_it_starts_inside_its_window(
    home: PolicyHome, evening_before: str, night: str
) -> None:
    home.rule(at(evening_before) - 6 * 60 * MINUTE)
    Offer.objects.update(first_seen_at=at(evening_before) - 60 * DAY)
    home.set(repellent="protected")
    evening(at(evening_before))
    pass_time(at(night))
    home.set(repellent="off")
    morning = at(night).date() + DAY
    assert look(at(f"{morning}T05:00")) == [], "the night is over"
    assert len(look(at(f"{morning}T22:00"))) == 1


@pytest.mark.parametrize(
    ("evening_before", "late"),
    [("2026-03-27T18:00", "2026-03-29T04:30"), ("2026-10-23T18:00", "2026-10-25T04:30")],
)
def test_in_the_nights_the_clocks_change_the_window_lasts_until_five(
    home: PolicyHome, evening_before: str, late: str
) -> None:
    home.rule(at(evening_before) - 6 * 60 * MINUTE)
    Offer.objects.update(first_seen_at=at(evening_before) - 60 * DAY)
    home.set(repellent="protected")
    evening(at(evening_before))
    home.set(repellent="off")
    assert len(look(at(late))) == 1


# --- by whose right


@pytest.mark.parametrize("how", ["member", "removed", "closed", "deleted"])
def test_who_lost_the_right_starts_nothing_and_people_are_told_once(how: str) -> None:
    home = PolicyHome(hubs=2)
    make_user(role=Role.OWNER, household=home.household)
    home.rule()
    evening(EVENING)
    if how == "member":
        home.owner.memberships.update(role=Role.MEMBER)
    elif how == "removed":
        home.owner.memberships.all().delete()
    elif how == "closed":
        type(home.owner).objects.filter(pk=home.owner.pk).update(is_active=False)
    else:
        home.owner.delete()
    if how != "deleted":
        home.owner.refresh_from_db()
        end_grants(home.owner)
    for now in (EVENING + MINUTE, OPENING, EVENING + 2 * DAY, OPENING + 2 * DAY):
        UpdatePolicy.objects.filter(next_look_at__gt=now + DAY).update(next_look_at=now)
        look(now)
    assert not OtaJob.objects.exists()
    assert not Plan.objects.waiting().exists()
    assert {plan.drop_reason for plan in Plan.objects.all()} == {DropReason.RIGHT_LOST}
    rests = [words for words in home.said if "rests" in words]
    assert (len(rests), len(home.said)) == (1, 2)
    assert AuditEvent.objects.filter(action="household.policy_rests").count() == 1


def test_the_right_is_judged_again_before_the_push(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    [job] = look(OPENING)
    job = OtaJob.objects.select_related("node__account__household", "household").get(pk=job.pk)
    assert _may_still(job)
    # a member may install, but not by this rule
    home.owner.memberships.update(role=Role.MEMBER)
    assert not _may_still(job)


def test_who_has_the_right_again_saves_it_again(home: PolicyHome) -> None:
    """That is what the notice said, and what ended does not come back by itself."""
    home.rule()
    home.owner.memberships.update(role=Role.MEMBER)
    evening(EVENING)
    assert "until an owner saves it again" in home.said[-1]
    home.owner.memberships.update(role=Role.OWNER)
    evening(EVENING + DAY)
    assert home.plans == []
    assert [one.code for one in forecast(policy_of(home.household), NOON).against] == ["no_right"]
    again = policies.wished(home.household, wishes(), home.owner)
    assert forecast(again, NOON).against == [], "the page shows that saving it helps"
    home.rule(EVENING + DAY)  # exactly as it was
    evening(EVENING + DAY + MINUTE)
    assert len(home.plans) == 1


def test_in_winter_nothing_is_announced_and_what_was_is_announced_again(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    [plan] = home.plans
    actor = person(home.owner)
    season.store(home.household, actor=actor, now=EVENING + MINUTE)
    assert look(OPENING, plan) == []
    assert plan.waits_for == "season"
    evening(EVENING + DAY)
    assert len(home.said) == 1
    spring = EVENING + 150 * DAY
    season.wake(home.household, actor=actor, now=spring - DAY)
    assert look(spring, plan) == []
    assert plan.state == PlanState.EXPIRED
    [again] = home.plans
    assert again.announced_at == spring


def test_another_owner_takes_the_policy_over(home: PolicyHome) -> None:
    other = make_user(role=Role.OWNER, household=home.household)
    home.rule()
    home.owner.memberships.update(role=Role.MEMBER)
    evening(EVENING)
    assert home.plans == []
    home.owner = other
    home.rule(EVENING)
    evening(EVENING + MINUTE)
    assert len(home.plans) == 1
    assert policy_of(home.household).rest_notified_at is None


# --- what was announced, and nothing else


@pytest.mark.parametrize("to", [{"fw_version": "9.9.9"}, {"md5": "0" * 32}, {"ota_job_id": "B"}])
def test_an_offer_that_is_swapped_does_not_start(home: PolicyHome, to: dict[str, str]) -> None:
    home.rule()
    evening(EVENING)
    [plan] = home.plans
    home.node.offers.update(ended_at=EVENING)
    make_offer(home.node, first_seen_at=NOON - 30 * DAY, **to)
    assert look(OPENING, plan) == []
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.OFFER_CHANGED)
    evening(OPENING)
    [again] = home.plans
    assert again.announced_at == OPENING
    assert again.not_before > OPENING


def test_cancelling_one_hub_is_not_this_one_for_that_hub() -> None:
    home = PolicyHome(hubs=2)
    home.rule()
    evening(EVENING)
    first, second = home.plans
    plan = Plan.objects.loaded().get(pk=first.pk)
    member = make_user(role=Role.MEMBER, household=home.household)
    planner.cancel(plan, user=member, actor=person(member), now=EVENING)
    assert home.plans == [second]
    for action in ("plan.cancelled", "offer.dismissed"):
        event = AuditEvent.objects.get(action=action)
        assert (event.actor_user_id, event.actor_name) == (member.pk, member.email)
    dismissal = Dismissal.objects.get()
    assert (dismissal.dismissed_by, dismissal.dismissed_by_name) == (member, member.email)
    assert len(home.said) == 1
    evening(EVENING + DAY)
    assert codes(home) == {"Hub 1": ["dismissed"], "Hub 2": ["planned"]}


def test_dismissing_the_version_ends_its_plans_without_a_message() -> None:
    home = PolicyHome(hubs=2)
    home.rule()
    evening(EVENING)
    dismissals.dismiss(
        home.node, "5.3.3", user=home.owner, actor=person(home.owner), everywhere=True, now=EVENING
    )
    pass_time(OPENING)
    assert not OtaJob.objects.exists()
    assert {plan.state for plan in Plan.objects.all()} == {PlanState.CANCELLED}
    assert len(home.said) == 1


def test_a_policys_plan_is_not_moved_to_another_moment(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    timing = plans.timing_of(When.IDLE, home.household, EVENING)
    plan = Plan.objects.loaded().get()
    assert not plan.may_change
    with pytest.raises(plans.PlanError):
        plans.change(plan, timing, user=home.owner, actor=person(home.owner), now=EVENING)


@pytest.mark.parametrize("how", ["nothing", "other days", "other household", "long ago"])
def test_only_what_was_shown_is_switched_on(home: PolicyHome, how: str, time_machine: Any) -> None:
    wanted = wishes(hubs={hub_of(home.node): PolicyMode.INSTALL}, waiting_days=3)
    shown = policies.shown_token(home.household, wanted)
    if how == "nothing":
        shown = ""
    elif how == "other days":
        shown = policies.shown_token(home.household, replace(wanted, waiting_days=0))
    elif how == "other household":
        shown = policies.shown_token(PolicyHome().household, wanted)
    else:
        time_machine.move_to(timezone.now() + policies.SHOWN_FOR + MINUTE)
    values: dict[str, Any] = {"user": home.owner, "actor": person(home.owner)}
    with pytest.raises(policies.NotShown):
        policies.change(home.household, wanted, shown=shown, **values)
    assert not UpdatePolicy.objects.exists()
    policies.change(home.household, wishes(mode=PolicyMode.ASK), **values)  # that needs none
    assert UpdatePolicy.objects.get().next_look_at is None


def test_a_changed_rule_announces_anew(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    home.rule(EVENING + MINUTE, window_start=at("2026-06-01T01:00").time())
    assert home.plans == []
    pass_time(OPENING - DAY)
    assert home.plans, "it is evening: the new rule is announced at once"
    assert len(home.said) == 2
    home.rule(EVENING + 2 * MINUTE, mode=PolicyMode.ASK)
    assert home.plans == []
    evening(EVENING + DAY)
    pass_time(OPENING)
    assert not OtaJob.objects.exists()


def test_what_the_former_rule_started_does_not_wait_again(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    [plan] = home.plans
    [job] = look(OPENING, plan)
    home.rule(OPENING + MINUTE, window_start=at("2026-06-01T01:00").time())
    expire(job, OPENING + 10 * MINUTE)
    plan.refresh_from_db()
    assert plan.is_waiting
    assert look(OPENING + DAY, plan) == [job]
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.POLICY)
    assert plan.reason.english == "The update policy was changed."


def test_the_trail_has_before_and_after(home: PolicyHome) -> None:
    home.rule()
    home.rule()
    home.rule(waiting_days=14, hubs={home.node.pk: PolicyMode.ASK})
    first, second = AuditEvent.objects.filter(action="household.policy_changed").order_by("pk")
    assert first.detail["from"]["mode"] == "ask"
    assert first.detail["to"]["mode"] == "install"
    assert second.detail == {
        "from": {"waiting_days": 0, "hubs": {}},
        "to": {"waiting_days": 14, "hubs": {f"127.0.0.1:9 {home.node.node_id}": "ask"}},
    }


# --- idle time, which counts for every plan


def test_plans_wait_until_the_repellent_was_off_for_long_enough(home: PolicyHome) -> None:
    home.rule(mode=PolicyMode.ASK, idle_minutes=30)
    plan = home.plan(When.IDLE)
    home.set(idle_since=NOON - 20 * MINUTE)
    assert look(NOON, plan) == []
    assert plan.reason.english == "The repellent was on until a short time ago."
    assert len(look(NOON + 10 * MINUTE, plan)) == 1


def test_without_a_rule_plans_start_as_soon_as_it_is_off(home: PolicyHome) -> None:
    home.plan(When.IDLE)
    home.set(idle_since=NOON)
    assert len(look(NOON)) == 1
