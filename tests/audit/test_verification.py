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

from devices.audit import log as audit_log
from devices.audit import maintenance, triggers
from devices.audit.log import expected_content_digest, expected_digest, expected_seal
from devices.audit.verification import daily_head, verify
from devices.models import (
    Actor,
    AuditAction,
    AuditCheck,
    AuditCheckpoint,
    AuditEvent,
    AuditHead,
    State,
    audit,
)
from tests.support import tamper
from tests.support.client import Client
from tests.support.factories import make_job, make_owner

pytestmark = pytest.mark.django_db
ACTOR = Actor(name="owner@example.com", user_id=1, role="owner", address="192.0.2.1")
ROWS = 10


@pytest.fixture
def trail() -> list[AuditEvent]:
    """Write ten rows."""
    return [
        audit_log.record(ACTOR, AuditAction.CHECK_ASKED, f"Entry {n}.", detail={"n": n})
        for n in range(ROWS)
    ]


def days_ago(days: float, number: int = 1) -> None:
    at = timezone.now() - timedelta(days=days)
    for n in range(number):
        audit_log.record(ACTOR, AuditAction.CHECK_ASKED, f"Old entry {n}.", at=at)


def command(*words: str) -> tuple[int, str]:
    """Run verify_audit; return its exit status and what it said."""
    text = io.StringIO()
    try:
        call_command("verify_audit", *words, stdout=text)
    except SystemExit as end:
        return int(str(end.code)), text.getvalue()
    return 0, text.getvalue()


def test_each_event_carries_the_digest_of_the_one_before(trail: list[AuditEvent]) -> None:
    stored = list(AuditEvent.objects.order_by("sequence"))
    assert [event.sequence for event in stored] == list(range(1, ROWS + 1))
    assert stored[0].previous_digest == audit.FIRST_DIGEST
    for before, event in pairwise(stored):
        assert event.previous_digest == before.digest
    for event in stored:
        assert expected_content_digest(event) == event.content_digest
        assert expected_digest(event) == event.digest
        assert expected_seal(event) == event.seal
    assert AuditHead.objects.get().digest == trail[-1].digest
    found = verify()
    assert found.is_intact
    assert (found.rows, found.head.sequence, found.is_whole) == (ROWS, ROWS, True)


def test_the_digest_covers_every_column() -> None:
    columns = {field.attname for field in AuditEvent._meta.concrete_fields}
    apart = {"id", "content_digest", "previous_digest", "digest", "seal"}
    assert set(audit_log.COVERED) == columns - apart


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
    status, text = command()
    assert status == 1
    assert found.findings[0].sentence in text
    assert AuditCheck.load().finding == found.sentence
    if way is not tamper.append:  # its row has taken the place of the next
        assert AuditEvent.objects.filter(action="trail.tampered").exists()


@pytest.mark.parametrize(
    "column", [*audit_log.COVERED, "content_digest", "previous_digest", "digest", "seal"]
)
def test_a_change_of_any_column_is_found(trail: list[AuditEvent], column: str) -> None:
    values: dict[str, Any] = {"sequence": 999, "at": timezone.now(), "detail": {"x": 1}}
    values |= {"actor_user_id": 7, "household_id": 7, "node_id": 7, "job_id": 7}
    change = {column: values.get(column, "other")}
    tamper.tamper(lambda: AuditEvent.objects.filter(sequence=5).update(**change))
    assert not verify().is_intact


def test_json_says_the_same(trail: list[AuditEvent]) -> None:
    tamper.tamper(tamper.delete)
    found = json.loads(command("--json")[1])
    assert not found["is_intact"]
    assert found["findings"][0] | {"sentence": ""} == {
        "sequence": 5,
        "kind": "deleted",
        "sentence": "",
    }


def test_a_head_kept_outside_shows_what_even_the_key_can_do(
    trail: list[AuditEvent], tmp_path: Path
) -> None:
    kept = tmp_path / "heads.jsonl"
    kept.write_text(daily_head() + "\n")
    audit_log.record(ACTOR, AuditAction.CHECK_ASKED, "One more.")
    assert command("--heads", str(kept)) == (0, command("--heads", str(kept))[1])

    def cut_with_the_key() -> None:
        AuditEvent.objects.filter(sequence__gte=8).delete()
        last = AuditEvent.objects.get(sequence=7)
        seal = audit_log.head_seal(7, last.digest)
        AuditHead.objects.filter(pk=1).update(sequence=7, digest=last.digest, seal=seal)

    tamper.tamper(cut_with_the_key)
    assert verify().is_intact, "whoever holds the key can cut: that is what heads outside are for"
    status, text = command("--heads", str(kept))
    assert status == 1
    assert "once reached no. 10" in text


def test_a_trail_written_again_with_the_key_is_found_by_the_heads(
    trail: list[AuditEvent], tmp_path: Path
) -> None:
    kept = tmp_path / "heads.jsonl"
    kept.write_text(daily_head() + "\n")
    head = AuditHead.objects.get(pk=1)

    def write_anew() -> None:
        tamper.change_and_compute_anew()
        for event in AuditEvent.objects.all():
            event.seal = expected_seal(event)
            event.save()
        last = AuditEvent.objects.get(sequence=head.sequence)
        seal = audit_log.head_seal(head.sequence, last.digest)
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
    assert maintenance.prune(timezone.now(), keep_days=5) == 3
    for statement in ("UPDATE {} SET seal = 'x'", "DELETE FROM {}"):
        with (
            pytest.raises(IntegrityError, match="only ever added to"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.format("devices_auditcheckpoint"))


def test_it_shows_when_the_triggers_are_gone() -> None:
    assert triggers.are_in_place()
    triggers.remove(connection)
    assert not triggers.are_in_place()
    triggers.install(connection)
    assert triggers.are_in_place()


def test_pruning_keeps_what_is_left_verifiable() -> None:
    days_ago(40, 5)
    head = daily_head()
    days_ago(10, 5)
    assert maintenance.prune(timezone.now(), keep_days=30) == 5
    assert maintenance.prune(timezone.now(), keep_days=30) == 0
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
    assert maintenance.prune(timezone.now()) == 0


def test_rows_of_an_install_under_way_are_never_pruned() -> None:
    long_ago = timezone.now() - timedelta(days=100)
    days_ago(100, 2)
    job = make_job(state=State.RUNNING)
    audit_log.record(ACTOR, AuditAction.INSTALL_REQUESTED, "Confirmed.", job=job, at=long_ago)
    days_ago(100, 2)
    assert maintenance.prune(timezone.now(), keep_days=30) == 2
    assert maintenance.prune(timezone.now(), keep_days=30) == 0
    assert AuditEvent.objects.filter(job_id=job.pk).count() == 1


def test_what_was_tampered_with_is_not_pruned_away() -> None:
    days_ago(100, 10)
    tamper.tamper(tamper.change)
    with pytest.raises(maintenance.NotIntact, match="Row 5 was changed"):
        maintenance.prune(timezone.now(), keep_days=30)
    assert AuditEvent.objects.filter(sequence__lte=10).count() == 10


def test_the_daily_head_is_written_once_a_day(
    trail: list[AuditEvent], tmp_path: Path, settings: Any
) -> None:
    settings.AUDIT_HEADS_FILE = tmp_path / "heads.jsonl"
    settings.AUDIT_HEADS_MAIL = ["auditor@example.com"]
    now = timezone.now()
    for hours in (0, 1, 23, 24, 30):
        maintenance.run_due(now + timedelta(hours=hours))
    lines = settings.AUDIT_HEADS_FILE.read_text().splitlines()
    assert len(lines) == 2
    assert verify(heads=lines).is_intact
    from django.core import mail

    assert [message.to for message in mail.outbox] == [["auditor@example.com"]] * 2
    assert AuditHead.objects.get().digest in mail.outbox[0].body
    settings.AUDIT_HEADS_FILE = tmp_path / "gone" / "heads.jsonl"
    maintenance.run_due(now + timedelta(days=3))
    assert "could not be saved" in AuditCheck.load().head_trouble.english


def test_a_long_trail_is_verified_in_parts(
    trail: list[AuditEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "VERIFY_AT_ONCE", 4)
    now = timezone.now()
    for cursor in (4, 8):
        maintenance.run_due(now, limit_s=0)
        reached = maintenance._cursor()
        assert reached is not None
        assert (reached.sequence, AuditCheck.load().verified_at) == (cursor, None)
        assert reached.digest == AuditEvent.objects.get(sequence=cursor).digest
    maintenance.run_due(now, limit_s=0)
    check = AuditCheck.load()
    assert (check.verified_at, check.verified_sequence) == (now, ROWS)
    assert maintenance._cursor() is None
    tamper.tamper(tamper.cut_and_set_the_head)
    maintenance.run_due(now + timedelta(hours=1))
    assert AuditCheck.load().finding == ""
    maintenance.run_due(now + timedelta(days=1))
    assert "not set by this server" in AuditCheck.load().finding


def test_upkeep_that_another_machine_has_taken_over_ends_after_its_part(
    trail: list[AuditEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "VERIFY_AT_ONCE", 4)
    may_go_on = iter([True, False])
    maintenance.run_due(timezone.now(), may_go_on=lambda: next(may_go_on))
    reached = maintenance._cursor()
    assert reached is not None
    assert (reached.sequence, AuditCheck.load().verified_at) == (8, None)


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
    audit_log.record(
        Actor(name=odd, role=odd, address=odd, browser=odd),
        AuditAction.CHECK_ASKED,
        odd,
        why=odd,
        detail=detail,
    )
    assert verify().is_intact


def test_names_stay_when_the_rows_they_speak_of_are_gone() -> None:
    job = make_job()
    audit_log.record(ACTOR, AuditAction.INSTALL_REQUESTED, "Confirmed.", job=job)
    household = job.household.name
    job.household.delete()
    event = AuditEvent.objects.get()
    assert (event.household_name, event.hub_name) == (household, job.hub_name)
    assert verify().is_intact


def test_a_row_before_the_first_is_found_and_not_shown(client: Client) -> None:
    job = make_job(state=State.VERIFIED)
    owner = make_owner(job.household)
    audit_log.record(ACTOR, AuditAction.INSTALL_REQUESTED, "Genuine.", job=job)
    planted = AuditEvent.objects.get()
    planted.pk, planted.sequence, planted.sentence = None, -1, "Planted."
    planted.digest = "1" * 64
    planted.save(force_insert=True)
    found = verify()
    assert [finding.kind for finding in found.findings] == ["inserted"]
    client.force_login(owner)
    page = client.get(f"/installs/{job.pk}/receipt/").content.decode()
    assert "Genuine." in page
    assert "Planted." not in page


def test_a_check_from_the_future_counts_as_none(trail: list[AuditEvent]) -> None:
    now = timezone.now()
    maintenance.run_due(now)
    check = AuditCheck.load()
    assert check.verified_at is not None
    tamper.tamper(next(iter(tamper.WAYS)))
    AuditCheck.objects.update(verified_at=now + timedelta(days=36500), finding="")
    maintenance.run_due(now + timedelta(minutes=1))
    assert AuditCheck.load().finding


def test_a_result_that_is_not_this_servers_is_verified_again(trail: list[AuditEvent]) -> None:
    now = timezone.now()
    tamper.tamper(next(iter(tamper.WAYS)))
    AuditCheck.load()
    AuditCheck.objects.update(verified_at=now, verified_sequence=ROWS, finding="")
    maintenance.run_due(now + timedelta(minutes=1))
    assert AuditCheck.load().finding


def test_a_check_that_is_not_done_is_shown(client: Client, trail: list[AuditEvent]) -> None:
    client.force_login(make_owner(make_job().household))
    AuditCheck.load()
    for minutes, is_said in ((1, False), (9, True)):
        AuditCheck.objects.update(requested_at=timezone.now() - timedelta(minutes=minutes))
        page = client.get("/audit/chain/", headers={"accept-language": "en"}).content.decode()
        assert ("should have been done by now" in page) is is_said
