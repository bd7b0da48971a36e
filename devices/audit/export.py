"""The audit trail as files: JSON Lines that prove themselves, and CSV for a spreadsheet.

Both are generated while they are sent, a few thousand rows in memory at a time. The JSON Lines
hold the whole chain from its checkpoint to its head: what the reader may see and asked for in full,
all other rows by their content digest, from which nothing can be learned and with which the chain
can be followed. `static/verify_audit.py` checks such a file without this server.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.utils import timezone

from devices.audit import log as audit_log
from devices.audit.log import COVERED
from devices.audit.search import AuditSearch
from devices.models import AuditCheckpoint, AuditEvent, AuditHead
from devices.models.audit import FIRST_DIGEST
from devices.models.text import mask_emails

FORMAT = "thermacell-web-audit-1"
CHUNK = 2000
SEALED = (*COVERED, "previous_digest", "digest", "seal")
COLUMNS = {
    "position": "sequence",
    "time (UTC)": "at",
    "household": "household_name",
    "person": "actor_name",
    "role": "actor_role",
    "action": "action",
    "outcome": "outcome",
    "what happened": "sentence",
    "hub": "hub_name",
    "install": "job_id",
    "from": "",
    "to": "",
    "why": "why",
    "by way of": "via",
    "address": "address",
    "browser": "browser",
    "request": "request_id",
    "facts": "detail",
    "digest": "digest",
}
# A spreadsheet takes a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Pruned(Exception):
    """Rows were pruned while they were being exported: the file ends, and says that it does."""


def jsonl(trail: AuditSearch, exported_by: str) -> Iterator[bytes]:
    """Yield the chain as lines of JSON; the last one names the head and seals the file."""
    written = _Written()
    head = AuditHead.objects.get(pk=1)
    checkpoint = AuditCheckpoint.latest()
    at, digest = (checkpoint.sequence, checkpoint.digest) if checkpoint else (0, FIRST_DIGEST)
    start = {
        "format": FORMAT,
        "server": settings.PUBLIC_URL,
        "exported_at": audit_log.moment_text(timezone.now()),
        "exported_by": exported_by,
        "asked": trail.asked.words(),
        "start": {"sequence": at, "digest": digest},
        "checkpoint": None,
    }
    if checkpoint is not None:
        start["checkpoint"] = {
            "at": audit_log.moment_text(checkpoint.at),
            "rows": checkpoint.rows,
            "seal": checkpoint.seal,
        }
    yield written.line(start)
    rows = hidden = 0
    while at < head.sequence:
        until = min(at + CHUNK, head.sequence)
        # a masked row could not be verified: it is in the chain by its digest only
        shown = {
            sequence: text
            for sequence, text in _shown(trail, at, until).items()
            if not trail.is_masked(text["household_id"], text["actor_user_id"])
        }
        apart = [] if len(shown) == until - at else _links(at, until)
        if len(shown) + len(apart) < until - at and _was_pruned(at):
            raise Pruned
        for part in _parts(shown, apart):
            if isinstance(part, dict):
                rows += 1
            else:
                hidden += len(part)
            yield written.line(part if isinstance(part, dict) else _hidden(part))
        at = until
    sealed = audit_log.keyed("export", written.digest.hexdigest())
    end = {"sequence": head.sequence, "digest": head.digest, "seal": head.seal}
    if not head.sequence:
        end["birth"] = head.birth
    yield written.line({"end": end, "rows": rows, "hidden": hidden, "seal": sealed})


def csv_rows(trail: AuditSearch) -> Iterator[bytes]:
    """Yield what is asked for as CSV for a spreadsheet, oldest first; no cell is a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    checkpoint = AuditCheckpoint.latest()
    at = checkpoint.sequence if checkpoint else 0
    last = AuditHead.objects.get(pk=1).sequence
    yield "\ufeff".encode()  # so that spreadsheets read it as UTF-8
    while True:
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
        if at >= last:
            return
        until = min(at + CHUNK, last)
        for row in _shown(trail, at, until).values():
            cells = [cell(value) for value in _cells(row)]
            if trail.is_masked(row["household_id"], row["actor_user_id"]):
                cells = [mask_emails(one) if isinstance(one, str) else one for one in cells]
            writer.writerow(cells)
        at = until


@dataclass(slots=True)
class _Written:
    """The lines so far, as a digest: what the file's own seal is made of."""

    digest: Any = field(default_factory=hashlib.sha256)

    def line(self, values: dict[str, Any]) -> bytes:
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        line = f"{text}\n".encode()
        self.digest.update(line)
        return line


@dataclass(slots=True)
class _Link:
    """A row as the chain needs it, without its content."""

    sequence: int
    content_digest: str
    digest: str


def _was_pruned(after: int) -> bool:
    return AuditCheckpoint.objects.filter(sequence__gt=after).exists()


def _shown(trail: AuditSearch, after: int, until: int) -> dict[int, dict[str, Any]]:
    found = AuditEvent.objects.filter(sequence__gt=after, sequence__lte=until)
    shown = {}
    for columns in trail.sieve(found).order_by("sequence").values_list(*SEALED):
        row = dict(zip(SEALED, columns, strict=True))
        row["at"] = audit_log.moment_text(row["at"])
        shown[int(row["sequence"])] = row
    return shown


def _links(after: int, until: int) -> list[_Link]:
    found = AuditEvent.objects.filter(sequence__gt=after, sequence__lte=until)
    links = found.order_by("sequence").values_list("sequence", "content_digest", "digest")
    return [_Link(*values) for values in links]


def _parts(
    shown: dict[int, dict[str, Any]], apart: list[_Link]
) -> Iterator[dict[str, Any] | list[_Link]]:
    """Yield shown rows, and runs of hidden ones, in the order of the chain."""
    if not apart:
        yield from shown.values()
        return
    run: list[_Link] = []
    for link in apart:
        if link.sequence not in shown:
            run.append(link)
            continue
        if run:
            yield run
            run = []
        yield shown[link.sequence]
    if run:
        yield run


def _hidden(run: list[_Link]) -> dict[str, Any]:
    return {
        "hidden": {"first": run[0].sequence, "last": run[-1].sequence},
        "content_digests": [link.content_digest for link in run],
        "digest": run[-1].digest,
    }


def _cells(row: dict[str, Any]) -> Iterator[Any]:
    detail = row["detail"]
    for name, column in COLUMNS.items():
        if column == "detail":
            yield json.dumps(detail, ensure_ascii=False) if detail else ""
        elif column:
            yield row[column]
        else:
            yield detail.get(f"{name}_version") or detail.get(f"{name}_state") or ""


def cell(value: Any) -> Any:
    """Return the value so that no spreadsheet calculates with it."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.lstrip(" ").startswith(FORMULA) else value
