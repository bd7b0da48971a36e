"""Decide what the evidence says: a pure function from a job and the time to its next move.

`success` is a claim until the hub itself reports the version; a version proves nothing until the
cloud agrees and the hub is back online. Time counts only while the cloud was really asked, so that
no verdict comes from a clock that was set or a machine that slept.
"""

from datetime import datetime

from devices.explanations.explain import explain_report
from devices.explanations.firmware_messages import DATE_DELAY
from devices.installs.timings import Timings, seconds
from devices.models import FOLLOWED, InstallOutcome, OtaJob, State
from devices.models.version_text import is_older_version, is_same_version
from devices.rainmaker.schemas import OtaWord

Move = tuple[State, InstallOutcome | None, str]


def verdict(job: OtaJob, now: datetime, limits: Timings) -> Move | None:
    """Return (next state, outcome, sentence for the trail), or None to go on watching."""
    state = State(job.state)
    if state not in FOLLOWED and state != State.LOST:
        return None
    if state == State.PUSHING:
        move = _pushing(job)
    else:
        move = (
            _proven(job, state)
            or _refused_by_hub(job)
            or _failed(job, state, limits)
            or _claimed(job, state, now, limits)
            or _working(job, state)
        )
    move = move or _unreadable(job, state, limits)
    if move is None and state != State.LOST:
        move = (
            _silent(job, state, limits) or _too_long(job, limits) or _unanswered(job, now, limits)
        )
    return move


def _pushing(job: OtaJob) -> Move | None:
    if job.cloud_meaning or job.version_agreed_at is not None:
        return State.RUNNING, None, f"{job.hub_name}: the cloud reports on this attempt."
    if job.restored_at is not None and job.unsent_answers >= 2:
        return State.REQUESTED, None, "the cloud reports that nothing was sent."
    return None


def _proven(job: OtaJob, state: State) -> Move | None:
    if not (job.cloud_meaning == OtaWord.SUCCESS and job.version_agreed_at and job.is_online):
        return None
    if state in {State.RUNNING, State.RETRYING}:
        return (State.VERIFYING, None, f"{job.hub_name}: the cloud reports success; checking.")
    words = f"{job.hub_name} runs {job.to_version}: the cloud, the hub and its connection agree."
    return (
        State.VERIFIED,
        InstallOutcome.VERIFIED_LATE if state == State.LOST else InstallOutcome.VERIFIED,
        words,
    )


def _refused_by_hub(job: OtaJob) -> Move | None:
    if job.cloud_meaning != OtaWord.REJECTED:
        return None
    if _hub_words_outcome(job) == InstallOutcome.SAME_VERSION and job.version_agreed_at is not None:
        words = f"{job.hub_name} got {job.to_version} in another way before this update started."
        return State.REJECTED, InstallOutcome.SAME_VERSION, words
    if job.version_agreed_at is not None:
        words = f"{job.hub_name} reports {job.to_version} although the cloud says rejected."
        return State.UNVERIFIED, InstallOutcome.VERSION_DESPITE_REJECTED, words
    if is_older_version(job.to_version, job.version_seen):
        return _other_version(job)
    words = f"{job.hub_name} refused the firmware: {job.cloud_info or 'no reason given'}"
    return State.REJECTED, _hub_words_outcome(job) or InstallOutcome.REJECTED, words


def _failed(job: OtaJob, state: State, limits: Timings) -> Move | None:
    if job.cloud_meaning != OtaWord.FAILED:
        return None
    if job.version_agreed_at is not None:
        if job.proving_s >= limits.verify_s:
            words = f"{job.hub_name} reports {job.to_version} although the cloud says failed."
            return State.UNVERIFIED, InstallOutcome.VERSION_DESPITE_FAILED, words
        return None
    if is_older_version(job.to_version, job.version_seen):
        return _other_version(job)
    words = f"The install on {job.hub_name} failed: {job.cloud_info or 'no reason given'}"
    if explain_report(job.cloud_word, job.cloud_info).is_final_failure:
        return State.FAILED, _hub_words_outcome(job) or InstallOutcome.FAILED, words
    if job.failing_s >= limits.retry_total_s or job.quiet_s >= limits.retry_s:
        return State.FAILED, InstallOutcome.ATTEMPTS_FAILED, words
    if state in {State.RUNNING, State.VERIFYING}:
        return State.RETRYING, None, f"An attempt on {job.hub_name} failed; the hub may try again."
    return None


def _claimed(job: OtaJob, state: State, now: datetime, limits: Timings) -> Move | None:
    """Success is claimed or the version has changed, but not all agree (yet)."""
    is_success, is_agreed = job.cloud_meaning == OtaWord.SUCCESS, job.version_agreed_at is not None
    if not (is_success or is_agreed):
        return None
    if state in {State.RUNNING, State.RETRYING}:
        return State.VERIFYING, None, f"{job.hub_name}: the new version is being checked."
    is_fresh = job.version_seen_at is not None and not _is_up(
        job.version_seen_at, now, limits.poll_s * 3
    )
    is_time_up = job.proving_s >= limits.verify_s and is_fresh
    if not is_time_up or job.is_online is False or (is_success and is_agreed):
        return None
    if not is_success and job.status_trouble:
        return None
    if not is_success:
        words = f"{job.hub_name} reports {job.to_version}, but the cloud did not report the end."
        return State.UNVERIFIED, InstallOutcome.VERSION_WITHOUT_SUCCESS, words
    if not job.version_seen:
        words = f"The cloud claims success, but {job.hub_name} does not say which version it runs."
        return State.UNVERIFIED, InstallOutcome.VERSION_NOT_REPORTED, words
    if job.is_other_version:
        return _other_version(job)
    words = f"The cloud claims success, but {job.hub_name} still reports {job.version_seen}."
    same = is_same_version(job.version_seen, job.from_version)
    return (
        State.UNVERIFIED,
        InstallOutcome.CLAIMED_SUCCESS_SAME_VERSION
        if same
        else InstallOutcome.CLAIMED_SUCCESS_OTHER_VERSION,
        words,
    )


def _other_version(job: OtaJob) -> Move:
    """The hub runs a version that is neither the one before nor the confirmed one."""
    words = f"{job.hub_name} reports {job.version_seen}, not {job.to_version}."
    outcome = InstallOutcome.OTHER_VERSION
    if is_older_version(job.to_version, job.version_seen):
        outcome = InstallOutcome.NEWER_VERSION
    elif is_older_version(job.from_version, job.version_seen) and is_older_version(
        job.version_seen, job.to_version
    ):
        outcome = InstallOutcome.STEP_VERSION
    elif job.cloud_meaning == OtaWord.SUCCESS:
        outcome = InstallOutcome.CLAIMED_SUCCESS_OTHER_VERSION
    return State.UNVERIFIED, outcome, words


def _unreadable(job: OtaJob, state: State, limits: Timings) -> Move | None:
    """The cloud answers, but not about this install: the hub left, or its status is unreadable."""
    if job.not_mine_s >= limits.left_s and state != State.LOST:
        words = f"The cloud answers that {job.hub_name} is not in this account any more."
        return State.LOST, InstallOutcome.HUB_LEFT, words
    others_answer = not (job.version_trouble and job.online_trouble)
    if not job.status_trouble or not others_answer:
        return None
    if job.version_agreed_at is not None and job.is_online and state != State.PUSHING:
        if job.unanswered_s < limits.silence_s:
            return None
        words = f"{job.hub_name} reports {job.to_version}; the cloud's status cannot be read."
        return State.UNVERIFIED, InstallOutcome.VERSION_STATUS_NOT_READ, words
    if job.unanswered_s < limits.unread_s or state == State.LOST:
        return None
    words = f"The cloud's status of the install on {job.hub_name} cannot be read."
    outcome = (
        InstallOutcome.PUSH_UNKNOWN if state == State.PUSHING else InstallOutcome.STATUS_NOT_READ
    )
    return State.LOST, outcome, words


def _working(job: OtaJob, state: State) -> Move | None:
    is_working = job.cloud_meaning in {OtaWord.STARTED, OtaWord.IN_PROGRESS, OtaWord.DELAYED}
    if is_working and job.version_agreed_at is None and state in {State.RETRYING, State.VERIFYING}:
        return State.RUNNING, None, f"{job.hub_name} is at work again."
    return None


def _silent(job: OtaJob, state: State, limits: Timings) -> Move | None:
    limit_s = max(limits.silence_s, _delay_s(job, limits))
    if job.restored_at is not None:  # the cloud gets the time to say whether it was sent
        limit_s = max(limit_s, 4 * limits.settle_s)
    if job.quiet_s < limit_s:
        return None
    if state == State.PUSHING:
        words = f"Whether {job.hub_name} got the update is not known."
        return State.LOST, InstallOutcome.PUSH_UNKNOWN, words
    if job.version_agreed_at is not None:
        if job.cloud_meaning == OtaWord.SUCCESS:
            words = f"{job.hub_name} runs {job.to_version}, but was not seen online again."
            return State.UNVERIFIED, InstallOutcome.NOT_SEEN_ONLINE, words
        words = f"{job.hub_name} reported {job.to_version}, but the cloud did not report the end."
        return State.UNVERIFIED, InstallOutcome.VERSION_WITHOUT_SUCCESS, words
    if job.delayed_since is not None:
        words = f"{job.hub_name} still waits to start the update: {job.cloud_info}"
        return State.LOST, InstallOutcome.STILL_DELAYED, words
    if job.cloud_meaning == OtaWord.SUCCESS and job.version_trouble:
        words = f"The cloud claims success, but the version of {job.hub_name} cannot be read."
        return State.LOST, InstallOutcome.VERSION_NOT_READ, words
    if job.is_other_version and not job.version_trouble:
        return _other_version(job)
    words = f"No report from {job.hub_name} for {round(job.quiet_s / 60)} min; we keep asking."
    if job.is_online is False:
        return State.LOST, InstallOutcome.WENT_OFFLINE, words
    return State.LOST, InstallOutcome.STUCK if job.cloud_info else InstallOutcome.SILENT, words


def _too_long(job: OtaJob, limits: Timings) -> Move | None:
    """A hub may go on reporting for ever without an end: no report resets this."""
    if job.watched_s >= limits.total_s + _delay_s(job, limits):
        words = f"{job.hub_name} still reports on the install, but it never came to an end."
        return State.LOST, InstallOutcome.NEVER_ENDED, words
    return None


def _unanswered(job: OtaJob, now: datetime, limits: Timings) -> Move | None:
    limit_s = limits.unanswered_s + _delay_s(job, limits)
    is_long_ago = _is_up(job.last_news_at or job.claimed_at, now, limit_s)
    # after a long sleep the cloud is first really asked for a while
    if not is_long_ago or job.unanswered_s < limits.silence_s:
        return None
    if job.node.account.is_linked:
        words = f"The cloud could not be asked about {job.hub_name} for too long."
        return State.LOST, InstallOutcome.NO_ANSWER_FROM_CLOUD, words
    return (
        State.LOST,
        InstallOutcome.SIGNED_OUT,
        f"{job.hub_name} cannot be watched: its account is signed out.",
    )


def _delay_s(job: OtaJob, limits: Timings) -> float:
    """Return how long the hub may wait to start: until the offer's own dates when they are known.

    0 when it is not waiting.
    """
    if job.delayed_since is None:
        return 0
    last_date = job.valid_until or job.valid_from
    if last_date is not None:
        return max((last_date - job.delayed_since).total_seconds(), 0) + limits.delayed_s
    delay = explain_report(job.cloud_word, job.cloud_info).delay
    return limits.dated_s if delay == DATE_DELAY else limits.delayed_s


def _hub_words_outcome(job: OtaJob) -> InstallOutcome | None:
    return explain_report(job.cloud_word, job.cloud_info).outcome


def _is_up(since: datetime | None, now: datetime, limit_s: float) -> bool:
    return since is not None and now - since >= seconds(limit_s)
