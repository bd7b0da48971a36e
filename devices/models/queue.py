"""Several installs confirmed at once, carried out one after the other: each is a plan."""

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User
from devices.models.message import MessageField


class BatchState(models.TextChoices):
    RUNNING = "running", gettext_lazy("Running")
    STOPPED = "stopped", gettext_lazy("Stopped")
    FINISHED = "finished", gettext_lazy("Finished")


# Running, or stopped and could go on.
OPEN = Q(state__in=[BatchState.RUNNING, BatchState.STOPPED])


class Batch(models.Model):
    """One household's hubs, confirmed together by one person. Pages say "queue"."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="batches")
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)
    requested_by_name = models.CharField(max_length=254)
    requested_at = models.DateTimeField(default=timezone.now)
    at_once = models.PositiveSmallIntegerField(default=1)
    stops_on_failure = models.BooleanField(default=True)
    state = models.CharField(max_length=8, choices=BatchState.choices, default=BatchState.RUNNING)
    # Set when a person resumed it: failures before that do not stop it again.
    resumed_at = models.DateTimeField(null=True)
    why_stopped = MessageField(blank=True)
    revision = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(BatchState.values)), name="batch_state_known"
            )
        ]
        indexes = [
            models.Index(fields=["state"], condition=OPEN, name="batch_open"),
            models.Index(fields=["household", "-requested_at"], name="batch_by_household"),
        ]

    def __str__(self) -> str:
        return f"queue {self.pk} of {self.household}"

    def change(self, **changes: Any) -> bool:
        """Write the changes if the state is still the one this object knows; open pages show it.

        True when it was.
        """
        guarded = Batch.objects.filter(pk=self.pk, state=self.state)
        if not guarded.update(revision=F("revision") + 1, **changes):
            return False
        self.revision += 1
        for name, value in changes.items():
            setattr(self, name, value)
        return True
