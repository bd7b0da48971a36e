"""The versions a hub has reported, and what is known of the cause of each change."""

from datetime import datetime, timedelta

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models import audit
from devices.models.audit import Actor
from devices.models.node import Node, OfferEnd
from devices.models.ota import LIVE, UNSENT, OtaJob, State

# A hub may go on trying by itself long after we stopped waiting for it.
LATE_WITHIN = timedelta(days=30)


class VersionCause(models.TextChoices):
    FIRST = "first", gettext_lazy("First seen")
    INSTALL = "install", gettext_lazy("Installed from this dashboard")
    LATE = "late", gettext_lazy("Arrived after we had stopped waiting")
    OUTSIDE = "outside", gettext_lazy("Updated outside this dashboard")


class VersionChange(models.Model):
    """One change of the version a hub reports, and what is known of its cause."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="version_changes")
    from_version = models.CharField(max_length=64, blank=True)
    to_version = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)
    cause = models.CharField(max_length=8, choices=VersionCause.choices)
    job = models.ForeignKey(OtaJob, null=True, blank=True, on_delete=models.SET_NULL)

    class Meta:
        indexes = [models.Index(fields=["node", "-at"], name="version_by_hub")]

    def __str__(self) -> str:
        return f"{self.from_version} to {self.to_version}"


def hear_version(
    node: Node, version: str, now: datetime, *, asked_at: datetime | None = None
) -> bool:
    """Record that the hub reported this version; True when that is news.

    A change closes the offer it fulfils, asks for a fresh check, and is put down to the install
    that explains it or else to somebody outside this dashboard. What was asked before the version
    known now was heard is old, and no news. No query when nothing changed.
    """
    if not version or version == node.fw_version:
        return False
    with transaction.atomic():
        audit.lock()
        known = Node.objects.select_for_update().get(pk=node.pk)
        node.fw_version, node.fw_version_heard_at = known.fw_version, known.fw_version_heard_at
        before, heard_at = known.fw_version, known.fw_version_heard_at
        is_old = asked_at is not None and heard_at is not None and asked_at < heard_at
        if before == version or is_old:
            return False
        if before:
            explaining = _explaining_job(node, version, now)
            cause = _cause(node, explaining)
            # another household may have installed it on a shared hub: that stays theirs
            job = explaining if explaining and explaining.node_id == node.pk else None
            audit.record(
                Actor.worker(),
                f"version.{cause.value}",
                _sentence(cause, node, before, version),
                household=node.account.household,
                node=node,
                job=job,
                at=now,
                detail={"from_version": before, "to_version": version},
            )
            node.touch(now, fw_version=version, fw_version_heard_at=now, next_check_at=now)
        else:
            job, cause = None, VersionCause.FIRST
            node.touch(now, fw_version=version, fw_version_heard_at=now)
        VersionChange.objects.create(
            node=node, from_version=before, to_version=version, at=now, cause=cause, job=job
        )
        node.offers.filter(ended_at__isnull=True, fw_version=version).update(
            ended_at=now, end_reason=OfferEnd.INSTALLED
        )
    return True


def _explaining_job(node: Node, version: str, now: datetime) -> OtaJob | None:
    return (
        OtaJob.objects.filter(
            cloud_host=node.account.cloud_host,
            cloud_node_id=node.node_id,
            to_version=version,
            claimed_at__isnull=False,
            requested_at__gte=now - LATE_WITHIN,
        )
        .exclude(state__in=sorted(UNSENT))
        .order_by("-requested_at")
        .first()
    )


def _cause(node: Node, job: OtaJob | None) -> VersionCause:
    if job is None:
        return VersionCause.OUTSIDE
    if job.state in LIVE or job.state == State.LOST:
        return VersionCause.INSTALL
    if job.state != State.VERIFIED:
        return VersionCause.LATE
    # a second account on the same hub hears of it later; heard already, it came again from outside
    is_known = node.version_changes.filter(to_version=job.to_version, at__gte=job.requested_at)
    return VersionCause.OUTSIDE if is_known.exists() else VersionCause.INSTALL


def _sentence(cause: VersionCause, node: Node, before: str, version: str) -> str:
    return {
        VersionCause.INSTALL: f"{node} now reports {version} instead of {before}.",
        VersionCause.LATE: (
            f"{node} now reports {version} instead of {before}, after its install was given up."
        ),
        VersionCause.OUTSIDE: (
            f"{node} was updated outside this dashboard: {version} instead of {before}."
        ),
    }[cause]
