"""Bring planned times forward after the clock was set back; they would wait too long otherwise.

Loops notice it by heartbeats in the future. A clock that is set forward needs nothing: what is due
early is only checked early.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F
from django_q.models import OrmQ, Schedule

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    AuditAction,
    CloudAccount,
    ImageFetch,
    Node,
    OtaJob,
    Plan,
    State,
    UpdatePolicy,
)
from devices.models.lease import CLOCK_SKEW


def shift_install_deadlines(now: datetime, by: timedelta) -> None:
    """Bring forward what the installs loop waits for. Safe to repeat."""
    whose = "The database's" if settings.DATABASE_CLOCK else "This server's"
    with audit_log.locked():
        OtaJob.objects.filter(next_poll_at__gt=now).update(next_poll_at=F("next_poll_at") - by)
        # a confirmation stays valid as long as promised, not longer by the jump
        OtaJob.objects.filter(state=State.REQUESTED, expires_at__gt=now).update(
            expires_at=F("expires_at") - by
        )
        CloudAccount.objects.filter(resume_at__gt=now).update(resume_at=F("resume_at") - by)
        # whether a plan may start is read from the clock at each look
        Plan.objects.wake(now)
        UpdatePolicy.objects.wake(now)
        _wake_ups(now)
        audit_log.record(
            Actor.worker(),
            AuditAction.CLOCK_SET_BACK,
            f"{whose} clock was set back by {by.total_seconds():.0f} s; what was planned was "
            "brought forward by as much.",
            at=now,
        )


def shift_sync_deadlines(now: datetime, by: timedelta) -> None:
    """Bring forward what the chores loop waits for. Safe to repeat."""
    CloudAccount.objects.filter(next_sync_at__gt=now).update(next_sync_at=F("next_sync_at") - by)
    Node.objects.filter(next_check_at__gt=now).update(next_check_at=F("next_check_at") - by)
    CloudAccount.objects.filter(next_sign_in_at__gt=now).update(
        next_sign_in_at=F("next_sign_in_at") - by
    )
    ImageFetch.objects.filter(next_try_at__gt=now).update(next_try_at=F("next_try_at") - by)
    _wake_ups(now)


def _wake_ups(now: datetime) -> None:
    """Unlock the queue: no task stays locked longer than its retry time, no schedule waits longer
    than its minute.
    """
    longest = timedelta(seconds=int(str(settings.Q_CLUSTER["retry"]))) + CLOCK_SKEW
    OrmQ.objects.filter(lock__gt=now + longest).update(lock=now)
    Schedule.objects.filter(next_run__gt=now + 2 * CLOCK_SKEW).update(next_run=now)
