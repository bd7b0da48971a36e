"""The audit trail is a chain: what is changed, removed, put in or moved shows, and where."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from devices import guards, upkeep
from devices.chain import daily_head, verify
from devices.models import (
    Actor,
    AuditCheck,
    AuditCheckpoint,
    AuditEvent,
    AuditHead,
    State,
    audit,
)
from tests import tamper
from tests.factories import make_job

pytestmark = pytest.mark.django_db
ACTOR = Actor(name="owner@example.com", user_id=1, role="owner", address="192.0.2.1")
ROWS = 10


@pytest.fixture
def trail() -> list[AuditEvent]:
    """Write ten rows."""
    return [audit.record(ACTOR, "test.deed", f"Deed {n}.", detail={"n": n}) for n in range(ROWS)]


def days_ago(days: float, number: int = 1) -> None:
    at = timezone.now() - timedelta(days=days)
    for n in range(number):
        audit.record(ACTOR, "test.deed", f"Old deed {n}.", at=at)


def command(*words: str) -> tuple[int, str]:
    """Run verify_audit; return its exit status and what it said."""
    said = io.StringIO()
    try:
        call_command("verify_audit", *words, stdout=said)
    except SystemExit as end:
        return int(str(end.code)), said.getvalue()
    return 0, said.getvalue()


def test_each_event_carries_the_digest_of_the_one_before(trail: list[AuditEvent]) -> None:
    stored = list(AuditEvent.objects.order_by("sequence"))
    assert [event.sequence for event in stored] == list(range(1, ROWS + 1))
    assert stored[0].previous_digest == audit.FIRST_DIGEST
    for before, event in pairwise(stored):
        assert event.previous_digest == before.digest
    for event in stored:
        assert event.expected_content_digest() == event.content_digest
        assert event.expected_digest() == event.digest
        assert event.expected_seal() == event.seal
    assert AuditHead.objects.get().digest == trail[-1].digest
    found = verify()
    assert found.is_intact
    assert (found.rows, found.head.sequence, found.is_whole) == (ROWS, ROWS, True)


def test_the_digest_covers_every_column() -> None:
    columns = {field.attname for field in AuditEvent._meta.concrete_fields}
    apart = {"id", "content_digest", "previous_digest", "digest", "seal"}
    assert set(audit.COVERED) == columns - apart


def test_an_empty_trail_is_intact() -> None:
    assert verify().is_intact


@pytest.mark.parametrize("way", tamper.WAYS, ids=lambda way: way.__name__)
def test_every_kind_of_tampering_is_found_and_named(
    trail: list[AuditEvent], way: Callable[[], object]
) -> None:
    assert command()[0] == 0
    tamper.tamper(way)
    found = verify()
    assert (found.findings[0].kind, found.findings[0].sequence) == tamper.WAYS[way]
    status, said = command()
    assert status == 1
    assert found.findings[0].sentence in said
    assert AuditCheck.load().finding == found.sentence
    if way is not tamper.append:  # its row has taken the place of the next
        assert AuditEvent.objects.filter(action="trail.tampered").exists()


@pytest.mark.parametrize(
    "column", [*audit.COVERED, "content_digest", "previous_digest", "digest", "seal"]
)
def test_a_change_of_any_column_is_found(trail: list[AuditEvent], column: str) -> None:
    values: dict[str, Any] = {"sequence": 999, "at": timezone.now(), "detail": {"x": 1}}
    values |= {"actor_user_id": 7, "household_id": 7, "node_id": 7, "job_id": 7}
    change = {column: values.get(column, "other")}
    tamper.tamper(lambda: AuditEvent.objects.filter(sequence=5).update(**change))
    assert not verify().is_intact


def test_json_says_the_same(trail: list[AuditEvent]) -> None:
    tamper.tamper(tamper.delete)
    told = json.loads(command("--json")[1])
    assert not told["is_intact"]
    assert told["findings"][0] | {"sentence": ""} == {
        "sequence": 5,
        "kind": "deleted",
        "sentence": "",
    }


def test_a_head_kept_outside_shows_what_even_the_key_can_do(
    trail: list[AuditEvent], tmp_path: Path
) -> None:
    kept = tmp_path / "heads.jsonl"
    kept.write_text(daily_head() + "\n")
    audit.record(ACTOR, "test.deed", "One more.")
    assert command("--heads", str(kept)) == (0, command("--heads", str(kept))[1])

    def cut_with_the_key() -> None:
        AuditEvent.objects.filter(sequence__gte=8).delete()
        last = AuditEvent.objects.get(sequence=7)
        seal = audit.head_seal(7, last.digest)
        AuditHead.objects.filter(pk=1).update(sequence=7, digest=last.digest, seal=seal)

    tamper.tamper(cut_with_the_key)
    assert verify().is_intact, "whoever holds the key can cut: that is what heads outside are for"
    status, said = command("--heads", str(kept))
    assert status == 1
    assert "once reached no. 10" in said


def test_a_trail_written_anew_with_the_key_shows_by_the_heads(
    trail: list[AuditEvent], tmp_path: Path
) -> None:
    kept = tmp_path / "heads.jsonl"
    kept.write_text(daily_head() + "\n")
    head = AuditHead.objects.get(pk=1)

    def write_anew() -> None:
        tamper.change_and_compute_anew()
        for event in AuditEvent.objects.all():
            event.seal = event.expected_seal()
            event.save()
        last = AuditEvent.objects.get(sequence=head.sequence)
        seal = audit.head_seal(head.sequence, last.digest)
        AuditHead.objects.filter(pk=1).update(digest=last.digest, seal=seal)

    tamper.tamper(write_anew)
    assert verify().is_intact
    found = verify(heads=kept.read_text().splitlines())
    assert [finding.kind for finding in found.findings] == ["rewritten"]


@pytest.mark.parametrize("line", ["banana", "{}", '{"sequence": "x"}', "[]"])
def test_a_heads_file_that_was_touched_is_said(trail: list[AuditEvent], line: str) -> None:
    assert verify(heads=[line]).findings[0].kind == "heads"
    forged = json.dumps(json.loads(daily_head()) | {"sequence": 3})
    assert verify(heads=[forged]).findings[0].kind == "heads"


def test_a_heads_file_that_is_not_there_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be read") as problem:
        call_command("verify_audit", "--heads", str(tmp_path / "none"))
    assert getattr(problem.value, "returncode", 0) == 2


REFUSED = [
    "UPDATE devices_auditevent SET sentence = 'x' WHERE sequence = 5",
    "DELETE FROM devices_auditevent WHERE sequence = 5",
    "DELETE FROM devices_auditevent",
    "UPDATE devices_audithead SET sequence = 4",
    "UPDATE devices_audithead SET digest = 'x'",
    "DELETE FROM devices_audithead",
    "INSERT INTO devices_auditcheckpoint (sequence, digest, at, rows, seal) "
    "VALUES (5, 'x', CURRENT_TIMESTAMP, 5, 'x')",
    "INSERT INTO devices_auditcheckpoint (sequence, digest, at, rows, seal) "
    "VALUES (5000, 'x', CURRENT_TIMESTAMP, 5, 'x')",
]
TRUNCATE = ["TRUNCATE devices_auditevent", "TRUNCATE devices_audithead"]


@pytest.mark.parametrize("statement", REFUSED + TRUNCATE)
def test_the_database_itself_refuses(trail: list[AuditEvent], statement: str) -> None:
    if statement.startswith("TRUNCATE") and connection.vendor == "sqlite":
        statement = statement.replace("TRUNCATE", "DELETE FROM")
    with (
        pytest.raises(IntegrityError, match="only ever added to"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEvent.objects.count() == ROWS


def test_a_checkpoint_is_never_changed_or_removed() -> None:
    days_ago(10, 3)
    assert upkeep.prune(timezone.now(), keep_days=5) == 3
    for statement in ("UPDATE {} SET seal = 'x'", "DELETE FROM {}"):
        with (
            pytest.raises(IntegrityError, match="only ever added to"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.format("devices_auditcheckpoint"))


def test_it_shows_when_the_triggers_are_gone() -> None:
    assert guards.are_in_place()
    guards.remove(connection)
    assert not guards.are_in_place()
    guards.install(connection)
    assert guards.are_in_place()


def test_pruning_keeps_what_is_left_verifiable() -> None:
    days_ago(40, 5)
    head = daily_head()
    days_ago(10, 5)
    assert upkeep.prune(timezone.now(), keep_days=30) == 5
    assert upkeep.prune(timezone.now(), keep_days=30) == 0
    checkpoint = AuditCheckpoint.objects.get()
    assert (checkpoint.sequence, checkpoint.rows) == (5, 5)
    found = verify(heads=[head])
    assert found.is_intact
    assert (found.start.sequence, found.rows, found.head.sequence) == (5, 6, 11)
    assert AuditEvent.objects.get(action="trail.pruned").detail["up_to"] == 5
    tamper.tamper(lambda: AuditEvent.objects.filter(sequence=6).delete())
    assert verify().findings[0].sequence == 6


def test_pruning_under_a_false_checkpoint_is_found(trail: list[AuditEvent]) -> None:
    row = AuditEvent.objects.get(sequence=5)
    AuditCheckpoint.objects.create(
        sequence=5, digest=row.digest, at=timezone.now(), rows=5, seal="0" * 64
    )
    AuditEvent.objects.filter(sequence__lte=5).delete()
    assert verify().findings[0].kind == "checkpoint"


def test_nothing_is_pruned_by_default(trail: list[AuditEvent]) -> None:
    days_ago(9000)
    assert upkeep.prune(timezone.now()) == 0


def test_rows_of_an_install_under_way_are_never_pruned() -> None:
    long_ago = timezone.now() - timedelta(days=100)
    days_ago(100, 2)
    job = make_job(state=State.RUNNING)
    audit.record(ACTOR, "install.requested", "Confirmed.", job=job, at=long_ago)
    days_ago(100, 2)
    assert upkeep.prune(timezone.now(), keep_days=30) == 2
    assert upkeep.prune(timezone.now(), keep_days=30) == 0
    assert AuditEvent.objects.filter(job_id=job.pk).count() == 1


def test_what_was_tampered_with_is_not_pruned_away() -> None:
    days_ago(100, 10)
    tamper.tamper(tamper.change)
    with pytest.raises(upkeep.NotIntact, match="Row 5 was changed"):
        upkeep.prune(timezone.now(), keep_days=30)
    assert AuditEvent.objects.filter(sequence__lte=10).count() == 10


def test_the_daily_head_is_written_once_a_day(
    trail: list[AuditEvent], tmp_path: Path, settings: Any
) -> None:
    settings.AUDIT_HEADS_FILE = tmp_path / "heads.jsonl"
    settings.AUDIT_HEADS_MAIL = ["auditor@example.com"]
    now = timezone.now()
    for hours in (0, 1, 23, 24, 30):
        upkeep.keep_trail(now + timedelta(hours=hours))
    lines = settings.AUDIT_HEADS_FILE.read_text().splitlines()
    assert len(lines) == 2
    assert verify(heads=lines).is_intact
    from django.core import mail

    assert [message.to for message in mail.outbox] == [["auditor@example.com"]] * 2
    assert AuditHead.objects.get().digest in mail.outbox[0].body
    settings.AUDIT_HEADS_FILE = tmp_path / "gone" / "heads.jsonl"
    upkeep.keep_trail(now + timedelta(days=3))
    assert "could not be written" in AuditCheck.load().head_trouble


def test_a_long_trail_is_verified_in_parts(
    trail: list[AuditEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "VERIFY_AT_ONCE", 4)
    now = timezone.now()
    for cursor in (4, 8):
        upkeep.keep_trail(now, limit_s=0)
        check = AuditCheck.load()
        assert (check.cursor, check.verified_at) == (cursor, None)
    upkeep.keep_trail(now, limit_s=0)
    check = AuditCheck.load()
    assert (check.verified_at, check.verified_sequence, check.cursor) == (now, ROWS, 0)
    tamper.tamper(tamper.cut_and_set_the_head)
    upkeep.keep_trail(now + timedelta(hours=1))
    assert AuditCheck.load().finding == ""
    upkeep.keep_trail(now + timedelta(days=1))
    assert "not set by this server" in AuditCheck.load().finding


@pytest.mark.parametrize(
    "detail",
    [
        {"a": 1.5, "b": 0.0, "c": -0.0, "d": 1e20, "e": 1e-7, "f": float("nan"), "g": 10**30},
        {"text": "nul \0 and half \ud800 a letter, Zürich 蚊 \U0001f99f", "t": (1, True, None)},
        {"<script>": ["=HYPERLINK(1)", {"deep": {"deeper": "\r\n\t\"'"}}]},
    ],
)
def test_what_no_database_keeps_as_it_is_does_not_break_the_chain(detail: dict[str, Any]) -> None:
    odd = "a\0b\ud800c" + "x" * 5000
    audit.record(
        Actor(name=odd, role=odd, address=odd, browser=odd),
        "test.deed",
        odd,
        why=odd,
        detail=detail,
    )
    assert verify().is_intact


def test_names_stay_when_the_rows_they_speak_of_are_gone() -> None:
    job = make_job()
    audit.record(ACTOR, "install.requested", "Confirmed.", job=job)
    household = job.household.name
    job.household.delete()
    event = AuditEvent.objects.get()
    assert (event.household_name, event.hub_name) == (household, job.hub_name)
    assert verify().is_intact
