"""Backups made by the server: one row for each try, by the clock or because a person asked."""

from django.db import models


class BackupRun(models.Model):
    """One try, on the machine that made it; without `ended_at` it is under way or was cut off."""

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    file = models.CharField(max_length=300, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    # When it had been restored into a scratch database and its audit trail verified there.
    verified_at = models.DateTimeField(null=True)
    trouble = models.TextField(blank=True)
    # Which administrator asked for it on the page; "": by the clock.
    asked_by_name = models.CharField(max_length=254, blank=True, default="", db_default="")
    # Asked for, and no worker has begun.
    is_waiting = models.BooleanField(default=False, db_default=False)
    # The machine that has the file in its BACKUP_DIR.
    host = models.CharField(max_length=120, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"backup {self.started_at}: {self.trouble or self.file}"

    @classmethod
    def latest(cls) -> "BackupRun | None":
        """Return the newest that began."""
        return cls.objects.filter(is_waiting=False).order_by("-started_at").first()

    @classmethod
    def latest_good(cls) -> "BackupRun | None":
        """Return the newest that was verified."""
        return cls.objects.filter(verified_at__isnull=False).order_by("-verified_at").first()
