"""Show the hubs to Home Assistant over MQTT, and take its presses."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from devices.homeassistant.bridge import Bridge
from devices.server import orphans


class Command(BaseCommand):
    # they would load every page: a second of start and memory that is never used here
    requires_system_checks: list[str] = []
    help = "Show every hub to Home Assistant over MQTT, and carry out what is pressed there."

    def handle(self, *args: Any, **options: Any) -> None:
        orphans.work_here()
        bridge = Bridge()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: bridge.stop())
        bridge.run()
