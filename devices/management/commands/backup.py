"""Make a backup while everything runs."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from devices.backup import CannotKeep, making
from devices.terminal.people import operator


class Command(BaseCommand):
    help = "Back up database and keys into one file, while everything runs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", nargs="?", help="where to (else backups/ in the data folder, named by the time)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)
        said = options["file"]
        path = Path(said).absolute() if said else making.usual_path(timezone.now())
        try:
            manifest = making.make(path, operator())
        except CannotKeep as problem:
            sys.exit(str(problem))
        size = f"{path.stat().st_size / 1024:,.0f} KB"
        print(f"Backed up to {path} ({size}, readable by this user only).")
        print(
            f"It holds the whole database ({manifest.live_jobs} installs under way, audit trail up "
            f"to entry {manifest.audit_sequence})"
        )
        print(
            "AND THE SERVER'S KEYS: whoever has this file can act for every linked cloud account. "
            "Keep it where you would keep a password."
        )
