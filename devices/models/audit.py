"""The audit trail: who did what to what, when, from where, and why it was allowed.

Rows are only ever appended. Each carries the digest of the row before it, so that changing,
removing or reordering any of them shows; the seal, keyed with AUDIT_KEY, shows a chain that was
computed anew by someone who could write to the database but did not hold the key. Names are kept
as text: a row stays readable when the person, hub or household it speaks of is gone.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

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
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"


class AuditHead(models.Model):
    """The one row that says where the chain ends; locking it serialises appends."""

    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default=FIRST_DIGEST)

    def __str__(self) -> str:
        return f"#{self.sequence} {self.digest[:12]}"


class AuditEvent(models.Model):
    """One deed, refusal or observation."""

    sequence = models.BigIntegerField(unique=True)
    at = models.DateTimeField(db_index=True)
    action = models.CharField(max_length=48, db_index=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.DONE)
    sentence = models.TextField()
    actor_user_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=254, db_index=True)
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
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    seal = models.CharField(max_length=64)

    class Meta:
        indexes = [
            models.Index(fields=["household_id", "-sequence"], name="audit_by_household"),
            models.Index(fields=["node_id", "-sequence"], name="audit_by_hub"),
            models.Index(fields=["job_id", "-sequence"], name="audit_by_job"),
        ]

    def __str__(self) -> str:
        return f"#{self.sequence} {self.sentence}"

    def canonical(self) -> bytes:
        """Return the text that the digest covers: every field but digest and seal, as JSON."""
        values: dict[str, Any] = {
            field.attname: getattr(self, field.attname)
            for field in self._meta.concrete_fields
            if field.attname not in {"id", "digest", "seal"}
        }
        values["at"] = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return json.dumps(
            values, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        ).encode()

    def expected_digest(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()

    def expected_seal(self) -> str:
        key = str(settings.AUDIT_KEY).encode()
        return hmac.new(key, self.digest.encode(), hashlib.sha256).hexdigest()


def lock() -> None:
    """Take the chain's one row before any other: whoever writes several rows takes them in the
    same order, so that no two wait for each other. Call it first inside a transaction. One query.
    """
    AuditHead.objects.select_for_update().filter(pk=1).first()


def record(
    actor: Actor,
    action: str,
    sentence: str,
    *,
    household: Any = None,
    node: Any = None,
    job: Any = None,
    outcome: str = Outcome.DONE,
    why: str = "",
    detail: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> AuditEvent:
    """Append one event and return it: in the caller's transaction, so deed and record stand or
    fall together. Detail must be JSON and hold nothing secret. Three queries.
    """
    if job is not None:
        node = node or job.node
        household = household or job.household
    if node is not None:
        household = household or node.account.household
    with transaction.atomic():
        head, _ = AuditHead.objects.select_for_update().get_or_create(pk=1)
        event = AuditEvent(
            sequence=head.sequence + 1,
            at=at or timezone.now(),
            action=action,
            outcome=outcome,
            sentence=sentence,
            actor_user_id=actor.user_id,
            actor_name=actor.name[:254],
            actor_role=actor.role,
            via=actor.via,
            address=actor.address[:64],
            browser=actor.browser[:200],
            request_id=actor.request_id[:64],
            why=why[:200],
            household_id=household.pk if household is not None else None,
            household_name=household.name if household is not None else "",
            node_id=node.pk if node is not None else None,
            hub_name=str(node)[:200] if node is not None else "",
            job_id=job.pk if job is not None else None,
            detail=dict(detail or {}),
            previous_digest=head.digest,
        )
        event.digest = event.expected_digest()
        event.seal = event.expected_seal()
        event.save(force_insert=True)
        AuditHead.objects.filter(pk=1).update(sequence=event.sequence, digest=event.digest)
    return event
