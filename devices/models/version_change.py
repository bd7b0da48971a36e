"""The versions a hub has reported, and what is known of the cause of each change."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.install import OtaJob
from devices.models.node import Node


class VersionCause(models.TextChoices):
    FIRST = "first", gettext_lazy("First seen")
    INSTALL = "install", gettext_lazy("Installed from this dashboard")
    LATE = "late", gettext_lazy("Reported after we stopped waiting")
    OUTSIDE = "outside", gettext_lazy("Changed outside this dashboard")
    DURING = "during", gettext_lazy("Changed during an install of another version")
    FALLBACK = "fallback", gettext_lazy("Back to the earlier version after an install")


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
