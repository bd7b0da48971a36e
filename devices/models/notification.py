"""Notifications: channels, the events to report, and the outbox of deliveries.

A notice is written in the transaction of its event, so that neither exists without the other.
"""

from datetime import UTC, datetime, time, timedelta, tzinfo

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User, language_of
from devices.models.install import OtaJob
from devices.models.message import MessageField
from devices.models.push import PushDevice
from devices.models.windows import Window


class Topic(models.TextChoices):
    NEW_FIRMWARE = "new_firmware", gettext_lazy("New firmware for a hub")
    FINISHED = "finished", gettext_lazy("An install was verified")
    FAILED = "failed", gettext_lazy("An install failed or was not verified")
    PLANNED = "planned", gettext_lazy("Planned for tonight")
    NEEDS_YOU = "needs_you", gettext_lazy("Something needs your decision")
    SIGNED_OUT = "signed_out", gettext_lazy("A cloud account was signed out")
    TEST = "test", gettext_lazy("Test message")


# What can be chosen; a test is asked for.
TOPICS = [topic for topic in Topic if topic != Topic.TEST]


class Pace(models.TextChoices):
    AT_ONCE = "at_once", gettext_lazy("Immediately")
    DAILY = "daily", gettext_lazy("Daily summary")


class Channel(models.Model):
    """Where notices go: a member's own e-mail address, a device of theirs, or a service of the
    whole household.
    """

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="channels")
    # Whose e-mail address or device; empty for a service.
    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.CASCADE, related_name="channels"
    )
    # The device that gets push messages; empty for e-mail and services.
    device = models.ForeignKey(
        PushDevice, null=True, blank=True, on_delete=models.CASCADE, related_name="channels"
    )
    # The service's address, which is a secret as a whole; empty for a person's own channels.
    sealed_url = models.TextField(blank=True)
    name = models.CharField(max_length=80, blank=True)
    is_on = models.BooleanField(default=True)
    topics = models.JSONField(default=list)
    pace = models.CharField(max_length=8, choices=Pace.choices, default=Pace.AT_ONCE)
    digest_at = models.TimeField(default=time(8))
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    trouble = MessageField(blank=True)
    trouble_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["household", "user"],
                condition=Q(user__isnull=False, device=None),
                name="one_mail_channel_per_member",
            ),
            models.UniqueConstraint(
                fields=["household", "device"],
                condition=Q(device__isnull=False),
                name="one_channel_per_device",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, sealed_url="")
                | (Q(user__isnull=True, device=None) & ~Q(sealed_url="")),
                name="channel_is_a_persons_or_a_service",
            ),
            models.CheckConstraint(
                condition=Q(pace__in=sorted(Pace.values)), name="channel_pace_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name or (str(self.device) if self.device is not None else "e-mail")

    @property
    def language(self) -> str:
        """Return the language of what is sent here."""
        return language_of(self.user, self.household)

    @property
    def is_mail(self) -> bool:
        return self.user_id is not None and self.device_id is None

    @property
    def is_service(self) -> bool:
        return self.user_id is None

    def due_at(self, now: datetime, zone: tzinfo, not_after: datetime | None = None) -> datetime:
        """Return when something that happens now is to be sent, by the household's clock.

        not_after: it is no use later. What cannot wait for the daily summary is sent without it,
        and what cannot wait for the end of quiet hours then.
        """
        if self.pace == Pace.DAILY:
            digest_at = next_time(self.digest_at, now, zone)
            if not_after is None or digest_at <= not_after:
                return digest_at
        start, end = self.quiet_from, self.quiet_until
        if start is None or end is None or start == end:
            return now
        quiet = Window(start, end, zone)
        if not quiet.is_open(now):
            return now
        quiet_ends = quiet.closes_at(now)
        return min(quiet_ends, not_after or quiet_ends)


def next_time(at: time, now: datetime, zone: tzinfo) -> datetime:
    """Return the next moment after `now` at which the clock of the zone shows `at`.

    In autumn one hour comes twice: a daily time counts only the first of both. Compared in UTC,
    since two times of one zone are compared without their offset.
    """
    today = now.astimezone(zone).date()
    moments = (
        datetime.combine(day, at.replace(second=0, microsecond=0), zone).astimezone(UTC)
        for day in (today, today + timedelta(days=1))
    )
    return next(moment for moment in moments if moment > now)


class Notice(models.Model):
    """An event as facts; rendered as a sentence in the reader's language."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="notices")
    job = models.ForeignKey(OtaJob, null=True, blank=True, on_delete=models.CASCADE)
    topic = models.CharField(max_length=16, choices=Topic.choices)
    facts = models.JSONField(default=dict)
    path = models.CharField(max_length=200)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.topic}: {self.path}"

    @property
    def hubs(self) -> int:
        """Return how many hubs a notice about offered or planned firmware is about."""
        return len(self.facts.get("nodes") or self.facts.get("plans") or ()) or 1


class Delivery(models.Model):
    """One notice to be sent through one channel, or as a letter: a mail to one person, with a link
    of their own, whatever channels they have.
    """

    channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    # Whom a letter goes to.
    recipient = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.CASCADE, related_name="letters"
    )
    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    due_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    dropped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "notice"], name="told_once_per_channel"),
            models.UniqueConstraint(
                fields=["recipient", "notice"],
                condition=Q(recipient__isnull=False),
                name="one_letter_per_notice",
            ),
            models.CheckConstraint(
                condition=Q(channel__isnull=False, recipient=None)
                | Q(channel=None, recipient__isnull=False),
                name="delivery_by_channel_or_letter",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(sent_at__isnull=True, dropped_at__isnull=True),
                name="delivery_waits",
            )
        ]

    def __str__(self) -> str:
        return f"{self.notice} by {self.channel or 'letter'}"

    @property
    def is_waiting(self) -> bool:
        return self.sent_at is None and self.dropped_at is None

    @classmethod
    def waiting(cls) -> "models.QuerySet[Delivery]":
        """Return the deliveries that were neither sent nor dropped."""
        return cls.objects.filter(sent_at__isnull=True, dropped_at__isnull=True)

    @classmethod
    def letters(cls) -> "models.QuerySet[Delivery]":
        """Return the letters that were neither sent nor dropped."""
        return cls.waiting().filter(channel=None)
