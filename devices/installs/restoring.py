"""Put a hub's settings back to those before an install: when a person asks, in one write."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils.translation import gettext

from devices.accounts.failures import record_failure
from devices.audit import log as audit_log
from devices.explanations.cloud_messages import TroubleCode
from devices.explanations.error_codes import error_code
from devices.fleet.settings_kept import differences
from devices.models import Actor, AuditAction, OtaJob, Outcome, database_clock
from devices.rainmaker.errors import CloudError
from devices.taskqueue.wakeups import wake_sync

# What the worker has not written by then is not written any more: `expire` ends the wish.
ASKED_FOR = timedelta(minutes=10)
# Hubs stop answering under rapid calls (pythermacell spaces its commands, its tests wait 10 s).
SPACED = timedelta(seconds=30)
# Switching the repellent on is left to people who are there; a refill cannot be put back.
WRITABLE = {"name": "Name", "led_brightness": "LED Brightness", "led_hue": "LED Hue"}


class RestoreError(Exception):
    """Nothing is written. str() is a sentence for the person."""


def what_to_write(job: OtaJob) -> dict[str, Any]:
    """Return the parameters that put back what differs, as the cloud takes them; {} for nothing."""
    was, now = job.settings_before or {}, job.settings_after or {}
    changed = differences(was, now)
    body: dict[str, Any] = {}
    if device := {param: was[name] for name, param in WRITABLE.items() if name in changed}:
        body["LIV Hub"] = device
    if "schedules" in changed and (operations := _operations(was["schedules"], now["schedules"])):
        body["Schedule"] = {"Schedules": operations}
    return body


def _operations(before: list[Any], after: list[Any]) -> list[dict[str, Any]]:
    """Return what adds the schedules that are missing and corrects those that differ."""
    there = {one["id"]: one for one in after if isinstance(one, dict) and "id" in one}
    return [
        one | {"operation": "edit" if one["id"] in there else "add"}
        for one in before
        if isinstance(one, dict) and "id" in one and there.get(one["id"]) != one
    ]


def why_not(job: OtaJob, now: datetime) -> str:
    """Return why the settings cannot be put back now; "" when they can. Two queries."""
    if not what_to_write(job):
        return gettext("There is nothing to put back.")
    if not job.is_latest or job.is_live:
        return gettext("There is a later install on this hub.")
    if is_asked(job, now) or (job.put_back_at is not None and now - job.put_back_at < SPACED):
        return gettext("This was asked for a moment ago.")
    node = job.node
    if node.gone_at is not None or not node.account.is_linked or node.is_online is False:
        return gettext("The hub cannot be reached now.")
    return ""


def is_asked(job: OtaJob, now: datetime) -> bool:
    """Is a person's wish still to be carried out?"""
    return job.put_back_asked_at is not None and now - job.put_back_asked_at < ASKED_FOR


def ask(job: OtaJob, *, actor: Actor, now: datetime | None = None) -> None:
    """Have the worker put the settings back. Raises RestoreError."""
    now = now or database_clock.now()
    if problem := why_not(job, now):
        raise RestoreError(problem)
    with audit_log.locked():
        _change(job, now, put_back_asked_at=now, put_back_by_name=actor.name, put_back_trouble="")
        words = f"{actor.name} had the settings of {job.hub_name} put back."
        _record(job, actor, AuditAction.INSTALL_PUT_BACK_ASKED, words, now, what_to_write(job))
        wake_sync()


def written(job: OtaJob, now: datetime) -> None:
    """Store that the cloud took them; the next reading shows whether the hub did."""
    with audit_log.locked():
        done: dict[str, Any] = {"put_back_asked_at": None, "put_back_trouble": ""}
        _change(job, now, **done, put_back_at=now, settings_after_at=None)
        words = f"The cloud took the settings of {job.hub_name} as they were before the install."
        _record(job, Actor.worker(), AuditAction.INSTALL_PUT_BACK, words, now)


def not_written(job: OtaJob, problem: CloudError, now: datetime) -> None:
    """Store why they were not written. It is not tried again unless a person asks."""
    record_failure(job.node.account, problem, now, hub=job.node)
    with audit_log.locked():
        _failed(job, error_code(problem), str(problem), now)


def expire(now: datetime) -> None:
    """End the wishes that could not be carried out in time. Safe to repeat; one query while there
    are none.
    """
    too_old = OtaJob.objects.filter(put_back_asked_at__lte=now - ASKED_FOR)
    for pk in list(too_old.values_list("pk", flat=True)):
        with audit_log.locked():
            rows = too_old.select_related("node__account__household", "household")
            if (job := rows.filter(pk=pk).first()) is not None:
                _failed(job, TroubleCode.TOO_LATE, "it was not possible within ten minutes", now)


def _failed(job: OtaJob, trouble: TroubleCode, why: str, now: datetime) -> None:
    _change(job, now, put_back_asked_at=None, put_back_trouble=trouble)
    words = f"The settings of {job.hub_name} could not be put back: {why}"
    _record(job, Actor.worker(), AuditAction.INSTALL_PUT_BACK, words, now, outcome=Outcome.FAILED)


def _change(job: OtaJob, now: datetime, **changes: Any) -> None:
    OtaJob.objects.filter(pk=job.pk).update(revision=F("revision") + 1, **changes)
    job.node.touch(now)


def _record(
    job: OtaJob,
    actor: Actor,
    action: AuditAction,
    words: str,
    now: datetime,
    detail: dict[str, Any] | None = None,
    outcome: Outcome = Outcome.DONE,
) -> None:
    why = f"role {actor.role}" if actor.user_id else "a person asked"
    audit_log.record(
        actor, action, words, job=job, at=now, why=why, outcome=outcome, detail=detail or {}
    )
