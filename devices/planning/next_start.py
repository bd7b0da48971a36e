"""When a waiting plan may start next, as far as times alone decide."""

from dataclasses import dataclass
from datetime import datetime

from devices.models import Plan, When


@dataclass(frozen=True, slots=True)
class Start:
    """From when on a plan may start, and until when."""

    begins_at: datetime
    ends_at: datetime
    is_any_time: bool = False
    """No time was chosen: it starts as soon as the hub is ready."""


def next_start(plan: Plan, now: datetime) -> Start | None:
    """Return when a plan may start next; None when it expires before that, or while it waits for
    the end of winter.
    """
    if plan.is_put_aside(plan.household):
        return None
    window = plan.window
    if window is not None:
        begins_at, ends_at = window.times(max(now, plan.not_before))
    elif plan.when == When.AT:
        begins_at, ends_at = plan.not_before, plan.expires_at
    else:
        start = Start(max(now, plan.not_before), plan.expires_at, is_any_time=True)
        return start if start.begins_at < start.ends_at else None
    ends_at = min(ends_at, plan.expires_at)
    return Start(begins_at, ends_at) if max(now, begins_at) < ends_at else None
