"""Move an install from state to state, with its audit event and notification."""

from datetime import datetime, timedelta
from typing import Any

from django.dispatch import Signal
from django.urls import reverse
from django.utils.translation import override

from devices.audit import log as audit_log
from devices.explanations.error_codes import NO_ERROR, last_error
from devices.fleet import holds
from devices.fleet.checks import check_soon
from devices.installs.timings import seconds
from devices.models import audit, database_clock
from devices.models.audit import Actor
from devices.models.audit_action import AuditAction
from devices.models.install import (
    OUTCOMES,
    TRANSITIONS,
    TROUBLED,
    UNSENT,
    VERDICTS,
    IllegalTransition,
    OtaJob,
    State,
)
from devices.models.outcome import InstallOutcome
from devices.models.plan import Plan
from devices.rainmaker.errors import CloudError
from devices.taskqueue.wakeups import wake_installs

WORKER = Actor.worker()
# An install (`job`) ended before anything of it was sent, for a reason that passes. In the same
# transaction. A receiver returns True when it starts again later: such an end is no news to people.
# `look_at`: not sooner than then. planning waits with its plan, and knows more than this room.
unsent = Signal()
# Before a push: the hub was offline or in use, or the cloud did not answer for the whole window.
# So long after it, its plan is looked at again, unless news of the hub comes first.
PASSING = {
    InstallOutcome.HUB_OFFLINE: timedelta(),
    InstallOutcome.HUB_IN_USE: timedelta(),
    InstallOutcome.NOT_SENT_IN_TIME: timedelta(minutes=30),
}


def return_to_requested(
    job: OtaJob, words: str, now: datetime, wait_s: float, problem: CloudError | None = None
) -> None:
    move_to(
        job,
        State.REQUESTED,
        actor=WORKER,
        note=f"{job.hub_name}: {words}",
        now=now,
        claimed_at=None,
        push_unknown=False,
        unsent_answers=0,
        **(last_error(problem) if problem else NO_ERROR),
        next_poll_at=min(now + seconds(wait_s), max(job.expires_at, now)),
    )


def expire(job: OtaJob, now: datetime) -> None:
    """End a confirmation that could not be sent in time: it no longer counts."""
    if job.restored_at is not None:
        move_to(
            job,
            State.EXPIRED,
            actor=WORKER,
            note=f"{job.hub_name}: the cloud says that nothing was sent, and a confirmation from "
            "before the restore of this server is not sent any more.",
            now=now,
            outcome=InstallOutcome.RESTORED_UNSENT,
        )
        return
    move_to(
        job,
        State.EXPIRED,
        actor=WORKER,
        note=f"The confirmation for {job.hub_name} expired before it could be sent. "
        f"{job.trouble_text}".strip(),
        now=now,
        outcome=InstallOutcome.NOT_SENT_IN_TIME,
    )


def _audit_outcome(state: State) -> str:
    if state in {State.REFUSED, State.EXPIRED, State.REJECTED}:
        return audit.Outcome.REFUSED
    if state in {State.FAILED, State.UNVERIFIED, State.LOST}:
        return audit.Outcome.FAILED
    return audit.Outcome.DONE


def move_to(
    job: OtaJob,
    new: State,
    *,
    actor: Actor,
    note: str,
    now: datetime | None = None,
    outcome: InstallOutcome | None = None,
    why: str = "",
    **changes: Any,
) -> None:
    """Move to the new state with the changes, and record who and why, in one transaction.

    Raises IllegalTransition when the tables do not allow the move, StaleJob when the job is
    no longer in the state this object was loaded with; then nothing is written.
    """
    now = now or database_clock.now()
    old = State(job.state)
    if new not in TRANSITIONS[old] or (outcome and outcome not in OUTCOMES.get(new, ())):
        raise IllegalTransition(f"job {job.pk}: {old} to {new} {outcome or ''}".rstrip())
    changes |= {"state": new, "state_at": now, "outcome": outcome or ""}
    if new in VERDICTS:
        changes |= {"ended_at": now, "seen_at": None, "seen_by_name": ""}
        if new != State.LOST:
            changes |= {"next_poll_at": None, "listen_until": None}
    with audit_log.locked():
        job._write(now, changes)
        with override("en"):
            sentence = f"{note} Outcome: {job.outcome_title}." if outcome else note
        audit_log.record(
            actor,
            AuditAction(f"install.{new}"),
            sentence,
            job=job,
            at=now,
            why=why,
            outcome=_audit_outcome(new),
            detail={
                "from_state": old.value,
                "to_state": new.value,
                "from_version": job.from_version,
                "to_version": job.to_version,
                "ota_job_id": job.ota_job_id,
                "outcome": outcome or "",
                "version_seen": str(changes.get("version_seen", job.version_seen) or ""),
                "pushes": job.pushes,
            },
        )
        if new in VERDICTS and Plan.objects.wake_after_install(job, now):
            wake_installs()
        waits_again = outcome in PASSING and _waits_again(job, now + PASSING[outcome], now)
        if new in VERDICTS and new not in UNSENT:
            holds.review(job, now)
        if new in TROUBLED:
            check_soon(job.node, now)
        if not waits_again:
            notify_end(job, new, now)


def _waits_again(job: OtaJob, look_at: datetime, now: datetime) -> bool:
    """Does the plan of this install wait again? What kept it from being sent will pass."""
    answers = unsent.send(OtaJob, job=job, look_at=look_at, now=now)
    return any(waits_again for _receiver, waits_again in answers)


def notify_end(job: OtaJob, new: State, now: datetime) -> None:
    """Notify the people who chose to hear of such an end. One query when there are none."""
    from devices.models.notification import Topic
    from devices.notifications.outbox import notify

    if new in VERDICTS and new != State.CANCELLED:
        notify(
            Topic.FINISHED if new == State.VERIFIED else Topic.FAILED,
            household=job.household,
            path=reverse("install", args=[job.pk]),
            now=now,
            job=job,
            not_before=_morning(job, now) if new == State.VERIFIED else None,
            hub=job.hub_name,
            to_version=job.to_version,
        )


def _morning(job: OtaJob, now: datetime) -> datetime | None:
    """Return when people read what an update policy installed at night: when its window closes. Who
    pressed a button is notified at once.
    """
    plan: Plan | None = getattr(job, "plan", None)
    window = plan.window if plan is not None and job.requested_via == "policy" else None
    return window.closes_at(now) if window is not None and window.is_open(now) else None
