"""Marks outside the database show a trail that was emptied, cut or set back with genuine seals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection

from devices.audit import log as audit_log
from devices.audit import marks
from devices.audit.verification import Verification, kept_head, verify
from devices.models import Actor, AuditAction, AuditEvent, AuditHead
from devices.models.audit import FIRST_DIGEST
from tests.management.commands.flush import unguarded
from tests.support.tamper import tamper

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor(name="owner@example.com", role="owner")
ROWS = 10


def write(rows: int) -> None:
    for n in range(rows):
        audit_log.record(ACTOR, AuditAction.CHECK_ASKED, f"Check {n}.")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, settings: Any) -> list[Path]:
    """Use marks of this test's own: of a database that has just begun."""
    settings.AUDIT_MARKS = tuple(tmp_path / name / "marks.jsonl" for name in "abc")
    audit_log.ensure_head()
    marks.begin()
    return list(settings.AUDIT_MARKS)


def head() -> AuditHead:
    return AuditHead.objects.get(pk=1)


def set_head(**values: Any) -> None:
    AuditHead.objects.filter(pk=1).update(**values)


def test_every_commit_is_marked_in_every_copy(places: list[Path]) -> None:
    write(3)
    last = AuditEvent.objects.order_by("-sequence")[0]
    for path in places:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["kind"] for line in lines] == ["begun", "head", "head", "head"]
        assert (lines[-1]["sequence"], lines[-1]["digest"]) == (last.sequence, last.digest)
        assert path.stat().st_mode & 0o777 == 0o600
    found = verify()
    assert (found.is_intact, found.proven_sequence, found.proven_by) == (True, 3, "marks")
    assert found.proof == "Confirmed up to no. 3 by the marks in the data folder."


def wiped_with_an_empty_seal(before: AuditHead, empty: AuditHead) -> None:
    AuditEvent.objects.all().delete()
    set_head(sequence=0, digest=FIRST_DIGEST, seal="")


def wiped_with_the_seal_of_the_empty_trail(before: AuditHead, empty: AuditHead) -> None:
    AuditEvent.objects.all().delete()
    set_head(sequence=0, digest=FIRST_DIGEST, seal=empty.seal)


def head_row_deleted(before: AuditHead, empty: AuditHead) -> None:
    AuditHead.objects.all().delete()


def all_deleted(before: AuditHead, empty: AuditHead) -> None:
    AuditEvent.objects.all().delete()
    AuditHead.objects.all().delete()


def cut_with_an_old_genuine_head(before: AuditHead, empty: AuditHead) -> None:
    AuditEvent.objects.filter(sequence__gt=before.sequence).delete()
    set_head(sequence=before.sequence, digest=before.digest, seal=before.seal)


def cut_by_one(before: AuditHead, empty: AuditHead) -> None:
    last = AuditEvent.objects.get(sequence=ROWS - 1)
    AuditEvent.objects.filter(sequence=ROWS).delete()
    seal = audit_log.head_seal(ROWS - 1, last.digest)  # as an export of that moment carries it
    set_head(sequence=ROWS - 1, digest=last.digest, seal=seal)


def another_birth(before: AuditHead, empty: AuditHead) -> None:
    set_head(birth="f" * 32)


WAYS = [
    wiped_with_an_empty_seal,
    wiped_with_the_seal_of_the_empty_trail,
    head_row_deleted,
    all_deleted,
    cut_with_an_old_genuine_head,
    cut_by_one,
    another_birth,
]


@pytest.fixture
def tampered(request: pytest.FixtureRequest) -> Verification:
    """Write rows, keep the heads that anybody with the database sees, tamper, go on working."""
    way, goes_on = request.param
    empty = head()
    write(ROWS // 2)
    before = head()
    write(ROWS - ROWS // 2)
    assert verify().is_intact
    tamper(lambda: way(before, empty))
    if goes_on:
        write(ROWS * 2)
    return verify()


@pytest.mark.parametrize(
    "tampered",
    [(way, goes_on) for way in WAYS for goes_on in (False, True)],
    indirect=True,
    ids=lambda given: f"{given[0].__name__}-{'later' if given[1] else 'at once'}",
)
def test_what_genuine_seals_hide_the_marks_show(tampered: Verification) -> None:
    assert not tampered.is_intact
    assert tampered.proven_sequence == 0
    assert "intact" not in tampered.sentence


@pytest.mark.parametrize("way", [wiped_with_an_empty_seal, head_row_deleted, all_deleted])
def test_even_without_marks_an_emptied_trail_is_not_called_intact(
    way: Callable[[AuditHead, AuditHead], None],
) -> None:
    empty = head()
    write(3)
    tamper(lambda: way(empty, empty))
    assert not verify(marks=marks.Marks()).is_intact


def test_a_lost_or_damaged_copy_is_made_up_for(places: list[Path]) -> None:
    write(3)
    places[0].unlink()
    places[1].write_text("banana\n\0\0\0")
    write(2)
    found = verify()
    assert (found.is_intact, found.proven_sequence) == (True, 5)
    tamper(lambda: AuditEvent.objects.filter(sequence=5).delete())
    assert not verify().is_intact


def test_without_marks_it_says_that_nothing_outside_confirms_the_end(places: list[Path]) -> None:
    write(3)
    for path in places:
        path.unlink()
    found = verify()
    assert found.is_intact
    assert found.proof == "Nothing outside the database confirms where it ends."
    write(1)
    assert verify().proven_sequence == 4, "the marks have begun again"


def test_a_mark_without_the_seal_counts_for_nothing(places: list[Path]) -> None:
    write(3)
    line = json.loads(places[0].read_text().splitlines()[-1])
    forged = json.dumps(line | {"kind": "restored", "number": 99, "sequence": 1})
    for path in places:
        with path.open("a") as file:
            file.write(forged + "\n")
    assert marks.read().start is None
    assert marks.read().unusable == 3
    assert verify().proven_sequence == 3


def test_an_old_installation_gets_its_first_mark_without_an_alarm(places: list[Path]) -> None:
    write(5)
    for path in places:
        path.unlink()
    marks.begin()
    first = marks.read().newest
    assert first is not None
    assert (first.kind, first.sequence) == ("begun", 5)
    assert verify().is_intact


def test_a_head_that_was_kept_proves_more_than_the_marks(places: list[Path]) -> None:
    write(4)
    kept = f"Latest entry in the audit trail: {kept_head()}\nUnsubscribe: https://example.org"
    write(2)
    for path in places:
        path.unlink()
    found = verify(given=[kept])
    assert (found.proven_sequence, found.proven_by) == (4, "given")
    assert "2 newer rows" in found.proof
    tamper(lambda: AuditEvent.objects.filter(sequence__gt=3).delete())
    assert verify(given=[kept]).findings


def test_a_long_file_is_thinned_out_and_proves_the_same(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "LARGEST_BYTES", 3000)
    write(40)
    marks.thin_out(40)
    assert places[0].stat().st_size < 4000
    assert verify().proven_sequence == 40
    assert marks.read().lines[0].kind == "begun"


def test_the_file_of_marks_never_stops_the_work(
    settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    settings.AUDIT_MARKS = (tmp_path / "file" / "marks.jsonl",)
    write(1)
    assert "could not be written" in caplog.text
    assert AuditEvent.objects.count() == 1


def test_what_was_done_between_a_cut_and_its_repair_leaves_its_marks() -> None:
    """Cut, act, and put the genuine rows back: the marks of what was done meanwhile stay."""
    write(6)
    kept, last = list(AuditEvent.objects.filter(sequence__gt=3)), head()
    third = AuditEvent.objects.get(sequence=3)
    with unguarded(connection):
        AuditEvent.objects.filter(sequence__gt=3).delete()
        set_head(sequence=3, digest=third.digest, seal=last.seal)
    write(2)  # what nobody is to see
    with unguarded(connection):
        AuditEvent.objects.filter(sequence__gt=3).delete()
        AuditEvent.objects.bulk_create(kept)
        set_head(sequence=last.sequence, digest=last.digest, seal=last.seal)
    found = verify()
    assert not found.is_intact
    assert "marks" in found.sentence
    write(30)
    assert not verify().is_intact


def test_commits_that_are_marked_in_another_order_are_no_finding() -> None:
    write(3)
    first, second = AuditEvent.objects.filter(sequence__gte=2).order_by("sequence")
    lines = {path: path.read_text().splitlines() for path in configured.AUDIT_MARKS}
    for path, texts in lines.items():
        path.write_text("\n".join(texts[:-2]) + "\n")
    marks.note(second.sequence, second.digest, second.previous_digest)
    marks.note(first.sequence, first.digest, first.previous_digest)
    newest = marks.read().newest
    assert newest is not None
    assert newest.sequence == second.sequence
    assert verify().is_intact
    write(1)
    assert verify().is_intact


def test_marks_made_with_other_keys_meanwhile_never_overtake_a_restore(settings: Any) -> None:
    write(3)
    ours = settings.AUDIT_KEY
    settings.AUDIT_KEY = "the keys were lost, and these were made in their place"
    write(1)
    number = marks.next_number()  # as a restore asks, which runs with the keys that are here
    settings.AUDIT_KEY = ours
    marks.append_line(marks.start_line(marks.RESTORED, "restored from a backup", number))
    start = marks.read().start
    assert start is not None, "the marks from before it do not count any more"
    assert start.kind == marks.RESTORED
