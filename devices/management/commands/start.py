"""Start the product: prepare what it needs, run its processes, stop them all at the end."""

from devices.server.start import StartCommand


class Command(StartCommand):
    pass
