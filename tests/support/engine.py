"""Running the worker's loops inside a test, against a simulated cloud in its own process."""

from collections.abc import Callable
from time import monotonic

from devices.accounts.linking import link_account
from devices.installs import requests as install_requests
from devices.installs.confirmation import snapshot_offer
from devices.models import CloudAccount, Household, Node, OtaJob, User
from devices.worker import cloud_tasks
from devices.worker.runner import Runner
from tests.support.factories import person
from tests.support.simcloud_process import SimCloud

PASSWORD = "quiet-evening"


def run_until(done: Callable[[], bool], *, limit_s: float = 60) -> None:
    """Run both loops in turn, as a single worker would, until done()."""
    until = monotonic() + limit_s
    while not done():
        assert monotonic() < until, "the engine did not come to an end in time"
        Runner(
            "chores",
            cloud_tasks.find_chores,
            lambda now: cloud_tasks.chores_are_idle(now) or done(),
        ).run()
        Runner(
            "installs",
            cloud_tasks.find_installs,
            lambda now: cloud_tasks.installs_are_idle(now) or done(),
            advance=cloud_tasks.advance_installs,
        ).run()


def link(cloud: SimCloud, household: Household, owner: User, email: str) -> CloudAccount:
    """Link the account and wait until its hubs and their offers are known."""
    account = link_account(
        household=household, base_url=cloud.url, email=email, password=PASSWORD, actor=person(owner)
    )
    run_until(lambda: account.nodes.exists() and not account.nodes.filter(checked_at=None).exists())
    return account


def confirm(owner: User, node: Node) -> OtaJob:
    """Confirm what is offered, as the form does."""
    node = Node.objects.select_related("account__household").get(pk=node.pk)
    offer = node.offer
    assert offer is not None
    return install_requests.request(
        user=owner, node=node, binding=snapshot_offer(node, offer), actor=person(owner)
    )


def end_of(job: OtaJob, *, limit_s: float = 60) -> tuple[str, str]:
    """Run the engine until the job has its verdict; return state and outcome."""

    def is_over() -> bool:
        job.refresh_from_db()
        return not job.is_live

    run_until(is_over, limit_s=limit_s)
    return job.state, job.outcome
