"""Append to the audit trail."""

import hashlib
import hmac
import json
import logging
import math
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from devices.models import database_clock
from devices.models.audit import FIRST_DIGEST, Actor, AuditEvent, AuditHead, Outcome
from devices.models.audit_action import AuditAction
from devices.models.tally import Tally

log = logging.getLogger(__name__)
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


def moment_text(at: datetime) -> str:
    """Return the moment as the digests know it: UTC with six digits of a second."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def content_digest(values: Mapping[str, Any]) -> str:
    """Return the digest of all that a row says: its JSON, names sorted, nothing between."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def link_digest(sequence: int, previous_digest: str, content: str) -> str:
    """Return the digest that binds a row's content to its place in the chain."""
    return hashlib.sha256(f"{sequence}\n{previous_digest}\n{content}".encode()).hexdigest()


def keyed(purpose: str, *words: object) -> str:
    """Return a seal that only a holder of AUDIT_KEY can make: HMAC-SHA256 of the lines."""
    text = "\n".join([purpose, *map(str, words)])
    return hmac.new(str(settings.AUDIT_KEY).encode(), text.encode(), hashlib.sha256).hexdigest()


def head_seal(sequence: int, digest: str, birth: str = "") -> str:
    """Return the seal of the trail's end; an empty trail's also covers the database's birth."""
    return keyed("head", sequence, digest, *([birth] if not sequence else ()))


def ensure_head() -> None:
    """Give a trail that is empty its head, sealed with the birth of this database."""
    if not AuditHead.objects.exists() and not AuditEvent.objects.exists():
        _make_head()


def _make_head() -> AuditHead:
    """Make the head where there is none: at the newest row, since the work has to go on."""
    newest = AuditEvent.objects.order_by("-sequence").first()
    sequence, digest = (newest.sequence, newest.digest) if newest else (0, FIRST_DIGEST)
    if newest is not None:
        log.error("the head of the audit trail is missing; it is made again at entry %s", sequence)
    birth = secrets.token_hex(16)
    seal = head_seal(sequence, digest, birth)
    return AuditHead.objects.create(pk=1, sequence=sequence, digest=digest, birth=birth, seal=seal)


def checkpoint_seal(sequence: int, digest: str, rows: int, at: datetime) -> str:
    return keyed("checkpoint", sequence, digest, rows, moment_text(at))


def lock() -> None:
    """Lock the head of the chain. A transaction that writes several rows does this first, so that
    all take their locks in the same order and none waits for another. One query.
    """
    AuditHead.objects.select_for_update().filter(pk=1).first()


@contextmanager
def locked() -> Iterator[None]:
    """Open a transaction that locks the trail first."""
    with transaction.atomic():
        lock()
        yield


def record(
    actor: Actor,
    action: AuditAction,
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
    """Append one event and return it: in the caller's transaction, so that the action and its
    entry are committed together or not at all. Detail must hold nothing secret. Four queries.
    """
    if job is not None:
        node = node or job.node
        household = household or job.household
    facts = dict(detail or {})
    if node is not None:
        household = household or node.account.household
        facts |= node.account.mark
    with transaction.atomic(savepoint=False):
        head = AuditHead.objects.select_for_update().filter(pk=1).first() or _make_head()
        event = AuditEvent(
            sequence=head.sequence + 1,
            at=at or database_clock.now(),
            action=action.value,
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
            detail=_plain(facts),
            salt=secrets.token_hex(16),
            previous_digest=head.digest,
        )
        event.content_digest = expected_content_digest(event)
        event.digest = expected_digest(event)
        event.seal = expected_seal(event)
        event.save(force_insert=True)
        AuditHead.objects.filter(pk=1).update(
            sequence=event.sequence,
            digest=event.digest,
            seal=head_seal(event.sequence, event.digest),
        )
        Tally.add("audit_event", {(event.action, event.outcome): (1, 0.0)})
        transaction.on_commit(partial(_mark, event), robust=True)
    return event


def _mark(event: AuditEvent) -> None:
    from devices.audit import marks  # which needs the seals above

    marks.note(event.sequence, event.digest, event.previous_digest)


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


def covered_values(event: AuditEvent) -> dict[str, Any]:
    """Return all that the row says, as JSON knows it: what the content digest covers."""
    values: dict[str, Any] = {name: getattr(event, name) for name in COVERED}
    values["at"] = moment_text(event.at)
    return values


def expected_content_digest(event: AuditEvent) -> str:
    return content_digest(covered_values(event))


def expected_digest(event: AuditEvent) -> str:
    return link_digest(event.sequence, event.previous_digest, event.content_digest)


def expected_seal(event: AuditEvent) -> str:
    return keyed("row", event.digest)
