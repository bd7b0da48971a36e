"""Queues: several installs confirmed at once, started by the worker as room comes free.

A queue only decides when an install is asked for. Each one then goes through the same verb, the
same policies and the same engine as if somebody had stood there and pressed the button.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext

from devices import installs
from devices.confirm import Binding
from devices.models import (
    LIVE,
    AccountState,
    Actor,
    Batch,
    BatchItem,
    BatchState,
    CloudAccount,
    Household,
    ItemState,
    Node,
    OtaJob,
    Outcome,
    State,
    Topic,
    User,
    audit,
    tell,
)
from devices.models.account import common_mark
from devices.policies import role_in
from devices.wake import wake_installs

VALID = timedelta(hours=12)
MOST_HUBS = 100
AT_ONCE = (1, 2, 4, 8)


class NotNow(Exception):
    """The queue cannot be changed so; str() is a sentence for the person. Nothing was changed."""


def request(
    *,
    user: User,
    household: Household,
    chosen: Sequence[tuple[Node, Binding]],
    at_once: int,
    stops_on_failure: bool,
    actor: Actor,
    now: datetime | None = None,
) -> Batch:
    """Keep the confirmation of these installs, in this order, and wake the worker.

    The hubs are the household's; what each can take is judged when its turn comes.
    """
    now = now or timezone.now()
    with transaction.atomic():
        audit.lock()
        batch = Batch.objects.create(
            household=household,
            requested_by=user,
            requested_by_name=user.email,
            requested_at=now,
            expires_at=now + VALID,
            at_once=at_once,
            stops_on_failure=stops_on_failure,
        )
        BatchItem.objects.bulk_create(
            BatchItem(
                batch=batch,
                node=node,
                position=position,
                hub_name=str(node),
                binding=asdict(binding),
            )
            for position, (node, binding) in enumerate(chosen, start=1)
        )
        count = len(chosen)
        audit.record(
            actor,
            "queue.requested",
            f"{actor.name} confirmed {count} install{'s' * (count != 1)}, {at_once} at a time.",
            household=household,
            at=now,
            why=f"role {actor.role}",
            detail={
                "queue": batch.pk,
                "at_once": at_once,
                "stops_on_failure": stops_on_failure,
                "hubs": [
                    {"hub": str(node), "to": binding.to_version, "job": binding.ota_job_id}
                    for node, binding in chosen
                ],
            }
            | common_mark(node.account for node, _ in chosen),
        )
        wake_installs()
    return batch


def stop(batch: Batch, *, actor: Actor, now: datetime | None = None) -> None:
    """Start nothing more of this queue; what runs goes on. Raises NotNow when it is over."""
    now = now or timezone.now()
    with transaction.atomic():
        audit.lock()
        if batch.state != BatchState.RUNNING or not batch.change(
            state=BatchState.STOPPED, why_stopped=f"Stopped by {actor.name}."
        ):
            raise NotNow(gettext("This queue does not run any more."))
        _record(batch, actor, "queue.stopped", f"{actor.name} stopped the queue.", now)


def go_on(batch: Batch, *, user: User, actor: Actor, now: datetime | None = None) -> None:
    """Let a stopped queue start what still waits. Raises NotNow with the reason."""
    now = now or timezone.now()
    with transaction.atomic():
        audit.lock()
        if now >= batch.expires_at:
            raise NotNow(gettext("This confirmation is too old. Please choose the hubs again."))
        if batch.state != BatchState.STOPPED or not batch.change(
            state=BatchState.RUNNING,
            why_stopped="",
            resumed_at=now,
            requested_by=user,
            requested_by_name=user.email,
        ):
            raise NotNow(gettext("This queue is not stopped."))
        _record(batch, actor, "queue.resumed", f"{actor.name} let the queue go on.", now)
        wake_installs()


def is_anything_due() -> bool:
    """Does any queue wait for the worker? One query."""
    return Batch.objects.filter(state=BatchState.RUNNING).exists()


def advance(now: datetime) -> None:
    """Start what has room, stop and end what is due, in every running queue. Safe on repeat.

    One query while no queue runs.
    """
    running = Batch.objects.filter(state=BatchState.RUNNING).order_by("pk")
    for batch in running.select_related("household", "requested_by"):
        _advance(batch, now)


def _advance(batch: Batch, now: datetime) -> None:
    items = list(batch.items.select_related("job", "node__account"))
    waiting = [item for item in items if item.state == ItemState.WAITING]
    jobs = [item.job for item in items if item.job is not None]
    under_way = [job for job in jobs if job.state in LIVE]
    if batch.stops_on_failure and waiting and (failed := _failed(batch, jobs)):
        _stop(batch, f"{failed.hub_name} did not end well, so nothing more was started.", now)
        return
    if waiting and now >= batch.expires_at:
        _expire(batch, waiting, now)
        return
    if not waiting:
        if not under_way:
            _finish(batch, items, now)
        return
    if any(item.node.account.state == AccountState.SIGNED_OUT for item in waiting):
        _stop(batch, "The cloud account has to sign in again before more can be started.", now)
        return
    for item in waiting:
        if len(under_way) >= batch.at_once:
            return
        if job := _start(batch, item, now):
            under_way.append(job)


def _failed(batch: Batch, jobs: Sequence[OtaJob]) -> OtaJob | None:
    """Return an install of this queue that ended badly since it was last let go on."""
    return next(
        (
            job
            for job in jobs
            if (job.needs_person or job.state == State.EXPIRED)
            and job.ended_at is not None
            and (batch.resumed_at is None or job.ended_at > batch.resumed_at)
        ),
        None,
    )


def _start(batch: Batch, item: BatchItem, now: datetime) -> OtaJob | None:
    """Ask for this hub's install; None when it was skipped, or has to wait."""
    node = Node.objects.for_list().get(pk=item.node_id)
    if node.account.is_resting(now):
        return None  # the cloud does not answer for this account: its hubs keep their turn
    user = batch.requested_by
    with transaction.atomic():
        audit.lock()
        still = Batch.objects.filter(pk=batch.pk, state=BatchState.RUNNING)
        if not still.exists() or not item.take():
            return None
        if user is None:
            item.settle(ItemState.SKIPPED, now, reason="Who confirmed it has left this server.")
            batch.change()
            return None
        actor = Actor.person(user, role=role_in(user, batch.household), via="queue")
        try:
            before = node.latest_job
            job = installs.request(
                user=user,
                node=node,
                binding=Binding(**item.binding),
                actor=actor,
                now=now,
                retry_of=before if before and not before.is_live else None,
            )
        except installs.Refused as refused:
            item.settle(ItemState.SKIPPED, now, reason=str(refused))
            batch.change()
            return None
        item.settle(ItemState.STARTED, now, job=job)
        batch.change()
    return job


def _stop(batch: Batch, words: str, now: datetime) -> None:
    with transaction.atomic():
        audit.lock()
        if batch.change(state=BatchState.STOPPED, why_stopped=words):
            _record(batch, Actor.worker(), "queue.stopped", words, now, Outcome.FAILED)
            _tell(batch, words, now)


def _expire(batch: Batch, waiting: Sequence[BatchItem], now: datetime) -> None:
    words = "The confirmation is too old now; what still waited was not started."
    with transaction.atomic():
        audit.lock()
        if batch.change(state=BatchState.FINISHED, why_stopped=words):
            for item in waiting:
                item.settle(ItemState.DROPPED, now, reason="The confirmation became too old.")
            _record(batch, Actor.worker(), "queue.expired", words, now, Outcome.REFUSED)
            _tell(batch, words, now)


def _finish(batch: Batch, items: Sequence[BatchItem], now: datetime) -> None:
    verified = sum(item.job is not None and item.job.state == State.VERIFIED for item in items)
    with transaction.atomic():
        audit.lock()
        if batch.change(state=BatchState.FINISHED):
            words = f"The queue is through: {verified} of {len(items)} verified."
            _record(batch, Actor.worker(), "queue.finished", words, now)


def _tell(batch: Batch, words: str, now: datetime) -> None:
    tell(
        Topic.NEEDS_YOU,
        household=batch.household,
        path=reverse("batch", args=[batch.pk]),
        now=now,
        accounts=_accounts(batch),
        words=f"A queue of updates stopped. {words}",
    )


def _accounts(batch: Batch) -> Iterable[CloudAccount]:
    """Return the accounts of the queue's hubs. One query, once they are looked at."""
    return CloudAccount.objects.filter(pk__in=batch.items.values("node__account_id"))


def _record(
    batch: Batch,
    actor: Actor,
    action: str,
    sentence: str,
    now: datetime,
    outcome: str = Outcome.DONE,
) -> None:
    audit.record(
        actor,
        action,
        sentence,
        household=batch.household,
        at=now,
        outcome=outcome,
        detail={"queue": batch.pk} | common_mark(_accounts(batch)),
    )
    # lists that are open somewhere speak of running queues
    Node.objects.filter(pk__in=batch.items.values("node_id")[:1]).touch_all(now)
