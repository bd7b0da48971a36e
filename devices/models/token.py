"""Personal tokens for the JSON addresses: made once, kept as a digest, revoked at any time."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User

# So that a token is known for one wherever it turns up, in a log above all.
MARK = "twh_"
# "Last used" is written at most this often.
USE_NOTED_EVERY = timedelta(minutes=1)


class Scope(models.TextChoices):
    READ = "read", gettext_lazy("Read: hubs, offers and installs")
    INSTALL = "install", gettext_lazy("Read and install")


def digest_of(token: str) -> str:
    """Return what is kept of a token. It is 256 random bits: no salt or slow hash is needed."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


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

    @classmethod
    def make(
        cls, user: User, household: Household, *, name: str, scope: Scope
    ) -> "tuple[ApiToken, str]":
        """Return a new token, saved, and its text, which is kept nowhere."""
        text = MARK + secrets.token_urlsafe(32)
        token = cls.objects.create(
            user=user, household=household, name=name, scope=scope, digest=digest_of(text)
        )
        return token, text

    @classmethod
    def find(cls, text: str) -> "ApiToken | None":
        """Return the token that is good now, or None. One query."""
        if not text.startswith(MARK):
            return None
        good = cls.objects.filter(revoked_at=None, user__is_active=True)
        return good.select_related("user", "household").filter(digest=digest_of(text)).first()

    def used(self, now: datetime) -> None:
        """Keep that it was used just now. One query at most each minute."""
        if self.last_used_at is None or now - self.last_used_at > USE_NOTED_EVERY:
            self.last_used_at = now
            self.save(update_fields=["last_used_at"])
