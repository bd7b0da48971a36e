"""The app's entry in Django's registry."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Hubs"

    def ready(self) -> None:
        from devices import signals

        signals.connect()
