"""Quarantine for calls that crash the worker.

The queue does not count attempts of a worker that crashed. So a loop stores which calls are in
flight before it starts them. The next holder of its lease finds the list unless the lease was
released. All calls on it become suspects, and suspects run one at a time: the next crash has at
most one of them, which shows which call is at fault.
"""

import logging
from collections.abc import Collection, Hashable
from datetime import datetime, timedelta
from typing import Any

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, CloudAccount, Node, OtaJob, audit
from devices.models.parsing import parse_pk
from devices.models.quarantine import Suspect
from devices.taskqueue.backoff import backoff

log = logging.getLogger(__name__)
SUSPEND_AFTER = 3
# The first quarantine lasts this long; each further one twice as long.
FIRST_SUSPENSION = timedelta(minutes=5)
LONGEST_SUSPENSION = timedelta(hours=6)
WORKER = Actor.worker()


def label(key: Hashable) -> str:
    """Return the key of a call as it is stored, such as "job:12"."""
    return ":".join(map(str, key)) if isinstance(key, tuple) else str(key)


def record_crash(loop: str, keys: Collection[str], now: datetime) -> None:
    """Count a crash of the loop for each call in flight; quarantine those with SUSPEND_AFTER.

    One that was in quarantine before and crashes the worker again goes back at once, for longer.
    """
    if not keys:
        return
    log.error(
        "%s: the worker crashed with these calls in flight: %s", loop, ", ".join(sorted(keys))
    )
    with audit_log.locked():
        for key in sorted(set(keys)):
            suspect, _ = Suspect.objects.select_for_update().get_or_create(
                loop=loop, key=key[:64], defaults={"died_at": now}
            )
            suspect.deaths += 1
            suspect.died_at = now
            if suspect.deaths >= SUSPEND_AFTER:
                _suspend(suspect, now)
            suspect.save()


def _suspend(suspect: Suspect, now: datetime) -> None:
    pause = backoff(suspect.times_parked, FIRST_SUSPENSION, LONGEST_SUSPENSION)
    suspect.parked_until = now + pause
    suspect.times_parked += 1
    what, about = _subject(suspect.key)
    audit_log.record(
        WORKER,
        AuditAction.WORKER_SET_ASIDE,
        f"The worker crashed {suspect.deaths} times during {what}: it is paused for "
        f"{round(pause.total_seconds() / 60)} minutes, and everything else continues.",
        outcome=audit.Outcome.FAILED,
        at=now,
        detail={"key": suspect.key, "deaths": suspect.deaths, "times": suspect.times_parked},
        **about,
    )


def _subject(key: str) -> tuple[str, dict[str, Any]]:
    kind, _, number = key.partition(":")
    pk = parse_pk(number) or 0
    job = OtaJob.objects.filter(pk=pk).first() if kind == "job" else None
    if job is not None:
        return f"the install of {job.to_version} on {job.hub_name}", {"job": job}
    node = Node.objects.filter(pk=pk).first() if kind == "node" else None
    if node is not None:
        return f"the check of {node}", {"node": node}
    account = CloudAccount.objects.filter(pk=pk).first() if kind == "account" else None
    if account is not None:
        return f"the hubs of an account at {account.cloud_host}", {"household": account.household}
    return key, {}
