"""The app's entry in Django's registry."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Hubs"

    def ready(self) -> None:
        from devices import signals
        from devices.server import self_checks  # noqa: F401 - registers its check
        from devices.taskqueue import allow_list

        signals.connect()
        allow_list.install()
