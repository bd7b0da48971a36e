"""The laws, held against three books that know nothing of each other.

The simulated cloud's counters say what was really sent, the tables what the product believes, the
audit trail what it recorded; the people's diary says what was promised to them.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from devices.models.install import LIVE, TRANSITIONS, VERDICTS, State
from tests.chaos.installation import Installation
from tests.chaos.people import ALWAYS_HONEST, COURSES, VERIFIED, Diary

JOBS = (
    "SELECT id, state, outcome, cloud_node_id, ota_job_id, to_version, pushes, version_seen, "
    "version_agreed_at, is_latest FROM devices_otajob ORDER BY id"
)
EVENTS = (
    "SELECT job_id, action, detail FROM devices_auditevent "
    "WHERE job_id IS NOT NULL AND action LIKE 'install.%' ORDER BY sequence"
)
PLANS = (
    "SELECT p.id, p.state, p.waits_for, p.job_id, p.not_before <= j.requested_at, "
    "p.expires_at > j.requested_at, p.binding, j.ota_job_id, j.to_version, j.from_version "
    "FROM devices_plan p LEFT JOIN devices_otajob j ON j.id = p.job_id ORDER BY p.id"
)
# What lists say of each hub, and what there is for it to be said of. Values of models.attention.
_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE))
RUNNING, PLANNED, OFFERED = 2, 6, (3, 4, 5, 8)
LISTED = (
    "SELECT n.node_id, n.known_attention, EXISTS (SELECT 1 FROM devices_otajob j "
    f"WHERE j.node_id = n.id AND j.state IN ({_LIVE})), EXISTS (SELECT 1 FROM devices_plan p "
    "LEFT JOIN devices_batch b ON b.id = p.batch_id WHERE p.node_id = n.id AND p.state = 'waiting' "
    "AND (b.state IS NULL OR b.state <> 'stopped')), EXISTS (SELECT 1 FROM devices_offer o "
    "WHERE o.node_id = n.id AND o.ended_at IS NULL) FROM devices_node n "
    "WHERE n.gone_at IS NULL AND n.known_at_revision = n.revision"
)
SHOWN = "SELECT node_id, fw_version FROM devices_node"
OTHER_VERSIONS = ("other_version", "newer_version", "step_version")
# The cloud keeps every session and every hub: whoever says otherwise believed a bad answer.
NEVER = ("account.signed_out", "hub.left")
# How far two moments in the trail may be out of order, where several hosts write it.
OUT_OF_ORDER_S = 60
UNTRUE = (
    "SELECT sequence, at, before FROM (SELECT sequence, at, "
    "max(at) OVER (ORDER BY sequence ROWS UNBOUNDED PRECEDING) AS before FROM devices_auditevent) "
    f"AS listed WHERE at < before - interval '{OUT_OF_ORDER_S} seconds' "
    f"OR at > now() + interval '{OUT_OF_ORDER_S} seconds' ORDER BY sequence"
)
ENDED = f"SELECT action, sentence FROM devices_auditevent WHERE action IN {NEVER} ORDER BY sequence"
PROOFS = (
    "SELECT DISTINCT job_id FROM devices_report WHERE meaning = 'success' AND NOT is_before_push"
)


@dataclass
class Job:
    """A row of the product's table."""

    id: int
    state: str
    outcome: str
    node: str
    cloud_job: str
    to_version: str
    pushes: int
    version_seen: str
    version_agreed_at: object
    is_latest: bool
    moves: list[tuple[str, str]] = field(default_factory=list)  # as the trail tells them


@dataclass
class PlanRow:
    """A row of the product's table of plans, beside the install that it started."""

    id: int
    state: str
    waits_for: str
    job: int | None
    is_after_its_begin: bool
    is_before_its_end: bool
    binding: Any
    cloud_job: str
    to_version: str
    from_version: str


@dataclass
class Books:
    """Everything that was written down, read once."""

    jobs: dict[int, Job]
    confirms: Counter[int]
    proofs: set[int]
    ended: list[str]
    untrue: list[str]
    sent: dict[tuple[str, str], Counter[str]]
    starts: dict[str, dict[str, int]]
    courses: dict[str, dict[str, list[str]]]  # what each hub lived through for each cloud job
    versions: dict[str, str]
    shown: dict[str, str]  # the version of each hub that the product shows
    ran: dict[str, set[str]]  # every version that each hub started into
    plans: list[PlanRow]
    listed: list[tuple[Any, ...]]
    diary: Diary

    @classmethod
    def read(cls, installation: Installation, diary: Diary) -> "Books":
        tables, counters = installation.tables, installation.cloud.counters()
        jobs = {row[0]: Job(*row) for row in tables.rows(JOBS)}
        confirms: Counter[int] = Counter()
        for job_id, action, stored in tables.rows(EVENTS):
            detail: dict[str, Any] = json.loads(stored) if isinstance(stored, str) else stored
            if "from_state" in detail and job_id in jobs:
                jobs[job_id].moves.append((detail["from_state"], detail["to_state"]))
            elif action == "install.requested":
                confirms[job_id] += 1
        return cls(
            jobs=jobs,
            confirms=confirms,
            proofs={row[0] for row in tables.rows(PROOFS)},
            ended=[f"{action}: {sentence}" for action, sentence in tables.rows(ENDED)],
            untrue=[
                f"event {sequence} is of {at}, after one of {before}"
                for sequence, at, before in (tables.rows(UNTRUE) if installation.is_shared else ())
            ],
            sent={
                (node, job): Counter(outcomes)
                for node, of_node in counters["pushes"].items()
                for job, outcomes in of_node.items()
            },
            starts=counters["starts"],
            courses=counters["courses"],
            versions={hub["node_id"]: hub["fw_version"] for hub in installation.cloud.hubs()},
            shown=dict(tables.rows(SHOWN)),
            ran={
                node: {step["version"] for step in installation.cloud.hub(node)["timeline"]}
                for node in installation.cloud.node_ids()
            },
            plans=[PlanRow(*row) for row in tables.rows(PLANS)],
            listed=tables.rows(LISTED),
            diary=diary,
        )

    def violations(self) -> list[str]:
        """Return a sentence for each law that was broken, and where."""
        laws = (
            self._a_confirm_is_never_lost,
            self._one_push_for_each_confirm,
            self._every_job_ends,
            self._plans_keep_their_laws,
            self._no_wrong_verdict,
            self._every_move_is_legal_and_recorded,
            self._no_session_ends_and_no_hub_leaves,
            self._no_moment_is_untrue,
            self._lists_say_what_is_so,
        )
        return [sentence for law in laws for sentence in law()]

    def _a_confirm_is_never_lost(self) -> Iterator[str]:
        for job in self.diary.accepted:
            if job not in self.jobs:
                yield f"install {job} was shown as accepted and is nowhere"
        for job in self.jobs:
            if self.confirms[job] != 1:
                yield f"install {job} was confirmed {self.confirms[job]} times in the trail"

    def _one_push_for_each_confirm(self) -> Iterator[str]:
        confirmed: Counter[tuple[str, str]] = Counter()
        for job in self.jobs.values():
            if job.pushes:
                confirmed[job.node, job.cloud_job] += 1
            back = job.moves.count((State.PUSHING, State.REQUESTED))
            claims = job.moves.count((State.REQUESTED, State.PUSHING))
            if claims != job.pushes or claims > back + 1:
                yield f"install {job.id}: {job.pushes} claims, {back} times reported as not sent"
        for (node, cloud_job), outcomes in self.sent.items():
            arrived = outcomes["accepted"] + outcomes["ignored_busy"]
            if arrived > confirmed[node, cloud_job]:
                yield (
                    f"{arrived} pushes of {cloud_job} reached {node}, "
                    f"for {confirmed[node, cloud_job]} confirmations"
                )

    def _every_job_ends(self) -> Iterator[str]:
        for job in self.jobs.values():
            if job.state not in VERDICTS:
                yield f"install {job.id} is still {job.state}"
        for number in self.diary.endless:
            yield f"install {number} had no verdict in good time"
        live = Counter(job.node for job in self.jobs.values() if job.state in LIVE)
        yield from (
            f"{node} has {count} live installs" for node, count in live.items() if count > 1
        )

    def _plans_keep_their_laws(self) -> Iterator[str]:
        """A plan starts one install at most, inside its time, of what was agreed; every wait has a
        reason, and every other plan has ended.
        """
        started = Counter(plan.job for plan in self.plans if plan.job is not None)
        yield from (f"install {job} is of {n} plans" for job, n in started.items() if n > 1)
        for plan in self.plans:
            if plan.state == "waiting" and not plan.waits_for:
                yield f"plan {plan.id} waits without a reason"
            if (plan.state == "started") != (plan.job is not None):
                yield f"plan {plan.id} is {plan.state} with the install {plan.job}"
            if plan.job is None:
                continue
            if not (plan.is_after_its_begin and plan.is_before_its_end):
                yield f"plan {plan.id} started outside its time"
            stored = plan.binding
            binding = json.loads(stored) if isinstance(stored, str) else stored
            agreed = [binding[name] for name in ("ota_job_id", "to_version", "from_version")]
            if agreed != [plan.cloud_job, plan.to_version, plan.from_version]:
                yield f"plan {plan.id} started another offer than was agreed to"

    def _no_wrong_verdict(self) -> Iterator[str]:
        for job in self.jobs.values():
            courses = self.courses.get(job.node, {}).get(job.cloud_job, [])
            honest = ALWAYS_HONEST.union(*(COURSES[course][1] for course in courses))
            if job.state not in honest and not self._runs_what_it_is_said_to_run(job):
                lived = courses or "nothing"
                yield (
                    f"install {job.id} is {job.state} ({job.outcome}, {job.version_seen} for "
                    f"{job.to_version}), though the hub lived through {lived}"
                )
            if job.state != VERIFIED:
                continue
            if job.version_seen != job.to_version or job.version_agreed_at is None:
                yield f"install {job.id} is verified without the hub's version"
            if job.id not in self.proofs:
                yield f"install {job.id} is verified without the cloud's word after the push"
            if not self.starts.get(job.node, {}).get(job.cloud_job):
                yield f"install {job.id} is verified and the hub never began it"
            if job.to_version not in self.ran[job.node]:
                yield f"install {job.id} is verified and {job.node} never ran {job.to_version}"
            # what the vendor sends afterwards, or a push that was given up brings late, is shown
            runs = self.versions[job.node]
            if job.is_latest and runs not in (job.to_version, self.shown[job.node]):
                yield (
                    f"install {job.id} is verified and {job.node} runs {runs}, "
                    f"shown as {self.shown[job.node]}"
                )

    def _runs_what_it_is_said_to_run(self, job: Job) -> bool:
        """Is the verdict that the hub reports a version other than the confirmed one, and did the
        hub really come to run that version? An install that was given up may bring it late, and so
        may the vendor. Each version is offered to one hub once.
        """
        return job.outcome in OTHER_VERSIONS and job.version_seen in self.ran[job.node]

    def _every_move_is_legal_and_recorded(self) -> Iterator[str]:
        for job in self.jobs.values():
            at = State.REQUESTED.value
            for old, new in job.moves:
                if old != at or State(new) not in TRANSITIONS[State(old)]:
                    yield f"install {job.id} went from {old} to {new} when it was {at}"
                at = new
            if at != job.state:
                yield f"install {job.id} is {job.state}; the trail's last word is {at}"

    def _no_session_ends_and_no_hub_leaves(self) -> Iterator[str]:
        yield from (f"the trail says what never happened: {words}" for words in self.ended)

    def _no_moment_is_untrue(self) -> Iterator[str]:
        """Several hosts write by the database's clock, whatever their own show."""
        yield from self.untrue

    def _lists_say_what_is_so(self) -> Iterator[str]:
        for node, listed, is_running, is_planned, is_offered in self.listed:
            if (listed == RUNNING) != bool(is_running):
                yield f"{node} is listed as {listed}; an install runs: {bool(is_running)}"
            elif (listed == PLANNED) != bool(is_planned and not is_running):
                yield f"{node} is listed as {listed}; a plan waits: {bool(is_planned)}"
            elif listed in OFFERED and not is_offered:
                yield f"{node} is listed as {listed}, and nothing is offered"

    def by_verdict(self) -> Counter[str]:
        return Counter(job.state for job in self.jobs.values())

    def by_course(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for job in self.jobs.values():
            courses = self.courses.get(job.node, {}).get(job.cloud_job, [])
            course = " and ".join(courses) or "never reached its hub"
            why = f" ({job.outcome})" if job.state == State.LOST else ""
            found[course][f"{job.state}{why}"] += 1
        return found
