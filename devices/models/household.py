"""People, the households they share, and what each may do there."""

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy

from thermacell_web import __version__


def current_version() -> str:
    """Return the version that runs: who comes new has no news to read."""
    return __version__


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a person who signs in with this e-mail address; case does not matter."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class StaffRole(models.TextChoices):
    NONE = "", gettext_lazy("Not staff")
    SUPPORT = "support", gettext_lazy("Support")
    AUDITOR = "auditor", gettext_lazy("Auditor")
    ADMINISTRATOR = "administrator", gettext_lazy("Administrator")


class User(AbstractBaseUser):
    """A person. Rights come from memberships and the staff role, decided in permissions.py."""

    email = models.EmailField("e-mail", unique=True)
    name = models.CharField(max_length=120, blank=True)
    staff_role = models.CharField(
        max_length=16, blank=True, default=StaffRole.NONE, choices=StaffRole.choices
    )
    is_active = models.BooleanField(default=True)
    # Empty: the browser's language on pages, the household's in mails.
    language = models.CharField(max_length=8, blank=True)
    # Do single keys do something? Dictation software presses them by accident (WCAG 2.1.4).
    search_key = models.BooleanField(default=True)
    # How the list of hubs looks: "cards" or "table", "" for the usual one.
    list_view = models.CharField(max_length=8, blank=True, default="", db_default="")
    date_joined = models.DateTimeField(default=timezone.now)
    # Counts how often everything opened in this person's name was ended. A session or link that
    # was made under a smaller number no longer works.
    access_epoch = models.PositiveIntegerField(default=0, db_default=0)
    # The version whose news this person has seen; "" for people of before there was this field.
    news_seen = models.CharField(max_length=32, blank=True, default=current_version, db_default="")
    # Only the owner who invited this person vouched for the address.
    is_address_unproven = models.BooleanField(default=False, db_default=False)
    # When the password was set by a link that another person passed on.
    password_by_link_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_email_unique_in_any_case")
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def clean(self) -> None:
        super().clean()
        self.email = self.email.strip().lower()

    def get_session_auth_hash(self) -> str:
        """Return what a session must carry to stay signed in: it changes with the password and
        with `access_epoch`.
        """
        return self._with_epoch(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        for older in super().get_session_auth_fallback_hash():
            yield self._with_epoch(older)

    def _with_epoch(self, digest: str) -> str:
        return f"{self.access_epoch}:{digest}" if self.access_epoch else digest


class Role(models.TextChoices):
    OWNER = "owner", gettext_lazy("Owner")
    MEMBER = "member", gettext_lazy("Member")
    VIEWER = "viewer", gettext_lazy("Viewer")


class Household(models.Model):
    """The people who share hubs."""

    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="UTC")
    # For people who chose no language, and for services.
    language = models.CharField(max_length=8, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    # What the household lets the server's support staff do.
    support_until = models.DateTimeField(null=True, blank=True)
    support_may_install = models.BooleanField(default=False)
    # When a person last opened a page about its hubs, to within a few minutes.
    looked_at = models.DateTimeField(null=True, blank=True)
    # Since when it is stored for winter, and who did that; and when the last winter ended.
    stored_at = models.DateTimeField(null=True, blank=True)
    stored_by_name = models.CharField(max_length=254, blank=True, default="", db_default="")
    season_ended_at = models.DateTimeField(null=True, blank=True)
    members = models.ManyToManyField(User, through="Membership", related_name="households")

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> tzinfo:
        """Return the time zone, or the server's when its name is not known here."""
        try:
            return ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            return timezone.get_default_timezone()


def language_of(user: User | None, household: Household) -> str:
    """Return the language for messages to this person, or to the whole household."""
    chosen = (user.language if user is not None else "") or household.language
    return chosen if chosen in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


class Membership(models.Model):
    """One person's role in one household."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices)
    joined_at = models.DateTimeField(default=timezone.now)
    role_at = models.DateTimeField(default=timezone.now, db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "household"], name="one_role_per_household")
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.household}"

    @property
    def standing(self) -> list[object]:
        """Return what differs after any change, even one that was undone."""
        return [self.pk, self.role, self.role_at.timestamp()]
