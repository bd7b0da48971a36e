"""What the audit trail needs every day: its head put outside, itself verified, what is too old
pruned. Each part may be cut off at any time and is found again as due.
"""

import logging
import os
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from django.conf import settings
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.db.models import Min

from devices.chain import Place, Verification, daily_head, verify
from devices.models import (
    LIVE,
    Actor,
    AuditCheck,
    AuditCheckpoint,
    AuditEvent,
    OtaJob,
    Outcome,
    State,
    audit,
)
from devices.models.audit import checkpoint_seal

log = logging.getLogger(__name__)

DAILY = timedelta(days=1)
VERIFY_AT_ONCE = 20_000
PRUNE_AT_ONCE = 2_000


class NotIntact(Exception):
    """What was to be pruned does not verify: it stays, as evidence."""


def keep_trail(now: datetime, *, limit_s: float = 60) -> None:
    """Do what is due, for limit_s at most; the rest is done the next time."""
    by = monotonic() + limit_s
    put_head_outside(now)
    try:
        while prune(now) and monotonic() < by:
            pass
    except NotIntact as problem:
        log.error("nothing was pruned: %s", problem)
    verify_in_parts(now, by)


def remember(found: Verification, now: datetime) -> None:
    """Keep what verifying the whole trail found, for the pages; news of tampering is recorded."""
    with transaction.atomic():
        audit.lock()
        check = AuditCheck.load()
        words = "" if found.is_intact else found.sentence
        if words and words != check.finding:
            _record_finding(found)
        check.verified_at, check.verified_sequence = now, found.reached.sequence
        check.finding, check.cursor, check.cursor_digest = words, 0, ""
        check.save()


def _record_finding(found: Verification) -> None:
    try:
        with transaction.atomic():
            audit.record(
                Actor.worker(),
                "trail.tampered",
                f"The audit trail does not verify: {found.sentence}",
                outcome=Outcome.FAILED,
                detail={"findings": [finding.sentence for finding in found.findings]},
            )
    except IntegrityError:
        # a row was put in behind the head: nothing can be recorded until it is gone
        log.exception("what was found could not be recorded")


def verify_in_parts(now: datetime, by: float) -> None:
    """Verify the trail once a day, a part after the other until `by`."""
    check = AuditCheck.load()
    is_under_way = bool(check.cursor_digest)
    if not is_under_way and check.verified_at is not None and now - check.verified_at < DAILY:
        return
    at = Place(check.cursor, check.cursor_digest) if is_under_way else None
    while True:
        found = verify(heads=_heads_outside(), after=at, limit=VERIFY_AT_ONCE)
        if found.is_whole or not found.is_intact:
            if not found.is_intact:
                log.error("the audit trail does not verify: %s", found.sentence)
            remember(found, now)
            return
        at = found.reached
        AuditCheck.objects.filter(pk=1).update(cursor=at.sequence, cursor_digest=at.digest)
        if monotonic() >= by:
            return


def _heads_outside() -> list[str]:
    if not settings.AUDIT_HEADS_FILE:
        return []
    try:
        return Path(settings.AUDIT_HEADS_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as problem:
        log.warning("the heads kept outside cannot be read: %s", problem)
        return []


def put_head_outside(now: datetime) -> None:
    """Append the head to AUDIT_HEADS_FILE and mail it to AUDIT_HEADS_MAIL, once a day each."""
    check = AuditCheck.load()
    troubles = []
    if settings.AUDIT_HEADS_FILE and _is_due(check.head_written_at, now):
        try:
            _append(Path(settings.AUDIT_HEADS_FILE), daily_head())
            AuditCheck.objects.filter(pk=1).update(head_written_at=now)
        except OSError as problem:
            troubles.append(f"The daily head could not be written: {problem.strerror}.")
    if settings.AUDIT_HEADS_MAIL and _is_due(check.head_mailed_at, now):
        try:
            _mail(daily_head(), now)
            AuditCheck.objects.filter(pk=1).update(head_mailed_at=now)
        except OSError as problem:
            troubles.append(f"The daily head could not be mailed: {type(problem).__name__}.")
    words = " ".join(troubles)[:300]
    if words != check.head_trouble:
        AuditCheck.objects.filter(pk=1).update(head_trouble=words)
    for trouble in troubles:
        log.warning("%s", trouble)


def _is_due(last: datetime | None, now: datetime) -> bool:
    return last is None or now - last >= DAILY


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
        "With all such lines in one file, `manage.py verify_audit --heads FILE` finds a trail "
        "that was cut or written anew, even by someone who holds its key.\n",
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
    with transaction.atomic():
        audit.lock()
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
        audit.record(
            Actor.worker(),
            "trail.pruned",
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
