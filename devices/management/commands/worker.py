"""Run the task cluster in the foreground, and let it be found and stopped."""

from multiprocessing import get_context
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django_q.cluster import Cluster

from devices import loop
from devices.launch.cluster import LocalCluster


class Command(BaseCommand):
    help = "Run the worker: it sends what was confirmed, follows installs and checks for firmware."

    def handle(self, *args: Any, **options: Any) -> None:
        here = LocalCluster(Path(settings.DATA_DIR) / "run")
        here.sign_in()
        StoppableCluster().start()


class StoppableCluster(Cluster):  # type: ignore[misc]  # django-q2 carries no types
    """A cluster whose loops see that it is to stop: they start nothing new and hand over."""

    def __init__(self) -> None:
        super().__init__()
        # Without a lock: a worker killed while it holds one would block whoever stops the cluster.
        self.flag = get_context("fork").RawValue("b", 0)
        # set before the workers are forked from here, which inherit it
        loop.is_stopping = lambda: bool(self.flag.value)

    def stop(self) -> bool:
        """Stop; called in the main process by SIGTERM and SIGINT."""
        self.flag.value = 1
        return bool(super().stop())
