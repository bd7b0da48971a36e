"""Watch the worker's heartbeats and restart a worker that has stalled."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from devices.server import orphans
from devices.server.worker_process import LocalCluster
from devices.worker.watchdog import ASK_AFTER_S, LOOK_EVERY_S, PATIENCE_S, Watchdog


class Command(BaseCommand):
    # they would load every page: a second of start and memory that is never used here
    requires_system_checks: list[str] = []
    help = (
        "Watch the worker of this data folder: ask for its loops when they are quiet, and end it "
        "when they stay quiet, so that its supervisor starts it again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--ask-after", type=float, default=ASK_AFTER_S, metavar="S", help="seconds of quiet"
        )
        parser.add_argument(
            "--patience", type=float, default=PATIENCE_S, metavar="S", help="seconds after asking"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        orphans.work_here()
        watchdog = Watchdog(
            LocalCluster(orphans.run_folder()),
            ask_after_s=options["ask_after"],
            patience_s=options["patience"],
        )
        while not stopping.wait(LOOK_EVERY_S):
            watchdog.look()
