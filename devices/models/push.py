"""Devices that a person gets push messages on, and the key this server signs in with to send them
(Web Push: RFC 8030, 8291, 8292).
"""

from django.db import models
from django.utils import timezone

from devices.models.household import User

MOST_DEVICES = 10


class PushDevice(models.Model):
    """One browser of one person. What is sent there, and when, is in its channels: one for each
    household.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="push_devices")
    # Where its messages are posted. Anyone who knows it may send there, so it is a secret.
    sealed_endpoint = models.TextField()
    endpoint_digest = models.CharField(max_length=64, unique=True)
    # The host of its push service, for the page and the trail.
    service = models.CharField(max_length=253)
    # What its messages are encrypted with, in base64url: a P-256 point, and a secret of 16 bytes.
    public_key = models.CharField(max_length=88)
    sealed_auth = models.TextField()
    # The browser as it names itself, and in English words for the trail.
    browser = models.CharField(max_length=300, blank=True)
    name = models.CharField(max_length=80)
    added_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-added_at", "-pk")

    def __str__(self) -> str:
        return self.name


class PushKey(models.Model):
    """The key pair that names this server to push services. One row, made when it is first needed;
    every machine at this database uses it.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    # The private key as base64url of its 32 bytes, and the public one as browsers take it.
    sealed_private_key = models.TextField()
    public_key = models.CharField(max_length=88)
    made_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.public_key[:12]
