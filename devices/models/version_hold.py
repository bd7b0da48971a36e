"""Firmware versions that nothing starts by itself, because of what they did on this server."""

from django.db import models
from django.utils import timezone

from devices.models.household import User


class VersionHold(models.Model):
    """What was decided last about one version on one model: held, or released.

    After a release by hand only what ends later counts (`counted_from`).
    """

    hub_model = models.CharField(max_length=120, blank=True)
    version = models.CharField(max_length=64)
    # Simulated hubs play trouble: that says nothing about real ones.
    is_simulated = models.BooleanField(default=False)
    is_held = models.BooleanField(default=True)
    # Decided by a member of staff, who gave this reason; else by the numbers.
    is_by_hand = models.BooleanField(default=False)
    reason = models.CharField(max_length=300, blank=True)
    decided_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_by_name = models.CharField(max_length=254, blank=True)
    at = models.DateTimeField(default=timezone.now)
    counted_from = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hub_model", "version", "is_simulated"], name="one_hold_per_version"
            )
        ]
        indexes = [
            models.Index(
                fields=["hub_model"], condition=models.Q(is_held=True), name="version_held"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} for {self.hub_model or 'an unknown model'}"
