"""The audit trail: who did what to what, when, from where, and why it was allowed.

Rows are only ever appended. A row's content digest covers all that it says; its digest binds that
to its position and to the digest of the row before it, so that changing, removing, inserting or
reordering any of them shows, also to a reader who is given nothing but the content digest of the
rows of others. The seal, keyed with AUDIT_KEY, shows a chain that was computed anew by someone who
could write to the database but did not hold the key. Names are kept as text: a row stays readable
when the person, hub or household it speaks of is gone.
"""

import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from devices.models.household import User

FIRST_DIGEST = "0" * 64
# What a row's content digest covers: everything it says. A column that is added later has to be
# left out of the canonical text of the rows that were written before it.
COVERED = (
    "sequence",
    "at",
    "action",
    "outcome",
    "sentence",
    "actor_user_id",
    "actor_name",
    "actor_role",
    "via",
    "address",
    "browser",
    "request_id",
    "why",
    "household_id",
    "household_name",
    "node_id",
    "hub_name",
    "job_id",
    "detail",
    "salt",
)
LONGEST_SENTENCE = 2000
# From here on PostgreSQL's JSON gives a float back as a whole number.
LARGEST_FLOAT = 1e15


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


class AuditHead(models.Model):
    """The one row that says where the chain ends; locking it serialises appends.

    Its seal makes a head that was set back to an earlier row show.
    """

    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default=FIRST_DIGEST)
    seal = models.CharField(max_length=64, blank=True)

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

    def expected_seal(self) -> str:
        return checkpoint_seal(self.sequence, self.digest, self.rows, self.at)

    @classmethod
    def latest(cls) -> "AuditCheckpoint | None":
        return cls.objects.order_by("-sequence").first()


class AuditCheck(models.Model):
    """The one row that keeps what the product itself last found and sent: never a proof."""

    verified_at = models.DateTimeField(null=True)
    verified_sequence = models.BigIntegerField(default=0)
    finding = models.TextField(blank=True)
    # A long chain is verified in parts; the next one starts after this position.
    cursor = models.BigIntegerField(default=0)
    cursor_digest = models.CharField(max_length=64, blank=True)
    head_written_at = models.DateTimeField(null=True)
    head_mailed_at = models.DateTimeField(null=True)
    head_trouble = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"verified {self.verified_at}"

    @classmethod
    def load(cls) -> "AuditCheck":
        return cls.objects.get_or_create(pk=1)[0]


class AuditEvent(models.Model):
    """One deed, refusal or observation."""

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
    # Random, so that nobody can guess what a row of others says and find it by its digest.
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

    def said(self) -> dict[str, Any]:
        """Return all that the row says, as JSON knows it: what the content digest covers."""
        values: dict[str, Any] = {name: getattr(self, name) for name in COVERED}
        values["at"] = moment_text(self.at)
        return values

    def expected_content_digest(self) -> str:
        return content_digest(self.said())

    def expected_digest(self) -> str:
        return link_digest(self.sequence, self.previous_digest, self.content_digest)

    def expected_seal(self) -> str:
        return keyed("row", self.digest)


def moment_text(at: datetime) -> str:
    """Return the moment as the digests know it: UTC with six digits of a second."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def content_digest(said: Mapping[str, Any]) -> str:
    """Return the digest of all that a row says: its JSON, names sorted, nothing between."""
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def link_digest(sequence: int, previous_digest: str, content: str) -> str:
    """Return the digest that binds a row's content to its place in the chain."""
    return hashlib.sha256(f"{sequence}\n{previous_digest}\n{content}".encode()).hexdigest()


def keyed(purpose: str, *words: object) -> str:
    """Return a seal that only a holder of AUDIT_KEY can make: HMAC-SHA256 of the lines."""
    text = "\n".join([purpose, *map(str, words)])
    return hmac.new(str(settings.AUDIT_KEY).encode(), text.encode(), hashlib.sha256).hexdigest()


def head_seal(sequence: int, digest: str) -> str:
    return keyed("head", sequence, digest)


def checkpoint_seal(sequence: int, digest: str, rows: int, at: datetime) -> str:
    return keyed("checkpoint", sequence, digest, rows, moment_text(at))


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
    fall together. Detail must hold nothing secret. Three queries.
    """
    if job is not None:
        node = node or job.node
        household = household or job.household
    told = dict(detail or {})
    if node is not None:
        household = household or node.account.household
        told |= node.account.mark
    with transaction.atomic(savepoint=False):
        head, _ = AuditHead.objects.select_for_update().get_or_create(pk=1)
        event = AuditEvent(
            sequence=head.sequence + 1,
            at=at or timezone.now(),
            action=action,
            outcome=str(outcome),
            sentence=_text(sentence, LONGEST_SENTENCE),
            actor_user_id=actor.user_id,
            actor_name=_text(actor.name, 254),
            actor_role=_text(actor.role, 32),
            via=actor.via,
            address=_text(actor.address, 64),
            browser=_text(actor.browser, 200),
            request_id=_text(actor.request_id, 64),
            why=_text(why, 200),
            household_id=household.pk if household is not None else None,
            household_name=_text(household.name, 120) if household is not None else "",
            node_id=node.pk if node is not None else None,
            hub_name=_text(str(node), 200) if node is not None else "",
            job_id=job.pk if job is not None else None,
            detail=_plain(told),
            salt=secrets.token_hex(16),
            previous_digest=head.digest,
        )
        event.content_digest = event.expected_content_digest()
        event.digest = event.expected_digest()
        event.seal = event.expected_seal()
        event.save(force_insert=True)
        AuditHead.objects.filter(pk=1).update(
            sequence=event.sequence,
            digest=event.digest,
            seal=head_seal(event.sequence, event.digest),
        )
    return event


def _text(text: object, length: int) -> str:
    """Return text that every database takes and gives back unchanged."""
    clean = str(text).replace("\0", "").encode("utf-8", "replace").decode()
    return clean[:length]


def _plain(value: Any) -> Any:
    """Return the value as JSON that every database gives back unchanged."""
    if isinstance(value, Mapping):
        return {_text(name, 200): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return value if 0 < abs(value) < LARGEST_FLOAT else int(value)
    if isinstance(value, int):
        return int(value)
    return _text(value, 10_000)
