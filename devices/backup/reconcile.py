"""What a restored installation may still believe.

A backup is older than the truth: what it knows as confirmed may have been sent since, and a second
push is the one thing that must not happen. So no confirmation from before a restore is ever sent.
What it may have led to is asked of the cloud, exactly as after a push whose answer was lost; only
the cloud's own word that nothing was sent ends it as unsent.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task

from devices.audit import log as audit_log
from devices.backup import CannotKeep
from devices.backup.archive import Manifest
from devices.installs.lifecycle import move_to
from devices.models import (
    AccountState,
    Actor,
    AuditAction,
    BackupRun,
    Batch,
    BatchState,
    Beat,
    CloudAccount,
    Delivery,
    DropReason,
    Node,
    OtaJob,
    Plan,
    PlanState,
    Proposal,
    ProposalState,
    PushDevice,
    Report,
    State,
)
from devices.models.message import Message, MessageCode
from devices.models.proposal import UNDECIDED
from devices.security import key_marks
from devices.security.encryption import DecryptionError, decrypt
from devices.taskqueue.allow_list import keep_schedules


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of what was live in the backup."""

    asked: int
    """Confirmations that may have been sent since: never sent again, the cloud is asked."""
    followed: int
    """Installs that go on being followed."""
    dropped: int
    """Hubs with a plan or an open proposal, which may have had their turn."""


def settle(manifest: Manifest, actor: Actor, detail: dict[str, Any]) -> Settled:
    """Make what the backup holds safe to go on from, and record the restore. One transaction."""
    now = timezone.now()
    with audit_log.locked():
        waiting = OtaJob.objects.filter(state__in=[State.REQUESTED, State.PUSHING])
        asked = 0
        for job in waiting.select_related("node__account__household", "household"):
            _ask_first(job, actor, now)
            asked += 1
        dropped = _drop_what_waits(now)
        # it may have been sent since the backup was made
        Delivery.waiting().update(dropped_at=now)
        listening = OtaJob.objects.filter(next_poll_at__isnull=False, restored_at=None)
        followed = listening.update(restored_at=now, next_poll_at=now, answered_at=None)
        _look_again(now)
        key_marks.keep_newest()  # the keys that came with the backup, or were checked against it
        audit_log.record(
            actor,
            AuditAction.BACKUP_RESTORED,
            f"{actor.name} restored this server from a backup made at "
            f"{manifest.made_at:%Y-%m-%d %H:%M:%S} UTC. What happened after that is not in it.",
            at=now,
            detail={
                "made_at": manifest.made_at.isoformat(),
                "made_by_version": manifest.version,
                "backup_audit_sequence": manifest.audit_sequence,
                "asked_first": asked,
                "followed_on": followed,
                "dropped_from_queues": dropped,
                **detail,
            },
        )
    return Settled(asked, followed, dropped)


def _ask_first(job: OtaJob, actor: Actor, now: datetime) -> None:
    void: dict[str, Any] = {
        "restored_at": now,
        "expires_at": min(job.expires_at, now),
        "push_unknown": True,
        "unsent_answers": 0,
        "answered_at": None,
        "quiet_s": 0,
        "watched_s": 0,
        "settled_s": 0,
        "next_poll_at": now,
    }
    words = (
        f"{job.hub_name}: restored from a backup. The confirmation of {job.to_version} may have "
        "been sent since the backup was made; it is never sent again, and the cloud is asked."
    )
    if job.state == State.PUSHING:
        job.note(now, **void)
        audit_log.record(actor, AuditAction.INSTALL_ASKED_AFTER_RESTORE, words, job=job, at=now)
        return
    known = _last_known_word(job)
    if known is not None:
        void |= {
            "baseline_word": known.word,
            "baseline_timestamp": known.raw_timestamp,
            "baseline_info": known.info,
        }
    move_to(job, State.PUSHING, actor=actor, note=words, now=now, claimed_at=now, **void)


def _last_known_word(job: OtaJob) -> Report | None:
    """Return the cloud's report of this cloud job from before this confirmation."""
    earlier = Report.objects.filter(
        job__cloud_host=job.cloud_host,
        job__cloud_node_id=job.cloud_node_id,
        job__ota_job_id=job.ota_job_id,
    )
    return earlier.exclude(job=job).order_by("-last_heard_at", "-pk").first()


def _drop_what_waits(now: datetime) -> int:
    """End the plans, also those of stopped queues, and the proposals without an answer; return how
    many hubs that was.
    """
    why = Message.of(MessageCode.RESTORED)
    open_ = Batch.objects.filter(state__in=[BatchState.RUNNING, BatchState.STOPPED])
    open_.update(revision=F("revision") + 1, why_stopped=why)
    planned = Plan.objects.waiting().update(
        state=PlanState.DROPPED,
        drop_reason=DropReason.RESTORED,
        reason=why,
        ended_at=now,
        next_look_at=None,
        waits_for="",
    )
    undecided = Proposal.objects.filter(state__in=UNDECIDED)
    unanswered = undecided.filter(plan=None).count()
    undecided.update(state=ProposalState.RESTORED)
    return planned + unanswered


def _look_again(now: datetime) -> None:
    """Let everything that may have changed since the backup be asked about now."""
    linked = CloudAccount.objects.filter(state=AccountState.LINKED)
    linked.update(next_sync_at=now, sync_cursor="", resume_at=None, failures=0)
    Node.objects.filter(gone_at__isnull=True).touch_all(now, next_check_at=now)
    # who was signed out or left since must not be back, nor get messages on a device
    Session.objects.all().delete()
    PushDevice.objects.all().delete()
    # a backup may hold rows that were put there: the queue is empty and the schedule ours
    for model in (OrmQ, Schedule, Task):
        model.objects.all().delete()
    keep_schedules()
    Beat.objects.update(holder="", held_until=None, beat_at=None)
    BackupRun.objects.filter(ended_at=None).delete()  # such as the one that made this backup


def require_keys() -> None:
    """Raise CannotKeep unless this server's keys open what the backup holds."""
    sealed = CloudAccount.objects.exclude(sealed_refresh_token="").values_list(
        "sealed_refresh_token", flat=True
    )
    try:
        for secret in sealed[:1]:
            decrypt(secret)
    except DecryptionError as problem:
        raise CannotKeep(
            "The linked cloud accounts in this backup cannot be opened with the ENCRYPTION_KEYS of "
            "this server's environment: take that setting away, so that the backup's own keys "
            "count, or set it to theirs."
        ) from problem
