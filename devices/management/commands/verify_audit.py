"""Verify the audit trail: is every row still what was written?"""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices.chain import Verification, verify
from devices.upkeep import remember

INTACT, TAMPERED, UNREADABLE = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Verify the audit trail and say the first row that does not fit. Exit status: 0 intact, "
        "1 tampered with, 2 could not be verified."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--heads",
            metavar="FILE",
            default=str(settings.AUDIT_HEADS_FILE or ""),
            help="a file of daily heads kept outside; AUDIT_HEADS_FILE unless it is named",
        )
        parser.add_argument("--json", action="store_true", help="say it as one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        named = Path(options["heads"]) if options["heads"] else None
        try:
            if named is None:
                found = verify()
            else:
                with named.open(encoding="utf-8") as lines:
                    found = verify(heads=lines)
        except (OSError, UnicodeDecodeError) as problem:
            raise CommandError(
                f"The heads in {named} cannot be read: {problem}.", returncode=UNREADABLE
            ) from problem
        remember(found, timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(_values(found)))
        else:
            for line in _lines(found):
                self.stdout.write(line)
        if not found.is_intact:
            raise SystemExit(TAMPERED)


def _values(found: Verification) -> dict[str, Any]:
    return {"is_intact": found.is_intact, **asdict(found)}


def _lines(found: Verification) -> Iterable[str]:
    if found.is_intact:
        yield found.sentence
    else:
        yield "The audit trail was tampered with."
        for finding in found.findings:
            yield f"  {finding.kind}: {finding.sentence}"
    yield f"Head: no. {found.head.sequence} {found.head.digest}"
    if found.heads_checked or found.heads_pruned:
        pruned = f", {found.heads_pruned} older than the checkpoint" if found.heads_pruned else ""
        yield f"Heads kept outside: {found.heads_checked} compared{pruned}."
