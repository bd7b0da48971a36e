"""Plans: what they wait for, when they start, how they end. The clock is the test's own."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags
from django.utils.translation import override

from devices.explanations.reasons import ReasonCode
from devices.fleet.versions import record_online
from devices.homeassistant import settings as homeassistant_settings
from devices.homeassistant.settings import HomeAssistantSettings
from devices.households.access_end import end_grants
from devices.installs import requests as install_requests
from devices.installs.confirmation import snapshot_offer
from devices.installs.lifecycle import expire
from devices.installs.push import PrePushCheck, claim_for_push
from devices.models import (
    TOPICS,
    Actor,
    AuditEvent,
    Batch,
    Channel,
    DropReason,
    HomeAssistantLink,
    MayInstall,
    Node,
    Notice,
    OtaJob,
    Plan,
    PlanState,
    ProposalState,
    Role,
    State,
    UpdatePolicy,
    When,
)
from devices.models.homeassistant import VIA
from devices.models.plan import wake_hubs
from devices.notifications.messages import sentence
from devices.planning import dismissals, planner, plans
from devices.planning.waits import LOOK_AGAIN, LOOK_IN_USE, Around, why_not_now
from devices.presentation.serializers import PlanData
from devices.rainmaker.schemas import FirmwareOffer
from tests.support.factories import (
    make_job,
    make_offer,
    make_plan,
    make_proposal,
    make_user,
    person,
)
from tests.support.people import browser
from tests.support.plans import MORNING, NIGHT, NOON, Home, at, look
from tests.support.story import config, online

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


def checked(job: OtaJob) -> PrePushCheck:
    """Return what the cloud answers right before the push when all is as confirmed."""
    offer = FirmwareOffer(
        is_available=True,
        ota_job_id=job.ota_job_id,
        fw_version=job.to_version,
        size_bytes=job.size_bytes,
        md5=job.md5,
    )
    return PrePushCheck(offer, config(job.from_version), online(True), None)


@pytest.fixture
def home() -> Home:
    return Home()


def codes(plan: Plan, now: Any = NIGHT) -> list[ReasonCode]:
    return [one.code for one in why_not_now(Plan.objects.loaded().get(pk=plan.pk), now)]


def listen(home: Home) -> None:
    """Let the owner be notified of all."""
    topics = [topic.value for topic in TOPICS]
    Channel.objects.create(household=home.household, user=home.owner, topics=topics)


def actions() -> list[str]:
    found = AuditEvent.objects.order_by("sequence").values_list("action", flat=True)
    return [action for action in found if not action.startswith("person.")]


def test_tonight_starts_when_the_night_begins_and_once(home: Home) -> None:
    plan = home.plan()
    assert look(NOON, plan) == []
    assert plan.reason.english == "It starts between 22:00 and 05:00."
    assert plan.next_look_at == at("2026-06-01T22:00")
    planner.advance(at("2026-06-01T21:59:59"))
    assert not OtaJob.objects.exists()
    planner.advance(at("2026-06-01T22:00"))
    planner.advance(at("2026-06-01T22:00"))
    [job] = OtaJob.objects.all()
    plan.refresh_from_db()
    assert plan.state == PlanState.STARTED
    assert plan.job == job
    assert job.requested_by == home.owner
    assert job.requested_via == "plan"
    assert actions() == ["plan.made", "install.requested"]
    event = AuditEvent.objects.get(action="install.requested")
    assert event.actor_user_id == home.owner.pk
    assert "planned on 2026-06-01 12:00 (web)" in event.why


def test_a_plan_never_starts_late(home: Home) -> None:
    """The server was off all night: the next night counts, then the day of its expiry."""
    listen(home)
    plan = home.plan()
    for now in (MORNING, NOON + timedelta(days=1)):
        assert look(now, plan) == []
    assert plan.next_look_at == at("2026-06-02T22:00")
    home.set(is_online=False)
    look(at("2026-06-02T22:00"), plan)
    assert plan.waits_for == ReasonCode.HUB_OFFLINE
    home.set(is_online=True)
    assert look(NOON + timedelta(days=14), plan) == []
    assert plan.state == PlanState.EXPIRED
    assert "plan.expired" in actions()
    assert Notice.objects.filter(topic="needs_you").count() == 1


@pytest.mark.parametrize(
    ("facts", "code", "pause"),
    [
        ({"is_online": False}, ReasonCode.HUB_OFFLINE, LOOK_AGAIN),
        ({"repellent": "protected"}, ReasonCode.IN_USE, LOOK_IN_USE),
        ({"repellent": "warming"}, ReasonCode.IN_USE, LOOK_IN_USE),
    ],
)
def test_a_hub_that_is_not_ready_is_waited_for(
    home: Home, facts: dict[str, Any], code: ReasonCode, pause: timedelta
) -> None:
    plan = home.plan()
    home.set(**facts)
    assert look(NIGHT, plan) == []
    assert plan.waits_for == code
    assert plan.next_look_at == NIGHT + pause
    home.set(is_online=True, repellent="off")
    assert len(look(NIGHT + MINUTE, plan)) == 1


def test_news_of_the_hub_are_looked_at_at_once(home: Home) -> None:
    from devices.models.plan import wake_hubs

    plan = home.plan(When.ONLINE)
    home.set(is_online=False)
    look(NOON, plan)
    home.set(is_online=True)
    assert wake_hubs([home.node.pk], NOON + MINUTE) == 1
    planner.advance(NOON + MINUTE)
    assert OtaJob.objects.count() == 1
    assert wake_hubs([home.node.pk], NOON + MINUTE) == 0


def test_a_hub_that_an_install_finds_back_online_wakes_its_plan(
    home: Home, django_capture_on_commit_callbacks: Any
) -> None:
    """Not only a reading of the whole account is such news."""
    plan = home.plan(When.ONLINE)
    home.set(is_online=False)
    look(NOON, plan)
    assert plan.next_look_at == NOON + LOOK_AGAIN
    with django_capture_on_commit_callbacks() as committed:
        record_online(Node.objects.get(), online(True), NOON + MINUTE)
    plan.refresh_from_db()
    assert plan.next_look_at == NOON + LOOK_AGAIN, "not before the news is committed"
    for callback in committed:
        callback()
    planner.advance(NOON + MINUTE)
    assert OtaJob.objects.count() == 1


def test_an_account_that_rests_is_waited_for(home: Home) -> None:
    plan = home.plan()
    home.account.resume_at = NIGHT + 5 * MINUTE
    home.account.save()
    look(NIGHT, plan)
    assert plan.waits_for == ReasonCode.ACCOUNT_RESTING
    assert plan.next_look_at == NIGHT + 5 * MINUTE
    planner.advance(NIGHT + 5 * MINUTE)
    assert OtaJob.objects.count() == 1


def test_a_signed_out_account_is_waited_for(home: Home) -> None:
    plan = home.plan()
    home.account.state = "signed_out"
    home.account.save()
    look(NIGHT, plan)
    assert plan.waits_for == ReasonCode.SIGNED_OUT
    assert plan.is_waiting


def test_a_set_time_is_kept_and_not_missed_by_hours(home: Home) -> None:
    plan = home.plan(When.AT, clock=at("2026-06-03T02:00").replace(tzinfo=None))
    look(NIGHT, plan)
    assert plan.waits_for == ReasonCode.TOO_EARLY
    assert plan.next_look_at == at("2026-06-03T02:00")
    planner.advance(at("2026-06-03T01:59"))
    assert not OtaJob.objects.exists()
    home.set(repellent="protected")
    look(at("2026-06-03T02:00"), plan)
    assert plan.is_waiting
    home.set(repellent="off")
    look(at("2026-06-03T05:00"), plan)
    assert plan.state == PlanState.EXPIRED
    assert not OtaJob.objects.exists()


@pytest.mark.parametrize(
    "clock",
    [
        *("2026-03-29T02:30", "2026-03-01T12:00", "2026-12-01T12:00"),
        *("0001-01-01T00:00", "9999-12-31T23:59"),
    ],
)
def test_a_time_that_cannot_be_is_refused(home: Home, clock: str) -> None:
    """Skipped by the clock, in the past, too far away."""
    with pytest.raises(plans.PlanError):
        home.plan(When.AT, at("2026-03-20T12:00"), clock=at(clock).replace(tzinfo=None))
    assert not Plan.objects.exists()


def test_tonight_is_right_when_the_clock_skips_an_hour(home: Home) -> None:
    plan = home.plan(now=at("2026-03-28T12:00"))
    home.set(repellent="protected")
    look(at("2026-03-29T01:59"), plan)
    assert plan.waits_for == ReasonCode.IN_USE
    home.set(repellent="off")
    assert look(at("2026-03-29T05:00"), plan) == []
    assert plan.next_look_at == at("2026-03-29T22:00")


# --- what was agreed to, and by whom


def test_another_offer_ends_the_plan_and_says_so(home: Home) -> None:
    listen(home)
    plan = home.plan()
    home.node.offers.update(ended_at=NOON)
    make_offer(home.node, fw_version="9.9.9")
    assert look(NOON, plan) == []
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.OFFER_CHANGED)
    [notice] = Notice.objects.all()
    with override("en"):
        assert "offer has changed" in sentence(notice)
    look(NIGHT, plan)
    assert not OtaJob.objects.exists()


def test_what_came_another_way_is_done_without_us(home: Home) -> None:
    listen(home)
    plan = home.plan()
    home.set(fw_version="5.3.3")
    look(NOON, plan)
    assert plan.state == PlanState.DONE
    assert not Notice.objects.exists()
    assert actions() == ["plan.made", "plan.done"]


@pytest.mark.parametrize("how", ["viewer", "removed", "closed", "deleted"])
def test_who_may_no_longer_install_starts_nothing(home: Home, how: str) -> None:
    member = make_user(role=Role.MEMBER, household=home.household)
    plan = home.plan(user=member)
    planner.advance(NOON)
    later = NOON + timedelta(minutes=5)
    Plan.objects.update(next_look_at=later)
    if how == "viewer":
        member.memberships.update(role=Role.VIEWER)
    elif how == "removed":
        member.memberships.all().delete()
    elif how == "closed":
        type(member).objects.filter(pk=member.pk).update(is_active=False)
    else:
        member.delete()
    if how != "deleted":
        with time_machine.travel(NOON, tick=False):
            end_grants(member)
    plan.refresh_from_db()
    assert plan.next_look_at is not None
    assert (plan.next_look_at < later) is (how != "deleted"), "the loss wakes the plan"
    planner.advance(later)
    plan.refresh_from_db()
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.RIGHT_LOST)
    assert not OtaJob.objects.exists()


def test_the_right_is_judged_again_by_the_request_itself(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when the look believed it could start."""
    home.plan()
    home.owner.memberships.update(role=Role.VIEWER)
    monkeypatch.setattr(planner, "why_not_now", lambda *_args: [])
    look(NIGHT)
    assert not OtaJob.objects.exists()
    assert Plan.objects.get().drop_reason == DropReason.RIGHT_LOST
    assert "install.request_refused" in actions()


def test_a_hub_that_left_ends_its_plan(home: Home) -> None:
    plan = home.plan()
    home.set(gone_at=NOON)
    look(NOON, plan)
    assert plan.drop_reason == DropReason.HUB_LEFT


@pytest.mark.parametrize("state", [State.FAILED, State.REJECTED, State.LOST, State.UNVERIFIED])
def test_a_press_since_then_took_the_place_of_the_plan(home: Home, state: State) -> None:
    plan = home.plan()
    job = make_job(home.node, state=State.RUNNING, now=NOON + MINUTE)
    look(NIGHT, plan)
    assert plan.waits_for == ReasonCode.JOB_RUNNING
    OtaJob.objects.filter(pk=job.pk).update(state=state, ended_at=NIGHT, next_poll_at=None)
    look(NIGHT + MINUTE, plan)
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.TRIED)


def test_a_failure_from_before_is_what_the_plan_tries_again(home: Home) -> None:
    make_job(home.node, state=State.FAILED, now=NOON - MINUTE)
    home.plan()
    assert len(look(NIGHT)) == 2


# --- one of many


def test_hubs_planned_one_by_one_are_installed_one_by_one() -> None:
    home = Home(hubs=3)
    for node in home.nodes:
        home.plan(node=node)
    assert len(look(NIGHT)) == 1
    assert len(look(NIGHT + MINUTE)) == 1
    second = Plan.objects.waiting().order_by("pk")[0]
    assert second.waits_for == ReasonCode.TURN
    [job] = OtaJob.objects.all()
    OtaJob.objects.filter(pk=job.pk).update(state=State.VERIFIED, ended_at=NIGHT)
    Plan.objects.wake_after_install(job, NIGHT + 2 * MINUTE)
    planner.advance(NIGHT + 2 * MINUTE)
    assert OtaJob.objects.count() == 2


def test_a_hub_has_one_plan_and_the_newest_counts(home: Home) -> None:
    listen(home)
    first = home.plan()
    second = home.plan(When.IDLE)
    first.refresh_from_db()
    assert (first.state, first.drop_reason) == (PlanState.DROPPED, DropReason.REPLACED)
    assert not Notice.objects.exists()
    with pytest.raises(IntegrityError), transaction.atomic():
        make_plan(home.node)
    assert home.node.plan == second


def test_cancelling_is_the_end_of_it(home: Home) -> None:
    plan = home.plan()
    planner.cancel(plan, user=home.owner, actor=person(home.owner), now=NOON)
    look(NIGHT, plan)
    assert plan.state == PlanState.CANCELLED
    with pytest.raises(plans.PlanError):
        planner.cancel(plan, user=home.owner, actor=person(home.owner), now=NOON)
    timing = plans.timing_of(When.IDLE, home.household, NOON)
    with pytest.raises(plans.PlanError):
        plans.change(plan, timing, user=home.owner, actor=person(home.owner), now=NOON)
    assert actions() == ["plan.made", "plan.cancelled"]


def test_a_changed_plan_starts_at_its_new_moment(home: Home) -> None:
    plan = home.plan()
    timing = plans.timing_of(When.IDLE, home.household, NOON)
    plans.change(plan, timing, user=home.owner, actor=person(home.owner), now=NOON)
    assert len(look(NOON, plan)) == 1
    assert actions() == ["plan.made", "plan.changed", "install.requested"]


def test_who_may_no_longer_install_changes_no_plan(home: Home) -> None:
    """Judged when it is changed, not when the page was opened."""
    member = make_user(role=Role.MEMBER, household=home.household)
    plan = home.plan()
    member.memberships.update(role=Role.VIEWER)
    timing = plans.timing_of(When.IDLE, home.household, NOON)
    with pytest.raises(plans.PlanError, match="role does not allow installing"):
        plans.change(plan, timing, user=member, actor=person(member), now=NOON)
    plan.refresh_from_db()
    assert (plan.when, plan.changes) == (When.TONIGHT, 0)
    assert actions() == ["plan.made"]


def test_pressing_now_does_what_it_did_and_the_plan_knows(home: Home) -> None:
    plan = home.plan()
    assert home.node.offer is not None
    install_requests.request(
        user=home.owner,
        node=home.node,
        binding=snapshot_offer(home.node, home.node.offer),
        actor=person(home.owner),
        now=NOON + MINUTE,
    )
    assert len(look(NIGHT, plan)) == 1
    assert plan.waits_for == ReasonCode.JOB_RUNNING


# --- the table and its costs


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "asleep"},
        {"when": "someday"},
        {"drop_reason": DropReason.TRIED},
        {"state": PlanState.DROPPED},
        {"next_look_at": None},
        {"ended_at": NOON},
        {"window_start": "22:00"},
        {"window_start": "22:00", "window_end": "22:00"},
    ],
)
def test_the_database_keeps_plans_that_make_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_plan(**fields)


def test_a_plan_that_cannot_be_read_holds_up_no_other() -> None:
    home = Home(hubs=2)
    damaged, due = (home.plan(node=node) for node in home.nodes)
    Plan.objects.filter(pk=damaged.pk).update(binding={})
    look(NIGHT, due)
    assert due.state == PlanState.STARTED
    damaged.refresh_from_db()
    assert damaged.next_look_at == NIGHT + planner.LOOK_LATER


def test_nothing_due_costs_one_query_for_plans(django_assert_num_queries: Any) -> None:
    home = Home(hubs=4)
    for node in home.nodes:
        home.plan(node=node)
    planner.advance(NOON)
    with django_assert_num_queries(1):
        assert planner.is_idle(NOON)
    with django_assert_num_queries(4):
        planner.advance(NOON + MINUTE)


def test_looking_at_many_costs_no_more_questions_than_at_few() -> None:
    def queries(hubs: int) -> int:
        home = Home(hubs=hubs)
        for node in home.nodes:
            home.plan(node=node)
        look(NOON)
        Plan.objects.waiting().update(next_look_at=NOON + MINUTE)
        with CaptureQueriesContext(connection) as found:
            planner.advance(NOON + MINUTE)
        Plan.objects.all().delete()
        return sum(query["sql"].startswith("SELECT") for query in found.captured_queries)

    assert queries(3) == queries(12)


@pytest.mark.parametrize("allowed", [MayInstall.ALL, MayInstall.SOME])
def test_what_home_assistant_planned_costs_no_more_questions_for_many_hubs(
    allowed: MayInstall,
) -> None:
    def queries(hubs: int) -> int:
        home = Home(hubs=hubs)
        link = HomeAssistantLink.objects.create(
            household=home.household, is_on=True, may_install=allowed, allowed_by=home.owner
        )
        link.allowed_hubs.set(home.nodes)
        made = [home.plan(node=node) for node in home.nodes]
        Plan.objects.update(requested_via=VIA)
        rows = Plan.objects.loaded().filter(pk__in=[plan.pk for plan in made])
        with CaptureQueriesContext(connection) as found:
            read = list(rows)
            around = Around.of(read)
            for plan in read:
                assert why_not_now(plan, NIGHT, around) == []
        return len(found)

    assert queries(2) == queries(8)


def test_each_wait_has_a_reason_a_person_can_read() -> None:
    home = Home(hubs=6)
    plans_ = [home.plan(node=node) for node in home.nodes]
    home.set(home.nodes[0], is_online=False)
    home.set(home.nodes[1], repellent="warming")
    look(NIGHT)
    for plan in plans_:
        plan.refresh_from_db()
        assert plan.job is not None or (plan.reason and plan.waits_for and plan.next_look_at)


def test_the_loop_stays_awake_before_a_plan_is_due(home: Home) -> None:
    home.plan()
    planner.advance(NOON)
    assert planner.is_idle(at("2026-06-01T21:58"))
    assert not planner.is_idle(at("2026-06-01T21:59"))


def test_reasons_have_their_own_codes(home: Home) -> None:
    plan = home.plan()
    home.set(is_online=False, repellent="protected")
    assert codes(plan, NOON) == [
        ReasonCode.OUTSIDE_WINDOW,
        ReasonCode.HUB_OFFLINE,
        ReasonCode.IN_USE,
    ]
    assert codes(plan) == [ReasonCode.HUB_OFFLINE, ReasonCode.IN_USE]
    assert Node.objects.get(pk=home.node.pk).plan == plan


def test_news_during_a_look_are_not_lost(home: Home) -> None:
    home.set(is_online=False)
    plan = home.plan(When.ONLINE)
    as_read = Plan.objects.loaded().get(pk=plan.pk)
    reasons = why_not_now(as_read, NOON)
    # the hub comes back after the look has read it, and before the look notes why it waits
    home.set(is_online=True)
    assert wake_hubs([home.node.pk], NOON + timedelta(seconds=1)) == 1
    planner._wait(as_read, reasons, NOON)
    planner.advance(NOON + timedelta(seconds=2))
    assert OtaJob.objects.count() == 1


def test_what_starts_at_the_end_of_the_night_is_not_sent_in_the_morning(home: Home) -> None:
    home.plan()
    [job] = look(at("2026-06-02T04:59:58"))
    assert job.expires_at == at("2026-06-02T05:00")


@pytest.mark.parametrize("use", ["on again", "off for too short"])
def test_a_planned_install_is_not_sent_while_the_hub_is_in_use(home: Home, use: str) -> None:
    """It ends unsent and its plan waits again, for the same reasons as before it was started."""
    listen(home)
    UpdatePolicy.objects.create(household=home.household, idle_minutes=30)
    plan = home.plan()
    [job] = look(NIGHT, plan)
    if use == "on again":
        home.set(repellent="protected")
    else:
        home.set(idle_since=NIGHT)
    job = OtaJob.objects.select_related("node__account__household").get(pk=job.pk)
    assert not claim_for_push(job, checked(job), NIGHT + timedelta(seconds=5))
    assert (job.state, job.outcome, job.pushes) == (State.REFUSED, "hub_in_use", 0)
    assert look(NIGHT + timedelta(seconds=6), plan) == [job]
    assert (plan.state, plan.waits_for) == (PlanState.WAITING, ReasonCode.IN_USE)
    assert not Notice.objects.exists(), "nothing has ended"

    home.set(repellent="off", idle_since=NIGHT)
    assert look(NIGHT + 29 * MINUTE, plan) == [job]
    again = look(NIGHT + 30 * MINUTE, plan)[-1]
    assert again != job
    again = OtaJob.objects.select_related("node__account__household").get(pk=again.pk)
    assert claim_for_push(again, checked(again), NIGHT + 30 * MINUTE)


def test_what_a_person_starts_now_is_sent_while_the_hub_is_in_use(home: Home) -> None:
    """As a press of Install is: only what the planner starts waits for the repellent."""
    plan = home.plan(When.IDLE)
    home.set(repellent="protected")
    assert look(NOON, plan) == []
    job = planner.start_now(plan, user=home.owner, actor=person(home.owner), now=NOON)
    job = OtaJob.objects.select_related("node__account__household").get(pk=job.pk)
    assert claim_for_push(job, checked(job), NOON + timedelta(seconds=5))


@pytest.mark.parametrize("outcome", ["hub_offline", "not_sent_in_time"])
def test_what_a_person_started_now_ends_with_its_own_outcome(home: Home, outcome: str) -> None:
    listen(home)
    plan = home.plan()
    job = planner.start_now(plan, user=home.owner, actor=person(home.owner), now=NOON)
    if outcome == "hub_offline":
        answer = replace(checked(job), connectivity=online(False))
        assert not claim_for_push(job, answer, NOON + MINUTE)
    else:
        expire(job, NOON + MINUTE)
    look(NIGHT, plan)
    assert (plan.state, plan.job) == (PlanState.STARTED, job)
    assert (job.outcome, OtaJob.objects.count()) == (outcome, 1)
    assert Notice.objects.filter(job=job).count() == 1, "the person is notified"


def test_what_was_offline_after_all_is_waited_for_again(home: Home) -> None:
    """The list of hubs was half an hour old: the question before the push knows better."""
    listen(home)
    plan = home.plan()
    [job] = look(NIGHT, plan)
    answer = replace(checked(job), connectivity=online(False))
    assert not claim_for_push(job, answer, NIGHT + MINUTE)
    assert (job.state, job.outcome) == (State.REFUSED, "hub_offline")
    assert look(NIGHT + MINUTE, plan) == [job]
    assert (plan.state, plan.waits_for, plan.job) == (PlanState.WAITING, "hub_offline", None)
    assert actions()[-2:] == ["install.refused", "plan.waits_again"]
    assert not Notice.objects.exists(), "nothing has ended"

    home.set(is_online=True)
    again = look(NIGHT + timedelta(hours=1), plan)[-1]
    assert again != job
    assert plan.job == again
    assert claim_for_push(again, checked(again), NIGHT + timedelta(hours=1))


def test_what_waits_again_says_why_and_when_it_is_tried_next(home: Home) -> None:
    plan = home.plan()
    [job] = look(NIGHT, plan)
    morning = at("2026-06-02T05:00")
    expire(job, morning)
    plan.refresh_from_db()
    why = "Nothing could be sent the last time. It starts between 22:00 and 05:00."
    assert (plan.waits_for, plan.reason.english) == (ReasonCode.OUTSIDE_WINDOW, why)
    with time_machine.travel(morning, tick=False):
        shown = browser(home.owner)
        for page in ("/planned/", f"/hubs/{home.node.pk}/"):
            text = " ".join(strip_tags(shown.get(page).content.decode()).split())
            assert why in text
            assert "Tried again today 22:00, or as soon as the hub is ready." in text
        with timezone.override(home.household.zone):
            data = PlanData.of(Plan.objects.for_list().get())
    assert (data.waits_for, data.reason) == ("outside_window", why)
    assert data.tried_next_at == at("2026-06-02T22:00")


def test_what_was_in_use_all_night_waits_for_the_next(home: Home) -> None:
    plan = home.plan()
    [job] = look(NIGHT, plan)
    expire(job, at("2026-06-02T05:00"))
    look(MORNING, plan)
    assert (plan.state, plan.waits_for) == (PlanState.WAITING, "outside_window")
    assert len(look(NIGHT + timedelta(days=1), plan)) == 2


@pytest.mark.parametrize("how", ["later plan", "expired", "sent once"])
def test_what_does_not_wait_again(home: Home, how: str) -> None:
    plan = home.plan()
    [job] = look(NIGHT, plan)
    now = NIGHT + MINUTE
    if how == "later plan":
        Plan.objects.filter(pk=make_plan(home.node).pk).update(state=PlanState.WAITING)
    elif how == "expired":
        now = plan.expires_at
    else:
        OtaJob.objects.update(pushes=1)
        job.refresh_from_db()
    expire(job, now)
    plan.refresh_from_db()
    assert (plan.state, plan.job) == (PlanState.STARTED, job)


def test_a_cloud_that_does_not_answer_is_not_tried_every_ten_minutes(home: Home) -> None:
    plan = home.plan()
    [job] = look(NIGHT, plan)
    now = NIGHT + 10 * MINUTE
    expire(job, now)
    planner.advance(now + 29 * MINUTE)
    plan.refresh_from_db()
    assert (plan.state, plan.waits_for, plan.reason.english) == (
        PlanState.WAITING,
        ReasonCode.NOT_SENT,
        "Nothing could be sent the last time.",
    )
    planner.advance(now + 30 * MINUTE)
    assert OtaJob.objects.count() == 2


def test_the_answer_to_a_proposal_waits_again(home: Home) -> None:
    proposal = make_proposal(home.node, state=ProposalState.TONIGHT)
    answer = {"proposal": proposal, "requested_by": home.owner, "requested_role": "owner"}
    plan = make_plan(home.node, when=When.TONIGHT, **answer)
    [job] = look(timezone.now(), plan)
    proposal.refresh_from_db()
    assert (proposal.state, proposal.job) == (ProposalState.ACCEPTED, job)
    expire(job, timezone.now())
    proposal.refresh_from_db()
    assert (proposal.state, proposal.job) == (ProposalState.TONIGHT, None)


def test_a_refused_start_is_in_the_trail(home: Home) -> None:
    plan = home.plan()
    home.set(is_online=False)
    with pytest.raises(install_requests.Refused):
        planner.start_now(plan, user=home.owner, actor=person(home.owner), now=NOON)
    assert AuditEvent.objects.filter(action="install.request_refused").count() == 1
    assert Plan.objects.get().is_waiting


def test_a_queue_that_starts_holds_up_no_plan_of_one_hub() -> None:
    home = Home(hubs=2)
    queue = Batch.objects.create(household=home.household, requested_by=home.owner)
    make_plan(home.nodes[0], batch=queue, requested_by=home.owner)
    home.plan(When.IDLE, timezone.now(), node=home.nodes[1])
    assert len(look(timezone.now())) == 2


def test_a_declined_proposal_starts_nothing(home: Home) -> None:
    proposal = make_proposal(home.node, state=ProposalState.TONIGHT)
    make_plan(home.node, proposal=proposal, requested_by=home.owner, requested_role="owner")
    who, now = person(home.owner), timezone.now()
    gone = dismissals.dismiss(home.node, "5.3.3", user=home.owner, actor=who, now=now)
    dismissals.undo(gone, actor=who, now=now)
    assert look(now) == []
    assert Plan.objects.get().state == PlanState.CANCELLED


@pytest.mark.parametrize("change", [{}, {"may_install": "no"}, {"is_on": False}, {"to": "other"}])
def test_what_home_assistant_planned_starts_by_the_leave_of_that_moment(
    home: Home, change: dict[str, Any]
) -> None:
    link = HomeAssistantLink.objects.create(
        household=home.household, is_on=True, may_install="all", allowed_by=home.owner
    )
    assert home.node.offer is not None
    plan = plans.plan_install(
        home.node,
        snapshot_offer(home.node, home.node.offer),
        plans.timing_of(When.TONIGHT, home.household, NOON),
        user=home.owner,
        actor=Actor(name=str(link), role=VIA, via=VIA),
        now=NOON,
    )
    look(NOON, plan)
    other = make_user(role=Role.OWNER, household=home.household)
    HomeAssistantLink.objects.update(
        allowed_by=other if "to" in change else home.owner,
        **{name: value for name, value in change.items() if name != "to"},
    )
    jobs = look(NIGHT, plan)
    if not change:
        assert [job.requested_by_name for job in jobs] == ["Home Assistant (Garden house)"]
        return
    assert jobs == []
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, DropReason.RIGHT_LOST)
    assert "may no longer install" in plan.reason.english


def test_taking_the_leave_back_is_news_for_what_home_assistant_planned(home: Home) -> None:
    HomeAssistantLink.objects.create(
        household=home.household, is_on=True, may_install="all", allowed_by=home.owner
    )
    plan = home.plan()
    Plan.objects.update(requested_via=VIA)
    look(NOON, plan)
    assert plan.next_look_at == at("2026-06-01T22:00")
    wishes = HomeAssistantSettings(is_on=False, may_install=MayInstall.NO)
    homeassistant_settings.change(home.household, wishes, user=home.owner, actor=person(home.owner))
    plan.refresh_from_db()
    assert plan.next_look_at is not None
    assert plan.next_look_at > at("2026-06-01T22:00"), "it is looked at now"
