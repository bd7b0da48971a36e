"""The daily upkeep of the audit trail: publish its head, prune old entries, verify it.

Each part may be interrupted at any time and is due again the next time.
"""

import json
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from django.conf import settings
from django.core.cache import cache
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.db.models import Min
from django.utils import timezone

from devices.audit import log as audit_log
from devices.audit import marks
from devices.audit.log import checkpoint_seal
from devices.audit.verification import Place, Verification, daily_head, verify
from devices.models import (
    LIVE,
    Actor,
    AuditAction,
    AuditCheck,
    AuditCheckpoint,
    AuditEvent,
    OtaJob,
    Outcome,
    State,
)
from devices.models.message import Message, MessageCode

log = logging.getLogger(__name__)
DAILY = timedelta(days=1)
VERIFY_AT_ONCE = 20_000
PRUNE_AT_ONCE = 2_000
_RESULT = "trail:result"
# So far the clocks of servers may be apart.
AHEAD = timedelta(minutes=10)


class NotIntact(Exception):
    """The rows to prune do not verify: they stay, as evidence."""


def _always() -> bool:
    return True


def run_due(now: datetime, *, limit_s: float = 60, may_go_on: Callable[[], bool] = _always) -> None:
    """Do what is due, for limit_s at most; the rest is left for the next time.

    may_go_on: asked between two parts, a few seconds apart.
    """
    by = monotonic() + limit_s

    def has_time() -> bool:
        return monotonic() < by and may_go_on()

    publish_head(now)
    try:
        while prune(now) and has_time():
            pass
    except NotIntact as problem:
        log.error("nothing was pruned: %s", problem)
    verify_in_parts(now, has_time)


def remember(found: Verification, now: datetime) -> None:
    """Store what verifying the whole trail found, for the page; record a new finding."""
    with audit_log.locked():
        check = AuditCheck.load()
        words = "" if found.is_intact else found.sentence
        if words and words != check.finding:
            _record_finding(found)
        check.verified_at, check.verified_sequence = now, found.reached.sequence
        check.proven_sequence, check.proven_by = found.proven_sequence, found.proven_by
        check.finding = words
        check.save()
    _cursor_file().unlink(missing_ok=True)
    cache.set(_RESULT, _result_seal(check), None)
    if found.is_intact and found.is_whole:
        marks.thin_out(found.reached.sequence)


def is_own(check: AuditCheck) -> bool:
    """Did this server store this result? Anybody with the database can write one."""
    return bool(cache.get(_RESULT) == _result_seal(check))


def _result_seal(check: AuditCheck) -> str:
    at = audit_log.moment_text(check.verified_at) if check.verified_at is not None else ""
    proven = (check.proven_sequence, check.proven_by)
    return audit_log.keyed("check", at, check.verified_sequence, *proven, check.finding)


def _record_finding(found: Verification) -> None:
    try:
        with transaction.atomic():
            audit_log.record(
                Actor.worker(),
                AuditAction.TRAIL_TAMPERED,
                f"The audit trail does not verify: {found.sentence}",
                outcome=Outcome.FAILED,
                detail={"findings": [finding.sentence for finding in found.findings]},
            )
    except IntegrityError:
        # a row after the head has the next position: nothing can be recorded until it is gone
        log.exception("the finding could not be recorded")


def verify_in_parts(now: datetime, has_time: Callable[[], bool]) -> None:
    """Verify the trail once a day and when asked to, a part after the other while there is time."""
    check = AuditCheck.load()
    at = _cursor()
    is_known = is_own(check) and not _is_due(check.verified_at, now)
    if at is None and is_known and not check.is_requested:
        return
    while True:
        found = verify(heads=_heads_outside(), after=at, limit=VERIFY_AT_ONCE)
        if found.is_whole or not found.is_intact:
            if not found.is_intact:
                log.error("the audit trail does not verify: %s", found.sentence)
            remember(found, now)
            return
        at = found.reached
        _cursor_file().parent.mkdir(parents=True, exist_ok=True)
        _cursor_file().write_text(json.dumps([at.sequence, at.digest, now.timestamp()]))
        if not has_time():
            return


def _cursor_file() -> Path:
    """Return where this machine keeps how far it has verified: not in the database or a cache that
    may be one, where a cursor behind a changed row would hide it.
    """
    return Path(settings.DATA_DIR) / "run" / "trail-cursor.json"


def _cursor() -> Place | None:
    """Return the place that this machine has verified up to; None: start at the beginning."""
    try:
        sequence, digest, written_at = json.loads(_cursor_file().read_text())
        is_fresh = abs(timezone.now().timestamp() - written_at) < DAILY.total_seconds()
        return Place(int(sequence), str(digest)) if is_fresh else None
    except (OSError, ValueError, TypeError):
        return None


def _heads_outside() -> list[str]:
    if not settings.AUDIT_HEADS_FILE:
        return []
    try:
        return Path(settings.AUDIT_HEADS_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as problem:
        log.warning("the file of heads cannot be read: %s", problem)
        return []


def publish_head(now: datetime) -> None:
    """Append the head to AUDIT_HEADS_FILE and mail it to AUDIT_HEADS_MAIL, once a day each."""
    check = AuditCheck.load()
    troubles = []
    if settings.AUDIT_HEADS_FILE and _is_due(check.head_written_at, now):
        try:
            _append(Path(settings.AUDIT_HEADS_FILE), daily_head())
            AuditCheck.objects.filter(pk=1).update(head_written_at=now)
        except OSError as problem:
            troubles.append(
                Message.of(MessageCode.HEAD_NOT_WRITTEN, problem=problem.strerror or "")
            )
    if settings.AUDIT_HEADS_MAIL and _is_due(check.head_mailed_at, now):
        try:
            _mail(daily_head(), now)
            AuditCheck.objects.filter(pk=1).update(head_mailed_at=now)
        except OSError as problem:
            troubles.append(Message.of(MessageCode.HEAD_NOT_MAILED, problem=type(problem).__name__))
    found = Message.join(troubles)
    if found != check.head_trouble:
        AuditCheck.objects.filter(pk=1).update(head_trouble=found)
    for trouble in troubles:
        log.warning("%s", trouble.english)


def _is_due(last: datetime | None, now: datetime) -> bool:
    """Is it a day ago, or in the future, where only a wrong clock or hand has put it?"""
    return last is None or now - last >= DAILY or last - now > AHEAD


def _append(path: Path, line: str) -> None:
    """Append in one write, so that a line is there whole or not at all, and survives a crash."""
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.write(number, f"{line}\n".encode())
        os.fsync(number)
    finally:
        os.close(number)


def _mail(line: str, now: datetime) -> None:
    send_mail(
        f"Head of the audit trail, {now:%Y-%m-%d}",
        f"Keep this line in a file outside of the server:\n\n{line}\n\n"
        "With all such lines in one file, `manage.py verify_audit --heads FILE` shows entries that "
        "were removed or replaced, even with the audit key.\n",
        None,
        list(settings.AUDIT_HEADS_MAIL),
    )


def prune(now: datetime, *, keep_days: int | None = None) -> int:
    """Delete the oldest rows that are older than AUDIT_KEEP_DAYS, some thousand at once, and
    leave a sealed checkpoint in their place; return how many went. Call it again until it is 0.

    Rows of installs that are under way stay, and with them all that came later. Raises NotIntact
    when the rows do not verify: a checkpoint must not wash away what was done to them.
    """
    keep_days = settings.AUDIT_KEEP_DAYS if keep_days is None else keep_days
    if not keep_days:
        return 0
    with audit_log.locked():
        oldest = AuditEvent.objects.order_by("sequence")
        too_old = oldest.values_list("sequence", "digest", "at")[:PRUNE_AT_ONCE]
        stop = _first_of_live_installs()
        before = now - timedelta(days=keep_days)
        last: tuple[int, str] | None = None
        rows = 0
        for sequence, digest, at in too_old:
            if at >= before or (stop is not None and sequence >= stop):
                break
            last, rows = (sequence, digest), rows + 1
        if last is None:
            return 0
        place = Place(*last)
        found = verify(limit=rows)
        if found.reached != place or not found.is_intact:
            raise NotIntact(found.sentence)
        earlier = AuditCheckpoint.latest()
        total = rows + (earlier.rows if earlier else 0)
        AuditCheckpoint.objects.create(
            sequence=place.sequence,
            digest=place.digest,
            at=now,
            rows=total,
            seal=checkpoint_seal(place.sequence, place.digest, total, now),
        )
        AuditEvent.objects.filter(sequence__lte=place.sequence).delete()
        audit_log.record(
            Actor.worker(),
            AuditAction.TRAIL_PRUNED,
            f"{rows} audit rows older than {keep_days} days were pruned; a sealed checkpoint at "
            f"no. {place.sequence} takes their place.",
            why=f"AUDIT_KEEP_DAYS={keep_days}",
            at=now,
            detail={"rows": rows, "up_to": place.sequence, "digest": place.digest},
        )
    return rows


def _first_of_live_installs() -> int | None:
    live = OtaJob.objects.filter(state__in=sorted(LIVE)) | OtaJob.objects.filter(
        state=State.LOST, next_poll_at__isnull=False
    )
    found = AuditEvent.objects.filter(job_id__in=live.values("pk"))
    first: int | None = found.aggregate(first=Min("sequence"))["first"]
    return first
