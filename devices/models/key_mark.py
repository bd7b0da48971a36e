"""Which keys this database belongs to."""

from django.db import models
from django.utils import timezone


class KeyName(models.TextChoices):
    """The server's own keys; their settings have these names."""

    SECRET = "SECRET_KEY"  # noqa: S105
    ENCRYPTION = "ENCRYPTION_KEYS"
    AUDIT = "AUDIT_KEY"


class KeyMark(models.Model):
    """The fingerprint of one key in use, which opens nothing. One row a key."""

    name = models.CharField(max_length=24, primary_key=True, choices=KeyName.choices)
    fingerprint = models.CharField(max_length=64)
    since = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.name} {self.fingerprint[:8]}"
