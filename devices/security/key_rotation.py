"""Change the encryption key while everything runs.

Covers every field whose name begins with `sealed_`, and people's second factors. A new key is
published first, so that nothing more is encrypted with the old one. Then each secret is encrypted
again, row by row, unless it changed meanwhile. If it is interrupted, run it again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.conf import settings
from django.db import models, transaction

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction
from devices.security import key_marks
from devices.security.encryption import DecryptionError, reencrypt, uses_newest_key

BATCH = 200
# What a second factor keeps encrypted in its JSON: an authenticator app's secret, the seed of
# recovery codes.
FACTOR_SECRETS = {"secret", "seed"}
# What was being written with the old key when the new one came is written by then.
SETTLED_AFTER = timedelta(minutes=5)
WHY = "access to this server's terminal"


class RotationError(Exception):
    """The old keys cannot be dropped; the text says why, for people."""


@dataclass(slots=True)
class Count:
    """How many stored secrets there are, were encrypted again, and cannot be decrypted."""

    seen: int = 0
    resealed: int = 0
    lost: int = 0
    missed: int = 0
    """Changed by another process at the same moment; the next pass looks again."""


def sealed_fields() -> list[tuple[type[models.Model], str]]:
    """Return every field that holds an encrypted secret."""
    return [
        (model, field.attname)
        for model in apps.get_app_config("devices").get_models()
        for field in model._meta.concrete_fields
        if field.attname.startswith("sealed_")
    ]


def is_under_way() -> bool:
    """Return whether anything is still encrypted with an older key."""
    return any(not uses_newest_key(sealed) for _, sealed in _secrets())


def new_key(actor: Actor, now: datetime) -> None:
    """Publish a fresh key in keys.json; from here every process encrypts with it."""
    with audit_log.locked():
        settings.KEY_RING.add(now)
        key_marks.keep_newest()
        audit_log.record(
            actor,
            AuditAction.KEYS_ADDED,
            "A new encryption key is in use. Older secrets are encrypted again next.",
            why=WHY,
            at=now,
            detail={"keys": _fingerprints()},
        )


def reseal_all(actor: Actor) -> Count:
    """Encrypt with the newest key what is not yet; return what was found. Safe to repeat."""
    total = Count()
    while True:
        count = _pass()
        total.seen, total.lost = count.seen, count.lost
        total.resealed += count.resealed
        if not count.missed:
            break
    if total.resealed or total.lost:
        audit_log.record(
            actor,
            AuditAction.KEYS_ROTATED,
            f"{total.resealed} stored secrets were encrypted again with the newest key."
            + (f" {total.lost} cannot be opened with any key." if total.lost else ""),
            why=WHY,
            outcome="failed" if total.lost else "done",
            detail={
                "keys": _fingerprints(),
                "seen": total.seen,
                "resealed": total.resealed,
                "lost": total.lost,
            },
        )
    return total


def drop_old(actor: Actor, now: datetime) -> int:
    """Forget all keys but the newest; return how many. Raises RotationError while one is needed."""
    ring = settings.KEY_RING
    dropped = len(ring.newest_first()) - 1
    if not dropped:
        return 0
    since = ring.newest_since()
    if since is not None and now < since + SETTLED_AFTER:
        raise RotationError(
            "The newest key is in use for less than five minutes: something may still be on its "
            "way to the database with the one before. Try again a little later."
        )
    with audit_log.locked():
        if is_under_way():
            raise RotationError(
                "Something is still encrypted with an old key: run `manage.py rotate_keys` first."
            )
        before = _fingerprints()
        ring.drop_old()
        audit_log.record(
            actor,
            AuditAction.KEYS_DROPPED,
            f"{dropped} old encryption key{'s were' if dropped > 1 else ' was'} dropped.",
            why=WHY,
            at=now,
            detail={"keys": _fingerprints(), "dropped": before[1:]},
        )
    return dropped


def _pass() -> Count:
    count = Count()
    for place, sealed in _secrets():
        count.seen += 1
        if uses_newest_key(sealed):
            continue
        try:
            fresh = reencrypt(sealed)
        except DecryptionError:
            count.lost += 1
            continue
        if place.replace(sealed, fresh):
            count.resealed += 1
        else:
            count.missed += 1
    return count


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one secret is kept: a field, or one value of a field that holds JSON."""

    model: type[models.Model]
    pk: int
    field: str
    key: str = ""

    def replace(self, sealed: str, fresh: str) -> bool:
        """Write the fresh text; False when it was changed meanwhile."""
        rows = self.model._default_manager.filter(pk=self.pk)
        if not self.key:
            return bool(rows.filter(**{self.field: sealed}).update(**{self.field: fresh}))
        with transaction.atomic():
            row = rows.select_for_update().first()
            data = getattr(row, self.field, {})
            if data.get(self.key) != sealed:
                return False
            rows.update(**{self.field: data | {self.key: fresh}})
        return True


def _secrets() -> Iterator[tuple[_Place, str]]:
    """Yield where every stored secret is, and its text; a batch a query."""
    for model, field in sealed_fields():
        for pk, sealed in _batches(model._default_manager.exclude(**{field: ""}), field):
            yield _Place(model, pk, field), sealed
    for pk, data in _batches(Authenticator.objects.all(), "data"):
        for key in FACTOR_SECRETS & data.keys():
            yield _Place(Authenticator, pk, "data", key), data[key]


def _batches(rows: "models.QuerySet[Any]", field: str) -> Iterator[tuple[int, Any]]:
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", field)[:BATCH]):
        yield from batch
        last = batch[-1][0]


def _fingerprints() -> list[str]:
    """Return what tells the keys apart, newest first, and opens nothing."""
    return [
        hashlib.sha256(key.encode()).hexdigest()[:8] for key in settings.KEY_RING.newest_first()
    ]
