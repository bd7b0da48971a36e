"""The mirror: hubs as their cloud last described them, and the firmware it offers them."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Case, Count, Exists, F, Max, OuterRef, Prefetch, Q, Sum, When
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.account import AccountState, CloudAccount, can_be_asked
from devices.models.version_text import is_older_version, is_same_version

if TYPE_CHECKING:
    from devices.models.install import OtaJob
    from devices.models.plan import Plan

CHECK_EVERY = timedelta(days=1)
CHECK_AFTER_INSTALL = timedelta(minutes=15)  # when the cloud still offers what the hub runs
# ESP RainMaker was announced in April 2020: an earlier time of a hub is a clock that was not set.
EARLIEST_HUB_TIME = datetime(2020, 1, 1, tzinfo=UTC)
LARGEST_CLOCK_ERROR = timedelta(minutes=5)
# The cloud's word that a hub installs something counts for so long.
INSTALLING_FOR = timedelta(minutes=10)
# More rows than there ever are: what is counted in these weighs more than any key.
MOST_ROWS = 10**12
# Release notes are kept in full up to this many characters. One more is kept of longer ones, so
# that a page can say that they were cut.
LONGEST_NOTES = 20_000


def credible_time(at: datetime | None, now: datetime) -> datetime | None:
    """Return the time that a hub or its cloud gives, or None when it cannot be true.

    A hub without a set clock sends 1970 or a day in the future. A few minutes ahead count as now.
    """
    if at is None or not EARLIEST_HUB_TIME <= at <= now + LARGEST_CLOCK_ERROR:
        return None
    return min(at, now)


class Repellent(models.TextChoices):
    UNKNOWN = "", gettext_lazy("unknown")
    OFF = "off", gettext_lazy("off")
    WARMING = "warming", gettext_lazy("warming up")
    PROTECTED = "protected", gettext_lazy("protecting")


class Rehearsal(models.TextChoices):
    """What a simulated hub plays; a value is the simulated cloud's name for it."""

    NONE = "", gettext_lazy("Nothing")
    ROLLED_BACK = "rolled_back", gettext_lazy("Falls back to the old version")
    STUCK = "stuck", gettext_lazy("Gets stuck in the download")
    OFFLINE = "offline_mid_flash", gettext_lazy("Goes offline midway")
    NO_SUCCESS = "success_lie", gettext_lazy("Reports a success that did not happen")
    SLOW = "slow", gettext_lazy("Is slow")
    SWAPPED = "offer_swapped", gettext_lazy("Is offered something else meanwhile")


class NodeQuerySet(models.QuerySet["Node"]):
    def present(self) -> "NodeQuerySet":
        """Return the hubs their cloud still lists for a linked account."""
        return self.filter(gone_at__isnull=True).exclude(account__state=AccountState.UNLINKED)

    def present_once(self, *, is_oldest: bool = False) -> "NodeQuerySet":
        """Return the present hubs, each physical hub once a household. One small query now.

        A hub that two accounts of a household share has two rows. The one shown is of an account
        that is signed in, then the one whose install runs or needs a person, then that of the
        hub's primary user, then the oldest row. With is_oldest only the last counts: for those who
        know a hub by its row, such as Home Assistant.
        """
        shared = CloudAccount.objects.households_with_several()
        if not shared:
            return self.present()
        is_alone = ~Q(account__household__in=shared)
        return (
            self.present()._with_rank(is_oldest).filter(is_alone | ~Exists(_better_rows(is_oldest)))
        )

    def _with_rank(self, is_oldest: bool) -> "NodeQuerySet":
        """Return hubs with `rank`: of the rows of one hub that with the highest is shown, and no
        two have the same.
        """
        from devices.models.attention import Attention
        from devices.models.install import LIVE

        oldest = -F("pk")
        if is_oldest:
            return self.alias(rank=oldest)
        is_pressing = Q(attention=Attention.TROUBLE) | Q(latest__state__in=sorted(LIVE))
        return self.with_attention().alias(
            rank=Case(When(account__state=AccountState.LINKED, then=4 * MOST_ROWS), default=0)
            + Case(When(is_pressing, then=2 * MOST_ROWS), default=0)
            + Case(When(role="primary", then=MOST_ROWS), default=0)
            + oldest
        )

    def with_attention(self) -> "NodeQuerySet":
        """Return hubs with `attention`: what each needs. See `models.attention`."""
        from devices.models.attention import with_attention

        return with_attention(self)

    def for_list(self) -> "NodeQuerySet":
        """Return hubs with all that a row of the Hubs page shows, in four queries.

        It fills `open_offers`, `latest_jobs` and `waiting_plans`, which `offer`, `latest_job` and
        `plan` then read, and `attention`.
        """
        from devices.models.plan import Plan

        return (
            self.with_attention()
            .with_latest_jobs()
            .prefetch_related(Prefetch("plans", Plan.objects.waiting(), to_attr="waiting_plans"))
        )

    def with_latest_jobs(self) -> "NodeQuerySet":
        """Return hubs with what is offered and their newest install, in three queries."""
        from devices.models.install import OtaJob

        latest = OtaJob.objects.filter(is_latest=True)
        return self.with_offers().prefetch_related(Prefetch("jobs", latest, to_attr="latest_jobs"))

    def with_offers(self) -> "NodeQuerySet":
        """Return hubs with their account, its household and what is offered, in two queries."""
        offered = Offer.objects.filter(ended_at__isnull=True).select_related("dismissal")
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
        return self.present().filter(can_be_asked(now, "account__"), next_check_at__lte=now)

    def next_to_check(self, now: datetime, most: int) -> "NodeQuerySet":
        """Return a few of one account's hubs that are due, those a person waits for first."""
        due = self.filter(gone_at__isnull=True, next_check_at__lte=now)
        return due.order_by(F("check_asked_at").asc(nulls_last=True), "next_check_at", "pk")[:most]

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


@cache
def _better_rows(is_oldest: bool) -> "NodeQuerySet":
    """Return the rows that are shown instead of an outer row of the same hub.

    Built once: that takes long, and it is never changed.
    """
    return (
        Node.objects.present()
        ._with_rank(is_oldest)
        .filter(
            ~Q(pk=OuterRef("pk")),  # first: few hubs have a second row
            Q(rank__gt=OuterRef("rank")),
            node_id=OuterRef("node_id"),
            account__household_id=OuterRef("account__household_id"),
            account__base_url=OuterRef("account__base_url"),
        )
    )


class Node(models.Model):
    """One hub as its cloud names it. Pages say "hub"."""

    # What it needs, a value of Attention: only on rows that were fetched `with_attention`.
    attention: int

    account = models.ForeignKey(CloudAccount, on_delete=models.CASCADE, related_name="nodes")
    node_id = models.CharField(max_length=128)
    name = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=120, blank=True)
    serial = models.CharField(max_length=64, blank=True)
    role = models.CharField(max_length=16, blank=True)
    fw_version = models.CharField(max_length=64, blank=True)
    fw_version_heard_at = models.DateTimeField(null=True, blank=True)
    # An earlier version that the cloud's list names again: believed when the hub's config does.
    doubted_version = models.CharField(max_length=64, blank=True, db_default="")
    # What the hub's own OTA service last reported of an update that has no job, such as one that
    # was started on the local network.
    ota_word = models.CharField(max_length=64, blank=True, db_default="")
    ota_info = models.CharField(max_length=300, blank=True, db_default="")
    is_online = models.BooleanField(null=True)
    online_changed_at = models.DateTimeField(null=True, blank=True)
    repellent = models.CharField(
        max_length=12, blank=True, choices=Repellent.choices, default=Repellent.UNKNOWN
    )
    # When a reading first showed the repellent off again after it was on or warming up.
    idle_since = models.DateTimeField(null=True, blank=True)
    is_on = models.BooleanField(null=True)
    refill_life_percent = models.FloatField(null=True, blank=True)
    has_cartridge = models.BooleanField(null=True)
    # Name, power, light, schedules and refill, as the hub last reported them (fleet.settings_kept).
    settings = models.JSONField(null=True, blank=True)
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
    # The first complete reading without this hub; a second one makes it gone.
    missed_at = models.DateTimeField(null=True, blank=True)
    # The last call about this hub that failed in a way that may be the hub's own trouble.
    call_failed_at = models.DateTimeField(null=True, blank=True)
    call_trouble = models.CharField(max_length=48, blank=True, default="", db_default="")
    gone_at = models.DateTimeField(null=True, blank=True)
    # The row that a person let this hub's history and settings continue in, after the hub came
    # back under another node id.
    continued_in = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="continues"
    )
    # Of a simulated hub only: the trouble that it plays.
    rehearsal = models.CharField(
        max_length=24, blank=True, choices=Rehearsal.choices, default="", db_default=""
    )
    revision = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(default=timezone.now)
    # What it needs, a value of Attention, as decided at that revision (models.attention). Whatever
    # raises the revision makes it to be decided again, on a host of the version before too.
    known_attention = models.PositiveSmallIntegerField(null=True, blank=True)
    known_at_revision = models.PositiveIntegerField(default=0, db_default=0)

    objects = NodeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "node_id"], name="hub_once_per_account")
        ]
        indexes = [
            models.Index(fields=["next_check_at"], name="node_next_check"),
            models.Index(
                fields=["account", "next_check_at"],
                name="node_check_of_account",
                condition=Q(gone_at__isnull=True),
            ),
            models.Index(
                fields=["account"],
                name="node_check_asked",
                condition=Q(check_asked_at__isnull=False),
            ),
            models.Index(fields=["changed_at"], name="node_changed"),
            # alone, so that an account's are counted and summed up without reading the rows
            models.Index(fields=["account", "revision"], name="node_account_revision"),
            models.Index(fields=["node_id"], name="node_by_cloud_id"),
            models.Index(
                fields=["account"],
                name="node_undecided",
                condition=~Q(known_at_revision=F("revision")),
            ),
            models.Index(fields=["serial"], name="node_by_serial"),
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
        as its account is linked or can be signed in again, and it is not dismissed.
        """
        offer = self._other_offer
        return offer if offer is not None and offer.dismissal_id is None else None

    @property
    def dismissed_offer(self) -> "Offer | None":
        """Return what could be installed if the household had not dismissed it."""
        offer = self._other_offer
        return offer if offer is not None and offer.dismissal_id is not None else None

    @property
    def _other_offer(self) -> "Offer | None":
        offer = self.offer
        if offer is None or self.account.is_unlinked:
            return None
        if is_same_version(offer.fw_version, self.fw_version):
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
    def plan(self) -> "Plan | None":
        """Return the plan of this hub that may still start."""
        listed: list[Plan] | None = getattr(self, "waiting_plans", None)
        if listed is not None:
            return listed[0] if listed else None
        return self.plans.waiting().first()

    @property
    def next_check(self) -> datetime | None:
        """Return when the cloud is asked next; None when that is now, or not known."""
        now = timezone.now()
        account = self.account
        if not account.is_linked or account.is_resting(self.next_check_at):
            return None
        return self.next_check_at if self.next_check_at > now else None

    def known_as(self) -> "list[Node]":
        """Return the household's other rows with this hub's serial number: the same device, reset
        and added again under another node id. One query, none without a serial number.

        Two hubs that the cloud lists side by side with one serial number are two hubs, and "0000"
        is no serial number.
        """
        if len(set(self.serial)) < 3:
            return []
        others = (
            Node.objects.filter(account__household_id=self.account.household_id, serial=self.serial)
            .exclude(node_id=self.node_id)
            .select_related("account__household")
            .order_by("pk")
        )
        return [other for other in others if not (self.is_listed and other.is_listed)]

    @property
    def is_listed(self) -> bool:
        """Did the last whole reading of a linked account list this hub?"""
        return self.gone_at is None and self.missed_at is None and not self.account.is_unlinked

    def twins(self) -> "NodeQuerySet":
        """Return the rows of the same hub in the household's other accounts at this cloud."""
        return Node.objects.filter(
            node_id=self.node_id,
            account__household_id=self.account.household_id,
            account__base_url=self.account.base_url,
        ).exclude(pk=self.pk)

    @property
    def tried_job(self) -> "OtaJob | None":
        """Return the newest install when it tried what is offered now and did not end well."""
        job, offer = self.latest_job, self.offer
        if job is None or offer is None or not job.went_wrong:
            return None
        return job if is_same_version(job.to_version, offer.fw_version) else None

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
    WITHDRAWN = "withdrawn", gettext_lazy("No longer offered by the cloud")
    SWAPPED = "swapped", gettext_lazy("Replaced by another offer")
    INSTALLED = "installed", gettext_lazy("The hub now reports this version")


class Offer(models.Model):
    """What the cloud would install on one hub, from the first check that found it to the last."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="offers")
    ota_job_id = models.CharField(max_length=128)
    fw_version = models.CharField(max_length=64)
    description = models.TextField(blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    md5 = models.CharField(max_length=64, blank=True)
    has_link = models.BooleanField(default=False)
    # When the hub may install it, as far as the cloud's job says so: see FirmwareOffer.
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_until = models.DateTimeField(null=True, blank=True)
    window_start_min = models.PositiveSmallIntegerField(null=True, blank=True)
    window_end_min = models.PositiveSmallIntegerField(null=True, blank=True)
    has_other_limits = models.BooleanField(default=False, db_default=False)
    # When the cloud last reported that the hub is installing it, while no install from here ran.
    installing_at = models.DateTimeField(null=True, blank=True)
    # Older than what the hub runs: kept with the row, so that lists can count it.
    is_step_back = models.BooleanField(default=False, db_default=False)
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    # Set while the household does not want this version on this hub.
    dismissal = models.ForeignKey(
        "Dismissal", null=True, blank=True, on_delete=models.SET_NULL, related_name="offers"
    )
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

    def is_being_installed(self, now: datetime) -> bool:
        """Did the cloud say a short while ago that the hub installs it, not started from here?

        The vendor can push an update itself, and so can the app.
        """
        return self.installing_at is not None and now - self.installing_at < INSTALLING_FOR

    @property
    def notes(self) -> str:
        """Return the release notes as far as they are kept."""
        return self.description[:LONGEST_NOTES]

    @property
    def is_cut(self) -> bool:
        """Did the cloud send longer release notes than are kept?"""
        return len(self.description) > LONGEST_NOTES

    def is_older_than(self, version: str) -> bool:
        """Is this surely an older version than the given one?

        The hub would take it: its firmware only compares for being different
        (esp-rainmaker firmware, esp_rmaker_https_ota.c).
        """
        return is_older_version(self.fw_version, version)
