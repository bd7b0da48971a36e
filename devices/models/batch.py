"""Several installs confirmed at once, carried out one after the other."""

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User
from devices.models.node import Node
from devices.models.ota import OtaJob


class BatchState(models.TextChoices):
    RUNNING = "running", gettext_lazy("Running")
    STOPPED = "stopped", gettext_lazy("Stopped")
    FINISHED = "finished", gettext_lazy("Finished")


class ItemState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Waits its turn")
    STARTED = "started", gettext_lazy("Started")
    SKIPPED = "skipped", gettext_lazy("Skipped")
    DROPPED = "dropped", gettext_lazy("Not started")


class Batch(models.Model):
    """One household's hubs, confirmed together by one person. Pages say "queue"."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="batches")
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)
    requested_by_name = models.CharField(max_length=254)
    requested_at = models.DateTimeField(default=timezone.now)
    # Hubs may wait for hours behind others; a confirmation of this morning is void tomorrow.
    expires_at = models.DateTimeField()
    at_once = models.PositiveSmallIntegerField(default=1)
    stops_on_failure = models.BooleanField(default=True)
    state = models.CharField(max_length=8, choices=BatchState.choices, default=BatchState.RUNNING)
    # Set when somebody let it go on: failures before that do not stop it again.
    resumed_at = models.DateTimeField(null=True)
    why_stopped = models.CharField(max_length=300, blank=True)
    revision = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(BatchState.values)), name="batch_state_known"
            )
        ]
        indexes = [
            models.Index(fields=["state"], condition=Q(state="running"), name="batch_running"),
            models.Index(fields=["household", "-requested_at"], name="batch_by_household"),
        ]

    def __str__(self) -> str:
        return f"queue {self.pk} of {self.household}"

    def can_go_on(self, now: datetime) -> bool:
        """Was it stopped, with a confirmation that still counts?"""
        return self.state == BatchState.STOPPED and now < self.expires_at

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


class BatchItem(models.Model):
    """One hub of a queue, with exactly what was confirmed for it."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="items")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveIntegerField()
    hub_name = models.CharField(max_length=200)
    # The fields of confirm.Binding: what the person read and agreed to for this hub.
    binding = models.JSONField()
    state = models.CharField(max_length=8, choices=ItemState.choices, default=ItemState.WAITING)
    reason = models.CharField(max_length=300, blank=True)
    job = models.OneToOneField(
        OtaJob, null=True, on_delete=models.SET_NULL, related_name="batch_item"
    )
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "node"], name="hub_once_per_batch"),
            models.CheckConstraint(
                condition=Q(state__in=sorted(ItemState.values)), name="batch_item_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hub_name} in queue {self.batch_id}"

    def take(self) -> bool:
        """Claim a waiting hub for its start, in the transaction around; False if it is taken."""
        mine = BatchItem.objects.filter(pk=self.pk, state=ItemState.WAITING)
        if not mine.update(state=ItemState.STARTED):
            return False
        self.state = ItemState.STARTED
        return True

    def settle(self, state: ItemState, now: datetime, *, reason: str = "", job: Any = None) -> None:
        """Write what became of it."""
        self.state, self.reason, self.job, self.settled_at = state, reason[:300], job, now
        self.save(update_fields=["state", "reason", "job", "settled_at"])
