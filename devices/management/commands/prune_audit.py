"""Prune the audit trail by hand, as the worker does every day when AUDIT_KEEP_DAYS is set."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices.audit.maintenance import NotIntact, prune
from devices.models import AuditCheckpoint


class Command(BaseCommand):
    help = (
        "Delete audit rows older than AUDIT_KEEP_DAYS; a sealed checkpoint takes their place, so "
        "that what is left still verifies. Rows of installs under way stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=int, metavar="N", help="keep N days instead of AUDIT_KEEP_DAYS"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        days = settings.AUDIT_KEEP_DAYS if options["days"] is None else options["days"]
        if days < 0 or (options["days"] is not None and days == 0):
            raise CommandError("--days must be 1 or more.")
        if not days:
            self.stdout.write("AUDIT_KEEP_DAYS is 0: every row is kept for ever.")
            return
        now, rows = timezone.now(), 0
        try:
            while gone := prune(now, keep_days=days):
                rows += gone
        except NotIntact as problem:
            raise CommandError(f"Pruning stopped, the trail is not intact: {problem}") from problem
        checkpoint = AuditCheckpoint.latest()
        place = f"; checkpoint at no. {checkpoint.sequence}" if rows and checkpoint else ""
        self.stdout.write(f"{rows} rows older than {days} days were pruned{place}.")
