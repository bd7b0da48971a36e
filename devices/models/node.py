"""The mirror: hubs as their cloud last described them, and the firmware it offers them."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Count, F, Max, Prefetch, Q, Sum, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.account import AccountState, CloudAccount

if TYPE_CHECKING:
    from devices.models.ota import OtaJob

CHECK_EVERY = timedelta(days=1)
CHECK_AFTER_INSTALL = timedelta(minutes=15)  # when the cloud still offers what the hub runs


class Repellent(models.TextChoices):
    UNKNOWN = "", gettext_lazy("not known")
    OFF = "off", gettext_lazy("off")
    WARMING = "warming", gettext_lazy("warming up")
    PROTECTED = "protected", gettext_lazy("protecting")


class NodeQuerySet(models.QuerySet["Node"]):
    def present(self) -> "NodeQuerySet":
        """Return the hubs their cloud still lists for a linked account."""
        return self.filter(gone_at__isnull=True).exclude(account__state=AccountState.UNLINKED)

    def for_list(self) -> "NodeQuerySet":
        """Return hubs with all that a row of the Hubs page shows, in three queries.

        It fills `open_offers` and `latest_jobs`, which `offer` and `latest_job` then read.
        """
        from devices.models.ota import OtaJob

        latest = OtaJob.objects.filter(is_latest=True)
        return self.with_offers().prefetch_related(Prefetch("jobs", latest, to_attr="latest_jobs"))

    def with_offers(self) -> "NodeQuerySet":
        """Return hubs with their account, its household and what is offered, in two queries."""
        offered = Offer.objects.filter(ended_at__isnull=True)
        return self.select_related("account__household").prefetch_related(
            Prefetch("offers", offered, to_attr="open_offers")
        )

    def with_accounts_once(self) -> "NodeQuerySet":
        """Return hubs with their account and its household, each read once instead of once a hub:
        few accounts have many hubs. Two more queries.
        """
        return self.select_related(None).prefetch_related("account__household")

    def due_for_check(self, now: datetime) -> "NodeQuerySet":
        """Return present hubs to be asked for firmware whose account is not resting."""
        return (
            self.present()
            .filter(account__state=AccountState.LINKED, next_check_at__lte=now)
            .filter(Q(account__resume_at__isnull=True) | Q(account__resume_at__lte=now))
        )

    def in_turn(self, per_account: int) -> "NodeQuerySet":
        """Return a few hubs of each account, those a person waits for first, so that no account
        waits behind a large one.
        """
        turn = Window(
            RowNumber(),
            partition_by=[F("account_id")],
            order_by=[F("check_asked_at").asc(nulls_last=True), "next_check_at", "pk"],
        )
        return self.annotate(turn=turn).filter(turn__lte=per_account).order_by("turn", "pk")

    def touch_all(self, now: datetime, **changes: Any) -> None:
        """Write the changes and mark all these hubs as changed, so that open pages show it.

        One query.
        """
        self.update(revision=F("revision") + 1, changed_at=now, **changes)

    def fingerprint(self) -> str:
        """Return a short text that differs whenever any of these hubs was added, changed or left.

        One query, no clock: every change of a row raises its revision by one.
        """
        totals = self.aggregate(n=Count("pk"), r=Sum("revision"), m=Max("pk"))
        return f"{totals['n']}-{totals['r'] or 0}-{totals['m'] or 0}"


class Node(models.Model):
    """One hub as its cloud names it. Pages say "hub"."""

    account = models.ForeignKey(CloudAccount, on_delete=models.CASCADE, related_name="nodes")
    node_id = models.CharField(max_length=128)
    name = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=120, blank=True)
    serial = models.CharField(max_length=64, blank=True)
    role = models.CharField(max_length=16, blank=True)
    fw_version = models.CharField(max_length=64, blank=True)
    fw_version_heard_at = models.DateTimeField(null=True, blank=True)
    is_online = models.BooleanField(null=True)
    online_changed_at = models.DateTimeField(null=True, blank=True)
    repellent = models.CharField(
        max_length=12, blank=True, choices=Repellent.choices, default=Repellent.UNKNOWN
    )
    is_on = models.BooleanField(null=True)
    refill_life_percent = models.FloatField(null=True, blank=True)
    has_cartridge = models.BooleanField(null=True)
    runtime_minutes = models.PositiveIntegerField(null=True, blank=True)
    error_bits = models.PositiveIntegerField(default=0)
    rssi_dbm = models.IntegerField(null=True, blank=True)
    first_seen_at = models.DateTimeField(default=timezone.now)
    heard_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(default=timezone.now)
    check_asked_at = models.DateTimeField(null=True, blank=True)
    check_trouble = models.CharField(max_length=48, blank=True)
    check_trouble_text = models.CharField(max_length=300, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(default=timezone.now)

    objects = NodeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "node_id"], name="hub_once_per_account")
        ]
        indexes = [
            models.Index(fields=["next_check_at"], name="node_next_check"),
            models.Index(fields=["changed_at"], name="node_changed"),
            # alone, so that an account's are counted and summed up without reading the rows
            models.Index(fields=["account", "revision"], name="node_account_revision"),
        ]

    def __str__(self) -> str:
        return self.name or self.node_id

    @property
    def marked_name(self) -> str:
        """Return the name, marked when the hub is simulated: for where there are no badges."""
        return self.account.marked(str(self))

    @property
    def new_offer(self) -> "Offer | None":
        """Return what could be installed: an offer of another version than the hub reports, as long
        as its account is linked or can be signed in again.
        """
        offer = self.offer
        if offer is None or offer.fw_version == self.fw_version or self.account.is_unlinked:
            return None
        return offer

    @property
    def offer(self) -> "Offer | None":
        """Return what the cloud offers this hub now."""
        listed: list[Offer] | None = getattr(self, "open_offers", None)
        if listed is not None:
            return listed[0] if listed else None
        return self.offers.filter(ended_at__isnull=True).first()

    @property
    def latest_job(self) -> "OtaJob | None":
        """Return the newest install of this hub, running or over."""
        listed: list[OtaJob] | None = getattr(self, "latest_jobs", None)
        if listed is not None:
            return listed[0] if listed else None
        return self.jobs.filter(is_latest=True).first()

    @property
    def is_in_use(self) -> bool:
        """Is the repellent running or warming up, as far as is known?"""
        return self.repellent in {Repellent.WARMING, Repellent.PROTECTED}

    @property
    def is_being_checked(self) -> bool:
        """Has a person asked for a check that is not answered yet?"""
        return self.check_asked_at is not None

    def touch(self, now: datetime, **changes: Any) -> None:
        """Write the changes and mark the hub as changed, so that open pages show it. One query."""
        Node.objects.filter(pk=self.pk).update(
            revision=F("revision") + 1, changed_at=now, **changes
        )
        self.changed_at = now
        for name, value in changes.items():
            setattr(self, name, value)


class OfferEnd(models.TextChoices):
    WITHDRAWN = "withdrawn", gettext_lazy("The cloud no longer offers it")
    SWAPPED = "swapped", gettext_lazy("The cloud offers something else instead")
    INSTALLED = "installed", gettext_lazy("The hub runs it now")


class Offer(models.Model):
    """What the cloud would install on one hub, from the first time it said so until it stopped."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="offers")
    ota_job_id = models.CharField(max_length=128)
    fw_version = models.CharField(max_length=64)
    description = models.TextField(blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    md5 = models.CharField(max_length=64, blank=True)
    has_link = models.BooleanField(default=False)
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=12, blank=True, choices=OfferEnd.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["node"], condition=Q(ended_at__isnull=True), name="one_open_offer_per_hub"
            )
        ]
        indexes = [models.Index(fields=["node", "-first_seen_at"], name="offer_by_hub")]

    def __str__(self) -> str:
        return f"{self.fw_version} ({self.ota_job_id})"

    def is_older_than(self, version: str) -> bool:
        """Is this an older version, as far as both are plain numbers with dots?

        The hub would take it: its firmware only compares for being different
        (esp-rainmaker firmware, esp_rmaker_https_ota.c).
        """
        mine, theirs = _numbers(self.fw_version), _numbers(version)
        return bool(mine and theirs) and mine < theirs


def _numbers(version: str) -> list[int]:
    parts = version.strip().split(".")
    return [int(part) for part in parts] if all(p.isascii() and p.isdigit() for p in parts) else []
