"""The app's entry in Django's registry."""

import gc

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Hubs"

    def ready(self) -> None:
        from devices import signals

        signals.connect()
        # What is loaded by now stays: neither is it looked at again, nor copied for each fork.
        gc.freeze()
        gc.enable()
