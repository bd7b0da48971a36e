"""Changes that an attacker with write access to the database can make to the audit trail."""

from collections.abc import Callable

from django.db import connection
from django.db.models import F

from devices.audit.log import expected_content_digest, link_digest
from devices.models import AuditEvent, AuditHead
from tests.management.commands.flush import unguarded


def rows() -> "dict[int, AuditEvent]":
    return {event.sequence: event for event in AuditEvent.objects.order_by("sequence")}


def shift(first: int, by: int) -> None:
    """Move the rows from a position on, by way of unused numbers."""
    far = 10_000_000
    behind = AuditEvent.objects.filter(sequence__gte=first)
    behind.update(sequence=F("sequence") + far)
    AuditEvent.objects.filter(sequence__gte=far).update(sequence=F("sequence") - far + by)


def set_head(sequence: int) -> None:
    """Set the head to a row, without being able to seal it."""
    row = AuditEvent.objects.get(sequence=sequence)
    AuditHead.objects.filter(pk=1).update(sequence=row.sequence, digest=row.digest)


def change() -> None:
    AuditEvent.objects.filter(sequence=5).update(sentence="Nothing happened.")


def change_detail() -> None:
    AuditEvent.objects.filter(sequence=5).update(detail={"n": 99})


def change_who() -> None:
    AuditEvent.objects.filter(sequence=5).update(actor_name="other@example.com")


def change_and_compute_anew() -> None:
    """Change a row and give it and all behind it digests that fit; the seals cannot be made."""
    AuditEvent.objects.filter(sequence=5).update(sentence="Nothing happened.")
    before = AuditEvent.objects.get(sequence=4).digest
    for event in AuditEvent.objects.filter(sequence__gte=5).order_by("sequence"):
        event.content_digest, event.previous_digest = expected_content_digest(event), before
        event.digest = before = link_digest(event.sequence, before, event.content_digest)
        event.save()
    set_head(max(rows()))


def delete() -> None:
    AuditEvent.objects.filter(sequence=5).delete()


def delete_and_close_the_gap() -> None:
    AuditEvent.objects.filter(sequence=5).delete()
    shift(6, -1)
    AuditHead.objects.filter(pk=1).update(sequence=F("sequence") - 1)


def insert() -> None:
    """Put a row in at 5, with digests that fit; those behind it move up."""
    shift(5, 1)
    row = AuditEvent.objects.get(sequence=6)
    before = AuditEvent.objects.get(sequence=4).digest
    row.pk, row.sequence, row.sentence = None, 5, "Permission was given."
    row.content_digest = expected_content_digest(row)
    row.digest = link_digest(5, before, row.content_digest)
    row.save(force_insert=True)
    AuditHead.objects.filter(pk=1).update(sequence=F("sequence") + 1)


def append() -> None:
    last = AuditEvent.objects.order_by("-sequence")[0]
    before = last.digest
    last.pk, last.sequence, last.sentence = None, last.sequence + 1, "Permission was given."
    last.content_digest, last.previous_digest = expected_content_digest(last), before
    last.digest = link_digest(last.sequence, before, last.content_digest)
    last.save(force_insert=True)


def reorder() -> None:
    AuditEvent.objects.filter(sequence=5).update(sequence=-1)
    AuditEvent.objects.filter(sequence=6).update(sequence=5)
    AuditEvent.objects.filter(sequence=-1).update(sequence=6)


def cut() -> None:
    AuditEvent.objects.filter(sequence__gte=8).delete()


def cut_and_set_the_head() -> None:
    AuditEvent.objects.filter(sequence__gte=8).delete()
    set_head(7)


def empty() -> None:
    AuditEvent.objects.all().delete()


# What is done: (kind found, position found)
WAYS: dict[Callable[[], object], tuple[str, int]] = {
    change: ("changed", 5),
    change_detail: ("changed", 5),
    change_who: ("changed", 5),
    change_and_compute_anew: ("rewritten", 5),
    delete: ("deleted", 5),
    delete_and_close_the_gap: ("deleted", 5),
    insert: ("inserted", 5),
    append: ("inserted", 11),
    reorder: ("reordered", 5),
    cut: ("cut", 8),
    cut_and_set_the_head: ("cut", 7),
    empty: ("cut", 1),
}


def tamper(way: Callable[[], object]) -> None:
    """Do it as the owner of the database could: without the triggers."""
    with unguarded(connection):
        way()
