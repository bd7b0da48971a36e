"""When the clock is set back, what was planned for later would wait for so much longer.

Loops notice it by the heartbeats that lie in the future, and bring their plans forward. A clock
that is set forward needs nothing: what is due early is only looked at early.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django_q.models import OrmQ, Schedule

from devices.models import Actor, CloudAccount, Node, OtaJob, State, audit
from devices.models.beat import CLOCK_SKEW


def installs_were_set_back(now: datetime, by: timedelta) -> None:
    """Bring forward what the installs loop waits for. Safe to repeat."""
    with transaction.atomic():
        audit.lock()
        OtaJob.objects.filter(next_poll_at__gt=now).update(next_poll_at=F("next_poll_at") - by)
        # a confirmation stays good for as long as was said, not for as long and the jump
        OtaJob.objects.filter(state=State.REQUESTED, expires_at__gt=now).update(
            expires_at=F("expires_at") - by
        )
        CloudAccount.objects.filter(resume_at__gt=now).update(resume_at=F("resume_at") - by)
        _wake_ups(now)
        audit.record(
            Actor.worker(),
            "clock.set_back",
            f"This server's clock was set back by {by.total_seconds():.0f} s; what was planned was "
            "brought forward by as much.",
            at=now,
        )


def chores_were_set_back(now: datetime, by: timedelta) -> None:
    """Bring forward what the chores loop waits for. Safe to repeat."""
    CloudAccount.objects.filter(next_sync_at__gt=now).update(next_sync_at=F("next_sync_at") - by)
    Node.objects.filter(next_check_at__gt=now).update(next_check_at=F("next_check_at") - by)
    _wake_ups(now)


def _wake_ups(now: datetime) -> None:
    """Let the queue go on: no task is locked for longer than its retry time, no schedule rests for
    more than its minute.
    """
    longest = timedelta(seconds=int(str(settings.Q_CLUSTER["retry"]))) + CLOCK_SKEW
    OrmQ.objects.filter(lock__gt=now + longest).update(lock=now)
    Schedule.objects.filter(next_run__gt=now + 2 * CLOCK_SKEW).update(next_run=now)
