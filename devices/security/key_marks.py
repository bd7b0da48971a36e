"""Servers at one database have the same keys: one with others must not start.

It would end every session, could open no cloud account, and would seal the trail with another key.
The first start stores a fingerprint of each key in the database.
"""

import hashlib
import hmac

from django.conf import settings
from django.db import transaction

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, KeyMark, KeyName

_PURPOSE = b"thermacell-web key mark"


def wrong_key() -> KeyName | None:
    """Return which key is not the one that this database belongs to; None when all are.

    The first start leaves the marks. A key that was put in front of the known one, as a change of
    keys does it, becomes the known one.
    """
    with transaction.atomic():
        for name, ours in _ours().items():
            # of two first starts at once, the second finds the mark of the first
            newest = {"fingerprint": ours[0]}
            mark, _ = KeyMark.objects.select_for_update().get_or_create(name=name, defaults=newest)
            if mark.fingerprint not in ours:
                return name
            if mark.fingerprint != ours[0]:
                KeyMark.objects.filter(name=name).update(**newest)
    return None


def is_ours() -> bool:
    """Does the database know this server's keys, as far as it knows any? One query."""
    ours = {name.value: marks for name, marks in _ours().items()}
    kept = KeyMark.objects.values_list("name", "fingerprint")
    return all(fingerprint in ours.get(name, []) for name, fingerprint in kept)


def why_wrong(name: KeyName) -> str:
    """Return one sentence about a key that is not the database's."""
    return (
        f"{name.value} of this server is not the one that its database belongs to: give it the "
        "keys of the servers that use the database already (their keys.json or environment). Every "
        "backup holds them too: `manage.py restore FILE --force`. Only if the key was changed on "
        "purpose, or is lost for good, run `manage.py rotate_keys --adopt`."
    )


def keep_newest() -> None:
    """Keep the marks of the keys in use: servers without the newest encryption key stay out."""
    for name, ours in _ours().items():
        KeyMark.objects.update_or_create(name=name, defaults={"fingerprint": ours[0]})


def adopt(actor: Actor) -> list[str]:
    """Take this server's keys for those of the database; return the names of those that are new."""
    with audit_log.locked():
        kept = dict(KeyMark.objects.values_list("name", "fingerprint"))
        changed = [name.value for name, ours in _ours().items() if kept.get(name) != ours[0]]
        keep_newest()
        if changed:
            audit_log.record(
                actor,
                AuditAction.KEYS_ADOPTED,
                f"The keys of this server count from now on: {', '.join(changed)}.",
                detail={"keys": changed},
            )
    return changed


def _ours() -> dict[KeyName, list[str]]:
    """Return the fingerprints of this server's keys, the one in use first."""
    return {
        KeyName.SECRET: _marks([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]),
        KeyName.ENCRYPTION: _marks(settings.KEY_RING.newest_first()),
        KeyName.AUDIT: _marks([settings.AUDIT_KEY]),
    }


def _marks(keys: "list[str] | tuple[str, ...]") -> list[str]:
    return [hmac.new(key.encode(), _PURPOSE, hashlib.sha256).hexdigest() for key in keys]
