"""Every scripted trouble of the simulated cloud, driven through the real engine over real HTTP.

All installs run side by side through the very loops that the worker runs. The cloud lives PACE
times faster and the engine's patience is as many times shorter.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from devices import tasks
from devices.accounts.linking import link_account
from devices.installs import requests as install_requests
from devices.installs.confirmation import snapshot_offer
from devices.models import AuditEvent, Household, Node, OtaJob, State, User
from devices.worker import cloud_tasks
from devices.worker.runner import Runner
from tests.support.factories import make_household, make_owner, person
from tests.support.simcloud_process import SimCloud

PACE = 30
EMAIL, TROUBLED, PASSWORD = "garden@example.com", "cellar@example.com", "quiet-evening"
LIMIT_S = 100


@dataclass(frozen=True)
class Case:
    """One hub's script and the only verdict it may end with."""

    name: str
    state: State
    outcome: str
    scenario: str = "happy"
    params: dict[str, Any] = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    swap: tuple[str, dict[str, Any] | None] | None = None  # what becomes of the offer meanwhile
    pushes: int = 1
    is_account_wide: bool = False  # its trouble rests the whole account, so it has one of its own


PUSH = {"method": "POST", "path": "*/ota_update", "count": 1}
STATUS = {"method": "GET", "path": "*/ota_status"}
CHECK = {"method": "GET", "path": "*/ota_update", "count": 1}
_CASES = [
    Case("happy", State.VERIFIED, "verified"),
    Case("percent", State.VERIFIED, "verified", "percent"),
    Case("slow", State.VERIFIED, "verified", "slow", {"factor": 2}),
    Case("first attempt fails", State.VERIFIED, "verified", "first_attempt_fails"),
    Case("all attempts fail", State.FAILED, "attempts_failed", "all_attempts_fail"),
    Case("project name", State.REJECTED, "project_name", "rejected", {"reason": "project_name"}),
    Case("same version", State.REJECTED, "same_version", "rejected", {"reason": "same_version"}),
    Case(
        "secure version", State.REJECTED, "secure_version", "rejected", {"reason": "secure_version"}
    ),
    Case("chip revision", State.REJECTED, "chip_revision", "rejected", {"reason": "chip_revision"}),
    Case("rolled back", State.REJECTED, "rolled_back", "rolled_back"),
    Case("no time", State.VERIFIED, "verified", "delayed", {"reason": "no_time"}),
    Case(
        "valid window",
        State.VERIFIED,
        "verified",
        "delayed",
        {"reason": "not_within_valid_window", "opens_in_s": 200},
    ),
    Case(
        "download window",
        State.VERIFIED,
        "verified",
        "delayed",
        {"reason": "not_within_download_window", "opens_in_s": 200},
    ),
    Case(
        "window lapsed", State.FAILED, "window_lapsed", "failed_final", {"reason": "window_lapsed"}
    ),
    Case("bad payload", State.FAILED, "bad_payload", "failed_final", {"reason": "json"}),
    Case("silent", State.LOST, "silent", "silent"),
    Case("stuck", State.LOST, "stuck", "stuck"),
    Case("offline mid flash", State.VERIFIED, "verified", "offline_mid_flash", {"away_s": 120}),
    Case("success lie", State.UNVERIFIED, "claimed_success_same_version", "success_lie"),
    Case("version only", State.UNVERIFIED, "version_without_success", "version_only"),
    Case(
        "offer swapped",
        State.REFUSED,
        "offer_swapped",
        swap=("PUT", {"fw_version": "6.0.1"}),
        pushes=0,
    ),
    Case("offer withdrawn", State.REFUSED, "offer_withdrawn", swap=("DELETE", None), pushes=0),
    Case("swapped at the last moment", State.REFUSED, "not_current", "offer_swapped", pushes=0),
    Case("withdrawn at the last moment", State.REFUSED, "not_current", "offer_withdrawn", pushes=0),
    Case("goes offline", State.REFUSED, "hub_offline", "offline", pushes=0),
    Case(
        "push cut after",
        State.VERIFIED,
        "verified",
        faults=({"kind": "cut_after", **PUSH},),
        is_account_wide=True,
    ),
    Case("push garbage", State.VERIFIED, "verified", faults=({"kind": "garbage", **PUSH},)),
    Case(
        "push 429",
        State.VERIFIED,
        "verified",
        faults=({"kind": "429", **PUSH},),
        is_account_wide=True,
    ),
    Case(
        "push 500",
        State.LOST,
        "push_unknown",  # it did not arrive, which is not known here: it is not sent again
        faults=({"kind": "500", **PUSH},),
        pushes=0,
        is_account_wide=True,
    ),
    Case(
        "push cut before",
        State.LOST,
        "push_unknown",  # it did not arrive, which is not known here: it is not sent again
        faults=({"kind": "cut_before", **PUSH},),
        pushes=0,
        is_account_wide=True,
    ),
    Case("check 423", State.VERIFIED, "verified", faults=({"kind": "423", **CHECK},)),
    Case(
        "status garbage",
        State.VERIFIED,
        "verified",
        faults=({"kind": "garbage", **STATUS, "count": 5},),
    ),
    Case("status 423", State.VERIFIED, "verified", faults=({"kind": "423", **STATUS, "count": 3},)),
]
CASES = sorted(_CASES, key=lambda case: case.is_account_wide)
QUIET = sum(not case.is_account_wide for case in CASES)


@dataclass
class World:
    cloud: SimCloud
    household: Household
    owner: User

    def hub(self, case: Case) -> Node:
        return Node.objects.select_related("account__household").get(name=case.name)

    def job(self, case: Case) -> OtaJob:
        return OtaJob.objects.select_related("node__account").get(node__name=case.name)


def run_until(done: Any, *, limit_s: float = LIMIT_S) -> None:
    """Run the worker's loops, one after the other as a single worker would, until done()."""
    until = monotonic() + limit_s
    while not done():
        assert monotonic() < until, "the engine did not come to an end in time"
        tasks.chores_loop()
        Runner(
            "installs",
            cloud_tasks.find_installs,
            lambda now: cloud_tasks.installs_are_idle(now) or done(),
            advance=cloud_tasks.advance_installs,
        ).run()


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Confirm every case's install at once, and let the engine run them all to their ends."""
    with (
        django_db_blocker.unblock(),
        SimCloud(
            hubs=len(CASES),
            speed=PACE,
            offers=0,
            users=[f"{EMAIL}:{PASSWORD}:{QUIET}", f"{TROUBLED}:{PASSWORD}"],
        ) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(django_settings, "ENGINE_PACE", PACE)
        for index, case in enumerate(CASES):
            cloud.control("PUT", f"/hubs/{index}/params", {"LIV Hub": {"Name": case.name}})
            cloud.control("POST", f"/hubs/{index}/offer", {"fw_version": "6.0.0"})
            cloud.control("PUT", f"/hubs/{index}/online", {"online": True})
        household = make_household()
        owner = make_owner(household)
        for email in (EMAIL, TROUBLED):
            link_account(
                household=household,
                base_url=cloud.url,
                email=email,
                password=PASSWORD,
                actor=person(owner),
            )
        run_until(lambda: Node.objects.filter(offers__ended_at=None).count() >= len(CASES))
        for index, case in enumerate(CASES):
            node = Node.objects.select_related("account__household").get(name=case.name)
            offer = node.offer
            assert offer is not None
            cloud.control("PUT", f"/hubs/{index}/scenario", {"name": case.scenario, **case.params})
            if case.swap is not None:
                cloud.control(case.swap[0], f"/hubs/{index}/offer", case.swap[1])
            for fault in case.faults:
                cloud.control("POST", "/faults", {**fault, "node_id": node.node_id})
            install_requests.request(
                user=owner, node=node, binding=snapshot_offer(node, offer), actor=person(owner)
            )
        run_until(lambda: not OtaJob.objects.live().exists())
        yield World(cloud, household, owner)
        call_command("flush", interactive=False, verbosity=0)


@pytest.mark.processes
@pytest.mark.django_db
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_script_ends_in_its_one_true_verdict(world: World, case: Case) -> None:
    job = world.job(case)
    received = [(report.word, report.info) for report in job.reports.all()]
    assert (job.state, job.outcome) == (case.state, case.outcome), received
    outcomes = world.cloud.counters()["pushes"].get(job.cloud_node_id, {}).get(job.ota_job_id, {})
    assert outcomes.get("accepted", 0) == case.pushes, outcomes
    assert "ignored_busy" not in outcomes
    if job.state == State.VERIFIED:
        assert job.version_seen == job.to_version == "6.0.0"
        assert None not in (job.success_at, job.version_agreed_at, job.online_seen_at)
    moves = list(
        AuditEvent.objects.filter(job_id=job.pk, action__startswith="install.")
        .order_by("sequence")
        .values_list("action", flat=True)
    )
    assert moves[0] == "install.requested"
    assert moves[-1] == f"install.{case.state.value}"
