"""Builds that are broken on purpose: the machine must notice each of them, or it proves nothing."""

import os
from typing import Any

from django.apps import AppConfig


class Broken(AppConfig):
    name = "tests.chaos"
    label = "broken"

    def ready(self) -> None:
        BREAKS[os.environ["CHAOS_BROKEN"]]()


def send_again_when_the_answer_is_lost() -> None:
    """A push whose answer was lost is simply sent again, without asking what became of it."""
    from devices import push, tasks

    careful = push.push_failed

    def hasty(job: Any, problem: Any, now: Any) -> None:
        if getattr(problem, "nothing_happened", True):
            careful(job, problem, now)
        else:
            push.back_to_requested(job, "The answer was lost.", now, 0, problem)

    vars(tasks)["push_failed"] = hasty


def believe_success() -> None:
    """What the cloud calls a success is called verified, whatever version the hub reports."""
    from devices import follow, verdict

    careful = verdict.verdict

    def trusting(job: Any, now: Any, limits: Any) -> Any:
        if job.cloud_meaning == verdict.SUCCESS and job.state != "pushing":
            job.version_agreed_at, job.is_online = job.version_agreed_at or now, True
        return careful(job, now, limits)

    vars(follow)["verdict"] = trusting


def forget_some_confirms() -> None:
    """Every third confirmation is answered as accepted and kept nowhere."""
    from devices import installs
    from devices.models import OtaJob

    careful = installs.request

    def careless(**values: Any) -> Any:
        job = careful(**values)
        if job.pk % 3 == 0:
            OtaJob.objects.filter(pk=job.pk).delete()
        return job

    vars(installs)["request"] = careless


BREAKS = {
    "second-push": send_again_when_the_answer_is_lost,
    "trusted-success": believe_success,
    "lost-confirm": forget_some_confirms,
}
