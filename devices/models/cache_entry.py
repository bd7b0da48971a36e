"""What is cached in the database while Redis is away."""

from django.db import models


class CacheEntry(models.Model):
    """One value, stored as JSON: reading it never runs code."""

    key = models.CharField(max_length=250, primary_key=True)
    value = models.TextField()
    expires_at = models.DateTimeField(null=True, db_index=True)

    def __str__(self) -> str:
        return self.key
