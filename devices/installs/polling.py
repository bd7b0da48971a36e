"""From sent to a verdict: ask for the three witnesses, store the answers, move the job along.

`poll` calls the cloud and touches no table; `record_poll` writes and never calls.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from devices.accounts.failures import record_failure
from devices.audit import log as audit_log
from devices.explanations.error_codes import NO_ERROR, error_code, last_error
from devices.fleet.versions import record_online, record_version
from devices.installs.lifecycle import expire, move_to, return_to_requested
from devices.installs.reports import digest, is_baseline, keep_status
from devices.installs.statistics import typical
from devices.installs.timings import Timings, seconds, timings
from devices.installs.verdict import verdict
from devices.models import Actor, Node, OtaJob, StaleJob, State, database_clock
from devices.models.text import clip
from devices.models.version_text import is_same_version
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import (
    AnotherUser,
    Busy,
    CloudError,
    NoOtaStatus,
    NotTrusted,
    NotYourHub,
    NoVersion,
    SignInAgain,
    Unreachable,
)
from devices.rainmaker.schemas import Connectivity, NodeConfig, OtaStatus, OtaWord

WORKER = Actor.worker()
T = TypeVar("T")
# What changes with every round, and no page shows as it happens.
QUIET = frozenset(
    {"asked_at", "answered_at", "next_poll_at", "quiet_s", "watched_s", "version_seen_at"}
    | {"online_seen_at", "settled_s", "failing_s", "proving_s", "unanswered_s", "not_mine_s"}
    | {"failed_rounds", "report_digest", "report_repeats"}
)


@dataclass(frozen=True, slots=True)
class PollResult:
    """One round of questions about a running install; each has its own answer or error."""

    status: OtaStatus | CloudError | None  # None: the cloud has no status for this job
    connectivity: Connectivity | CloudError
    config: NodeConfig | CloudError
    asked_at: datetime | None = None

    @classmethod
    def nothing(cls, problem: CloudError) -> "PollResult":
        """Return a round in which nothing could be asked."""
        return cls(problem, problem, problem)

    @property
    def problems(self) -> list[CloudError]:
        """Return the errors, those that concern the whole account first."""
        found = [
            answer
            for answer in (self.status, self.connectivity, self.config)
            if isinstance(answer, CloudError)
        ]
        return sorted(found, key=lambda error: (not _ends_round(error), not _asks_all(error)))


def poll(client: RainmakerClient, job: OtaJob) -> PollResult:
    """Ask each of the three witnesses. Calls the cloud; no table. Never raises CloudError.

    The status is asked first, so that a version read afterwards can only be newer than it. One that
    cannot be read does not keep the others from being asked.
    """
    asked_at = database_clock.last_known()
    status: OtaStatus | CloudError | None = _answer(
        lambda: client.get_ota_status(node_id=job.cloud_node_id, ota_job_id=job.ota_job_id)
    )
    if isinstance(status, CloudError) and _ends_round(status):
        return PollResult.nothing(status)
    if isinstance(status, NoOtaStatus):
        status = None
    config = _answer(lambda: client.get_node_config(job.cloud_node_id))
    connectivity = _answer(lambda: client.get_node_status(job.cloud_node_id))
    return PollResult(status, connectivity, config, asked_at)


def _ends_round(error: CloudError) -> bool:
    """Would another question of the same round fail the same way? Not after a mere redirect."""
    is_untrusted = isinstance(error, AnotherUser) or (
        isinstance(error, NotTrusted) and error.status is None
    )
    return isinstance(error, SignInAgain | Unreachable) or is_untrusted


def _asks_all(error: CloudError) -> bool:
    """Does the cloud ask the whole account for fewer requests?"""
    return isinstance(error, Busy) and error.status == 429


def _answer(question: Callable[[], T]) -> T | CloudError:
    try:
        return question()
    except CloudError as problem:
        return problem


def record_poll(
    job: OtaJob, news: PollResult, now: datetime, limits: Timings | None = None
) -> None:
    """Store the answers and move the job as far as the evidence goes.

    Safe to repeat: the same answers again change only times. Raises StaleJob.
    """
    limits = limits or timings()
    problems = news.problems
    rests = any(
        record_failure(job.node.account, problem, now, hub=job.node) for problem in problems[:1]
    )
    if not problems and _store_nothing_new(job, news, now, limits):
        return
    with audit_log.locked():
        mine = job.as_loaded().select_for_update()
        if not mine.filter(next_poll_at__isnull=False).exists():
            # another worker moved it, or the status now belongs to a newer attempt
            raise StaleJob(f"job {job.pk} is no longer {job.state} and listening")
        changes = _learn(job, news, now, limits, is_new_report=_keep(job, news, now))
        if isinstance(news.status, OtaStatus):
            changes |= {"report_digest": digest(news.status), "report_repeats": 0}
        if problems:
            changes |= last_error(problems[0])
        elif job.trouble:
            changes |= NO_ERROR
        changes["asked_at"] = now
        # NotYourHub is an answer, and one that must be confirmed soon
        is_sick = not rests and any(not isinstance(one, NotYourHub) for one in problems)
        changes["failed_rounds"] = min(job.failed_rounds + 1, 100) if is_sick else 0
        changes["next_poll_at"] = next_poll_at(job, now, limits, changes["failed_rounds"])
        _store(job, changes, now)
        apply_verdict(job, now, limits)


def apply_verdict(job: OtaJob, now: datetime, limits: Timings | None = None) -> None:
    """Move the job as far as the evidence goes. Raises StaleJob."""
    limits = limits or timings()
    if job.quiet_s >= limits.silence_s:
        limits = _learned(limits, job)
    for _ in range(4):
        move = verdict(job, now, limits)
        if move is None:
            return
        state, outcome, words = move
        extra: dict[str, Any] = {}
        if state == State.LOST:
            extra["listen_until"] = now + seconds(limits.listen_s)
            extra["next_poll_at"] = now + seconds(limits.listen_poll_s)
        if state == State.REQUESTED:
            return_to_requested(job, words, now, 0)
            if now >= job.expires_at:
                expire(job, now)
            return
        if state == State.RUNNING and job.pushed_at is None:
            extra |= {"pushed_at": job.claimed_at, "push_unknown": False}
        move_to(job, state, actor=WORKER, note=words, now=now, outcome=outcome, **extra)


def _learned(limits: Timings, job: OtaJob) -> Timings:
    """Return the limits, longer where finished installs like this one took longer."""
    slowest = typical(job.hub_model, job.to_version).slowest
    if slowest is None:
        return limits
    learned_s = min(2 * slowest.total_seconds(), 4 * limits.silence_s)
    return replace(limits, silence_s=max(limits.silence_s, learned_s))


def _store_nothing_new(job: OtaJob, news: PollResult, now: datetime, limits: Timings) -> bool:
    """Store a round without news; False, and nothing stored, when there may be some.

    One UPDATE, which locks neither the trail nor the hub: most rounds are like this.
    """
    is_same_report = news.status is None or (
        isinstance(news.status, OtaStatus) and digest(news.status) == job.report_digest
    )
    if not (is_same_report and _is_hub_as_known(job.node, news)):
        return False
    changes = _learn(job, news, now, limits, is_new_report=False)
    changes |= {
        "asked_at": now,
        "failed_rounds": 0,
        "next_poll_at": next_poll_at(job, now, limits),
        "report_repeats": job.report_repeats + (news.status is not None),
    }
    if job.trouble or not _is_quiet(job, changes):
        return False
    after = copy(job)
    _set(after, changes)
    if after.quiet_s >= limits.silence_s or verdict(after, now, limits) is not None:
        return False
    listening = job.as_loaded().filter(next_poll_at__isnull=False, revision=job.revision)
    # most are as they were, and Django takes its time for each
    written = {name: value for name, value in changes.items() if getattr(job, name) != value}
    if not listening.update(**written):
        return False
    _set(job, changes)
    return True


def _is_hub_as_known(node: Node, news: PollResult) -> bool:
    """Do the answers say of the hub what its row says already?"""
    if isinstance(news.config, CloudError) or isinstance(news.connectivity, CloudError):
        return False
    is_online = news.connectivity.is_connected
    version = clip(news.config.fw_version, 64)
    return version == node.fw_version and (is_online is None or is_online == node.is_online)


def _keep(job: OtaJob, news: PollResult, now: datetime) -> bool:
    """Keep the report, and what the answers say of the hub; True when the report is a new one."""
    if not isinstance(news.config, CloudError):
        record_version(job.node, clip(news.config.fw_version, 64), now, asked_at=news.asked_at)
    if not isinstance(news.connectivity, CloudError):
        record_online(job.node, news.connectivity, now)
    if not isinstance(news.status, OtaStatus):
        return False
    is_old = _is_old(job, news.status)
    return keep_status(job, news.status, now, is_before_push=is_old)


def _is_quiet(job: OtaJob, changes: dict[str, Any]) -> bool:
    """Do the changes hold nothing that a page shows?"""
    return all(getattr(job, name) == value for name, value in changes.items() if name not in QUIET)


def _set(job: OtaJob, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(job, name, value)


def _store(job: OtaJob, changes: dict[str, Any], now: datetime) -> None:
    if _is_quiet(job, changes):  # written without a new revision
        if not job.as_loaded().update(**changes):
            raise StaleJob(f"job {job.pk} is no longer {job.state}")
        _set(job, changes)
    else:
        job.note(now, **changes)


def _learn(
    job: OtaJob, news: PollResult, now: datetime, limits: Timings, *, is_new_report: bool
) -> dict[str, Any]:
    """Return the fields that follow from the answers."""
    asked_s = _asked_s(job, now, limits)
    changes: dict[str, Any] = {
        "status_trouble": _trouble(news.status),
        "version_trouble": "" if isinstance(news.config, NoVersion) else _trouble(news.config),
        "online_trouble": _trouble(news.connectivity),
    }
    if isinstance(news.config, NoVersion):
        changes |= {"version_seen": "", "version_seen_at": now, "version_agreed_at": None}
    elif not isinstance(news.config, CloudError):
        version = clip(news.config.fw_version, 64)
        changes |= {"version_seen": version, "version_seen_at": now}
        agrees = is_same_version(version, job.to_version) and not is_same_version(
            job.from_version, job.to_version
        )
        changes["version_agreed_at"] = (job.version_agreed_at or now) if agrees else None
    if not isinstance(news.connectivity, CloudError):
        changes |= _learn_online(job, news.connectivity, now)
    # only time in which the cloud was really asked counts: a machine that slept, a clock that was
    # set, or a cloud that was down, says nothing about the hub
    is_claimed = job.success_at is not None or job.version_agreed_at is not None
    if not (changes["status_trouble"] and changes["version_trouble"]):
        changes["proving_s"] = job.proving_s + asked_s if is_claimed else 0.0
        changes["watched_s"] = job.watched_s + asked_s
    is_left = isinstance(news.config, NotYourHub) and isinstance(news.connectivity, NotYourHub)
    changes["not_mine_s"] = job.not_mine_s + asked_s if is_left else 0.0
    if isinstance(news.status, CloudError):
        changes["unanswered_s"] = job.unanswered_s + asked_s
        return changes
    changes |= {"answered_at": now, "unanswered_s": 0.0}
    is_news = news.status is not None and _learn_status(
        job, news.status, now, changes, is_new_report=is_new_report
    )
    if is_news:
        changes["not_mine_s"] = 0.0
    if job.state == State.PUSHING:
        # until the question was asked, not until its answer came: the answer is about then
        asked_at = news.asked_at or now
        since = job.answered_at or job.claimed_at
        settled_s = job.settled_s + _gap_s(since, asked_at, limits.push_by_s)
        changes["settled_s"] = settled_s
        if not is_news and settled_s >= limits.settle_s and _says_unsent(job, news.status):
            changes["unsent_answers"] = job.unsent_answers + 1
    changes["failing_s"] = job.failing_s + asked_s if job.first_failed_at else 0.0
    changes["quiet_s"] = 0.0 if is_news else job.quiet_s + asked_s
    if is_news:
        changes["last_news_at"] = now
    return changes


def _trouble(answer: object) -> str:
    """Return why a witness could not be read, "" when it answered."""
    return error_code(answer).value if isinstance(answer, CloudError) else ""


def _asked_s(job: OtaJob, now: datetime, limits: Timings) -> float:
    """Return the seconds since the cloud was last asked, as far as they count: not those of a pause
    that was longer than planned, nor those before the first answer.
    """
    if job.asked_at is None:
        return _gap_s(job.answered_at or job.claimed_at, now, limits.poll_s * 3)
    planned_s = 0.0
    if job.next_poll_at is not None:
        planned_s = min((job.next_poll_at - job.asked_at).total_seconds(), limits.listen_poll_s)
    return _gap_s(job.asked_at, now, max(limits.poll_s * 3, planned_s + limits.poll_s * 2))


def _gap_s(since: datetime | None, now: datetime, longest_s: float) -> float:
    """Return the seconds since then, no more than so many: a longer gap was not spent asking."""
    if since is None:
        return 0.0
    return max(0.0, min((now - since).total_seconds(), longest_s))


def time_unanswered_s(job: OtaJob, now: datetime, limits: Timings) -> float:
    """Return the seconds without an answer since this was last planned."""
    late_s = _gap_s(job.next_poll_at, now, limits.poll_s * 2)
    return limits.poll_s + late_s


def _learn_online(job: OtaJob, answer: Connectivity, now: datetime) -> dict[str, Any]:
    changes: dict[str, Any] = {"is_online": answer.is_connected, "online_seen_at": now}
    if answer.is_connected is False:
        changes["offline_seen_at"] = job.offline_seen_at or now
        changes["back_online_at"] = None
    elif answer.is_connected and job.back_online_at is None:
        is_comparable = bool(job.baseline_online_timestamp or job.restored_at is None)
        came_back = bool(
            is_comparable
            and answer.raw_timestamp
            and answer.raw_timestamp != job.baseline_online_timestamp
        )
        if came_back or job.offline_seen_at is not None:
            changes["back_online_at"] = now
    return changes


def _is_old(job: OtaJob, status: OtaStatus) -> bool:
    """Is the status about something before this attempt?"""
    return is_baseline(job, status) or _is_from_before(job, status)


def _learn_status(
    job: OtaJob, status: OtaStatus, now: datetime, changes: dict[str, Any], *, is_new_report: bool
) -> bool:
    """Add what the status reports to the changes; True when it is news of this attempt."""
    if _is_old(job, status) or status.state == OtaWord.TRIGGERED:
        return False
    first_word = not job.cloud_word
    if not (is_new_report or first_word):
        return False
    if status.state == OtaWord.UNKNOWN:
        # a report, so the hub is not silent; it proves nothing and takes nothing back
        if job.cloud_meaning not in {OtaWord.SUCCESS, OtaWord.FAILED, OtaWord.REJECTED}:
            changes |= {
                "cloud_word": clip(status.word, 64),
                "cloud_info": clip(status.info, 4000),
                "cloud_said_at": now,
            }
        return True
    changes |= {
        "cloud_word": clip(status.word, 64),
        "cloud_meaning": status.state.value,
        "cloud_info": clip(status.info, 4000),
        "cloud_said_at": now,
        "delayed_since": None,
    }
    if status.state in {OtaWord.STARTED, OtaWord.IN_PROGRESS}:
        changes["success_at"] = None
        if "reboot" in status.info.lower():
            changes["restarting_at"] = now
    elif status.state == OtaWord.DELAYED:
        changes["delayed_since"] = job.delayed_since or now
    elif status.state == OtaWord.FAILED:
        changes["success_at"] = None
        changes["failed_attempts"] = job.failed_attempts + 1
        changes["first_failed_at"] = job.first_failed_at or now
    elif status.state == OtaWord.SUCCESS:
        changes["success_at"] = job.success_at or now
    return True


def _says_unsent(job: OtaJob, status: OtaStatus | None) -> bool:
    """Does the cloud itself report that nothing was sent?

    `triggered` means that the job exists and was not sent (ESP RainMaker API 3.8.0,
    OtaJobSummaryResponse); the same status as before the push means the same.
    """
    if status is None:
        return not job.baseline_word
    return status.state == OtaWord.TRIGGERED or is_baseline(job, status)


def _is_from_before(job: OtaJob, status: OtaStatus) -> bool:
    """Was a restored install confirmed only after the cloud reported this?

    Restored from a time before it was sent, it has no baseline of its own. Such a status is neither
    news of this attempt nor proof that nothing was sent.
    """
    is_without = job.restored_at is not None and not job.baseline_word
    return is_without and status.at is not None and status.at < job.requested_at


def next_poll_at(
    job: OtaJob, now: datetime, limits: Timings, failed_rounds: int = 0
) -> datetime | None:
    """Return when the cloud is asked about this job again; None when listening is over."""
    if job.state != State.LOST:
        pause_s = limits.hub_pause_s(failed_rounds)
        if job.delayed_since is not None and now - job.delayed_since > seconds(limits.unread_s):
            pause_s = max(pause_s, limits.listen_poll_s)
        return now + seconds(pause_s)
    if job.listen_until is not None and now >= job.listen_until:
        return None
    return now + seconds(limits.listen_poll_s)
