"""Marks: where the trail ended, kept outside the database.

After each commit the new end of the trail is appended to a file in the data folder, and to two
copies. Each line is sealed with AUDIT_KEY. Access to the database alone is not enough to change
them, so a trail that was emptied, cut or set back to an earlier end no longer reaches its mark.
An end that does not follow from the mark before it, as after a cut, is marked apart. A restored
backup starts the marks again, by a sealed line that says so.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from devices.audit.log import checkpoint_seal, keyed, moment_text
from devices.models import AuditCheckpoint, AuditEvent, AuditHead

log = logging.getLogger(__name__)
FORMAT = "thermacell-web-mark-1"
BEGUN, HEAD, RESTORED, EXPLAINED = "begun", "head", "restored", "explained"
# An end that does not follow from the newest mark: evidence, and never the newest itself.
SEEN = "seen"
# These lines start again: marks before them do not count.
STARTS = (RESTORED, EXPLAINED)
# A longer file is thinned out: of the plain marks every hundredth stays, and the newest.
LARGEST_BYTES, THINNED_TO = 1_000_000, 100
TAIL_BYTES = 4096


class _Unwritable(OSError):
    """The data folder takes no mark. That never stops the work: what it says was logged."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One line: the trail of the database `birth` ended at this entry."""

    number: int
    at: str
    kind: str
    birth: str
    sequence: int
    digest: str
    words: str = ""

    @property
    def seal(self) -> str:
        return keyed("mark", *asdict(self).values())

    @property
    def line(self) -> str:
        values = {"format": FORMAT, **asdict(self), "seal": self.seal}
        return json.dumps(values, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks that count, oldest first, and how many lines could not be used."""

    lines: tuple[Mark, ...] = ()
    unusable: int = 0

    @property
    def newest(self) -> Mark | None:
        """Return the mark that reaches farthest."""
        return max(self.lines, key=_reach, default=None)

    @property
    def start(self) -> Mark | None:
        """Return the line that started the marks again, when one did."""
        first = self.lines[0] if self.lines else None
        return first if first is not None and first.kind in STARTS else None


def read(paths: Iterable[Path] | None = None) -> Marks:
    """Return the marks that count, from all copies together."""
    found: dict[str, Mark] = {}
    unusable = 0
    for path in settings.AUDIT_MARKS if paths is None else paths:
        bad = 0
        for line in _lines(path):
            mark = parse(line)
            if mark is None:
                bad += 1
                continue
            if mark.kind in STARTS:
                bad = 0  # lines of another installation, with another key, may be before it
            found[mark.seal] = mark
        unusable += bad
    lines = sorted(found.values(), key=lambda mark: (mark.number, mark.at))
    first = max((n for n, mark in enumerate(lines) if mark.kind in STARTS), default=0)
    return Marks(tuple(lines[first:]), unusable)


def parse(line: str) -> Mark | None:
    """Return the mark in a line, None unless its seal is ours."""
    try:
        values: dict[str, Any] = json.loads(line)
        mark = Mark(**{name: values[name] for name in Mark.__dataclass_fields__})
        return mark if values["format"] == FORMAT and values["seal"] == mark.seal else None
    except (ValueError, KeyError, TypeError):
        return None


def _reach(mark: Mark) -> tuple[bool, int, int]:
    return mark.kind != SEEN, mark.sequence, mark.number


def note(sequence: int, digest: str, previous_digest: str) -> None:
    """Append the trail's new end, also one that does not follow from the newest
    mark, as after a cut. Put back afterwards, the trail does not hold what was marked meanwhile.
    """
    with suppress(_Unwritable), _locked():
        last = _newest()
        if last is None:
            head = AuditHead.objects.filter(pk=1).first()
            if head is not None:
                _append_text(_mark(BEGUN, head, next_number()).line)
            return
        is_next = (last.sequence + 1, last.digest) == (sequence, previous_digest)
        # of two commits at once the later one may be marked first
        kind = HEAD if is_next or _holds(last) else SEEN
        if kind == SEEN:
            log.error("the trail does not hold its mark at entry %s: verify it", last.sequence)
        at = moment_text(timezone.now())
        mark = Mark(next_number(), at, kind, last.birth, sequence, digest)
        _append_text(mark.line)


def begin() -> None:
    """Write the first mark where there is none yet: at the first start, or after an upgrade."""
    with suppress(_Unwritable), _locked():
        head = AuditHead.objects.filter(pk=1).first()
        if head is not None and _newest() is None:
            _append_text(_mark(BEGUN, head, next_number()).line)


def start_line(kind: str, words: str, number: int) -> str:
    """Return the line that starts the marks again at the head of this process's database."""
    return _mark(kind, AuditHead.objects.get(pk=1), number, words).line


def next_number() -> int:
    """Return the number of the next line, also after lines that were sealed with another key."""
    last = _tail(settings.AUDIT_MARKS[0])[-1:]
    is_good = bool(last) and parse(last[0]) is not None
    lines = last if is_good else chain.from_iterable(map(_lines, settings.AUDIT_MARKS))
    highest = 0
    for line in lines:
        try:
            highest = max(highest, int(json.loads(line)["number"]))
        except (ValueError, KeyError, TypeError):
            continue
    return highest + 1


def append_line(line: str) -> None:
    """Append a line that start_line made, to every copy."""
    with _locked():
        _append_text(line)


def _mark(kind: str, head: AuditHead, number: int, words: str = "") -> Mark:
    at = moment_text(timezone.now())
    return Mark(number, at, kind, head.birth, head.sequence, head.digest, words)


def _holds(mark: Mark) -> bool:
    """Does the trail still hold this entry, or a checkpoint in its place?"""
    if mark.sequence == 0:
        return AuditHead.objects.filter(pk=1, birth=mark.birth).exists()
    if AuditEvent.objects.filter(sequence=mark.sequence, digest=mark.digest).exists():
        return True
    one = AuditCheckpoint.latest()
    if one is None or one.sequence <= mark.sequence:
        return False
    return one.seal == checkpoint_seal(one.sequence, one.digest, one.rows, one.at)


def _newest() -> Mark | None:
    """Return the newest mark: from the end of the first copy, else from all of them."""
    tail = [parse(line) for line in _tail(settings.AUDIT_MARKS[0])]
    found = [mark for mark in tail if mark is not None]
    starts = [n for n, mark in enumerate(found) if mark.kind in STARTS]
    ends = [mark for mark in found[starts[-1] if starts else 0 :] if mark.kind != SEEN]
    return max(ends, key=_reach) if ends and tail[-1] is not None else read().newest


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.strip():
                    yield line
    except FileNotFoundError:
        return
    except OSError as problem:
        log.warning("the marks in %s cannot be read: %s", path.name, problem.strerror)


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


@contextmanager
def _locked() -> Iterator[None]:
    """Let one process write at a time. Raises _Unwritable."""
    path = Path(settings.AUDIT_MARKS[0])
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        log.warning("the mark of the trail could not be written: %s", problem.strerror)
        raise _Unwritable(problem.strerror) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def thin_out(verified: int) -> None:
    """Thin out a large file, up to the entry to which all marks were just found to fit the trail.

    Never elsewhere: a mark that does not fit is the evidence of a cut.
    """
    first = Path(settings.AUDIT_MARKS[0])
    with suppress(_Unwritable), _locked():
        if first.exists() and first.stat().st_size > LARGEST_BYTES:
            _thin_out(verified)


def _append_text(line: str) -> None:
    for path in settings.AUDIT_MARKS:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as problem:
            log.warning("the mark of the trail could not be written: %s", problem.strerror)
            continue
        try:
            size = os.fstat(file).st_size
            is_cut = size > 0 and os.pread(file, 1, size - 1) != b"\n"  # by a power failure
            os.write(file, f"{chr(10) if is_cut else ''}{line}\n".encode())
        except OSError as problem:
            log.warning("the mark of the trail could not be written: %s", problem.strerror)
        finally:
            os.close(file)


def _thin_out(verified: int) -> None:
    lines = read().lines
    kept = [
        mark
        for n, mark in enumerate(lines)
        if mark.kind != HEAD
        or mark.sequence > verified
        or mark.number % THINNED_TO == 0
        or n == len(lines) - 1
    ]
    text = "".join(f"{mark.line}\n" for mark in kept)
    for path in settings.AUDIT_MARKS:
        draft = path.with_name(f".{path.name}.part")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as problem:
            log.warning("the marks of the trail could not be thinned out: %s", problem.strerror)


def moment(mark: Mark) -> datetime:
    """Return when the mark was made."""
    return datetime.fromisoformat(mark.at)
