"""Personal tokens for the JSON addresses and for calendars: made once, kept as a digest, revoked at
any time.
"""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User

# Every token begins with this, so that it is recognised, in a log above all.
MARK = "twh_"
# "Last used" is written at most this often.
USE_NOTED_EVERY = timedelta(minutes=1)


class Scope(models.TextChoices):
    READ = "read", gettext_lazy("Read: hubs, offers and installs")
    INSTALL = "install", gettext_lazy("Read and install")
    CALENDAR = "calendar", gettext_lazy("Planned installs, in a calendar")


# What a program may be given; a calendar's token is part of its link and opens nothing else.
FOR_PROGRAMS = (Scope.READ, Scope.INSTALL)


class ApiToken(models.Model):
    """What one person lets a program do in one household; never more than they may themselves."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=8, choices=Scope.choices, default=Scope.READ)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(scope__in=sorted(Scope.values)), name="token_scope_known"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def used(self, now: datetime) -> None:
        """Keep that it was used just now. One query at most each minute."""
        if self.last_used_at is None or now - self.last_used_at > USE_NOTED_EVERY:
            self.last_used_at = now
            self.save(update_fields=["last_used_at"])
