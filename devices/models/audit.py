"""The audit trail: who did what to what, when, from where, and why it was allowed.

Rows are only ever appended. A row's content digest covers all that it says; its digest binds that
to its position and to the digest of the row before it, so that changing, removing, inserting or
reordering any of them shows, also to a reader who is given nothing but the content digest of the
rows of others. The seal, keyed with AUDIT_KEY, shows a chain that was computed again without
that key. Names are kept as text: a row stays readable
when the person, hub or household it speaks of is gone.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy, override

from devices.models.message import MessageField

if TYPE_CHECKING:
    from devices.models.household import User


FIRST_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and by which way in: kept with everything they do."""

    name: str
    user_id: int | None = None
    role: str = ""
    via: str = "web"
    address: str = ""
    browser: str = ""
    request_id: str = ""

    @classmethod
    def worker(cls) -> "Actor":
        """Return the product itself, carrying out what a person or the clock asked for."""
        return cls(name="Thermacell Web", role="worker", via="worker")

    @classmethod
    def person(cls, user: "User", *, role: str, via: str, **where: str) -> "Actor":
        """Return a person with the role that lets them act now."""
        return cls(name=user.email, user_id=user.pk, role=role, via=via, **where)


class Outcome(models.TextChoices):
    DONE = "done", gettext_lazy("Done")
    REFUSED = "refused", gettext_lazy("Refused")
    FAILED = "failed", gettext_lazy("Failed")


class Witness(models.TextChoices):
    """What outside the database can confirm where the trail ended."""

    MARKS = "marks", gettext_lazy("the marks in the data folder")
    HEADS = "heads", gettext_lazy("the file of daily heads")
    GIVEN = "given", gettext_lazy("a head that was kept elsewhere")

    @property
    def english(self) -> str:
        """Return its words as they are stored and printed, in English."""
        with override("en"):
            return str(self.label)


class AuditHead(models.Model):
    """The one row that says where the chain ends; locking it serialises appends.

    Its seal shows a head that this server did not write. A head that was set back to an earlier
    one with its genuine seal shows by the marks outside the database (audit/marks.py).
    """

    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default=FIRST_DIGEST)
    seal = models.CharField(max_length=64, blank=True)
    # Random, made with the database: tells a new, empty one from the one that was there.
    birth = models.CharField(max_length=32, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"#{self.sequence} {self.digest[:12]}"


class AuditCheckpoint(models.Model):
    """What took the place of the rows up to and with this position when they were pruned."""

    sequence = models.BigIntegerField(unique=True)
    digest = models.CharField(max_length=64)
    at = models.DateTimeField()
    rows = models.BigIntegerField()
    seal = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"up to #{self.sequence} {self.digest[:12]}"

    @classmethod
    def latest(cls) -> "AuditCheckpoint | None":
        return cls.objects.order_by("-sequence").first()


OVERDUE_AFTER = timedelta(minutes=5)


class AuditCheck(models.Model):
    """The one row with the result of the latest check and what was sent. It proves nothing."""

    verified_at = models.DateTimeField(null=True)
    verified_sequence = models.BigIntegerField(default=0)
    finding = models.TextField(blank=True)
    # Unused since version 0.1.0: where a check in parts goes on is kept in a file.
    cursor = models.BigIntegerField(default=0)
    cursor_digest = models.CharField(max_length=64, blank=True)
    head_written_at = models.DateTimeField(null=True)
    head_mailed_at = models.DateTimeField(null=True)
    head_trouble = MessageField(blank=True)
    # How far something outside the database confirms the trail, and what that is.
    proven_sequence = models.BigIntegerField(default=0, db_default=0)
    proven_by = models.CharField(
        max_length=8, choices=Witness.choices, blank=True, default="", db_default=""
    )
    # When a person last pressed "Verify now".
    requested_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"verified {self.verified_at}"

    @property
    def is_requested(self) -> bool:
        """Return whether a person asked for a check that has not been done yet."""
        done, asked = self.verified_at, self.requested_at
        return asked is not None and (done is None or done < asked or done > timezone.now())

    @property
    def is_overdue(self) -> bool:
        """Return whether a check was asked for minutes ago and has not been done."""
        asked = self.requested_at
        return self.is_requested and asked is not None and timezone.now() - asked > OVERDUE_AFTER

    @classmethod
    def load(cls) -> "AuditCheck":
        return cls.objects.get_or_create(pk=1)[0]


class AuditEvent(models.Model):
    """One action, refusal or observation."""

    sequence = models.BigIntegerField(unique=True)
    at = models.DateTimeField(db_index=True)
    action = models.CharField(max_length=48)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.DONE)
    sentence = models.TextField()
    actor_user_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=254)
    actor_role = models.CharField(max_length=32, blank=True)
    via = models.CharField(max_length=24)
    address = models.CharField(max_length=64, blank=True)
    browser = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    why = models.CharField(max_length=200, blank=True)
    household_id = models.BigIntegerField(null=True)
    household_name = models.CharField(max_length=120, blank=True)
    node_id = models.BigIntegerField(null=True)
    hub_name = models.CharField(max_length=200, blank=True)
    job_id = models.BigIntegerField(null=True)
    detail = models.JSONField(default=dict)
    # Random, so that the content of others' rows cannot be guessed from their digests.
    salt = models.CharField(max_length=32)
    content_digest = models.CharField(max_length=64)
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    seal = models.CharField(max_length=64)

    class Meta:
        indexes = [
            models.Index(fields=["household_id", "-sequence"], name="audit_by_household"),
            models.Index(
                fields=["household_id", "action", "-sequence"], name="audit_by_household_action"
            ),
            models.Index(fields=["node_id", "-sequence"], name="audit_by_hub"),
            models.Index(fields=["job_id", "-sequence"], name="audit_by_job"),
            models.Index(fields=["actor_user_id", "-sequence"], name="audit_by_user"),
            models.Index(fields=["actor_name", "-sequence"], name="audit_by_person"),
            models.Index(fields=["hub_name", "-sequence"], name="audit_by_hub_name"),
            models.Index(fields=["outcome", "-sequence"], name="audit_by_outcome"),
            models.Index(fields=["action", "-sequence"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"#{self.sequence} {self.sentence}"

    @property
    def is_simulated(self) -> bool:
        """Was this about a simulated hub or its account?"""
        return bool(self.detail.get("simulated"))
