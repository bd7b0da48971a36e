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
    from devices.installs import lifecycle, push
    from devices.worker import cloud_tasks

    careful = push.push_failed

    def hasty(job: Any, problem: Any, now: Any) -> None:
        if getattr(problem, "nothing_happened", True):
            careful(job, problem, now)
        else:
            lifecycle.return_to_requested(job, "The answer was lost.", now, 0, problem)

    vars(cloud_tasks)["push_failed"] = hasty
    vars(push)["_has_arrived"] = lambda *_: False


def believe_success() -> None:
    """What the cloud calls a success is called verified, whatever version the hub reports."""
    from devices.installs import polling, verdict

    careful = verdict.verdict

    def trusting(job: Any, now: Any, limits: Any) -> Any:
        if job.cloud_meaning == "success" and job.state != "pushing":
            job.version_agreed_at, job.is_online = job.version_agreed_at or now, True
        return careful(job, now, limits)

    vars(polling)["verdict"] = trusting


def forget_some_confirms() -> None:
    """Every third confirmation is answered as accepted and kept nowhere."""
    from devices.installs import requests as install_requests
    from devices.models import OtaJob
    from devices.planning import plans

    careful = install_requests.request

    def careless(**values: Any) -> Any:
        job = careful(**values)
        if job.pk % 3 == 0:
            OtaJob.objects.filter(pk=job.pk).delete()
        return job

    for module in (install_requests, plans):  # plans has the name of its own
        vars(module)["request"] = careless


def take_a_firewall_for_the_cloud() -> None:
    """A 403 is taken for the end of the session, whoever answered it."""
    from devices.rainmaker import error_mapping, errors

    careful = error_mapping._kind

    def hasty(answer: Any, *given: Any, acts: bool) -> Any:
        kind, words = careful(answer, *given, acts=acts)
        return (errors.SignInAgain if answer.status == 403 else kind), words

    vars(error_mapping)["_kind"] = hasty


def believe_every_list() -> None:
    """A hub that a list leaves out has left, whatever the list itself says of its length."""
    from devices.fleet import sync

    vars(sync)["_adds_up"] = lambda *_: True


BREAKS = {
    "second-push": send_again_when_the_answer_is_lost,
    "trusted-success": believe_success,
    "lost-confirm": forget_some_confirms,
    "signed-out": take_a_firewall_for_the_cloud,
    "believed-list": believe_every_list,
}
