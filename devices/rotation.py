"""Changing the key that secrets are encrypted with, while everything goes on running.

Every field whose name begins with `sealed_` is covered, and the second factors of people. A new key
is published first, so that
nothing is encrypted with the old one any more; then what the old one encrypted is encrypted anew,
row by row and only where nobody has changed it meanwhile. Cut off, it is simply run again.
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

from devices.models import Actor, Unsealable, audit
from devices.models.account import is_sealed_anew, reseal

BATCH = 200
# What a second factor keeps encrypted in its JSON: an authenticator app's secret, the seed of
# recovery codes.
FACTOR_SECRETS = {"secret", "seed"}
# What was being written with the old key when the new one came is written by then.
SETTLED_AFTER = timedelta(minutes=5)
WHY = "somebody with access to this server's terminal"


class NotNow(Exception):
    """The old keys cannot be dropped; the text says why, for people."""


@dataclass(slots=True)
class Count:
    """How many stored secrets there are, were encrypted anew, and cannot be opened."""

    seen: int = 0
    resealed: int = 0
    lost: int = 0
    missed: int = 0
    """Written by somebody else at the same moment; to be looked at again."""


def sealed_fields() -> list[tuple[type[models.Model], str]]:
    """Return every field that holds an encrypted secret."""
    return [
        (model, field.attname)
        for model in apps.get_app_config("devices").get_models()
        for field in model._meta.concrete_fields
        if field.attname.startswith("sealed_")
    ]


def is_under_way() -> bool:
    """Is anything still encrypted with a key that is not the newest?"""
    return any(not is_sealed_anew(sealed) for _, sealed in _secrets())


def new_key(actor: Actor, now: datetime) -> None:
    """Publish a fresh key in keys.json; from here every process encrypts with it."""
    with transaction.atomic():
        audit.lock()
        settings.KEY_RING.add(now)
        audit.record(
            actor,
            "keys.added",
            "A new encryption key is in use; what older keys encrypted is encrypted anew next.",
            why=WHY,
            at=now,
            detail={"keys": _fingerprints()},
        )


def reseal_all(actor: Actor) -> Count:
    """Encrypt with the newest key whatever is not; return what was found. Safe to repeat."""
    total = Count()
    while True:
        count = _pass()
        total.seen, total.lost = count.seen, count.lost
        total.resealed += count.resealed
        if not count.missed:
            break
    if total.resealed or total.lost:
        audit.record(
            actor,
            "keys.rotated",
            f"{total.resealed} stored secrets were encrypted anew with the newest key."
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
    """Forget all keys but the newest; return how many. Raises NotNow while one is needed."""
    ring = settings.KEY_RING
    dropped = len(ring.newest_first()) - 1
    if not dropped:
        return 0
    since = ring.newest_since()
    if since is not None and now < since + SETTLED_AFTER:
        raise NotNow(
            "The newest key is in use for less than five minutes: something may still be on its "
            "way to the database with the one before. Try again a little later."
        )
    with transaction.atomic():
        audit.lock()
        if is_under_way():
            raise NotNow(
                "Something is still encrypted with an old key: run `manage.py rotate_keys` first."
            )
        before = _fingerprints()
        ring.drop_old()
        audit.record(
            actor,
            "keys.dropped",
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
        if is_sealed_anew(sealed):
            continue
        try:
            fresh = reseal(sealed)
        except Unsealable:
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
        """Write the fresh text; False when somebody else changed it meanwhile."""
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
