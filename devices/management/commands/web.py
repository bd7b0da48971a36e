"""Serve the pages in the foreground."""

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from devices.server import CannotStart, orphans, web_server
from devices.server.ports import read_port


class Command(BaseCommand):
    # its processes load every page anyway
    requires_system_checks: list[str] = []
    help = "Run the web server alone; WEB_PROCESSES says how many processes serve pages."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", help="address to listen on (BIND, else 127.0.0.1)")
        parser.add_argument("--port", help="port to listen on (PORT, else 8000)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            port = read_port(options["port"] or os.environ.get("PORT") or "8000", "PORT")
        except CannotStart as problem:
            raise CommandError(str(problem)) from problem
        orphans.work_here()
        web_server.serve(options["host"] or os.environ.get("BIND") or "127.0.0.1", port)
