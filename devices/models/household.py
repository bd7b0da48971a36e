"""People, the households they share, and what each may do there."""

from datetime import tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy


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
    """A person. Rights come from memberships and the staff role, decided in policies.py."""

    email = models.EmailField("e-mail", unique=True)
    name = models.CharField(max_length=120, blank=True)
    staff_role = models.CharField(
        max_length=16, blank=True, default=StaffRole.NONE, choices=StaffRole.choices
    )
    is_active = models.BooleanField(default=True)
    # Empty: as the browser asks for, and in mails as the household has it.
    language = models.CharField(max_length=8, blank=True)
    # Whether "/" goes to a page's search: what is dictated presses it by accident (WCAG 2.1.4).
    search_key = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=timezone.now)

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


class Role(models.TextChoices):
    OWNER = "owner", gettext_lazy("Owner")
    MEMBER = "member", gettext_lazy("Member")
    VIEWER = "viewer", gettext_lazy("Viewer")


class Household(models.Model):
    """The people who share hubs."""

    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="UTC")
    # Of what is sent to people who chose none, and to services.
    language = models.CharField(max_length=8, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    # What the household lets the server's support staff do.
    support_until = models.DateTimeField(null=True, blank=True)
    support_may_install = models.BooleanField(default=False)
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
    """Return the language for something sent to this person, or to nobody in particular."""
    chosen = (user.language if user is not None else "") or household.language
    return chosen if chosen in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


class Membership(models.Model):
    """One person's role in one household."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices)
    joined_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "household"], name="one_role_per_household")
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.household}"
