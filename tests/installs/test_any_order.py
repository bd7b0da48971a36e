"""The engine against the simulated hub, in every order that Hypothesis can think of.

Time stands still until a rule moves it, answers get lost, workers die between hearing and writing,
clocks are set, and one hub is reached through two accounts. After each step the laws must hold;
at the end everything must come to a verdict, whatever had happened.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from devices.fleet.checks import keep_offer
from devices.installs import lifecycle, polling, push
from devices.installs import requests as install_requests
from devices.installs.confirmation import snapshot_offer
from devices.installs.verdict import verdict
from devices.models import (
    TRANSITIONS,
    AuditEvent,
    CloudAccount,
    Node,
    OtaJob,
    StaleJob,
    State,
    User,
)
from devices.models.lease import CLOCK_SKEW
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import CloudError
from devices.simcloud.world import Person
from devices.worker import clock_changes, cloud_tasks
from devices.worker.runner import CloudTask, Taken
from tests.support.factories import make_account, make_household, make_owner, person
from tests.support.inprocess import HERE, Cloud

START = datetime(2026, 6, 1, 20, 0, tzinfo=UTC)
FAR = START + timedelta(days=365)
EMAILS, PASSWORD = ("porch@example.com", "lake@example.com"), "fireflies"
# Without `delayed`, whose patience of a day takes thousands of turns; test_verdict.py has it.
COURSES: dict[str, dict[str, Any]] = {
    "happy": {},
    "percent": {},
    "slow": {"factor": 4.0},
    "first_attempt_fails": {},
    "all_attempts_fail": {"cycles": 1},
    "rejected": {},
    "rolled_back": {},
    "rolled_back ": {"report_failed": True},
    "failed_final": {},
    "silent": {},
    "stuck": {},
    "offline_mid_flash": {"away_s": 400.0},
    "success_lie": {},
    "version_only": {},
    "already_running": {},
}
FAULTS = ("cut_before", "cut_after", "423", "429", "500", "garbage")
ASKED = ("*/ota_update", "*/ota_status", "*/config", "*/status")
# Each turn of the loop comes this much later: as much as the engine counts between two answers.
CALM_S = 18.0
TURNS = 2500


class Engine(RuleBasedStateMachine):
    """One hub, two households that share it, and a worker."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.off = timedelta(0)  # by which the server's clock is wrong
        self.cloud = Cloud(
            START.timestamp(), hubs=1, people=tuple(Person(email, PASSWORD) for email in EMAILS)
        )
        self.hub = next(iter(self.cloud.world.hubs))
        self.mover = time_machine.travel(START, tick=False)
        self.traveller = self.mover.start()
        self.accounts: list[CloudAccount] = []
        self.owners: list[User] = []
        self.clients: list[RainmakerClient] = []
        self.verified_while: dict[int, str] = {}  # job: what the hub ran when it was called that

    @initialize()
    def two_households_share_a_hub(self) -> None:
        owner = self.cloud.hub(self.hub)["owner"]
        other = EMAILS[1 - EMAILS.index(owner)]
        self.cloud.control("POST", f"hubs/{self.hub}/share", {"email": other})
        for email in EMAILS:
            household = make_household()
            account = make_account(household, base_url=HERE, email=email, next_sync_at=FAR)
            self.accounts.append(account)
            self.owners.append(make_owner(household))
            self.clients.append(self.cloud.client(email, PASSWORD))
            Node.objects.create(account=account, node_id=self.hub, name="Porch", is_online=True)
        self.publish("happy", 1)
        assert all(node.offer is not None and node.fw_version for node in self._nodes())

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.cloud.wall_s, UTC) + self.off

    def teardown(self) -> None:
        try:
            if self.accounts:
                self._come_to_rest()
        finally:
            self.mover.stop()
            transaction.savepoint_rollback(self.savepoint)

    # What happens at the cloud and to the hub

    @rule(course=st.sampled_from(sorted(COURSES)), number=st.integers(1, 9))
    def publish(self, course: str, number: int) -> None:
        self.cloud.control(
            "PUT", f"hubs/{self.hub}/scenario", {"name": course.strip(), **COURSES[course]}
        )
        self.cloud.control("PUT", f"hubs/{self.hub}/offer", {"fw_version": f"6.{number}.0"})
        self.check()

    @rule()
    def withdraw(self) -> None:
        self.cloud.control("DELETE", f"hubs/{self.hub}/offer")

    @rule(online=st.booleans())
    def plug(self, online: bool) -> None:
        self.cloud.control("PUT", f"hubs/{self.hub}/online", {"online": online})

    @rule(
        kind=st.sampled_from(FAULTS),
        path=st.sampled_from(ASKED),
        method=st.sampled_from(["GET", "POST"]),
        count=st.integers(1, 4),
    )
    def trouble(self, kind: str, path: str, method: str, count: int) -> None:
        self.cloud.control(
            "POST", "faults", {"kind": kind, "path": path, "method": method, "count": count}
        )

    # What people do

    @rule()
    def check(self) -> None:
        """Let the product hear what is offered, and what the hub runs."""
        for node in self._nodes():
            client = self.clients[EMAILS.index(node.account.email)]
            try:
                keep_offer(node, client.check_firmware_update(self.hub), self.now)
                version = client.get_node_config(self.hub).fw_version
            except CloudError:
                continue
            Node.objects.filter(pk=node.pk).update(fw_version=version, is_online=True)

    @rule(who=st.integers(0, 1))
    def confirm(self, who: int) -> None:
        node = self._nodes()[who]
        if node.offer is None:
            return
        try:
            install_requests.request(
                user=self.owners[who],
                node=node,
                binding=snapshot_offer(node, node.offer),
                actor=person(self.owners[who]),
                now=self.now,
            )
        except install_requests.Refused:
            return

    @rule(
        course=st.sampled_from(sorted(COURSES)),
        number=st.integers(1, 9),
        who=st.integers(0, 1),
        push_meets=st.sampled_from(["", *FAULTS]),
        times=st.integers(1, 12),
    )
    def install(self, course: str, number: int, who: int, push_meets: str, times: int) -> None:
        """The usual course of things, with whatever the push may meet."""
        self.publish(course, number)
        self.confirm(who)
        if push_meets:
            self.trouble(push_meets, "*/ota_update", "POST", 1)
        self.work(times, CALM_S, "")

    @rule(who=st.integers(0, 1))
    def cancel(self, who: int) -> None:
        job = OtaJob.objects.filter(node=self._nodes()[who], state=State.REQUESTED).first()
        if job is not None:
            install_requests.cancel(job, user=self.owners[who], actor=person(self.owners[who]))

    # What the worker does

    @rule(
        times=st.integers(1, 6),
        apart_s=st.sampled_from([1.0, 6.0, CALM_S, 60.0]),
        dies=st.sampled_from(["", "", "", "before writing", "after the claim"]),
    )
    def work(self, times: int, apart_s: float, dies: str) -> None:
        """Turn the installs loop so often; perhaps it dies in the last turn."""
        for number in range(times):
            self._pass(apart_s)
            self._turn(dies if number == times - 1 else "")

    @rule(seconds=st.sampled_from([30.0, 300.0, 3600.0, 90_000.0]))
    def nobody_works(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(hours=st.sampled_from([-6, -1, 1, 6, 30]))
    def the_clock_is_set(self, hours: int) -> None:
        self.off += timedelta(hours=hours)
        self._pass(0)
        if timedelta(hours=hours) < -CLOCK_SKEW:
            clock_changes.shift_install_deadlines(self.now, timedelta(hours=-hours))

    def _pass(self, seconds: float) -> None:
        self.cloud.wall_s += seconds
        self.traveller.move_to(self.now, tick=False)

    def _turn(self, dies: str = "") -> None:
        cloud_tasks.advance_installs(self.now, Taken())
        for talk in list(cloud_tasks.find_installs(self.now, Taken())):
            self._talk(talk, dies)

    def _talk(self, talk: CloudTask[Any], dies: str) -> None:
        """As the loop does it; a worker that dies has heard the answer and writes nothing."""
        client = self.clients[EMAILS.index(talk.account.email)]
        try:
            answer = talk.call(client)
        except CloudError as problem:
            if dies != "before writing":
                talk.on_error(problem, self.now)
            return
        if dies == "before writing":
            return
        try:
            more = talk.on_result(answer, self.now)
        except StaleJob:
            return
        if more is not None and dies != "after the claim":
            self._talk(more, dies)

    # The laws

    @invariant()
    def one_push_for_each_confirm(self) -> None:
        counted = self.cloud.world.counters.tree()["pushes"].get(self.hub, {})
        for cloud_job, outcomes in counted.items():
            arrived = outcomes.get("accepted", 0) + outcomes.get("ignored_busy", 0)
            confirmed = self._jobs().filter(ota_job_id=cloud_job, pushes__gt=0).count()
            assert arrived <= confirmed, (cloud_job, outcomes, confirmed)

    @invariant()
    def one_live_install_on_one_hub(self) -> None:
        assert self._jobs().live().count() <= 1

    @invariant()
    def verified_is_what_the_hub_runs(self) -> None:
        if not self.accounts:
            return
        runs = str(self.cloud.hub(self.hub)["fw_version"])
        for job in self._jobs().filter(state=State.VERIFIED):
            self.verified_while.setdefault(job.pk, runs)
            assert self.verified_while[job.pk] == job.to_version == job.version_seen
            found = [one for one in job.reports.all() if not one.is_before_push]
            assert any(report.meaning == "success" for report in found)
            starts = self.cloud.control("GET", "counters")["starts"]
            assert starts[self.hub][job.ota_job_id] >= 1

    @invariant()
    def every_move_is_legal_and_a_claim_needs_the_clouds_word(self) -> None:
        for job in self._jobs():
            at, back = State.REQUESTED, 0
            for old, new in _moves(job):
                assert old == at
                assert new in TRANSITIONS[old], (old, new)
                back += (old, new) == (State.PUSHING, State.REQUESTED)
                at = new
            assert at == job.state
            assert job.pushes <= back + 1

    def _come_to_rest(self) -> None:
        self.cloud.control("DELETE", "faults")
        self.plug(True)
        for _ in range(TURNS):
            if not self._jobs().live().exists():
                break
            self._pass(CALM_S)
            self._turn()
        assert not self._jobs().live().exists(), [
            (job.state, job.cloud_word, job.cloud_info, job.trouble) for job in self._jobs().live()
        ]
        self.verified_is_what_the_hub_runs()
        self.one_push_for_each_confirm()
        assert all(job.outcome for job in self._jobs())

    def _jobs(self) -> Any:
        return OtaJob.objects.filter(node__account__in=self.accounts).order_by("pk")

    def _nodes(self) -> list[Node]:
        nodes = Node.objects.filter(account__in=self.accounts).select_related("account__household")
        return list(nodes.order_by("pk"))


def _moves(job: OtaJob) -> Iterator[tuple[State, State]]:
    events = AuditEvent.objects.filter(job_id=job.pk, action__startswith="install.")
    for event in events.order_by("sequence"):
        if "from_state" in event.detail:
            yield State(event.detail["from_state"]), State(event.detail["to_state"])


def play(**more: Any) -> None:
    run_state_machine_as_test(
        Engine,
        settings=settings(
            deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=20, **more
        ),
    )


@pytest.mark.django_db
def test_no_order_of_events_breaks_a_law() -> None:
    play(max_examples=15)


def send_again_when_the_answer_is_lost(patch: pytest.MonkeyPatch) -> None:
    def hasty(job: OtaJob, problem: CloudError, now: datetime) -> None:
        lifecycle.return_to_requested(job, "The answer was lost.", now, 0)

    patch.setattr(cloud_tasks, "push_failed", hasty)
    patch.setattr(push, "_has_arrived", lambda *_: False)


def believe_success(patch: pytest.MonkeyPatch) -> None:
    careful = verdict

    def trusting(job: OtaJob, now: datetime, limits: Any) -> Any:
        if job.cloud_meaning == "success" and job.state != State.PUSHING:
            job.version_agreed_at, job.is_online = job.version_agreed_at or now, True
        return careful(job, now, limits)

    patch.setattr(polling, "verdict", trusting)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("harm", "course", "push_meets"),
    [
        (send_again_when_the_answer_is_lost, "slow", "cut_after"),
        (believe_success, "success_lie", ""),
    ],
)
def test_the_laws_find_an_engine_that_is_broken_on_purpose(
    harm: Callable[[pytest.MonkeyPatch], None],
    course: str,
    push_meets: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def life() -> None:
        engine = Engine()
        try:
            engine.two_households_share_a_hub()
            engine.install(course, 2, 0, push_meets, 3)
            engine.one_push_for_each_confirm()
        finally:
            engine.teardown()  # or the clock stands still for every test that follows

    life()
    harm(monkeypatch)
    with pytest.raises(AssertionError):
        life()
