"""Print what /readyz tells a monitor, for health checks where no web server runs."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from devices.taskqueue import health


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Print the state of every part, or of those named; exits with 1 when one is not well."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(health.PARTS))

    def handle(self, *args: Any, **options: Any) -> None:
        found = health.check_all()
        parts = {name: found[name] for name in options["parts"] or found if name in found}
        for name, part in parts.items():
            line = {"part": name, "ok": part.is_ok, **part.figures}
            self.stdout.write(json.dumps(line))
        is_ready = health.is_ready(parts) and set(options["parts"]) <= set(found)
        sys.exit(0 if is_ready else 1)
