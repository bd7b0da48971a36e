"""Chain the trail's rows anew in the form that binds content and place apart, seal its head, and
let the database refuse changes from then on. What the old chain looked like is said in the trail.
"""

import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime

from django.conf import settings
from django.db import migrations

from devices.audit import triggers

NOT_SAID = {"id", "salt", "content_digest", "previous_digest", "digest", "seal"}


def chain_anew(apps, schema_editor):
    triggers.remove(schema_editor.connection)
    Event = apps.get_model("devices", "AuditEvent")
    Head = apps.get_model("devices", "AuditHead")
    head, _ = Head.objects.get_or_create(pk=1)
    old_head, before, wrong, rows, last = head.digest, "0" * 64, None, 0, 0
    digest = before
    for event in Event.objects.order_by("sequence").iterator(chunk_size=1000):
        rows += 1
        if wrong is None and not _fitted(event, before):
            wrong = event.sequence
        before = event.digest
        digest, last = _chain(event, digest), event.sequence
        event.save(update_fields=["salt", "content_digest", "previous_digest", "digest", "seal"])
    if rows:
        if wrong is None and (before != old_head or head.sequence != last):
            wrong = last
        found = "it was intact" if wrong is None else f"row {wrong} was the first that did not fit"
        event = Event(
            sequence=last + 1,
            at=datetime.now(UTC),
            action="trail.chained_anew",
            outcome="done" if wrong is None else "failed",
            sentence=f"The trail was chained anew by an upgrade; before that, {found}.",
            actor_name="Thermacell Web",
            actor_role="worker",
            via="upgrade",
            detail={"rows": rows, "head_before": old_head, "first_misfit": wrong},
        )
        digest, last = _chain(event, digest), event.sequence
        event.save(force_insert=True)
    head.sequence, head.digest = last, digest
    head.seal = _keyed(f"head\n{last}\n{digest}")
    head.save()


def _values(event):
    values = {
        field.attname: getattr(event, field.attname)
        for field in event._meta.concrete_fields
        if field.attname not in NOT_SAID
    }
    values["at"] = event.at.astimezone(UTC).isoformat(timespec="microseconds")
    return values


def _json(values):
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _fitted(event, before):
    digest = _json(_values(event) | {"previous_digest": event.previous_digest})
    key = str(settings.AUDIT_KEY).encode()
    seal = hmac.new(key, event.digest.encode(), hashlib.sha256).hexdigest()
    return (event.previous_digest, event.digest, event.seal) == (before, digest, seal)


def _chain(event, previous):
    event.salt = secrets.token_hex(16)
    event.content_digest = _json(_values(event) | {"salt": event.salt})
    event.previous_digest = previous
    link = f"{event.sequence}\n{previous}\n{event.content_digest}"
    event.digest = hashlib.sha256(link.encode()).hexdigest()
    event.seal = _keyed(f"row\n{event.digest}")
    return event.digest


def _keyed(text):
    return hmac.new(str(settings.AUDIT_KEY).encode(), text.encode(), hashlib.sha256).hexdigest()


def guard(apps, schema_editor):
    triggers.install(schema_editor.connection)


def unguard(apps, schema_editor):
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ("devices", "0007_trail_that_proves_itself"),
    ]

    operations = [
        migrations.RunPython(chain_anew, migrations.RunPython.noop),
        migrations.RunPython(guard, unguard),
    ]
