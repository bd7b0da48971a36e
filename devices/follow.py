"""From sent to a verdict: ask for the three witnesses, write what was heard, move the job along.

`ask` talks to the cloud and touches no table; `heard` writes and never talks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from devices.accounts import account_failed, trouble_code
from devices.cloud.client import RainmakerClient
from devices.cloud.errors import CloudError, NoOtaStatus, SignInAgain
from devices.cloud.types import Connectivity, NodeConfig, OtaStatus, OtaWord
from devices.installs import typical
from devices.models import Actor, OtaJob, StaleJob, State, audit, hear_version
from devices.push import back_to_requested, expire, keep_status
from devices.sync import clip
from devices.timing import Timings, seconds, timings
from devices.verdict import verdict

WORKER = Actor.worker()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """One round of questions about a running install; each has an answer or an error."""

    status: OtaStatus | CloudError | None  # None: the cloud has no status for this job
    connectivity: Connectivity | CloudError
    config: NodeConfig | CloudError
    asked_at: datetime | None = None

    @classmethod
    def nothing(cls, problem: CloudError) -> "Heard":
        """Return a round that ended with its first question, or before it."""
        return cls(problem, problem, problem)

    @property
    def problems(self) -> list[CloudError]:
        """Return the errors, those that concern the whole account first."""
        found = [
            answer
            for answer in (self.status, self.connectivity, self.config)
            if isinstance(answer, CloudError)
        ]
        return sorted(found, key=lambda error: not isinstance(error, SignInAgain))


def ask(client: RainmakerClient, job: OtaJob) -> Heard:
    """Ask for the three witnesses. Talks; no table. Never raises CloudError.

    The status is asked first, so that a version read afterwards can only be newer than it; after
    an error the cloud is not asked further.
    """
    status: OtaStatus | CloudError | None
    asked_at = timezone.now()
    try:
        status = client.get_ota_status(node_id=job.cloud_node_id, ota_job_id=job.ota_job_id)
    except NoOtaStatus:
        status = None
    except CloudError as problem:
        return Heard.nothing(problem)
    config = _answer(lambda: client.get_node_config(job.cloud_node_id))
    connectivity = _answer(lambda: client.get_node_status(job.cloud_node_id))
    return Heard(status, connectivity, config, asked_at)


def _answer(question: Callable[[], T]) -> T | CloudError:
    try:
        return question()
    except CloudError as problem:
        return problem


def heard(job: OtaJob, news: Heard, now: datetime, limits: Timings | None = None) -> None:
    """Write what was heard and move the job as far as the evidence goes.

    Safe to repeat: the same answers again change only times. Raises StaleJob.
    """
    limits = limits or timings()
    problems = news.problems
    for problem in problems[:1]:
        account_failed(job.node.account, problem, now)
    with transaction.atomic():
        audit.lock()
        mine = job.as_loaded().select_for_update()
        if not mine.filter(next_poll_at__isnull=False).exists():
            # moved by someone else, or a newer attempt now owns the cloud's words
            raise StaleJob(f"job {job.pk} is no longer {job.state} and listening")
        changes = _learn(job, news, now, limits)
        if problems:
            changes["trouble"] = trouble_code(problems[0])
            changes["trouble_text"] = str(problems[0])[:300]
        elif job.trouble:
            changes |= {"trouble": "", "trouble_text": ""}
        changes["asked_at"] = now
        changes["next_poll_at"] = next_poll(job, now, limits)
        _take_in(job, changes, now)
        settle(job, now, limits)


def settle(job: OtaJob, now: datetime, limits: Timings | None = None) -> None:
    """Move the job along until the evidence goes no further. Raises StaleJob."""
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
            back_to_requested(job, words, now, 0)
            if now >= job.expires_at:
                expire(job, now)
            return
        if state == State.RUNNING and job.pushed_at is None:
            extra |= {"pushed_at": job.claimed_at, "push_unknown": False}
        job.move_to(state, actor=WORKER, note=words, now=now, outcome=outcome, **extra)


def _learned(limits: Timings, job: OtaJob) -> Timings:
    """Return the limits with the patience that finished installs like this one call for."""
    slowest = typical(job.hub_model, job.to_version).slowest
    if slowest is None:
        return limits
    learned_s = min(2 * slowest.total_seconds(), 4 * limits.silence_s)
    return replace(limits, silence_s=max(limits.silence_s, learned_s))


def _take_in(job: OtaJob, changes: dict[str, Any], now: datetime) -> None:
    quiet = {"asked_at", "answered_at", "next_poll_at", "quiet_s", "watched_s", "version_seen_at"}
    quiet |= {"online_seen_at", "settled_s", "failing_s", "proving_s", "unanswered_s"}
    if all(getattr(job, name) == value for name, value in changes.items() if name not in quiet):
        # nothing a page shows: written without a new revision
        if not job.as_loaded().update(**changes):
            raise StaleJob(f"job {job.pk} is no longer {job.state}")
        for name, value in changes.items():
            setattr(job, name, value)
    else:
        job.note(now, **changes)


def _learn(job: OtaJob, news: Heard, now: datetime, limits: Timings) -> dict[str, Any]:
    """Return the fields that follow from what was heard, and keep the reports."""
    changes: dict[str, Any] = {}
    if not isinstance(news.config, CloudError):
        version = clip(news.config.fw_version, 64)
        changes |= {"version_seen": version, "version_seen_at": now}
        agrees = version == job.to_version and job.from_version != job.to_version
        changes["version_agreed_at"] = (job.version_agreed_at or now) if agrees else None
        hear_version(job.node, version, now, asked_at=news.asked_at)
    if not isinstance(news.connectivity, CloudError):
        changes |= _learn_online(job, news.connectivity, now)
    if isinstance(news.status, CloudError):
        changes["unanswered_s"] = job.unanswered_s + time_unanswered_s(job, now, limits)
        return changes
    changes |= {"answered_at": now, "unanswered_s": 0.0}
    is_news = news.status is not None and _learn_status(job, news.status, now, changes)
    if job.state == State.PUSHING:
        # until the question was asked, not until its answer came: the answer is about then
        asked_at = news.asked_at or now
        since = job.answered_at or job.claimed_at
        settled_s = job.settled_s + _gap_s(since, asked_at, limits.push_by_s)
        changes["settled_s"] = settled_s
        if not is_news and settled_s >= limits.settle_s and _says_unsent(job, news.status):
            changes["unsent_answers"] = job.unsent_answers + 1
    # only time in which the cloud was really asked counts: a machine that slept, a clock that was
    # set, or a cloud that was down, says nothing about the hub
    asked_s = _gap_s(job.answered_at, now, limits.poll_s * 3)
    changes["watched_s"] = job.watched_s + asked_s
    changes["failing_s"] = job.failing_s + asked_s if job.first_failed_at else 0.0
    is_claimed = job.success_at is not None or job.version_agreed_at is not None
    changes["proving_s"] = job.proving_s + asked_s if is_claimed else 0.0
    changes["quiet_s"] = 0.0 if is_news else job.quiet_s + asked_s
    if is_news:
        changes["last_news_at"] = now
    return changes


def _gap_s(since: datetime | None, now: datetime, longest_s: float) -> float:
    """Return the seconds since then, no more than so many: a longer gap was not spent asking."""
    if since is None:
        return 0.0
    return max(0.0, min((now - since).total_seconds(), longest_s))


def time_unanswered_s(job: OtaJob, now: datetime, limits: Timings) -> float:
    """Return the seconds to be counted as without an answer since the cloud was last looked to."""
    late_s = _gap_s(job.next_poll_at, now, limits.poll_s * 2)
    return limits.poll_s + late_s


def _learn_online(job: OtaJob, heard_: Connectivity, now: datetime) -> dict[str, Any]:
    changes: dict[str, Any] = {"is_online": heard_.is_connected, "online_seen_at": now}
    if heard_.is_connected is False:
        changes["offline_seen_at"] = job.offline_seen_at or now
        changes["back_online_at"] = None
    elif heard_.is_connected and job.back_online_at is None:
        is_comparable = bool(job.baseline_online_timestamp or job.restored_at is None)
        came_back = bool(
            is_comparable
            and heard_.raw_timestamp
            and heard_.raw_timestamp != job.baseline_online_timestamp
        )
        if came_back or job.offline_seen_at is not None:
            changes["back_online_at"] = now
    node = job.node
    if node.is_online != heard_.is_connected and heard_.is_connected is not None:
        node.touch(now, is_online=heard_.is_connected, online_changed_at=heard_.changed_at)
    return changes


def _learn_status(job: OtaJob, status: OtaStatus, now: datetime, changes: dict[str, Any]) -> bool:
    """Add what the cloud's word says to the changes; True when it is news of this attempt."""
    is_old = _is_baseline(job, status) or _is_from_before(job, status)
    is_new_report = keep_status(job, status, now, is_before_push=is_old)
    if is_old or status.state in {OtaWord.TRIGGERED, OtaWord.UNKNOWN}:
        return False
    first_word = not job.cloud_word
    if not (is_new_report or first_word):
        return False
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
    """Does the cloud itself say that nothing was sent?

    `triggered` means that the job exists and the hub was not told (ESP RainMaker API 3.8.0,
    OtaJobSummaryResponse); the very word from before the push says the same.
    """
    if status is None:
        return not job.baseline_word
    return status.state == OtaWord.TRIGGERED or _is_baseline(job, status)


def _is_baseline(job: OtaJob, status: OtaStatus) -> bool:
    """Is this what the cloud already said before the push, so no word about this attempt?"""
    return bool(job.baseline_word) and (
        clip(status.word, 64),
        clip(status.raw_timestamp, 64),
        clip(status.info, 4000),
    ) == (job.baseline_word, job.baseline_timestamp, job.baseline_info)


def _is_from_before(job: OtaJob, status: OtaStatus) -> bool:
    """Was a restored install confirmed only after the cloud said this?

    Restored from a time before it was sent, it has no baseline of its own. Such a word is neither
    news of this attempt nor proof that nothing was sent.
    """
    is_without = job.restored_at is not None and not job.baseline_word
    return is_without and status.at is not None and status.at < job.requested_at


def next_poll(job: OtaJob, now: datetime, limits: Timings) -> datetime | None:
    """Return when the cloud is asked about this job again; None when listening is over."""
    if job.state != State.LOST:
        return now + seconds(limits.poll_s)
    if job.listen_until is not None and now >= job.listen_until:
        return None
    return now + seconds(limits.listen_poll_s)
