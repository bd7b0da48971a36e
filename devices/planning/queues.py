"""Queues: several installs confirmed at once, started by the worker as room comes free.

Each hub of a queue is a plan. The queue itself only stops and finishes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.installs.confirmation import OfferSnapshot
from devices.models import (
    LIVE,
    AccountState,
    Actor,
    AuditAction,
    Batch,
    BatchState,
    CloudAccount,
    Household,
    Node,
    Outcome,
    Plan,
    State,
    Topic,
    User,
    When,
    database_clock,
)
from devices.models.account import common_mark
from devices.models.message import NO_MESSAGE, Message, MessageCode
from devices.models.queue import OPEN
from devices.notifications.outbox import notify
from devices.planning.plans import Timing, make
from devices.taskqueue.isolation import isolated
from devices.taskqueue.wakeups import wake_installs

# Hubs may wait for hours behind others; a confirmation of this morning is void tomorrow.
VALID = timedelta(hours=12)
MOST_HUBS = 100
AT_ONCE = (1, 2, 4, 8)


class QueueError(Exception):
    """The queue cannot be changed like this. str() is a sentence for the person."""


def request(
    *,
    user: User,
    household: Household,
    chosen: Sequence[tuple[Node, OfferSnapshot]],
    at_once: int,
    stops_on_failure: bool,
    actor: Actor,
    timing: Timing | None = None,
    now: datetime | None = None,
) -> Batch:
    """Store the confirmation of these installs in this order, and wake the worker.

    Whether a hub can install is checked when its turn comes. timing: when that may be at the
    earliest; None for now.
    """
    now = now or database_clock.now()
    with audit_log.locked():
        batch = open_queue(
            household=household,
            user=user,
            name=user.email,
            now=now,
            at_once=at_once,
            stops_on_failure=stops_on_failure,
        )
        make(
            chosen,
            timing or Timing(When.NOW, now, now + VALID, needs_idle=False),
            household=household,
            user=user,
            actor=replace(actor, name=user.email),
            now=now,
            queue=batch,
        )
        record_request(batch, chosen, actor=actor, now=now)
        wake_installs()
    return batch


def open_queue(
    *,
    household: Household,
    user: User,
    name: str,
    now: datetime,
    at_once: int = 1,
    stops_on_failure: bool = True,
) -> Batch:
    """Return a new queue without hubs, inside the caller's transaction."""
    return Batch.objects.create(
        household=household,
        requested_by=user,
        requested_by_name=name,
        requested_at=now,
        at_once=at_once,
        stops_on_failure=stops_on_failure,
    )


def record_request(
    batch: Batch, chosen: Sequence[tuple[Node, OfferSnapshot]], *, actor: Actor, now: datetime
) -> None:
    """Record who confirmed these hubs of a queue."""
    count = len(chosen)
    audit_log.record(
        actor,
        AuditAction.QUEUE_REQUESTED,
        f"{actor.name} confirmed {count} install{'s' * (count != 1)}, {batch.at_once} at a time.",
        household=batch.household,
        at=now,
        why=f"role {actor.role}",
        detail={
            "queue": batch.pk,
            "at_once": batch.at_once,
            "stops_on_failure": batch.stops_on_failure,
            "hubs": [
                {"hub": str(node), "to": binding.to_version, "job": binding.ota_job_id}
                for node, binding in chosen
            ],
        }
        | common_mark(node.account for node, _ in chosen),
    )


def stop(batch: Batch, *, actor: Actor, now: datetime | None = None) -> None:
    """Stop this queue; running installs continue. Raises QueueError when it has ended."""
    now = now or database_clock.now()
    why = Message.of(MessageCode.QUEUE_STOPPED_BY, name=actor.name)
    with audit_log.locked():
        is_running = batch.state == BatchState.RUNNING
        if not is_running or not batch.change(state=BatchState.STOPPED, why_stopped=why):
            raise QueueError(gettext("This queue is no longer running."))
        batch.items.wake(now)
        _record(batch, actor, AuditAction.QUEUE_STOPPED, f"{actor.name} stopped the queue.", now)


def resume(batch: Batch, *, user: User, actor: Actor, now: datetime | None = None) -> None:
    """Resume a stopped queue. Raises QueueError with the reason."""
    now = now or database_clock.now()
    with audit_log.locked():
        waiting = batch.items.waiting()
        if not waiting.filter(expires_at__gt=now).exists():
            raise QueueError(gettext("This confirmation has expired. Select the hubs again."))
        if batch.state != BatchState.STOPPED or not batch.change(
            state=BatchState.RUNNING,
            why_stopped=NO_MESSAGE,
            resumed_at=now,
            requested_by=user,
            requested_by_name=user.email,
        ):
            raise QueueError(gettext("This queue is not stopped."))
        waiting.update(requested_by=user, requested_by_name=user.email, next_look_at=now)
        _record(batch, actor, AuditAction.QUEUE_RESUMED, f"{actor.name} let the queue go on.", now)
        wake_installs()


def settle(now: datetime) -> None:
    """Stop the running queues that have to stop, finish those that are through. Safe on repeat. One
    query while no queue is open, one more for those that run and one for those that are stopped,
    whose hubs are not counted.
    """
    # mostly none, and this question is much quicker than the whole one
    states = set(Batch.objects.filter(OPEN).values_list("state", flat=True).distinct())
    if not states:
        return
    members = Plan.objects.filter(batch=OuterRef("pk"))
    waiting = members.waiting()
    is_over = ~Exists(waiting) & ~Exists(members.filter(job__state__in=sorted(LIVE)))
    is_stuck = Exists(waiting.filter(when=When.NOW, node__account__state=AccountState.SIGNED_OUT))
    must_stop = Q(is_stuck | Exists(members.failed()) & Exists(waiting))
    # a person's stop may last for days: that something waits there is one look into an index
    conditions = {BatchState.RUNNING: is_over | must_stop, BatchState.STOPPED: Q(is_over)}
    for state in sorted(states):
        due = Batch.objects.filter(conditions[BatchState(state)], state=state)
        for batch in due.select_related("household", "requested_by").order_by("pk"):
            with isolated(f"queue {batch.pk}"):
                _settle(batch, now)


def _settle(batch: Batch, now: datetime) -> None:
    items = list(batch.items.select_related("job", "node__account"))
    waiting = [item for item in items if item.is_waiting]
    if not waiting:
        if not any(item.job is not None and item.job.is_live for item in items):
            _finish(batch, items, now)
    elif batch.state != BatchState.RUNNING:
        return
    elif (failed := batch.items.failed().first()) is not None:
        _stop(batch, Message.of(MessageCode.QUEUE_HUB_FAILED, hub=failed.hub_name), now)
    elif any(item.node.account.state == AccountState.SIGNED_OUT for item in waiting):
        _stop(batch, Message.of(MessageCode.QUEUE_SIGNED_OUT), now)


def _stop(batch: Batch, why: Message, now: datetime) -> None:
    with audit_log.locked():
        if batch.change(state=BatchState.STOPPED, why_stopped=why):
            words = why.english
            batch.items.wake(now)
            _record(batch, Actor.worker(), AuditAction.QUEUE_STOPPED, words, now, Outcome.FAILED)
            _tell(batch, why, now)


def expired(batch: Batch, now: datetime) -> None:
    """Record once that hubs of a queue did not have their turn in time."""
    why = Message.of(MessageCode.QUEUE_TOO_OLD)
    batch.refresh_from_db()
    if batch.state != BatchState.FINISHED and batch.why_stopped != why:
        batch.change(why_stopped=why)
        worker = Actor.worker()
        _record(batch, worker, AuditAction.QUEUE_EXPIRED, why.english, now, Outcome.REFUSED)
        _tell(batch, why, now)


def _finish(batch: Batch, items: Sequence[Plan], now: datetime) -> None:
    verified = sum(item.job is not None and item.job.state == State.VERIFIED for item in items)
    with audit_log.locked():
        if batch.change(state=BatchState.FINISHED) and not batch.why_stopped:
            words = f"The queue is through: {verified} of {len(items)} verified."
            _record(batch, Actor.worker(), AuditAction.QUEUE_FINISHED, words, now)


def _tell(batch: Batch, why: Message, now: datetime) -> None:
    notify(
        Topic.NEEDS_YOU,
        household=batch.household,
        path=reverse("queue", args=[batch.pk]),
        now=now,
        accounts=_accounts(batch),
        message=Message.of(MessageCode.QUEUE_STOPPED, words=why),
    )


def _accounts(batch: Batch) -> Iterable[CloudAccount]:
    """Return the accounts of the queue's hubs. One query, once they are looked at."""
    return CloudAccount.objects.filter(pk__in=batch.items.values("node__account_id"))


def _record(
    batch: Batch,
    actor: Actor,
    action: AuditAction,
    sentence: str,
    now: datetime,
    outcome: str = Outcome.DONE,
) -> None:
    audit_log.record(
        actor,
        action,
        sentence,
        household=batch.household,
        at=now,
        outcome=outcome,
        detail={"queue": batch.pk} | common_mark(_accounts(batch)),
    )
    # open lists show running queues, and what waits in a stopped one needs a person
    first, waiting = batch.items.all()[:1], batch.items.waiting()
    hubs = Q(pk__in=first.values("node_id")) | Q(pk__in=waiting.values("node_id"))
    Node.objects.filter(hubs).touch_all(now)
