"""Verify the audit trail."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices.audit import log as audit_log
from devices.audit import marks
from devices.audit.maintenance import remember
from devices.audit.verification import Verification, verify
from devices.cli.acting import operator
from devices.models import AuditAction

INTACT, NOT_INTACT, UNREADABLE = 0, 1, 2
LONGEST_WORDS = 500


class Command(BaseCommand):
    help = (
        "Verify the audit trail, and say up to where something outside the database confirms it. "
        "Exit status: 0 intact, 1 not intact, 2 could not be verified."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--heads",
            metavar="FILE",
            default=str(settings.AUDIT_HEADS_FILE or ""),
            help="a file of daily heads kept outside; AUDIT_HEADS_FILE unless it is named",
        )
        parser.add_argument(
            "--head",
            metavar="NUMBER:DIGEST",
            action="append",
            default=[],
            help="a head that was kept, such as the one in a mail or on a receipt",
        )
        parser.add_argument(
            "--mark", metavar="FILE", help="a kept text with such heads in it, such as a mail"
        )
        parser.add_argument(
            "--explain",
            metavar="TEXT",
            help="record why the trail is not as the marks say, and start the marks again here",
        )
        parser.add_argument("--json", action="store_true", help="print one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["explain"]:
            self._explain(options["explain"][:LONGEST_WORDS])
        heads = _text(options["heads"]).splitlines()
        given = [*options["head"], _text(options["mark"])]
        found = verify(heads=heads, given=given)
        if not options["head"] and not options["mark"]:
            remember(found, timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(_values(found)))
        else:
            for line in _lines(found):
                self.stdout.write(line)
        if not found.is_intact:
            raise SystemExit(NOT_INTACT)

    def _explain(self, words: str) -> None:
        """Start the marks again at the present head; the reason is in the trail and in the mark."""
        last, actor = marks.read().newest, operator()
        audit_log.record(
            actor,
            AuditAction.TRAIL_EXPLAINED,
            f"{actor.name} started the marks of the audit trail again: {words}",
            why="access to this server's terminal",
            detail={
                "mark_sequence": last.sequence if last else None,
                "mark_digest": last.digest if last else None,
                "words": words,
            },
        )
        marks.append_line(marks.start_line(marks.EXPLAINED, words, marks.next_number()))


def _text(named: str | None) -> str:
    if not named:
        return ""
    try:
        return Path(named).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(
            f"{named} cannot be read: {problem}.", returncode=UNREADABLE
        ) from problem


def _values(found: Verification) -> dict[str, Any]:
    return {"is_intact": found.is_intact, **asdict(found)}


def _lines(found: Verification) -> Iterable[str]:
    if found.is_intact:
        yield found.sentence
        yield found.proof
    else:
        yield "The audit trail is not intact."
        for finding in found.findings:
            yield f"  {finding.kind}: {finding.sentence}"
    if found.marks_start:
        yield found.marks_start
    yield f"Head: no. {found.head.sequence} {found.head.digest}"
    if found.heads_checked or found.heads_pruned:
        pruned = f", {found.heads_pruned} older than the checkpoint" if found.heads_pruned else ""
        yield f"Heads kept outside: {found.heads_checked} compared{pruned}."
