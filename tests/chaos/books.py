"""The laws, held against three books that know nothing of each other.

The simulated cloud's counters say what was really sent, the tables what the product believes, the
audit trail what it told; the people's diary says what was promised to them.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from devices.models.ota import LIVE, TRANSITIONS, VERDICTS, State
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
class Books:
    """Everything that was written down, read once."""

    jobs: dict[int, Job]
    confirms: Counter[int]
    proofs: set[int]
    sent: dict[tuple[str, str], Counter[str]]
    starts: dict[str, dict[str, int]]
    courses: dict[str, dict[str, list[str]]]  # what each hub lived through for each cloud job
    versions: dict[str, str]
    diary: Diary

    @classmethod
    def read(cls, installation: Installation, diary: Diary) -> "Books":
        tables, counters = installation.tables, installation.cloud.counters()
        jobs = {row[0]: Job(*row) for row in tables.rows(JOBS)}
        confirms: Counter[int] = Counter()
        for job_id, action, told in tables.rows(EVENTS):
            detail: dict[str, Any] = json.loads(told) if isinstance(told, str) else told
            if "from_state" in detail and job_id in jobs:
                jobs[job_id].moves.append((detail["from_state"], detail["to_state"]))
            elif action == "install.requested":
                confirms[job_id] += 1
        return cls(
            jobs=jobs,
            confirms=confirms,
            proofs={row[0] for row in tables.rows(PROOFS)},
            sent={
                (node, job): Counter(outcomes)
                for node, of_node in counters["pushes"].items()
                for job, outcomes in of_node.items()
            },
            starts=counters["starts"],
            courses=counters["courses"],
            versions={hub["node_id"]: hub["fw_version"] for hub in installation.cloud.hubs()},
            diary=diary,
        )

    def violations(self) -> list[str]:
        """Return a sentence for each law that was broken, and where."""
        laws = (
            self._a_confirm_is_never_lost,
            self._one_push_for_each_confirm,
            self._every_job_ends,
            self._no_wrong_verdict,
            self._every_move_is_legal_and_told,
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
                yield f"install {job.id}: {job.pushes} claims, {back} times told that none was sent"
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

    def _no_wrong_verdict(self) -> Iterator[str]:
        for job in self.jobs.values():
            courses = self.courses.get(job.node, {}).get(job.cloud_job, [])
            honest = ALWAYS_HONEST.union(*(COURSES[course][1] for course in courses))
            if job.state not in honest:
                lived = courses or "nothing"
                yield f"install {job.id} is {job.state}, though the hub lived through {lived}"
            if job.state != VERIFIED:
                continue
            if job.version_seen != job.to_version or job.version_agreed_at is None:
                yield f"install {job.id} is verified without the hub's version"
            if job.id not in self.proofs:
                yield f"install {job.id} is verified without the cloud's word after the push"
            if not self.starts.get(job.node, {}).get(job.cloud_job):
                yield f"install {job.id} is verified and the hub never began it"
            if job.is_latest and self.versions[job.node] != job.to_version:
                yield f"install {job.id} is verified and {job.node} runs {self.versions[job.node]}"

    def _every_move_is_legal_and_told(self) -> Iterator[str]:
        for job in self.jobs.values():
            at = State.REQUESTED.value
            for old, new in job.moves:
                if old != at or State(new) not in TRANSITIONS[State(old)]:
                    yield f"install {job.id} went from {old} to {new} when it was {at}"
                at = new
            if at != job.state:
                yield f"install {job.id} is {job.state}; the trail's last word is {at}"

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
