"""What the evidence says: a pure function from a job and the time to its next move.

`success` is a claim until the hub itself reports the version; a version is no proof until the
cloud agrees and the hub is back online. Time counts only while the cloud was really asked, so that
no verdict comes from a clock that was set or a machine that slept.
"""

from datetime import datetime

from devices.explain import explain_report
from devices.models import FOLLOWED, OtaJob, State
from devices.timing import Timings, seconds

Move = tuple[State, str, str]

STARTED, IN_PROGRESS, DELAYED = "started", "in-progress", "delayed"
SUCCESS, REJECTED, FAILED = "success", "rejected", "failed"


def verdict(job: OtaJob, now: datetime, limits: Timings) -> Move | None:
    """Return (next state, outcome code, sentence for the trail), or None to go on watching."""
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
    if move is None and state != State.LOST:
        move = (
            _silent(job, state, limits) or _too_long(job, limits) or _unanswered(job, now, limits)
        )
    return move


def _pushing(job: OtaJob) -> Move | None:
    if job.cloud_meaning or job.version_agreed_at is not None:
        return State.RUNNING, "", f"{job.hub_name} was told: the cloud speaks of this attempt."
    if job.unsent_answers >= 2:
        return State.REQUESTED, "", "the cloud itself says that nothing was sent."
    return None


def _proven(job: OtaJob, state: State) -> Move | None:
    if not (job.cloud_meaning == SUCCESS and job.version_agreed_at and job.is_online):
        return None
    if state in {State.RUNNING, State.RETRYING}:
        return State.VERIFYING, "", f"{job.hub_name}: success is claimed, the proof is looked for."
    words = f"{job.hub_name} runs {job.to_version}: the cloud, the hub and its connection agree."
    return State.VERIFIED, "verified_late" if state == State.LOST else "verified", words


def _refused_by_hub(job: OtaJob) -> Move | None:
    if job.cloud_meaning != REJECTED:
        return None
    if job.version_agreed_at is not None:
        words = f"{job.hub_name} reports {job.to_version} although the cloud says rejected."
        return State.UNVERIFIED, "version_despite_rejected", words
    words = f"{job.hub_name} refused the firmware: {job.cloud_info or 'no reason given'}"
    return State.REJECTED, _hub_words_outcome(job) or "rejected", words


def _failed(job: OtaJob, state: State, limits: Timings) -> Move | None:
    if job.cloud_meaning != FAILED:
        return None
    if job.version_agreed_at is not None:
        if job.proving_s >= limits.verify_s:
            words = f"{job.hub_name} reports {job.to_version} although the cloud says failed."
            return State.UNVERIFIED, "version_despite_failed", words
        return None
    words = f"The install on {job.hub_name} failed: {job.cloud_info or 'no reason given'}"
    if explain_report(job.cloud_word, job.cloud_info).is_final_failure:
        return State.FAILED, _hub_words_outcome(job) or "failed", words
    if job.failing_s >= limits.retry_total_s or job.quiet_s >= limits.retry_s:
        return State.FAILED, "attempts_failed", words
    if state in {State.RUNNING, State.VERIFYING}:
        return State.RETRYING, "", f"An attempt on {job.hub_name} failed; the hub may try again."
    return None


def _claimed(job: OtaJob, state: State, now: datetime, limits: Timings) -> Move | None:
    """Success is claimed or the version has changed, but not all agree (yet)."""
    is_success, is_agreed = job.cloud_meaning == SUCCESS, job.version_agreed_at is not None
    if not (is_success or is_agreed):
        return None
    if state in {State.RUNNING, State.RETRYING}:
        return State.VERIFYING, "", f"{job.hub_name}: the new version is being checked."
    is_fresh = not _is_up(job.version_seen_at, now, limits.poll_s * 3)
    is_time_up = job.proving_s >= limits.verify_s and is_fresh
    if not is_time_up or job.is_online is False or (is_success and is_agreed):
        return None
    if not is_success:
        words = f"{job.hub_name} reports {job.to_version}, but the cloud never said it finished."
        return State.UNVERIFIED, "version_without_success", words
    words = (
        f"The cloud claims success, but {job.hub_name} still reports "
        f"{job.version_seen or 'no version'}."
    )
    if job.version_seen == job.from_version:
        return State.UNVERIFIED, "claimed_success_same_version", words
    return State.UNVERIFIED, "claimed_success_other_version", words


def _working(job: OtaJob, state: State) -> Move | None:
    is_working = job.cloud_meaning in {STARTED, IN_PROGRESS, DELAYED}
    if is_working and job.version_agreed_at is None and state in {State.RETRYING, State.VERIFYING}:
        return State.RUNNING, "", f"{job.hub_name} is at work again."
    return None


def _silent(job: OtaJob, state: State, limits: Timings) -> Move | None:
    limit_s = limits.delayed_s if job.delayed_since is not None else limits.silence_s
    if state == State.PUSHING:  # the cloud gets the time to say for certain what was sent
        limit_s = max(limit_s, 4 * limits.settle_s)
    if job.quiet_s < limit_s:
        return None
    if state == State.PUSHING:
        words = f"Whether {job.hub_name} was told to install could not be learned."
        return State.LOST, "push_unknown", words
    if job.version_agreed_at is not None:
        if job.cloud_meaning == SUCCESS:
            words = f"{job.hub_name} runs {job.to_version}, but was not seen online again."
            return State.UNVERIFIED, "not_seen_online", words
        words = f"{job.hub_name} reported {job.to_version}, but the cloud never said it finished."
        return State.UNVERIFIED, "version_without_success", words
    words = f"No word from {job.hub_name} for {round(job.quiet_s / 60)} min; we keep listening."
    if job.is_online is False:
        return State.LOST, "went_offline", words
    return State.LOST, "stuck" if job.cloud_info else "silent", words


def _too_long(job: OtaJob, limits: Timings) -> Move | None:
    """A hub may go on speaking for ever without an end: no word of its own resets this."""
    if job.watched_s >= limits.total_s + (limits.delayed_s if job.delayed_since else 0):
        words = f"{job.hub_name} still speaks of the install, but it never came to an end."
        return State.LOST, "never_ended", words
    return None


def _unanswered(job: OtaJob, now: datetime, limits: Timings) -> Move | None:
    limit_s = limits.unanswered_s + (limits.delayed_s if job.delayed_since is not None else 0)
    is_long_ago = _is_up(job.last_news_at or job.claimed_at, now, limit_s)
    # after a long sleep the cloud is first really asked for a while
    if not is_long_ago or job.unanswered_s < limits.silence_s:
        return None
    if job.node.account.is_linked:
        words = f"The cloud could not be asked about {job.hub_name} for too long."
        return State.LOST, "no_answer_from_cloud", words
    return State.LOST, "signed_out", f"{job.hub_name} cannot be watched: its account is signed out."


def _hub_words_outcome(job: OtaJob) -> str:
    return explain_report(job.cloud_word, job.cloud_info).outcome


def _is_up(since: datetime | None, now: datetime, limit_s: float) -> bool:
    return since is not None and now - since >= seconds(limit_s)
