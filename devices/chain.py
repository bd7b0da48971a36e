"""Is the audit trail still what was written? Reads it row by row and says what does not fit.

Verifying needs AUDIT_KEY and streams, so that a long trail takes no more memory than a short one.
What even the key cannot show, a trail that was cut or written anew by someone who holds it, a head
that was kept outside shows: see `daily_head` and `verify(heads=...)`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, Max, Subquery
from django.utils import timezone

from devices.models import AuditCheckpoint, AuditEvent, AuditHead, audit
from devices.models.audit import COVERED, FIRST_DIGEST

CHUNK = 2000
# How far around a row its true place is looked for, when it stands where it was not written.
NEAR = 200
HEAD_FORMAT = "thermacell-web-head-1"
COLUMNS = (*COVERED, "content_digest", "previous_digest", "digest", "seal")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit: where, what kind of tampering it looks like, in a sentence."""

    sequence: int
    kind: str
    """"changed", "deleted", "inserted", "reordered", "rewritten", "cut", "head", "checkpoint",
    "heads" or "not_continued"."""
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

    @property
    def is_intact(self) -> bool:
        return not self.findings

    @property
    def is_whole(self) -> bool:
        """Was all of the chain read, up to its head?"""
        return self.reached.sequence >= self.head.sequence

    @property
    def sentence(self) -> str:
        if self.findings:
            return self.findings[0].sentence
        since = f" after the checkpoint at no. {self.start.sequence}" if self.start.sequence else ""
        return f"The audit trail is intact: {self.rows} rows{since}, head no. {self.head.sequence}."


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
        said = {name: self.values[name] for name in COVERED}
        return audit.content_digest(
            said | {"at": audit.moment_text(said["at"]), "sequence": sequence}
        )

    def has_its_content(self) -> bool:
        return self.content_digest_at(self.sequence) == str(self.values["content_digest"])

    def has_its_digest(self) -> bool:
        link = (self.sequence, self.previous_digest, str(self.values["content_digest"]))
        return audit.link_digest(*link) == self.digest

    def has_its_seal(self) -> bool:
        return audit.keyed("row", self.digest) == str(self.values["seal"])


def verify(
    *, heads: Iterable[str] = (), after: Place | None = None, limit: int | None = None
) -> Verification:
    """Read the chain from its checkpoint (or `after`, a place that was verified before) to its
    head (`limit` rows at most) and return what does not fit: of the rows only the first, since
    everything behind it hangs on it. `heads` are lines of a file kept outside.

    Safe while others write: rows that come meanwhile are left for the next time.
    """
    head, newest = _ends()
    checkpoint = AuditCheckpoint.latest()
    start = Place(checkpoint.sequence, checkpoint.digest) if checkpoint else Place()
    at = after if after is not None and after.sequence >= start.sequence else start
    findings = list(_wrong_checkpoint(checkpoint))
    rows = 0
    kept, heads_pruned, wrong_heads = _read_heads(heads, start, head)
    until = head.sequence if limit is None else min(head.sequence, at.sequence + limit)
    for row in _rows(at.sequence, until):
        wrong = _wrong_row(row, at)
        if wrong is not None:
            findings.append(wrong)
            break
        at = Place(row.sequence, row.digest)
        rows += 1
        if kept.get(at.sequence, at.digest) != at.digest:
            wrong_heads.append(_wrong_head(at.sequence))
    else:
        if until == head.sequence:
            findings += _wrong_end(at, head, newest)
    findings += wrong_heads
    return Verification(rows, start, _place(head), at, tuple(findings), len(kept), heads_pruned)


def daily_head() -> str:
    """Return where the chain ends now as one line for a file or a mail outside of this server."""
    head = AuditHead.objects.get(pk=1)
    told = {
        "format": HEAD_FORMAT,
        "at": audit.moment_text(timezone.now()),
        "sequence": head.sequence,
        "digest": head.digest,
        "seal": head.seal,
    }
    return json.dumps(told, separators=(",", ":"))


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
        return AuditHead(pk=1), AuditEvent.objects.aggregate(m=Max("sequence"))["m"] or 0
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
        return Finding(
            expected,
            "deleted",
            f"{_numbers(expected, row.sequence - 1)} missing: deleted after they were written.",
        )
    if is_genuine:
        return Finding(
            before.sequence,
            "rewritten",
            f"Row {row.sequence} does not follow on row {before.sequence}: that row, or more "
            "before it, was written anew by someone who holds AUDIT_KEY.",
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
            row.sequence,
            "inserted",
            f"Row {row.sequence} was put in: this server did not write it.",
        )
    return Finding(
        row.sequence,
        "rewritten",
        f"Row {row.sequence} was written anew, and not by this server: its seal does not fit.",
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
                f"{_numbers(here, there - 1)} missing: deleted, and the rows behind moved up.",
            )
        return Finding(
            here,
            "reordered",
            f"Row {here} was written as row {there}: rows were reordered.",
        )
    return Finding(
        here, "changed", f"Row {here} was changed: what it says does not fit its digest."
    )


def _wrong_end(at: Place, head: AuditHead, newest: int) -> list[Finding]:
    """Return what is wrong with how the chain ends."""
    found = []
    if at.sequence < head.sequence:
        gone = _numbers(at.sequence + 1, head.sequence)
        found.append(Finding(at.sequence + 1, "cut", f"{gone} missing: the end was cut off."))
    elif at.digest != head.digest:
        words = f"The head does not name row {at.sequence} as it is: the end was written anew."
        found.append(Finding(at.sequence, "head", words))
    if newest > head.sequence:
        words = f"Row {head.sequence + 1} was put in behind the head: this server did not write it."
        found.append(Finding(head.sequence + 1, "inserted", words))
    is_empty = head.sequence == 0 and not head.seal
    if not is_empty and head.seal != audit.head_seal(head.sequence, head.digest):
        words = (
            f"The head at no. {head.sequence} was not set by this server: the end was cut off or "
            "written anew, and the head set to fit."
        )
        found.append(Finding(head.sequence, "cut", words))
    return found


def _wrong_checkpoint(checkpoint: AuditCheckpoint | None) -> Iterator[Finding]:
    if checkpoint is None:
        return
    at = checkpoint.sequence
    if checkpoint.seal != checkpoint.expected_seal():
        yield Finding(
            at,
            "checkpoint",
            f"The checkpoint at no. {at} was not written by this server: rows were deleted under "
            "the name of pruning.",
        )
    if AuditEvent.objects.filter(sequence__lte=at).exists():
        yield Finding(
            at,
            "inserted",
            f"There are rows at or before the checkpoint at no. {at}, which took their place.",
        )


def _read_heads(
    lines: Iterable[str], start: Place, head: AuditHead
) -> tuple[dict[int, str], int, list[Finding]]:
    """Return the digests to look for by position, how many were pruned away, and what is wrong
    with the heads themselves.
    """
    kept: dict[int, str] = {start.sequence: start.digest}
    pruned, wrong = 0, []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            sequence, digest, seal = int(told["sequence"]), str(told["digest"]), str(told["seal"])
        except (ValueError, KeyError, TypeError):
            words = f"Line {number} of the heads kept outside cannot be read."
            wrong.append(Finding(0, "heads", words))
            continue
        if seal != audit.head_seal(sequence, digest):
            words = f"Line {number} of the heads kept outside was not written by this server."
            wrong.append(Finding(sequence, "heads", words))
        elif sequence > head.sequence:
            words = (
                f"The trail once reached no. {sequence} and now ends at no. {head.sequence}: its "
                "end was cut off."
            )
            wrong.append(Finding(head.sequence + 1, "cut", words))
        elif sequence < start.sequence or sequence == 0:
            pruned += 1
        elif (sequence == start.sequence and digest != start.digest) or kept.setdefault(
            sequence, digest
        ) != digest:
            wrong.append(_wrong_head(sequence))
    del kept[start.sequence]
    return kept, pruned, wrong


def _wrong_head(sequence: int) -> Finding:
    return Finding(
        sequence,
        "rewritten",
        f"Row {sequence} is not the one that the heads kept outside name: the trail was written "
        "anew up to there.",
    )


def _numbers(first: int, last: int) -> str:
    return f"Row {first} is" if first == last else f"Rows {first} to {last} are"
