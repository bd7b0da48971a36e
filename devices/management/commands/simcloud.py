"""`manage.py simcloud`: run the simulated RainMaker cloud. The work is in devices.simcloud."""

import sys
from argparse import Namespace
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from devices.simcloud import cli


class Command(BaseCommand):
    help = cli.DESCRIPTION
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        sys.exit(cli.run(Namespace(**options)))
