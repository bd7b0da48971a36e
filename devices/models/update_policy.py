"""Update policies: the rule by which a household lets new firmware install itself."""

from datetime import datetime, time, timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User
from devices.models.node import Node


class PolicyMode(models.TextChoices):
    ASK = "ask", gettext_lazy("Ask me")
    INSTALL = "install", gettext_lazy("Install by itself")


class UpdatePolicyQuerySet(models.QuerySet["UpdatePolicy"]):
    def due(self, now: datetime) -> "UpdatePolicyQuerySet":
        """Return the policies to be looked at now."""
        return self.filter(next_look_at__lte=now).order_by("next_look_at", "pk")

    def wake(self, now: datetime) -> int:
        """Have these policies looked at now, if they let anything install. One query."""
        return self.filter(next_look_at__isnull=False).update(next_look_at=now)


class UpdatePolicy(models.Model):
    """What a household decided. Without a row it asks, and nothing waits for idle time."""

    household = models.OneToOneField(
        Household, on_delete=models.CASCADE, related_name="update_policy"
    )
    mode = models.CharField(max_length=8, choices=PolicyMode.choices, default=PolicyMode.ASK)
    # Times on the household's clock, over midnight when the end is the earlier one.
    window_start = models.TimeField(default=time(22))
    window_end = models.TimeField(default=time(5))
    # So long after a version was first offered in the household.
    waiting_days = models.PositiveSmallIntegerField(default=7)
    # The other hubs follow so long after the first one is verified; 0: all in one night.
    others_after_days = models.PositiveSmallIntegerField(default=3)
    # The repellent has been off for so long. Plans that a person made wait for it too.
    idle_minutes = models.PositiveSmallIntegerField(default=30)
    # By whose right it acts.
    set_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    set_by_name = models.CharField(max_length=254, blank=True)
    set_at = models.DateTimeField(default=timezone.now)
    # When people were notified that it rests, because who set it lost the right to.
    rest_notified_at = models.DateTimeField(null=True)
    # When it is looked at next; None while nothing installs by itself.
    next_look_at = models.DateTimeField(null=True)

    objects = UpdatePolicyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(mode__in=sorted(PolicyMode.values)), name="policy_mode_known"
            ),
            models.CheckConstraint(
                condition=~Q(window_start=F("window_end")), name="policy_window_whole"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_look_at"], condition=Q(next_look_at__isnull=False), name="policy_due"
            )
        ]

    def __str__(self) -> str:
        return f"update policy of {self.household}"

    @classmethod
    def of(cls, household: Household) -> "UpdatePolicy":
        """Return the household's policy; one that asks and is not saved when it has none. One query
        unless it was fetched with the household.
        """
        found: UpdatePolicy | None = getattr(household, "update_policy", None)
        return found or cls(household=household)

    @property
    def idle_time(self) -> timedelta:
        """Return how long the repellent must have been off: none until the policy is saved."""
        return timedelta(minutes=self.idle_minutes if self.pk else 0)

    @property
    def is_staggered(self) -> bool:
        """Does one hub go first, and the others only after its proof?"""
        return self.others_after_days > 0


class HubPolicy(models.Model):
    """A hub that differs from its household."""

    policy = models.ForeignKey(UpdatePolicy, on_delete=models.CASCADE, related_name="hubs")
    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="update_policy")
    mode = models.CharField(max_length=8, choices=PolicyMode.choices)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(mode__in=sorted(PolicyMode.values)), name="hub_policy_mode_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.node}: {self.mode}"
