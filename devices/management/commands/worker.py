"""Run the task cluster in the foreground, and let it be found and stopped."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django_q.cluster import Cluster

from devices.security import key_marks
from devices.server import orphans
from devices.server.worker_process import LocalCluster
from devices.taskqueue import allow_list
from devices.taskqueue.one_process import OneProcess
from devices.worker import stop_flag


class Command(BaseCommand):
    # they would load every page: a second of start and memory that is never used here
    requires_system_checks: list[str] = []
    help = "Run the worker: it sends what was confirmed, follows installs and checks for firmware."

    def handle(self, *args: Any, **options: Any) -> None:
        allow_list.require()
        if (wrong := key_marks.wrong_key()) is not None:
            raise CommandError(key_marks.why_wrong(wrong))
        here = LocalCluster(orphans.run_folder())
        here.sign_in()
        orphans.work_here()
        stop_flag.begin()
        if settings.WORKER_PROCESSES == 1:
            OneProcess(stop_flag.raise_flag).start()
        else:
            cluster = StoppableCluster()
            cluster.start()
            cluster.sentinel.join()


class StoppableCluster(Cluster):  # type: ignore[misc]  # django-q2 carries no types
    """A cluster whose loops see that it is to stop: they start nothing new and hand over."""

    def stop(self) -> bool:
        """Stop; called in the main process by SIGTERM and SIGINT."""
        stop_flag.raise_flag()
        return bool(super().stop())
