"""Record the versions that hubs report, and why they changed."""

from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import F, Q
from django.urls import reverse

from devices.audit import log as audit_log
from devices.fleet.holds import review
from devices.models.audit import Actor
from devices.models.audit_action import AuditAction
from devices.models.install import LIVE, OtaJob, State
from devices.models.node import Node, OfferEnd, credible_time
from devices.models.notification import Topic
from devices.models.plan import wake_hubs
from devices.models.version_change import VersionCause, VersionChange
from devices.models.version_text import is_same_version
from devices.notifications.outbox import notify
from devices.rainmaker.schemas import Connectivity
from devices.taskqueue.wakeups import wake_installs

# A hub may retry on its own long after we stopped waiting for it.
LATE_WITHIN = timedelta(days=30)
# An earlier version that comes back within this time after a verified install is called a fallback.
FALLBACK_WITHIN = timedelta(days=7)
# So long a LOST install listens again once its version was seen.
LISTEN_AGAIN = timedelta(days=1)


def record_online(node: Node, answer: Connectivity, now: datetime) -> None:
    """Record whether the hub is online, when that is news. Its plans are looked at when it is back,
    once that is committed: who changes a plan locks it before its hub.
    """
    is_online = answer.is_connected
    if is_online is not None and is_online != node.is_online:
        changed_at = credible_time(answer.changed_at, now)
        node.touch(now, is_online=is_online, online_changed_at=changed_at)
        if is_online:
            transaction.on_commit(partial(_wake_plans, node.pk, now))


def _wake_plans(node_pk: int, now: datetime) -> None:
    if wake_hubs([node_pk], now):
        wake_installs()


def record_version(
    node: Node,
    version: str,
    now: datetime,
    *,
    asked_at: datetime | None = None,
    is_listed: bool = False,
) -> bool:
    """Record that the hub reported this version; True when that is news.

    Another spelling of the known version is not news. A change closes the offer it fulfils, asks
    for a fresh check, wakes the install it may prove, and is attributed to the install that
    explains it or else to an update outside this dashboard. An answer that was asked for before the
    known version was reported is old. No query when nothing changed.

    is_listed: the cloud's list of hubs says so, which may come from an old cache. When it names the
    version before the known one again, the next check asks for the hub's own config first.
    """
    if not version or version == node.fw_version or is_same_version(version, node.fw_version):
        return False
    with audit_log.locked():
        known = Node.objects.select_for_update().get(pk=node.pk)
        node.fw_version, node.fw_version_heard_at = known.fw_version, known.fw_version_heard_at
        before, heard_at = known.fw_version, known.fw_version_heard_at
        is_old = asked_at is not None and heard_at is not None and asked_at < heard_at
        if before == version or is_same_version(before, version) or is_old:
            return False
        if is_listed and _was_before(node, before, version):
            node.touch(now, doubted_version=version, next_check_at=now)
            return False
        if before:
            cause, explaining = _cause(node, before, version, now)
            # another household may have installed it on a shared hub: that stays theirs
            job = explaining if explaining and explaining.node_id == node.pk else None
            audit_log.record(
                Actor.worker(),
                AuditAction(f"version.{cause}"),
                _sentence(cause, node, before, version),
                household=node.account.household,
                node=node,
                job=job,
                at=now,
                detail={"from_version": before, "to_version": version},
            )
            node.touch(now, fw_version=version, fw_version_heard_at=now, next_check_at=now)
            if wake_hubs([node.pk], now):
                wake_installs()
            if explaining is not None:
                _ask_again(explaining, now)
            if job is not None:
                _mark(job, cause, now)
        else:
            job, cause = None, VersionCause.FIRST
            node.touch(now, fw_version=version, fw_version_heard_at=now)
        VersionChange.objects.create(
            node=node, from_version=before, to_version=version, at=now, cause=cause, job=job
        )
        for offer in node.offers.filter(ended_at__isnull=True):
            if is_same_version(offer.fw_version, version):
                offer.ended_at, offer.end_reason = now, OfferEnd.INSTALLED
            offer.is_step_back = offer.is_older_than(version)
            offer.save(update_fields=["ended_at", "end_reason", "is_step_back"])
    return True


def _was_before(node: Node, known: str, version: str) -> bool:
    """Did the hub report this version last before the known one?"""
    last = node.version_changes.order_by("-at", "-pk").first()
    return last is not None and (
        is_same_version(last.to_version, known) and is_same_version(last.from_version, version)
    )


def _cause(
    node: Node, before: str, version: str, now: datetime
) -> tuple[VersionCause, OtaJob | None]:
    """Return why the version changed, and the install that explains it. One or two queries."""
    # also one whose push was refused: a refusal may come from a gateway that had passed it on
    sent = OtaJob.objects.filter(
        cloud_host=node.account.cloud_host,
        cloud_node_id=node.node_id,
        pushes__gt=0,
        requested_at__gte=now - LATE_WITHIN,
    ).order_by("-requested_at")
    jobs = list(sent[:50])
    newest = jobs[0] if jobs else None
    if (
        newest is not None
        and newest.state == State.VERIFIED
        and newest.ended_at is not None
        and now - newest.ended_at <= FALLBACK_WITHIN
        and is_same_version(newest.from_version, version)
        and is_same_version(newest.to_version, before)
    ):
        return VersionCause.FALLBACK, newest
    job = next((one for one in jobs if is_same_version(one.to_version, version)), None)
    if job is None:
        live = next((one for one in jobs if one.state in LIVE), None)
        return (VersionCause.DURING, live) if live else (VersionCause.OUTSIDE, None)
    if job.state in LIVE or job.state == State.LOST or job.fell_back_at is not None:
        return VersionCause.INSTALL, job
    if job.state != State.VERIFIED:
        return VersionCause.LATE, job
    # a second account on the same hub learns of it later; known already, it came from outside
    known = node.version_changes.filter(at__gte=job.requested_at).values_list(
        "to_version", flat=True
    )
    is_known = any(is_same_version(one, version) for one in known)
    return VersionCause.OUTSIDE if is_known else VersionCause.INSTALL, job


def _ask_again(job: OtaJob, now: datetime) -> None:
    """Ask at once about an install that this version may prove, also one that was given up."""
    sleeping = OtaJob.objects.filter(
        Q(next_poll_at=None) | Q(next_poll_at__gt=now), pk=job.pk, is_latest=True
    )
    woken = sleeping.filter(state__in=sorted(LIVE - {State.REQUESTED})).update(next_poll_at=now)
    woken += sleeping.filter(state=State.LOST).update(
        next_poll_at=now, listen_until=now + LISTEN_AGAIN
    )
    if woken:
        wake_installs()


def _mark(job: OtaJob, cause: VersionCause, now: datetime) -> None:
    """Keep with an install that has ended what its hub reports since then; notify of a fallback."""
    changes: dict[str, datetime | None] = {}
    if cause == VersionCause.FALLBACK:
        changes |= {"fell_back_at": now, "seen_at": None}
    elif cause == VersionCause.LATE and job.arrived_late_at is None:
        changes["arrived_late_at"] = now
    elif cause == VersionCause.INSTALL and job.fell_back_at is not None:
        changes["fell_back_at"] = None
    if not changes:
        return
    OtaJob.objects.filter(pk=job.pk).update(**changes, revision=F("revision") + 1)
    job.refresh_from_db(fields=list(changes))
    review(job, now)
    if cause != VersionCause.FALLBACK:
        return
    notify(
        Topic.FAILED,
        household=job.household,
        path=reverse("install", args=[job.pk]),
        now=now,
        job=job,
        hub=job.hub_name,
        to_version=job.to_version,
    )


def _sentence(cause: VersionCause, node: Node, before: str, version: str) -> str:
    return {
        VersionCause.INSTALL: f"{node} now reports {version} instead of {before}.",
        VersionCause.LATE: (
            f"{node} now reports {version} instead of {before}, after its install was given up."
        ),
        VersionCause.DURING: (
            f"{node} reports {version} instead of {before} while another version is installed."
        ),
        VersionCause.FALLBACK: (
            f"{node} reports {version} again; the install of {before} had been verified."
        ),
        VersionCause.OUTSIDE: (
            f"{node} was updated outside this dashboard: {version} instead of {before}."
        ),
    }[cause]
