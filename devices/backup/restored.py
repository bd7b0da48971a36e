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
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from devices.backup import CannotKeep
from devices.backup.archive import Manifest
from devices.models import (
    AccountState,
    Actor,
    Batch,
    BatchItem,
    BatchState,
    Beat,
    CloudAccount,
    Delivery,
    ItemState,
    Node,
    OtaJob,
    Proposal,
    ProposalState,
    Report,
    State,
    Unsealable,
    audit,
)
from devices.models.account import unseal
from devices.models.proposal import UNDECIDED


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of what was live in the backup."""

    asked: int
    """Confirmations that may have been sent since: never sent again, the cloud is asked."""
    followed: int
    """Installs that go on being followed."""
    dropped: int
    """Hubs that waited in a queue, for an answer or for the night, and may have had their turn."""


def settle(manifest: Manifest, actor: Actor, detail: dict[str, Any]) -> Settled:
    """Make what the backup holds safe to go on from, and record the restore. One transaction."""
    now = timezone.now()
    with transaction.atomic():
        audit.lock()
        waiting = OtaJob.objects.filter(state__in=[State.REQUESTED, State.PUSHING])
        asked = 0
        for job in waiting.select_related("node__account__household", "household"):
            _ask_first(job, actor, now)
            asked += 1
        dropped = _drop_what_waits(now) + _end_proposals()
        # it may have been sent since the backup was made
        Delivery.waiting().update(dropped_at=now)
        listening = OtaJob.objects.filter(next_poll_at__isnull=False, restored_at=None)
        followed = listening.update(restored_at=now, next_poll_at=now, answered_at=None)
        _look_again(now)
        audit.record(
            actor,
            "backup.restored",
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
        audit.record(actor, "install.asked_after_restore", words, job=job, at=now)
        return
    known = _last_known_word(job)
    if known is not None:
        void |= {
            "baseline_word": known.word,
            "baseline_timestamp": known.raw_timestamp,
            "baseline_info": known.info,
        }
    job.move_to(State.PUSHING, actor=actor, note=words, now=now, claimed_at=now, **void)


def _last_known_word(job: OtaJob) -> Report | None:
    """Return what the cloud had said of this cloud job before it was confirmed this time."""
    earlier = Report.objects.filter(
        job__cloud_host=job.cloud_host,
        job__cloud_node_id=job.cloud_node_id,
        job__ota_job_id=job.ota_job_id,
    )
    return earlier.exclude(job=job).order_by("-last_heard_at", "-pk").first()


def _drop_what_waits(now: datetime) -> int:
    """End what waits in queues, also in stopped ones that could be let go on; return how many."""
    open_ = Batch.objects.filter(state__in=[BatchState.RUNNING, BatchState.STOPPED])
    waiting = BatchItem.objects.filter(batch__in=open_, state=ItemState.WAITING)
    words = "This server was restored; it may have been started since the backup was made."
    dropped = waiting.update(state=ItemState.DROPPED, reason=words, settled_at=now)
    open_.update(expires_at=now, revision=F("revision") + 1, why_stopped=words)
    return dropped


def _end_proposals() -> int:
    """End what waited for an answer or for the night: it may have been answered and installed."""
    waiting = Proposal.objects.filter(state__in=UNDECIDED)
    return waiting.update(state=ProposalState.RESTORED, next_try_at=None)


def _look_again(now: datetime) -> None:
    """Let everything that may have changed since the backup be asked about now."""
    linked = CloudAccount.objects.filter(state=AccountState.LINKED)
    linked.update(next_sync_at=now, sync_cursor="", resume_at=None, failures=0)
    Node.objects.filter(gone_at__isnull=True).touch_all(now, next_check_at=now)
    Session.objects.all().delete()  # who was signed out or left since must not be back
    OrmQ.objects.all().delete()
    Schedule.objects.update(next_run=now)
    Beat.objects.update(holder="", held_until=None, beat_at=None)


def require_keys() -> None:
    """Raise CannotKeep unless this server's keys open what the backup holds."""
    sealed = CloudAccount.objects.exclude(sealed_refresh_token="").values_list(
        "sealed_refresh_token", flat=True
    )
    try:
        for secret in sealed[:1]:
            unseal(secret)
    except Unsealable as problem:
        raise CannotKeep(
            "The linked cloud accounts in this backup cannot be opened with the ENCRYPTION_KEYS of "
            "this server's environment: take that setting away, so that the backup's own keys "
            "count, or set it to theirs."
        ) from problem
