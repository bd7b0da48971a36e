"""Firmware files: what was asked for, by whom, what came, and what is kept of it."""

import re
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.account import can_be_asked
from devices.models.message import MessageField
from devices.models.node import Node, Offer


class Image(models.Model):
    """One file in the archive, under its SHA-256. The row stays when the file was let go."""

    sha256 = models.CharField(max_length=64, unique=True)
    md5 = models.CharField(max_length=32)
    size_bytes = models.BigIntegerField()
    kept_at = models.DateTimeField(default=timezone.now)
    dropped_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.sha256[:12]

    @property
    def is_kept(self) -> bool:
        return self.dropped_at is None


class FetchState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Downloading file")
    VERIFIED = "verified", gettext_lazy("Downloaded; size and MD5 match the cloud's values")
    UNVERIFIED = "unverified", gettext_lazy("Downloaded; the MD5 cannot be verified")
    REFUSED = "refused", gettext_lazy("Refused: not the file the cloud describes")
    FAILED = "failed", gettext_lazy("Could not be downloaded")


class FetchQuerySet(models.QuerySet["ImageFetch"]):
    def due(self, now: datetime) -> "FetchQuerySet":
        """Return what waits to be fetched and whose cloud may be asked now."""
        return self.filter(
            can_be_asked(now, "node__account__"), state=FetchState.WAITING, next_try_at__lte=now
        ).select_related("node__account__household")


class ImageFetch(models.Model):
    """One wish to have the file of an offer: where it comes from and what became of it."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="fetches")
    offer = models.ForeignKey(Offer, on_delete=models.CASCADE, related_name="fetches")
    cloud_host = models.CharField(max_length=200)
    hub_model = models.CharField(max_length=120, blank=True)
    ota_job_id = models.CharField(max_length=128)
    fw_version = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    md5 = models.CharField(max_length=64, blank=True)
    asked_by_name = models.CharField(max_length=254)
    asked_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=10, choices=FetchState.choices, default=FetchState.WAITING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    note = MessageField(blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    image = models.ForeignKey(
        Image, null=True, blank=True, on_delete=models.PROTECT, related_name="fetches"
    )

    objects = FetchQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["offer"],
                condition=Q(state=FetchState.WAITING),
                name="one_fetch_under_way_per_offer",
            ),
            models.CheckConstraint(
                condition=Q(state__in=sorted(FetchState.values)), name="fetch_state_known"
            ),
        ]
        indexes = [models.Index(fields=["node", "-asked_at"], name="fetch_by_hub")]

    def __str__(self) -> str:
        return f"{self.fw_version} for {self.node}"

    @property
    def is_waiting(self) -> bool:
        return self.state == FetchState.WAITING

    @property
    def may_be_saved(self) -> bool:
        """Is there a file for a person to take?"""
        return self.image is not None and self.image.is_kept


_MD5 = re.compile(r"[0-9a-fA-F]{32}")


def is_verifiable(md5: str) -> bool:
    """Is this the form of an MD5 at all?"""
    return bool(_MD5.fullmatch(md5.strip()))
