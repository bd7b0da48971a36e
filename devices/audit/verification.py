"""Verify the audit trail: read it row by row and report what does not fit.

Verifying needs AUDIT_KEY and streams, so that a long trail takes no more memory than a short one.
Rows and seals alone cannot show that the end was removed: an earlier head with its own seal fits
an earlier trail. That takes a witness outside the database: the marks in the data folder
(marks.py), a file of daily heads, or any head that was kept, such as one in a mail or a receipt.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, Max, Subquery
from django.utils import timezone

from devices.audit import log as audit_log
from devices.audit import marks as audit_marks
from devices.audit.log import COVERED, checkpoint_seal
from devices.audit.marks import Marks
from devices.models import AuditCheckpoint, AuditEvent, AuditHead
from devices.models.audit import FIRST_DIGEST, Witness

CHUNK = 2000
# How far around a row its original position is searched for.
NEAR = 200
# A head as mails, receipts and pages show it: position and digest.
KEPT_HEAD = re.compile(r"\b(\d{1,18}):([0-9a-f]{64})\b")
EXPLAIN = (
    "If the database was put back on purpose, or the machine lost power, record that: "
    "`manage.py verify_audit --explain TEXT`."
)
HEAD_FORMAT = "thermacell-web-head-1"
COLUMNS = (*COVERED, "content_digest", "previous_digest", "digest", "seal")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit: where, of which kind, and a sentence about it."""

    sequence: int
    kind: str
    """"changed", "deleted", "inserted", "reordered", "rewritten", "cut", "head", "checkpoint",
    "heads" or "birth"."""
    sentence: str

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, slots=True)
class Place:
    """A position of the chain and the digest there."""

    sequence: int = 0
    digest: str = FIRST_DIGEST


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying found. `rows` were read, from the checkpoint (or the beginning) on."""

    rows: int
    start: Place
    head: Place
    reached: Place
    findings: tuple[Finding, ...]
    heads_checked: int = 0
    heads_pruned: int = 0
    proven_sequence: int = 0
    """Up to here something outside the database confirms the rows that were read."""
    proven_by: str = ""
    """Which Witness that is."""
    marks_start: str = ""
    """Why the marks start later than the trail, when they do."""

    @property
    def is_intact(self) -> bool:
        return not self.findings

    @property
    def is_whole(self) -> bool:
        """Return whether the whole chain was read, up to its head."""
        return self.reached.sequence >= self.head.sequence

    @property
    def sentence(self) -> str:
        if self.findings:
            return self.findings[0].sentence
        since = f" after the checkpoint at no. {self.start.sequence}" if self.start.sequence else ""
        if not self.is_whole:
            return f"Rows up to no. {self.reached.sequence} fit; the rest is not verified yet."
        return f"The audit trail is intact: {self.rows} rows{since}, head no. {self.head.sequence}."

    @property
    def proof(self) -> str:
        """Return up to where the trail is confirmed from outside the database, and by what."""
        if not self.proven_sequence:
            return "Nothing outside the database confirms where it ends."
        by = Witness(self.proven_by).english
        words = f"Confirmed up to no. {self.proven_sequence} by {by}."
        newer = self.reached.sequence - self.proven_sequence
        return f"{words} Nothing outside confirms the {newer} newer rows yet." if newer else words


@dataclass(slots=True)
class _Row:
    """One stored row, as cheaply as it can be read."""

    values: dict[str, Any]

    @property
    def sequence(self) -> int:
        return int(self.values["sequence"])

    @property
    def digest(self) -> str:
        return str(self.values["digest"])

    @property
    def previous_digest(self) -> str:
        return str(self.values["previous_digest"])

    def content_digest_at(self, sequence: int) -> str:
        """Return the digest of what the row says, had it been written at this position."""
        content = {name: self.values[name] for name in COVERED}
        return audit_log.content_digest(
            content | {"at": audit_log.moment_text(content["at"]), "sequence": sequence}
        )

    def has_its_content(self) -> bool:
        return self.content_digest_at(self.sequence) == str(self.values["content_digest"])

    def has_its_digest(self) -> bool:
        link = (self.sequence, self.previous_digest, str(self.values["content_digest"]))
        return audit_log.link_digest(*link) == self.digest

    def has_its_seal(self) -> bool:
        return audit_log.keyed("row", self.digest) == str(self.values["seal"])


def verify(
    *,
    heads: Iterable[str] = (),
    given: Iterable[str] = (),
    marks: Marks | None = None,
    after: Place | None = None,
    limit: int | None = None,
) -> Verification:
    """Read the chain from its checkpoint (or `after`, a place that was verified before) to its
    head (`limit` rows at most) and return what does not fit: of the rows only the first, since
    all later ones depend on it. `heads` are lines of a file of daily heads, `given` texts that name
    heads, such as a mail. The marks in the data folder are read unless others are passed in.

    Safe while others write: rows that are added meanwhile are left for the next time.
    """
    # before the head: a mark is written after its commit, so none is newer than the head then
    marks = audit_marks.read() if marks is None else marks
    head, newest = _ends()
    checkpoint = AuditCheckpoint.latest()
    start = Place(checkpoint.sequence, checkpoint.digest) if checkpoint else Place()
    at = after if after is not None and after.sequence >= start.sequence else start
    findings = list(_wrong_checkpoint(checkpoint))
    rows = 0
    witnesses = _Witnesses(start, head)
    witnesses.read_marks(marks)
    witnesses.read_heads(heads)
    for text in given:
        witnesses.read_given(text)
    until = head.sequence if limit is None else min(head.sequence, at.sequence + limit)
    for row in _rows(at.sequence, until):
        wrong = _wrong_row(row, at)
        if wrong is not None:
            findings.append(wrong)
            break
        at = Place(row.sequence, row.digest)
        rows += 1
        witnesses.compare(at)
    else:
        if until == head.sequence:
            findings += _wrong_end(at, head, newest)
    findings += witnesses.wrong
    proven, by = witnesses.proven(at) if not findings else (0, "")
    return Verification(
        rows,
        start,
        _place(head),
        at,
        tuple(findings),
        heads_checked=witnesses.read,
        heads_pruned=witnesses.pruned,
        proven_sequence=proven,
        proven_by=by,
        marks_start=_marks_start(marks),
    )


def daily_head() -> str:
    """Return where the chain ends now, as one line for a file or a mail outside this server."""
    head = AuditHead.objects.get(pk=1)
    values = {
        "format": HEAD_FORMAT,
        "at": audit_log.moment_text(timezone.now()),
        "sequence": head.sequence,
        "digest": head.digest,
        "seal": head.seal,
    }
    return json.dumps(values, separators=(",", ":"))


def kept_head() -> str:
    """Return where the chain ends now as people keep it, "51:3f2a…"; "" for an empty trail."""
    head = AuditHead.objects.filter(pk=1, sequence__gt=0).first()
    return f"{head.sequence}:{head.digest}" if head is not None else ""


def _place(head: AuditHead) -> Place:
    return Place(head.sequence, head.digest)


def _ends() -> tuple[AuditHead, int]:
    """Return the head and the highest position of a row, as they were at one moment."""
    newest = AuditEvent.objects.order_by("-sequence").values("sequence")[:1]
    head = AuditHead.objects.annotate(
        newest=Subquery(newest, output_field=BigIntegerField())
    ).filter(pk=1)
    found = head.first()
    if found is None:
        return AuditHead(), AuditEvent.objects.aggregate(m=Max("sequence"))["m"] or 0
    return found, getattr(found, "newest", None) or 0


def _rows(after: int, until: int) -> Iterator[_Row]:
    """Yield the rows behind a position by position, a few thousand in memory at a time."""
    while True:
        found = AuditEvent.objects.filter(sequence__gt=after, sequence__lte=until)
        chunk = list(found.order_by("sequence").values_list(*COLUMNS)[:CHUNK])
        for values in chunk:
            yield _Row(dict(zip(COLUMNS, values, strict=True)))
        if len(chunk) < CHUNK:
            return
        after = chunk[-1][0]


def _wrong_row(row: _Row, before: Place) -> Finding | None:
    """Return what is wrong with the row that should follow `before`, or None."""
    expected = before.sequence + 1
    is_genuine = row.has_its_content() and row.has_its_digest() and row.has_its_seal()
    if is_genuine and row.sequence == expected and row.previous_digest == before.digest:
        return None
    if row.sequence > expected:
        return Finding(expected, "deleted", f"{_numbers(expected, row.sequence - 1)} missing.")
    if is_genuine:
        return Finding(
            before.sequence,
            "rewritten",
            f"Row {row.sequence} does not follow row {before.sequence}: that row, or some before "
            "it, was replaced. Its seal fits, so it was replaced with the use of AUDIT_KEY.",
        )
    if not row.has_its_content():
        return _moved_or_changed(row, before)
    is_succeeded = (
        AuditEvent.objects.filter(previous_digest=before.digest)
        .exclude(sequence=row.sequence)
        .exists()
    )
    if is_succeeded:
        return Finding(
            row.sequence, "inserted", f"Row {row.sequence} was added later; its seal does not fit."
        )
    return Finding(
        row.sequence,
        "rewritten",
        f"Row {row.sequence} was replaced: its digests fit, its seal does not.",
    )


def _moved_or_changed(row: _Row, before: Place) -> Finding:
    here = row.sequence
    for there in range(max(1, here - NEAR), here + NEAR):
        if there == here or row.content_digest_at(there) != row.values["content_digest"]:
            continue
        belongs = AuditEvent.objects.filter(previous_digest=before.digest).exclude(sequence=here)
        if there > here and not belongs.exists():
            return Finding(
                here,
                "deleted",
                f"{_numbers(here, there - 1)} missing; later rows were moved into their place.",
            )
        return Finding(
            here, "reordered", f"Row {here} was written as row {there}: rows are in another order."
        )
    return Finding(here, "changed", f"Row {here} was changed: its content does not fit its digest.")


def _wrong_end(at: Place, head: AuditHead, newest: int) -> list[Finding]:
    """Return what is wrong with how the chain ends."""
    found = []
    if head.pk is None:
        words = "The head, the row that says where the trail ends, is missing."
        found.append(Finding(0, "head", words))
    if at.sequence < head.sequence:
        gone = _numbers(at.sequence + 1, head.sequence)
        found.append(Finding(at.sequence + 1, "cut", f"{gone} missing at the end."))
    elif at.digest != head.digest:
        words = f"The head has another digest for row {at.sequence} than the row itself."
        found.append(Finding(at.sequence, "head", words))
    if newest > head.sequence:
        words = f"Row {head.sequence + 1} comes after the head; this server did not write it so."
        found.append(Finding(head.sequence + 1, "inserted", words))
    seal = audit_log.head_seal(head.sequence, head.digest, head.birth)
    if head.pk is not None and head.seal != seal:
        words = (
            f"The head at no. {head.sequence} was not set by this server: its seal does not fit. "
            "Rows at the end may be missing or replaced."
        )
        found.append(Finding(head.sequence, "cut", words))
    return found


def _wrong_checkpoint(checkpoint: AuditCheckpoint | None) -> Iterator[Finding]:
    if checkpoint is None:
        if AuditEvent.objects.filter(sequence__lt=1).exists():
            words = "There are rows before no. 1, where the trail begins."
            yield Finding(0, "inserted", words)
        return
    at = checkpoint.sequence
    if checkpoint.seal != checkpoint_seal(
        checkpoint.sequence, checkpoint.digest, checkpoint.rows, checkpoint.at
    ):
        yield Finding(
            at,
            "checkpoint",
            f"The checkpoint at no. {at} was not written by this server: its seal does not fit. "
            "The rows before it were not pruned by this server.",
        )
    if AuditEvent.objects.filter(sequence__lte=at).exists():
        yield Finding(
            at,
            "inserted",
            f"There are rows at or before the checkpoint at no. {at}, where all were pruned.",
        )


class _Witnesses:
    """What is known from outside the database about where the chain was."""

    def __init__(self, start: Place, head: AuditHead) -> None:
        self.start, self.head = start, head
        self.places: dict[int, tuple[str, Witness]] = {}
        self.wrong: list[Finding] = []
        self.read = self.pruned = 0

    def read_marks(self, marks: Marks) -> None:
        newest = marks.newest
        if newest is None:
            return
        if newest.birth != self.head.birth:
            words = (
                "This database is not the one that the marks in the data folder belong to: it was "
                "replaced or made again. "
            )
            self.wrong.append(Finding(0, "birth", f"{words}{EXPLAIN}"))
            return
        for mark in marks.lines:
            if mark.sequence <= self.head.sequence or mark == newest:
                self._add(mark.sequence, mark.digest, Witness.MARKS)

    def read_heads(self, lines: Iterable[str]) -> None:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
                sequence, digest = int(values["sequence"]), str(values["digest"])
                seal = str(values["seal"])
            except (ValueError, KeyError, TypeError):
                words = f"Line {number} of the file of heads cannot be read."
                self.wrong.append(Finding(0, "heads", words))
                continue
            if sequence == 0:
                self.pruned += 1
            elif seal != audit_log.head_seal(sequence, digest):
                words = f"Line {number} of the file of heads was not written by this server."
                self.wrong.append(Finding(sequence, "heads", words))
            elif self._add(sequence, digest, Witness.HEADS):
                self.read += 1

    def read_given(self, text: str) -> None:
        """Read the heads in a text that a person kept; nothing seals them, the person vouches."""
        for sequence, digest in KEPT_HEAD.findall(text):
            if self._add(int(sequence), digest, Witness.GIVEN):
                self.read += 1

    def _add(self, sequence: int, digest: str, by: Witness) -> bool:
        """Keep what a witness says for the comparison; False when there is nothing to compare."""
        if sequence > self.head.sequence:
            words = (
                f"By {by.english}, the trail once reached no. {sequence}; now it ends at no. "
                f"{self.head.sequence}, and later rows are missing. "
            )
            self.wrong.append(Finding(self.head.sequence + 1, "cut", f"{words}{EXPLAIN}"))
        elif sequence == 0 or sequence < self.start.sequence:
            self.pruned += by != Witness.MARKS
            return False
        elif self.places.setdefault(sequence, (digest, by))[0] != digest or (
            sequence == self.start.sequence and digest != self.start.digest
        ):
            self.wrong.append(_replaced(sequence, by))
        elif by != Witness.MARKS:
            self.places[sequence] = (digest, by)
        return True

    def compare(self, place: Place) -> None:
        """Compare a row that fits the chain with what was kept outside."""
        digest, by = self.places.get(place.sequence, (place.digest, Witness.MARKS))
        if digest != place.digest:
            self.wrong.append(_replaced(place.sequence, by))

    def proven(self, reached: Place) -> tuple[int, str]:
        """Return the last place up to there that a witness confirms, and which one."""
        known = [sequence for sequence in self.places if sequence <= reached.sequence]
        last = max(known, default=0)
        return (last, self.places[last][1].value) if last else (0, "")


def _replaced(sequence: int, by: Witness) -> Finding:
    words = f"Row {sequence} is not the one by {by.english}: rows up to there were replaced."
    return Finding(sequence, "rewritten", words)


def _marks_start(marks: Marks) -> str:
    start = marks.start
    if start is None:
        return ""
    day = audit_marks.moment(start).strftime("%Y-%m-%d %H:%M UTC")
    return f"The marks start again at no. {start.sequence}, {day}: {start.words}"


def _numbers(first: int, last: int) -> str:
    return f"Row {first} is" if first == last else f"Rows {first} to {last} are"
