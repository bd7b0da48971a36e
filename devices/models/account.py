"""Cloud accounts: one sign-in to a RainMaker cloud, its secrets encrypted at rest."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.db import models
from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from devices.models.household import Household
from devices.rainmaker.address_guard import cloud_key, is_this_machine


class AccountState(models.TextChoices):
    LINKED = "linked", gettext_lazy("Linked")
    SIGNED_OUT = "signed_out", gettext_lazy("Sign in again")
    UNLINKED = "unlinked", gettext_lazy("Unlinked")


def can_be_asked(now: datetime, prefix: str = "") -> Q:
    """Return the condition under which the cloud of an account may be asked now."""
    is_rested = Q(**{f"{prefix}resume_at": None}) | Q(**{f"{prefix}resume_at__lte": now})
    return Q(**{f"{prefix}state": AccountState.LINKED}) & is_rested


class AccountQuerySet(models.QuerySet["CloudAccount"]):
    def active(self) -> "AccountQuerySet":
        """Return the accounts whose cloud may be asked now or later."""
        return self.filter(state=AccountState.LINKED)

    def due_for_sync(self, now: datetime) -> "AccountQuerySet":
        """Return linked accounts to be read again and not resting after an error."""
        return self.filter(can_be_asked(now), next_sync_at__lte=now)

    def due_for_check(self, now: datetime) -> "AccountQuerySet":
        """Return the accounts that have hubs to check, those a person waits for first, then those
        whose hubs wait longest. It costs about the same however many hubs wait.
        """
        from devices.models.node import Node

        hubs = Node.objects.filter(account=OuterRef("pk"), gone_at__isnull=True)
        asked = hubs.filter(check_asked_at__isnull=False, next_check_at__lte=now)
        first = hubs.order_by("next_check_at").values("next_check_at")[:1]
        return (
            self.filter(can_be_asked(now))
            .annotate(first_due_at=Subquery(first), is_asked=Exists(asked))
            .filter(first_due_at__lte=now)
            .order_by("-is_asked", "first_due_at", "pk")
        )

    def households_with_several(self) -> list[int]:
        """Return the households that have several linked accounts at one cloud: only there can a
        hub have two rows. One query of the accounts.
        """
        mine = self.exclude(state=AccountState.UNLINKED).order_by()
        several = mine.values("household", "base_url").annotate(n=Count("pk")).filter(n__gt=1)
        return sorted({row["household"] for row in several})

    def due_for_sign_in(self, now: datetime) -> "AccountQuerySet":
        """Return signed-out accounts whose password was kept and may be tried now."""
        return self.filter(
            Q(next_sign_in_at__isnull=True) | Q(next_sign_in_at__lte=now),
            state=AccountState.SIGNED_OUT,
        ).exclude(sealed_password="")


@lru_cache(maxsize=256)
def cloud_host_of(base_url: str) -> str:
    """Return the cloud's host and port, one spelling for each."""
    return urlsplit(cloud_key(base_url)).netloc


@lru_cache(maxsize=256)
def _is_here(base_url: str) -> bool:
    return is_this_machine(urlsplit(base_url).hostname or "")


def in_world(is_simulated: bool, path: str = "account__") -> Q:
    """Return the condition for rows of simulated hubs, or of real ones; path leads from the row to
    its account. One query.
    """
    urls = CloudAccount.objects.order_by().values_list("base_url", flat=True).distinct()
    return Q((f"{path}base_url__in", [url for url in urls if _is_here(url) is is_simulated]))


class CloudAccount(models.Model):
    """One sign-in to a RainMaker cloud. Unlinking wipes its secrets and keeps the row, because
    history refers to it.
    """

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="accounts")
    base_url = models.CharField(max_length=200)
    email = models.CharField("e-mail", max_length=254)
    cloud_user_id = models.CharField(max_length=64, blank=True)
    state = models.CharField(
        max_length=12, choices=AccountState.choices, default=AccountState.LINKED
    )
    sealed_access_token = models.TextField(blank=True)
    sealed_refresh_token = models.TextField(blank=True)
    access_expires_at = models.DateTimeField(null=True, blank=True)
    # The session is not extended again before this time; a pause that grows while it fails.
    extend_after = models.DateTimeField(null=True, blank=True)
    extensions = models.PositiveIntegerField(default=0, db_default=0)
    # Empty unless the person asked for sign-ins without them.
    sealed_password = models.TextField(blank=True)
    sign_in_tries = models.PositiveIntegerField(default=0)
    next_sign_in_at = models.DateTimeField(null=True, blank=True)
    linked_at = models.DateTimeField(default=timezone.now)
    next_sync_at = models.DateTimeField(default=timezone.now)
    synced_at = models.DateTimeField(null=True, blank=True)
    # Where a reading of the account's hubs stands; empty between two readings.
    sync_cursor = models.CharField(max_length=300, blank=True)
    sync_started_at = models.DateTimeField(null=True, blank=True)
    skipped_hubs = models.PositiveIntegerField(default=0)
    # Of the reading under way: its pages, the hubs on them, and whether each page's `total` was
    # the number of hubs on that page.
    pages_read = models.PositiveIntegerField(default=0, db_default=0)
    hubs_listed = models.PositiveIntegerField(default=0, db_default=0)
    counts_by_page = models.BooleanField(default=True, db_default=True)
    # What was wrong with the last list of hubs: it stays until a list is right again.
    list_trouble = models.CharField(max_length=48, blank=True, default="", db_default="")
    answered_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    resume_at = models.DateTimeField(null=True, blank=True)
    trouble = models.CharField(max_length=48, blank=True)
    trouble_text = models.CharField(max_length=300, blank=True)

    objects = AccountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["household", "base_url", "email"], name="account_linked_once_per_household"
            ),
            models.CheckConstraint(
                condition=Q(state__in=sorted(AccountState.values)), name="account_state_known"
            ),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def cloud_host(self) -> str:
        """Return the cloud's host and port, one spelling for each: with a node id it names one
        physical hub.
        """
        return cloud_host_of(self.base_url)

    @property
    def is_simulated(self) -> bool:
        """Is this cloud on the server's own machine? A real RainMaker cloud never is."""
        return _is_here(self.base_url)

    @property
    def mark(self) -> dict[str, bool]:
        """Return the detail that marks records and notices about simulated hubs."""
        return {"simulated": True} if self.is_simulated else {}

    def marked(self, name: str) -> str:
        """Return a hub's name, marked when it is simulated: for places without badges."""
        return gettext("%(hub)s (simulated)") % {"hub": name} if self.is_simulated else name

    @property
    def signs_in_by_itself(self) -> bool:
        """Is the password kept, so that the server can sign in again on its own?"""
        return bool(self.sealed_password)

    @property
    def any_trouble(self) -> str:
        """Return the code of what is wrong with the account, or with its list of hubs."""
        return self.trouble or self.list_trouble

    @property
    def rests_until(self) -> datetime | None:
        """Return until when the cloud is not asked, None when it may be asked now."""
        now = timezone.now()
        return self.resume_at if self.is_linked and self.is_resting(now) else None

    @property
    def is_linked(self) -> bool:
        return self.state == AccountState.LINKED

    @property
    def is_unlinked(self) -> bool:
        return self.state == AccountState.UNLINKED

    def forget_secrets(self) -> None:
        """Wipe the tokens and a kept password; the caller saves."""
        self.sealed_access_token = self.sealed_refresh_token = self.sealed_password = ""
        self.access_expires_at = None

    def answered(self, now: datetime) -> None:
        """Record that the cloud answered, and clear its trouble. One query."""
        fresh: dict[str, Any] = {
            "answered_at": now,
            "failures": 0,
            "resume_at": None,
            "trouble": "",
            "trouble_text": "",
        }
        # an answer that was under way when the cloud asked for a pause does not end that pause
        awake = CloudAccount.objects.filter(Q(resume_at=None) | Q(resume_at__lte=now), pk=self.pk)
        if awake.update(**fresh):
            for name, value in fresh.items():
                setattr(self, name, value)

    def is_resting(self, now: datetime) -> bool:
        """Is this account paused after an error?"""
        return self.resume_at is not None and self.resume_at > now


def common_mark(accounts: Iterable[CloudAccount]) -> dict[str, bool]:
    """Return the mark that all of these accounts have, else nothing."""
    marks = [account.mark for account in accounts]
    return marks[0] if marks and all(marks) else {}
