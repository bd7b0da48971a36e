"""Make a backup while everything runs."""

import os
import sys
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from devices.backup import CannotKeep, create, schedule
from devices.backup.restore import prove
from devices.cli.acting import operator
from devices.models import BackupRun


class Command(BaseCommand):
    help = "Back up database and keys into one file, while everything runs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", nargs="?", help="where to (else backups/ in the data folder, named by the time)"
        )

        parser.add_argument(
            "--verify", action="store_true", help="restore it into a scratch database, and look"
        )
        # One of those made by themselves, in a process of its own.
        parser.add_argument("--run", type=int, help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)
        if options["run"]:
            schedule.carry_out(BackupRun.objects.get(pk=options["run"]))
            return
        named = options["file"]
        path = Path(named).absolute() if named else create.usual_path(timezone.now())
        try:
            manifest = create.make(path, operator())
            if options["verify"]:
                prove(path)
        except CannotKeep as problem:
            sys.exit(str(problem))
        if options["verify"]:
            print(
                "Verified: it was restored into a scratch database, and its audit trail is intact."
            )
        size = f"{path.stat().st_size / 1024:,.0f} KB"
        print(f"Backed up to {path} ({size}, readable by this user only).")
        print(
            f"It holds the whole database ({manifest.live_jobs} installs under way, audit trail up "
            f"to entry {manifest.audit_sequence})"
        )
        print(
            "AND THE SERVER'S KEYS: anyone with this file can act for every linked cloud account. "
            "Keep it where you would keep a password."
        )
