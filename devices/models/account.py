"""Cloud accounts: one sign-in to a RainMaker cloud, its secrets encrypted at rest."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from devices.models.household import Household

# A call that fails waits 2 s, then twice as long each time, up to five minutes.
FIRST_BACK_OFF = timedelta(seconds=2)
LONGEST_BACK_OFF = timedelta(minutes=5)
# The longest pause a cloud may ask for and get.
LONGEST_RETRY_AFTER = timedelta(hours=1)


class Unsealable(Exception):
    """The stored secret was encrypted with a key this server does not have."""


def seal(secret: str) -> str:
    """Return the secret encrypted with the newest of the server's keys."""
    return _ring().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Return the secret; raises Unsealable when no key of this server opens it."""
    try:
        return _ring().decrypt(sealed.encode()).decode()
    except InvalidToken as problem:
        raise Unsealable("a stored secret cannot be opened with this server's keys") from problem


def is_sealed_anew(sealed: str) -> bool:
    """Was the secret encrypted with the newest key?"""
    try:
        Fernet(settings.KEY_RING.newest_first()[0]).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def reseal(sealed: str) -> str:
    """Return the secret encrypted with the newest key; raises Unsealable when no key opens it."""
    try:
        return _ring().rotate(sealed.encode()).decode()
    except InvalidToken as problem:
        raise Unsealable("a stored secret cannot be opened with this server's keys") from problem


def _ring() -> MultiFernet:
    ring: MultiFernet = settings.KEY_RING.fernet()
    return ring


class AccountState(models.TextChoices):
    LINKED = "linked", gettext_lazy("Linked")
    SIGNED_OUT = "signed_out", gettext_lazy("Sign in again")
    UNLINKED = "unlinked", gettext_lazy("Unlinked")


class AccountQuerySet(models.QuerySet["CloudAccount"]):
    def active(self) -> "AccountQuerySet":
        """Return the accounts whose cloud may be asked now or later."""
        return self.filter(state=AccountState.LINKED)

    def due_for_sync(self, now: datetime) -> "AccountQuerySet":
        """Return linked accounts to be read again and not resting after an error."""
        return self.active().filter(
            Q(next_sync_at__lte=now), Q(resume_at__isnull=True) | Q(resume_at__lte=now)
        )

    def due_for_sign_in(self, now: datetime) -> "AccountQuerySet":
        """Return signed-out accounts whose password was kept and may be tried now."""
        return self.filter(
            Q(next_sign_in_at__isnull=True) | Q(next_sign_in_at__lte=now),
            state=AccountState.SIGNED_OUT,
        ).exclude(sealed_password="")


@lru_cache(maxsize=256)
def _is_here(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class CloudAccount(models.Model):
    """One sign-in to a RainMaker cloud. Unlinking wipes its secrets and keeps the row: history
    speaks of it.
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
        """Return the cloud's host and port: with a node id it names one physical hub."""
        return urlsplit(self.base_url).netloc.lower()

    @property
    def is_simulated(self) -> bool:
        """Is this cloud on the server's own machine? A real RainMaker cloud never is."""
        return _is_here(self.base_url)

    @property
    def mark(self) -> dict[str, bool]:
        """Return what tells records and notices about simulated hubs from those about real ones: as
        a part of what they say, it does so wherever they are read.
        """
        return {"simulated": True} if self.is_simulated else {}

    def marked(self, name: str) -> str:
        """Return a hub's name, marked when it is simulated: for where there are no badges."""
        return gettext("%(hub)s (simulated)") % {"hub": name} if self.is_simulated else name

    @property
    def signs_in_by_itself(self) -> bool:
        """Is the password kept, so that no person is needed when the session ends?"""
        return bool(self.sealed_password)

    @property
    def is_linked(self) -> bool:
        return self.state == AccountState.LINKED

    @property
    def is_unlinked(self) -> bool:
        return self.state == AccountState.UNLINKED

    def keep_tokens(
        self, *, access: str, refresh: str, expires_at: datetime | None, cloud_user_id: str
    ) -> None:
        """Set the sealed tokens; the caller saves."""
        self.sealed_access_token = seal(access)
        self.sealed_refresh_token = seal(refresh)
        self.access_expires_at = expires_at
        self.cloud_user_id = cloud_user_id or self.cloud_user_id

    def forget_secrets(self) -> None:
        """Wipe the tokens and a kept password; the caller saves."""
        self.sealed_access_token = self.sealed_refresh_token = self.sealed_password = ""
        self.access_expires_at = None

    def answered(self, now: datetime) -> None:
        """Record that the cloud answered: what was wrong is over. One query."""
        fresh: dict[str, Any] = {
            "answered_at": now,
            "failures": 0,
            "resume_at": None,
            "trouble": "",
            "trouble_text": "",
        }
        # one that was under way when the cloud asked for a pause does not end that pause
        awake = CloudAccount.objects.filter(Q(resume_at=None) | Q(resume_at__lte=now), pk=self.pk)
        if awake.update(**fresh):
            for name, value in fresh.items():
                setattr(self, name, value)

    def rest(self, now: datetime, *, trouble: str, text: str, wait_s: float | None = None) -> None:
        """Record that the cloud could not be asked, and leave it alone for a while.

        wait_s is what the cloud asked for (Retry-After); without it the pause doubles. One query.
        """
        current = CloudAccount.objects.get(pk=self.pk)
        if current.resume_at is not None and current.resume_at > now:
            self.resume_at = current.resume_at  # calls that were under way count as one failure
            return
        self.failures = current.failures + 1
        doubled = min(FIRST_BACK_OFF * 2 ** min(self.failures - 1, 10), LONGEST_BACK_OFF)
        asked = min(timedelta(seconds=wait_s), LONGEST_RETRY_AFTER) if wait_s else None
        self.resume_at = now + (asked or doubled)
        self.trouble, self.trouble_text = trouble, text[:300]
        self.save(update_fields=["failures", "resume_at", "trouble", "trouble_text"])

    def is_resting(self, now: datetime) -> bool:
        """Is this cloud left alone for now, after an error?"""
        return self.resume_at is not None and self.resume_at > now


def common_mark(accounts: Iterable[CloudAccount]) -> dict[str, bool]:
    """Return the mark of what is about several accounts: they must all have it."""
    marks = [account.mark for account in accounts]
    return marks[0] if marks and all(marks) else {}
