"""One virtual hub and what the cloud knows of it, worked out from virtual time when asked.

No hub has a thread or a timer. A hub holds what was done to it (jobs published, pushes, runs
begun, switches thrown by hand); every question takes the virtual second it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from devices.simcloud.firmware import Effect, Plan, Step, timeline
from devices.simcloud.jobs import Job
from devices.simcloud.names import Identity
from devices.simcloud.scenarios import HAPPY, Scenario

REBOOT_IN_S, REBOOT_TAKES_S = 2.0, 18.0
FETCH_AFTER_BOOT_S = 5.0  # esp_rmaker_ota_using_topics.c
_FINAL = frozenset({"success", "rejected"})


@dataclass(slots=True)
class Run:
    """One course of an install on the hub; drawn from its timeline only as far as needed."""

    plan: Plan
    at: float
    cut_at: float | None = None  # nothing from here on happened
    no_start_after: float | None = None  # what is under way ends, no further round begins
    _drawn: list[Step] = field(default_factory=list)
    _rest: Iterator[Step] | None = None
    _done: bool = False

    def steps(self, now: float) -> list[Step]:
        """What has happened by `now`, in order."""
        if self.cut_at is not None:
            now = min(now, self.cut_at)
        if self._rest is None:
            self._rest = timeline(self.plan, self.at)
        while not self._done and (not self._drawn or self._drawn[-1].at <= now):
            step = next(self._rest, None)
            if step is None or self._ends_before(step):
                self._done = True
            else:
                self._drawn.append(step)
        return [step for step in self._drawn if step.at <= now]

    def _ends_before(self, step: Step) -> bool:
        limit = self.no_start_after
        return limit is not None and step.effect is Effect.START and step.at > limit

    def is_busy(self, now: float) -> bool:
        """Whether the hub is handling the job; between rounds and after `delayed` it is not."""
        if self.cut_at is not None and now >= self.cut_at:
            return False
        busy = False
        for step in self.steps(now):
            busy = step.effect is Effect.START or (busy and step.effect is not Effect.IDLE)
        return busy

    def stop_at(self, now: float) -> None:
        self.cut_at = now if self.cut_at is None else min(now, self.cut_at)

    def stop_after_round(self, now: float) -> None:
        """Let what is under way finish; begin nothing more."""
        if self.no_start_after is None:
            self.no_start_after = now
            self._drawn, self._rest, self._done = [], None, False

    def to_state(self) -> dict[str, Any]:
        return {
            "plan": asdict(self.plan),
            "at": self.at,
            "cut_at": self.cut_at,
            "no_start_after": self.no_start_after,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Run:
        plan = dict(state["plan"])
        plan["scenario"] = Scenario(**plan["scenario"])
        return cls(Plan(**plan), state["at"], state["cut_at"], state["no_start_after"])


@dataclass(frozen=True, slots=True)
class Push:
    """One push the cloud answered with success."""

    at: float
    job_id: str
    ignored: bool  # the hub was busy, and says nothing about it


@dataclass(frozen=True, slots=True)
class Report:
    """The latest word on (node, job), as the cloud would answer it."""

    status: str
    info: str
    at: float
    source: str  # NODE or CLOUD


@dataclass(slots=True)
class Hub:
    """State of one hub. `at` and friends are virtual seconds."""

    who: Identity
    since: float  # when it last connected before anything recorded here
    primary: str = ""
    secondaries: dict[str, float] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    switches: list[tuple[float, bool]] = field(default_factory=list)  # (at, connected)
    never_connected: bool = False
    scenario: Scenario = field(default_factory=Scenario)
    checks: int = 0  # update checks since the scenario was set
    written: dict[str, Any] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    written_at: dict[str, float] = field(default_factory=dict)  # by param
    repellent: tuple[float, bool, float] | None = None  # (at, on, hours run by then)
    refill: tuple[int, float] | None = None  # (capacity h, hours run when it was reset)
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def node_id(self) -> str:
        return self.who.node_id

    def may_be_seen_by(self, email: str) -> bool:
        return email == self.primary or email in self.secondaries

    # What is true at a moment

    def steps(self, now: float) -> list[Step]:
        """Everything all runs did by `now`, in order."""
        if not self.runs:
            return []
        found = [step for run in self.runs for step in run.steps(now)]
        return sorted(found, key=lambda step: step.at) if len(self.runs) > 1 else found

    def connectivity(self, now: float) -> tuple[bool, float]:
        """(connected, since when)."""
        connected, since = True, self.since
        for at, state in self.switches:
            if at <= now:
                connected, since = state, at
        for step in self.steps(now):
            if step.at >= since and step.effect in (Effect.OFFLINE, Effect.ONLINE):
                connected, since = step.effect is Effect.ONLINE, step.at
        return connected and not self.never_connected, since

    def is_online(self, now: float) -> bool:
        return self.connectivity(now)[0]

    def fw_version(self, now: float) -> str:
        version = self.who.fw_version
        for step in self.steps(now):
            if step.effect is Effect.BOOT:
                version = step.version
        return version

    def lost_at(self, now: float) -> float | None:
        """When an install last put some of its settings back to factory settings."""
        losing = [run for run in self.runs if run.plan.scenario.name == "loses_setting"]
        boots = [s.at for run in losing for s in run.steps(now) if s.effect is Effect.BOOT]
        return max(boots, default=None)

    def is_busy(self, now: float) -> bool:
        return any(run.is_busy(now) for run in self.runs)

    def starts(self, now: float, job_id: str | None = None, *, since: float = 0.0) -> int:
        """How often the hub itself began an install (of that job) after `since`, by `now`."""
        return sum(
            step.effect is Effect.START and step.at > since
            for run in self.runs
            if job_id in (None, run.plan.job_id)
            for step in run.steps(now)
        )

    def job(self, job_id: str) -> Job | None:
        return next((job for job in self.jobs if job.job_id == job_id), None)

    def report(self, job_id: str, now: float) -> Report | None:
        """The latest word on that job, or None where the cloud knows nothing of the pair."""
        latest = None
        job = self.job(job_id)
        if job and not job.withdrawn:
            latest = Report("triggered", "", job.published_at, "CLOUD")
        for push in self.pushes:
            if push.job_id == job_id:
                latest = Report("started", "", push.at, "CLOUD")
        for run in self.runs:
            if run.plan.job_id == job_id:
                for step in run.steps(now):
                    if step.status and (latest is None or step.at >= latest.at):
                        latest = Report(step.status, step.info, step.at, "NODE")
        return latest

    def offer(self, now: float) -> Job | None:
        """The job the cloud offers now."""
        open_jobs = [
            job
            for job in self.jobs
            if not job.withdrawn
            and ((report := self.report(job.job_id, now)) is None or report.status not in _FINAL)
        ]
        return min(open_jobs, key=lambda job: (job.priority, -job.published_at), default=None)

    # What is done to it

    def withdraw(self, job: Job, now: float) -> None:
        """Stop offering the job. A hub half-way through it finishes; none begins it again."""
        job.withdrawn = True
        for run in self.runs:
            if run.plan.job_id == job.job_id:
                run.stop_after_round(now)

    def begin(self, plan: Plan, at: float) -> None:
        """Start a course; a hub waiting to try something again drops that for this."""
        for run in self.runs:
            run.stop_at(at)
        self.runs.append(Run(plan, at))

    def switch(self, connected: bool, now: float) -> None:
        """Pull or return its power. A hub cut off in mid-install begins that job again after
        booting, unless the cloud no longer offers it."""
        was_pulled = bool(self.switches) and not self.switches[-1][1]
        if connected:
            if not was_pulled and not self.never_connected:
                return
            self.never_connected = False
            self.switches.append((now, True))
            self._fetch_after_boot(now)
        elif not was_pulled:
            for run in self.runs:
                run.stop_at(now)
            self.switches.append((now, False))

    def reboot(self, now: float) -> None:
        """Restart it, as the System service asks; what it was doing begins again after boot."""
        down, up = now + REBOOT_IN_S, now + REBOOT_IN_S + REBOOT_TAKES_S
        for run in self.runs:
            run.stop_at(down)
        self.switches += [(down, False), (up, True)]
        self._fetch_after_boot(up)

    def _fetch_after_boot(self, now: float) -> None:
        offer = self.offer(now)
        if self.runs and offer and offer.job_id == self.runs[-1].plan.job_id:
            plan = replace(
                self.runs[-1].plan, scenario=self.scenario, old=self.fw_version(now), dice=str(now)
            )
            self.begin(plan, now + FETCH_AFTER_BOOT_S)

    def courses(self, job_id: str, since: float) -> list[str]:
        """The scenarios under which it was taken through this job since then."""
        runs = [run for run in self.runs if run.plan.job_id == job_id and run.at >= since]
        return sorted({run.plan.scenario.name for run in runs})

    def forget_trouble(self) -> None:
        if self.scenario.once:
            self.scenario = Scenario(HAPPY, {"step": 0})

    # Kept across restarts

    def to_state(self) -> dict[str, Any]:
        """Everything that is not given by who it is, as JSON values."""
        state = {name: getattr(self, name) for name in _PLAIN}
        state["jobs"] = [asdict(job) for job in self.jobs]
        state["runs"] = [run.to_state() for run in self.runs]
        state["pushes"] = [asdict(push) for push in self.pushes]
        state["scenario"] = asdict(self.scenario)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        for name in _PLAIN:
            if name in state:
                setattr(self, name, state[name])
        self.jobs = [Job(**job) for job in state["jobs"]]
        self.runs = [Run.from_state(run) for run in state["runs"]]
        self.pushes = [Push(**push) for push in state["pushes"]]
        self.scenario = Scenario(**state["scenario"])
        self.switches = [(float(at), bool(state)) for at, state in self.switches]


_PLAIN = (
    "since",
    "primary",
    "secondaries",
    "switches",
    "never_connected",
    "checks",
    "written",
    "services",
    "written_at",
    "repellent",
    "refill",
    "tags",
    "metadata",
)
