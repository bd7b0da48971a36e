"""Notices: what people asked to be told, and the outbox it waits in until it was sent.

A notice is written in the transaction of what it tells of, so that neither is without the other.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.account import CloudAccount, common_mark, seal, unseal
from devices.models.household import Household, User, language_of
from devices.models.ota import OtaJob


class Topic(models.TextChoices):
    NEW_FIRMWARE = "new_firmware", gettext_lazy("New firmware for a hub")
    FINISHED = "finished", gettext_lazy("An install is verified")
    FAILED = "failed", gettext_lazy("An install did not end well")
    NEEDS_YOU = "needs_you", gettext_lazy("Something waits for you")
    SIGNED_OUT = "signed_out", gettext_lazy("A cloud account was signed out")
    TEST = "test", gettext_lazy("A test message")


# What can be chosen; a test is asked for.
TOPICS = [topic for topic in Topic if topic != Topic.TEST]


class Pace(models.TextChoices):
    AT_ONCE = "at_once", gettext_lazy("At once")
    DAILY = "daily", gettext_lazy("Once a day, all together")


class Channel(models.Model):
    """One way to somebody: a member's own e-mail address, or a service of the whole household."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="channels")
    # Whose e-mail address; nobody's for a service.
    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.CASCADE, related_name="channels"
    )
    # The service's address, which is a secret as a whole; empty for e-mail.
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
    trouble = models.CharField(max_length=300, blank=True)
    trouble_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["household", "user"],
                condition=Q(user__isnull=False),
                name="one_mail_channel_per_member",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, sealed_url="")
                | (Q(user__isnull=True) & ~Q(sealed_url="")),
                name="channel_is_mail_or_service",
            ),
            models.CheckConstraint(
                condition=Q(pace__in=sorted(Pace.values)), name="channel_pace_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name or "e-mail"

    @property
    def language(self) -> str:
        """Return the language of what is sent here."""
        return language_of(self.user, self.household)

    @property
    def is_mail(self) -> bool:
        return self.user_id is not None

    def url(self) -> str:
        """Return the service's address, secrets included; raises Unsealable."""
        return unseal(self.sealed_url)

    def keep_url(self, url: str) -> None:
        """Set the sealed address; the caller saves."""
        self.sealed_url = seal(url)

    def due_at(self, now: datetime, zone: tzinfo) -> datetime:
        """Return when something that happens now is to be sent, by the household's clock."""
        local = now.astimezone(zone)
        if self.pace == Pace.DAILY:
            return _next(self.digest_at, local)
        if self._is_quiet(local.time()) and self.quiet_until is not None:
            return _next(self.quiet_until, local)
        return now

    def _is_quiet(self, at: time) -> bool:
        start, end = self.quiet_from, self.quiet_until
        if start is None or end is None or start == end:
            return False
        return start <= at < end if start < end else at >= start or at < end


def _next(at: time, local: datetime) -> datetime:
    """Return the next moment after `local` at which its clock shows `at`."""
    found = local.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0, fold=0)
    if found <= local:
        found = (found.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=local.tzinfo)
    return found.astimezone(UTC)


class Notice(models.Model):
    """Something that happened, as facts: it becomes a sentence in the language of who reads it."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="notices")
    job = models.ForeignKey(OtaJob, null=True, blank=True, on_delete=models.CASCADE)
    topic = models.CharField(max_length=16, choices=Topic.choices)
    facts = models.JSONField(default=dict)
    path = models.CharField(max_length=200)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.topic}: {self.path}"


class Delivery(models.Model):
    """One notice on its way through one channel."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    due_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    dropped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "notice"], name="told_once_per_channel")
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(sent_at__isnull=True, dropped_at__isnull=True),
                name="delivery_waits",
            )
        ]

    def __str__(self) -> str:
        return f"{self.notice} by {self.channel}"

    @classmethod
    def waiting(cls) -> "models.QuerySet[Delivery]":
        """Return what was neither sent nor given up."""
        return cls.objects.filter(sent_at__isnull=True, dropped_at__isnull=True)


def tell(
    topic: Topic,
    *,
    household: Household,
    path: str,
    now: datetime,
    job: OtaJob | None = None,
    accounts: Iterable[CloudAccount] = (),
    only: Channel | None = None,
    by_mail: bool = True,
    **facts: Any,
) -> int:
    """Put a notice into the outbox of every channel that wants it; return how many those are.
    Where the job or all accounts it is about are simulated the notice says so.

    One query when nobody wants it, three when somebody does. Call it in the transaction of what
    is told of.
    """
    channels = [only] if only else Channel.objects.filter(household=household, is_on=True)
    wanting = [
        one
        for one in channels
        if only or (topic.value in one.topics and (by_mail or not one.is_mail))
    ]
    if not wanting:
        return 0
    facts |= common_mark([job.node.account] if job is not None else accounts)
    notice = Notice.objects.create(
        household=household, job=job, topic=topic, facts=facts, path=path, at=now
    )
    Delivery.objects.bulk_create(
        Delivery(
            channel=channel,
            notice=notice,
            due_at=now if only else channel.due_at(now, household.zone),
        )
        for channel in wanting
    )
    return len(wanting)
