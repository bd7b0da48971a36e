"""The audit trail as files, and the verifier as a stranger runs it: alone, in another process."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from django_q.models import OrmQ

from devices.audit import export as audit_export
from devices.audit import log as audit_log
from devices.audit import maintenance, marks
from devices.audit.log import content_digest, link_digest
from devices.audit.search import AuditFilter, AuditSearch
from devices.audit.verification import daily_head, kept_head
from devices.models import (
    Actor,
    AuditAction,
    AuditEvent,
    AuditHead,
    Household,
    Role,
    StaffRole,
    User,
)
from devices.taskqueue.wakeups import TRAIL, function_of
from tests.support import tamper
from tests.support.client import Client, hang_up
from tests.support.factories import make_household, make_user, sign_in
from tests.support.services import ROOT

pytestmark = pytest.mark.django_db
ACTOR = Actor(name="owner@example.com", role="owner", address="192.0.2.1")
Lines = list[dict[str, Any]]


@pytest.fixture
def homes() -> tuple[Household, Household]:
    """Write twelve rows: those of two households in turn, and every third of neither."""
    mine, theirs = make_household("Mine"), make_household("Nightingale")
    for n in range(12):
        household = (mine, theirs, None)[n % 3]
        audit_log.record(
            ACTOR, AuditAction.CHECK_ASKED, f"Entry {n} of {household}.", household=household
        )
    return mine, theirs


@pytest.fixture
def auditor() -> User:
    return make_user(staff_role=StaffRole.AUDITOR)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """Copy the verifier to where nothing else of the product is."""
    return Path(shutil.copy(ROOT / "static" / "verify_audit.py", tmp_path / "verify_audit.py"))


def verify(verifier: Path, export: bytes, *words: str) -> tuple[int, str]:
    """Run the verifier on these bytes; return its exit status and what it said."""
    file = verifier.parent / "export.jsonl"
    file.write_bytes(export)
    done = subprocess.run(
        [sys.executable, "-I", str(verifier), str(file), *words],
        cwd=verifier.parent,
        env={},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def signed_in(user: User) -> Client:
    return sign_in(Client(), user)


def body(answer: Any) -> bytes:
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)


def export(user: User, asked: AuditFilter | None = None) -> bytes:
    return b"".join(audit_export.jsonl(AuditSearch(user, asked or AuditFilter()), user.email))


def lines_of(file: bytes) -> Lines:
    return [json.loads(line) for line in file.splitlines()]


def file_of(lines: Lines) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def test_an_auditor_s_export_has_everything_and_verifies(
    homes: tuple[Household, Household], auditor: User, alone: Path
) -> None:
    file = body(signed_in(auditor).get("/audit/export.jsonl"))
    status, text = verify(alone, file)
    assert status == 0, text
    head = AuditEvent.objects.order_by("-sequence")[0]
    assert f"Head: no. {head.sequence} {head.digest}" in text
    assert f"In full: {head.sequence}. By digest only: 0." in text
    assert head.action == "trail.exported"
    assert head.actor_name == auditor.email


def test_a_household_s_export_verifies_and_says_nothing_of_others(
    homes: tuple[Household, Household], alone: Path
) -> None:
    owner = make_user(role=Role.OWNER, household=homes[0])
    client = signed_in(owner)
    for address in ("/audit/export.jsonl", "/audit/export.csv", "/audit/export.csv?text=entry"):
        file = body(client.get(address))
        assert b"Nightingale" not in file
        assert b"of None" not in file
        assert b"Entry 3 of Mine" in file
    file = body(client.get("/audit/export.jsonl"))
    status, text = verify(alone, file)
    assert status == 0, text
    hidden = [line for line in lines_of(file) if "hidden" in line and "end" not in line]
    assert hidden
    assert all(set(line) == {"hidden", "content_digests", "digest"} for line in hidden)
    event = AuditEvent.objects.filter(action="trail.exported").order_by("-sequence")[0]
    assert (event.household_id, event.actor_role) == (homes[0].pk, "owner")


def test_what_is_filtered_out_is_in_the_file_by_digest(
    homes: tuple[Household, Household], auditor: User, alone: Path
) -> None:
    file = export(auditor, AuditFilter(text="Nightingale"))
    assert (b"of Nightingale" in file, b"of Mine" in file) == (True, False)
    status, text = verify(alone, file)
    assert (status, "In full: 4. By digest only: 8." in text) == (0, True)


def at(lines: Lines, sequence: int) -> int:
    return next(n for n, line in enumerate(lines) if line.get("sequence") == sequence)


def renumber(line: dict[str, Any]) -> dict[str, Any]:
    return line | {"sequence": line["sequence"] + 1}


def forged(lines: Lines, place: int, **changes: Any) -> dict[str, Any]:
    """Return a row for this place with digests that fit; the seal cannot be made."""
    before, row = lines[place - 1], lines[place] | changes
    text = {name: row[name] for name in audit_log.COVERED}
    row["previous_digest"] = before["digest"]
    row["digest"] = link_digest(row["sequence"], before["digest"], content_digest(text))
    return row


def change(lines: Lines) -> None:
    lines[at(lines, 5)]["sentence"] = "Nothing happened."


def change_seemingly(lines: Lines) -> None:
    """Say something else to whoever reads the line, by a name that stands there twice."""
    lines[at(lines, 5)] = {"": 1, **lines[at(lines, 5)]}


def change_and_fit(lines: Lines) -> None:
    place = at(lines, 5)
    lines[place] = forged(lines, place, sentence="Nothing happened.")


def delete(lines: Lines) -> None:
    del lines[at(lines, 5)]


def delete_and_renumber(lines: Lines) -> None:
    place = at(lines, 5)
    lines[place:-1] = [line | {"sequence": line["sequence"] - 1} for line in lines[place + 1 : -1]]
    lines[-1]["end"]["sequence"] -= 1
    lines[-1]["rows"] -= 1


def insert(lines: Lines) -> None:
    place = at(lines, 5)
    lines.insert(place, lines[place])


def insert_and_renumber(lines: Lines) -> None:
    place = at(lines, 5)
    new = forged(lines, place, sentence="Permission was given.")
    lines[place:-1] = [new, *map(renumber, lines[place:-1])]
    lines[-1]["end"]["sequence"] += 1
    lines[-1]["rows"] += 1


def reorder(lines: Lines) -> None:
    place = at(lines, 5)
    lines[place], lines[place + 1] = lines[place + 1], lines[place]


def cut(lines: Lines) -> None:
    del lines[-3:]


def cut_but_the_end(lines: Lines) -> None:
    del lines[-3:-1]


def append(lines: Lines) -> None:
    lines.append(lines[-2])


def hide(lines: Lines) -> None:
    """Tell a row by its digest only, as if it were another household's."""
    place = at(lines, 5)
    row = lines[place]
    text = {name: row[name] for name in audit_log.COVERED}
    lines[place] = {
        "hidden": {"first": 5, "last": 5},
        "content_digests": [content_digest(text)],
        "digest": row["digest"],
    }


def leave_out_the_beginning(lines: Lines) -> None:
    place = at(lines, 5)
    row = lines[place - 1]
    lines[0]["start"] = {"sequence": row["sequence"], "digest": row["digest"]}
    del lines[1:place]


WAYS: dict[Callable[[Lines], None], str] = {
    change: "changed",
    change_and_fit: "rewritten",
    delete: "deleted",
    delete_and_renumber: "deleted",
    insert: "reordered",
    insert_and_renumber: "inserted",
    reorder: "reordered",
    cut: "cut",
    cut_but_the_end: "cut",
    append: "inserted",
    hide: "deleted",
    leave_out_the_beginning: "deleted",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_stranger_finds_every_kind_of_tampering_with_an_export(
    homes: tuple[Household, Household], auditor: User, alone: Path, way: Callable[[Lines], None]
) -> None:
    lines = lines_of(export(auditor))
    way(lines)
    status, text = verify(alone, file_of(lines))
    assert (status, f"NOT INTACT ({WAYS[way]})" in text) == (1, True), text


def test_a_name_that_stands_there_twice_is_found(
    homes: tuple[Household, Household], auditor: User, alone: Path
) -> None:
    file = export(auditor).replace(b'"sentence":', b'"sentence":"Nothing.","sentence":', 1)
    assert verify(alone, file)[0] == 1


@pytest.mark.parametrize("column", [*audit_log.COVERED, "previous_digest", "digest"])
def test_a_stranger_finds_a_change_of_any_field(
    homes: tuple[Household, Household], auditor: User, alone: Path, column: str
) -> None:
    lines = lines_of(export(auditor))
    lines[at(lines, 5)][column] = {"x": 1} if column == "detail" else 77
    assert verify(alone, file_of(lines))[0] == 1


def test_digests_of_others_cannot_be_changed_or_left_out(
    homes: tuple[Household, Household], alone: Path
) -> None:
    owner = make_user(role=Role.OWNER, household=homes[0])
    for change in ("content", "count", "gone"):
        lines = lines_of(export(owner))
        place = next(n for n, line in enumerate(lines) if "hidden" in line)
        if change == "content":
            lines[place]["content_digests"][0] = "0" * 64
        elif change == "count":
            del lines[place]["content_digests"][0]
        else:
            del lines[place]
        assert verify(alone, file_of(lines))[0] == 1, change


@pytest.mark.parametrize("way", tamper.WAYS, ids=lambda way: way.__name__)
def test_a_database_that_was_tampered_with_shows_in_its_export(
    homes: tuple[Household, Household], auditor: User, alone: Path, way: Callable[[], object]
) -> None:
    """With key and heads: by itself, an export of a trail that was cut is whole."""
    heads, key = alone.parent / "heads.jsonl", alone.parent / "key"
    heads.write_text(daily_head() + "\n")
    key.write_text(settings.AUDIT_KEY)
    tamper.tamper(way)
    file = export(auditor)
    status, text = verify(alone, file, "--heads", str(heads), "--key-file", str(key))
    if way is tamper.append:  # what stands behind the head is no part of an export
        assert status == 0
    else:
        assert (status, "NOT INTACT" in text) == (1, True), text


def test_seals_and_heads_are_checked_with_key_and_file(
    homes: tuple[Household, Household], auditor: User, alone: Path
) -> None:
    heads, key = alone.parent / "heads.jsonl", alone.parent / "keys.json"
    heads.write_text(daily_head() + "\n")
    audit_log.record(ACTOR, AuditAction.CHECK_ASKED, "One more.")
    key.write_text(json.dumps({"audit": settings.AUDIT_KEY}))
    words = ("--heads", str(heads), "--key-file", str(key))
    file = export(auditor)
    status, text = verify(alone, file, *words)
    assert status == 0, text
    assert "1 compared" in text
    assert "Seals: checked." in text
    # a whole new chain from the beginning, which has no flaw of its own
    lines = lines_of(file)
    lines[1]["sentence"] = "Something else."
    before = lines[0]["start"]["digest"]
    for line in lines[1:-1]:
        said_now = {name: line[name] for name in audit_log.COVERED}
        line["previous_digest"] = before
        line["digest"] = link_digest(line["sequence"], before, content_digest(said_now))
        before = line["digest"]
    lines[-1]["end"]["digest"] = before
    assert verify(alone, file_of(lines))[0] == 0
    assert "rewritten" in verify(alone, file_of(lines), *words[:2])[1]
    assert "seal is wrong" in verify(alone, file_of(lines), *words[2:])[1]
    heads.write_text("banana\n")
    assert verify(alone, file, *words)[0] == 1


@pytest.mark.parametrize("file", [b"", b"banana\n", b'{"format": "other"}\n', b"\xff\xfe\n"])
def test_what_is_no_export_is_no_verdict(alone: Path, file: bytes) -> None:
    assert verify(alone, file)[0] == 2
    assert verify(alone, file, "--key-file", "none")[0] == 2


def test_an_export_of_a_pruned_trail_verifies_from_its_checkpoint(
    homes: tuple[Household, Household], auditor: User, alone: Path
) -> None:
    key = alone.parent / "key"
    key.write_text(settings.AUDIT_KEY)
    kept = alone.parent / "heads.jsonl"
    kept.write_text(daily_head() + "\n")
    gone = maintenance.prune(timezone.now() + timedelta(days=2), keep_days=1)
    assert gone == 12
    words = ("--key-file", str(key), "--heads", str(kept))
    file = export(auditor)
    status, text = verify(alone, file, *words)
    assert status == 0, text
    assert "INTACT from the checkpoint at entry 12" in text
    lines = lines_of(file)
    lines[0]["checkpoint"]["seal"] = "0" * 64
    assert "checkpoint was not written by the server" in verify(alone, file_of(lines), *words)[1]


NASTY = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1"]


@pytest.mark.parametrize("name", NASTY)
def test_no_cell_of_a_spreadsheet_is_a_formula(auditor: User, name: str) -> None:
    household = make_household(name)
    actor = Actor(name=name, role="owner", browser=name)
    audit_log.record(actor, AuditAction.CHECK_ASKED, f"{name} did it.", household=household)
    text = body(signed_in(auditor).get("/audit/export.csv")).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    row = next(row for row in rows if row["action"] == AuditAction.CHECK_ASKED)
    assert row["person"].strip() == f"'{name}".strip()
    for cell in row.values():
        assert not cell.lstrip(" ").startswith(audit_export.FORMULA), cell


def test_an_export_with_filters_that_make_no_sense_is_refused(auditor: User) -> None:
    client = signed_in(auditor)
    before = AuditEvent.objects.count()
    assert client.get("/audit/export.csv?since=never").status_code == 400
    assert client.head("/audit/export.csv").status_code == 200
    assert client.post("/audit/export.csv").status_code == 405
    assert AuditEvent.objects.count() == before


def test_the_verifier_is_offered_on_the_page(auditor: User) -> None:
    page = signed_in(auditor).get("/audit/chain/").content.decode()
    assert 'download="verify_audit.py"' in page
    assert "Triggers block changing or deleting entries." in page


def test_a_kept_mail_receipt_or_mark_shows_a_shorter_trail_that_fits_in_itself(
    homes: tuple[Household, Household], auditor: User, alone: Path, tmp_path: Path
) -> None:
    before = export(auditor)
    place = AuditHead.objects.get(pk=1)
    mail, mark = tmp_path / "mail.txt", tmp_path / "marks.jsonl"
    mail.write_text(f"Audit trail up to now: {kept_head()}\n", encoding="utf-8")
    line = marks.start_line(marks.BEGUN, "", 1)
    mark.write_text(line + "\n")
    audit_log.record(ACTOR, AuditAction.CHECK_ASKED, "One more.")
    after = export(auditor)
    for words in (("--mark", str(mail)), ("--mark", str(mark)), ("--head", kept_head_of(place))):
        status, text = verify(alone, after, *words)
        assert status == 0, text
        assert f"Confirmed up to entry {place.sequence} by a head that was kept" in text
    # the end is removed with its genuine old head, as any earlier export carries it
    shorter = lines_of(before)
    del shorter[-2]
    last = shorter[-2]
    shorter[-1]["end"] |= {"sequence": last["sequence"], "digest": last["digest"]}
    shorter[-1]["rows"] -= 1
    assert verify(alone, file_of(shorter))[0] == 0, "it fits in itself"
    assert "Nothing from outside confirms it" in verify(alone, file_of(shorter))[1]
    for words in (("--mark", str(mail)), ("--mark", str(mark)), ("--head", kept_head_of(place))):
        status, text = verify(alone, file_of(shorter), *words)
        assert (status, "NOT INTACT (cut)" in text) == (1, True), text
    mail.write_text("Nothing of the kind.")
    assert verify(alone, after, "--mark", str(mail))[0] == 2
    assert verify(alone, after, "--head", "12")[0] == 2


def test_marks_that_start_again_leave_out_those_before(
    homes: tuple[Household, Household], auditor: User, alone: Path, tmp_path: Path
) -> None:
    mark, key = tmp_path / "marks.jsonl", tmp_path / "key"
    key.write_text(settings.AUDIT_KEY)
    beyond = json.loads(marks.start_line(marks.BEGUN, "", 1)) | {"sequence": 999}
    again = marks.start_line(marks.RESTORED, "restored from a backup", 2)
    mark.write_text(json.dumps(beyond) + "\n" + again + "\n")
    words = ("--mark", str(mark), "--key-file", str(key))
    assert verify(alone, export(auditor), *words)[0] == 0
    mark.write_text(again + "\n" + json.dumps(beyond) + "\n")
    assert verify(alone, export(auditor), "--mark", str(mark))[0] == 1
    assert verify(alone, export(auditor), *words)[0] == 0, "its seal does not fit"


def kept_head_of(head: AuditHead) -> str:
    return f"{head.sequence}:{head.digest}"


def test_a_person_has_two_exports_at_a_time(auditor: User) -> None:
    client = signed_in(auditor)
    open_ones = [client.get("/audit/export.csv") for _ in range(2)]
    assert client.get("/audit/export.jsonl").status_code == 429
    other = signed_in(make_user(staff_role=StaffRole.AUDITOR))
    assert body(other.get("/audit/export.csv"))
    count = AuditEvent.objects.filter(action="trail.exported").count()
    assert count == 3, "what was refused is not recorded as an export"
    body(open_ones[0])
    assert body(client.get("/audit/export.csv"))
    hang_up(open_ones[1])
    assert body(client.get("/audit/export.csv"))


def test_verify_now_asks_the_worker_once(auditor: User) -> None:
    client = signed_in(auditor)
    for _ in range(3):
        page = client.post("/audit/verify/", follow=True).content.decode()
    assert "The check has been requested." in page
    assert client.get("/audit/verify/").status_code == 405
    asked = [function_of(row.payload) for row in OrmQ.objects.all()]
    assert asked.count(TRAIL) == 1
    audit_log.record(ACTOR, AuditAction.CHECK_ASKED, "One more.")
    maintenance.run_due(timezone.now())
    page = client.get("/audit/chain/").content.decode()
    assert "The audit trail is intact." in page
    assert "Nothing outside the database confirms where it ends." in page
    audit_log.record(ACTOR, AuditAction.CHECK_ASKED, "One more.")
    page = client.get("/audit/chain/").content.decode()
    assert "One newer entry is not verified yet" in " ".join(page.split())
    assert "is intact" not in page, "not while an entry is unverified"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/audit/export.csv", "/audit/export.jsonl"])
def test_exports_are_limited_for_each_person(path: str) -> None:
    household = make_household()
    first, second = (
        sign_in(Client(), make_user(role=Role.OWNER, household=household)) for _ in range(2)
    )
    for _ in range(10):
        answer = first.get(path)
        assert answer.status_code == 200
        # read to its end, it makes room for the next
        assert b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert first.get(path).status_code == 429
    assert second.get(path).status_code == 200
