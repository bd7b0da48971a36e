"""Firmware from a terminal or a script: the same verbs, policies and audit as the pages."""

from devices.cli.firmware import FirmwareCommand


class Command(FirmwareCommand):
    pass
