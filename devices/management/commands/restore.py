"""Put a backup in the place of what is there."""

import json
import os
import sys
from argparse import SUPPRESS, ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError

from devices.audit import marks
from devices.audit.verification import verify
from devices.backup import CannotKeep, archive, reconcile, restore
from devices.cli.acting import operator
from devices.server.orphans import Lock, does_any_work_here, find, run_folder


class Command(BaseCommand):
    help = "Restore a backup. Nothing that was confirmed before is ever sent a second time."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", help="a file that `manage.py backup` made")
        parser.add_argument(
            "--force",
            action="store_true",
            help="also where there is an installation already, which is set aside, and also when "
            "the audit trail in the backup does not add up",
        )
        # The second half, in a process of its own that has the backup's keys and database.
        parser.add_argument("--staged", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)
        try:
            if options["staged"]:
                self._staged(json.loads(options["staged"]))
            elif options["file"]:
                self._restore(Path(options["file"]).absolute(), is_forced=options["force"])
            else:
                raise CannotKeep("Which backup? Name the file: manage.py restore FILE.")
        except CannotKeep as problem:
            sys.exit(str(problem))
        except DatabaseError as problem:
            sys.exit(f"The database cannot be used ({' '.join(str(problem).split())}).")

    def _restore(self, path: Path, *, is_forced: bool) -> None:
        folder = run_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Lock(folder / "start.lock") as lock:
            if not lock.take():
                raise CannotKeep(
                    f"Thermacell Web is running here: {lock.holder() or 'see its terminal'}. Stop "
                    "it first. Nothing was changed."
                )
            lock.note("a restore is under way")
            if left := find(folder):
                raise CannotKeep(
                    f"{len(left)} processes of an earlier start are still at work (the first is "
                    f"process {left[0].pid}): `make run` and Ctrl-C ends them. Nothing was changed."
                )
            if does_any_work_here():
                raise CannotKeep(
                    "Programs of Thermacell Web are running in this data folder. Stop them first, "
                    "with systemd by `systemctl stop thermacell-web.target`. Nothing was changed."
                )
            done = restore.restore(path, is_forced=is_forced)
            lock.note("")
        print(f"Restored the backup of {done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC.")
        if done.trail_fault:
            print(f"ITS AUDIT TRAIL DOES NOT ADD UP: {done.trail_fault}")
        else:
            print(f"Its audit trail adds up, all {done.manifest.audit_sequence} entries.")
        print(
            f"Installs that go on being followed: {done.followed}. Confirmations that may have "
            f"been sent since, which the cloud is asked about and which are never sent again: "
            f"{done.asked}. Hubs that waited in a queue and have to be confirmed again: "
            f"{done.dropped}."
        )
        for place in done.aside:
            print(f"What was here before is kept: {place}.")
        print(
            "What was taken away since the backup is back: people who left, roles, access tokens "
            "that were revoked, unlinked cloud accounts. Look them over."
        )
        if settings.AUDIT_HEADS_FILE:
            print(
                f"Heads of the trail in {settings.AUDIT_HEADS_FILE} from after the backup do not "
                "fit it: keep that file as it is, and name a new one in AUDIT_HEADS_FILE."
            )
        print("Everyone has to sign in again. Start the product; it goes on from here.")

    def _staged(self, order: dict[str, Any]) -> None:
        manifest = archive.read(Path(order["file"]))
        call_command("migrate", interactive=False, verbosity=0)
        found = verify(marks=marks.Marks())
        fault = "" if found.is_intact else found.sentence
        if fault and not order["is_forced"]:
            raise CannotKeep(
                f"The audit trail in this backup does not add up: {fault} Another backup may be "
                "better; --force restores this one all the same and keeps that on record."
            )
        reconcile.require_keys()
        detail = {"trail_fault": fault, "replaced": order["replaced"]}
        settled = reconcile.settle(manifest, operator(), detail)
        words = f"restored from a backup of {manifest.made_at:%Y-%m-%d %H:%M} UTC"
        mark = marks.start_line(marks.RESTORED, words, order["mark_number"])
        print(json.dumps(asdict(settled) | {"trail_fault": fault, "mark": mark}))
