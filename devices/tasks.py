"""What the queue runs: two loops that look into the tables for what is due.

A task carries nothing but its name: one that is lost, late or comes twice does no harm, and a
changed secret key drops no intent.
"""

import logging
import uuid
from collections.abc import Hashable, Iterator
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from django_q.models import Schedule

from devices import batches, clock, images, notices, proposals, unattended
from devices.accounts import account_failed, trouble_code
from devices.cloud.errors import CloudError
from devices.cloud.types import FirmwareOffer, NodesPage
from devices.follow import Heard, ask, heard, next_poll, settle, time_unanswered_s
from devices.loop import THREADS_PER_ACCOUNT, Loop, Talk
from devices.models import Beat, CloudAccount, ImageFetch, Node, OtaJob, StaleJob, State
from devices.models.beat import TRAIL as TRAIL_BEAT
from devices.push import (
    PushTooLate,
    expire,
    look_before_push,
    look_failed,
    prepared,
    push_answered,
    push_failed,
    send,
)
from devices.sync import check_failed, keep_offer, keep_page
from devices.timing import timings
from devices.upkeep import keep_trail
from devices.wake import CHORES, INSTALLS, NOTICES, wake_chores, wake_installs, wake_notices

log = logging.getLogger(__name__)

TRAIL = "devices.tasks.trail_upkeep"
# What is asked for by the clock, and every how many minutes.
SCHEDULES = {
    "installs": (INSTALLS, 1),
    "chores": (CHORES, 1),
    "notices": (NOTICES, 1),
    "trail": (TRAIL, 10),
}
TRAIL_LEASE = timedelta(minutes=3)
DUE_AT_ONCE = 64
FILES_AT_ONCE = 2
HUBS_PER_PAGE = 100
LIST_AGAIN = timedelta(minutes=5)
PUT_OFF = timedelta(minutes=1)


def wake_all() -> None:
    """Ask for both loops now."""
    wake_installs()
    wake_chores()


def keep_schedules() -> None:
    """Make sure that all is asked for in time, whoever asks or forgets to."""
    for name, (function, minutes) in SCHEDULES.items():
        Schedule.objects.update_or_create(
            name=name,
            defaults={"func": function, "schedule_type": Schedule.MINUTES, "minutes": minutes},
        )


def installs_loop() -> None:
    """Push what was confirmed and follow what was sent, until nothing is under way."""
    if Loop("installs", find_installs, installs_are_idle, clock.installs_were_set_back).run():
        wake_installs()


def chores_loop() -> None:
    """Read the accounts that are due and check the hubs that are due."""
    if Loop("chores", find_chores, chores_are_idle, clock.chores_were_set_back).run():
        wake_chores()


def trail_upkeep() -> None:
    """Put the audit trail's head outside, prune what is too old, verify: what of it is due."""
    holder, now = uuid.uuid4().hex, timezone.now()
    if not Beat.take(TRAIL_BEAT, holder, now, TRAIL_LEASE):
        return
    try:
        keep_trail(now)
    finally:
        Beat.give_back(TRAIL_BEAT, holder)


def send_notices() -> None:
    """Send what waits in the outbox and is due."""
    if notices.send_due(timezone.now()):
        wake_notices()


def installs_are_idle(now: datetime) -> bool:
    """Is no install under way or due soon?"""
    soon = now + timedelta(seconds=15)
    return not (OtaJob.objects.filter(next_poll_at__lte=soon).exists() or batches.is_anything_due())


def chores_are_idle(now: datetime) -> bool:
    """Is nothing due within the next seconds?"""
    soon = now + timedelta(seconds=2)
    return not (
        CloudAccount.objects.due_for_sync(soon).exists()
        or CloudAccount.objects.due_for_sign_in(soon).exists()
        or Node.objects.due_for_check(soon).exists()
        or ImageFetch.objects.due(soon).exists()
    )


def find_installs(now: datetime, busy: frozenset[Hashable]) -> Iterator[Talk]:
    """Yield what to say about each job that is due; those that cannot be asked are only timed."""
    _advance_queues(now)
    for job in OtaJob.objects.due(now, THREADS_PER_ACCOUNT)[:DUE_AT_ONCE]:
        if ("job", job.pk) in busy:
            continue
        account = job.node.account
        if not account.is_linked or account.is_resting(now):
            _wait_unasked(job, now)
        elif job.state == State.REQUESTED:
            yield Talk(
                key=("job", job.pk),
                account=account,
                say=partial(_look, job=job),
                write=partial(_looked, job),
                failed=partial(_look_failed, job),
                later=partial(_put_off_job, job),
            )
        else:
            yield Talk(
                key=("job", job.pk),
                account=account,
                say=partial(_ask, job=job),
                write=partial(_heard, job),
                failed=partial(_not_asked, job),
                later=partial(_put_off_job, job),
            )


def _advance_queues(now: datetime) -> None:
    try:
        batches.advance(now)
        proposals.advance(now)
    except DatabaseError:
        raise
    except Exception:
        # what cannot be carried on must not keep single installs from being followed
        log.exception("queues or proposals could not be carried on")


def _wait_unasked(job: OtaJob, now: datetime) -> None:
    """Let time pass for a job whose account cannot be asked: it expires or is given up in time."""
    try:
        if job.state == State.REQUESTED and now >= job.expires_at:
            expire(job, now)
            return
        unanswered_s = job.unanswered_s + time_unanswered_s(job, now, timings())
        OtaJob.objects.filter(pk=job.pk).update(unanswered_s=unanswered_s)
        job.unanswered_s = unanswered_s
        settle(job, now)
        if job.is_listening and job.next_poll_at is not None and job.next_poll_at <= now:
            listening = job.as_loaded().filter(next_poll_at__isnull=False)
            listening.update(next_poll_at=next_poll(job, now, timings()))
    except StaleJob:
        return
    except Exception:
        # one job that cannot be timed must not keep the others from being looked at
        log.exception("job %s could not be timed", job.pk)
        _leave_alone(job, now)


def _put_off_job(job: OtaJob, now: datetime) -> None:
    # as it stands in the table: what was heard and could not be written is evidence of nothing
    found = OtaJob.objects.select_related("node__account__household", "household")
    stored = found.filter(pk=job.pk).first()
    if stored is not None:
        _wait_unasked(stored, now)
        _leave_alone(stored, now)


def _leave_alone(job: OtaJob, now: datetime) -> None:
    OtaJob.objects.filter(pk=job.pk, next_poll_at__isnull=False).update(next_poll_at=now + PUT_OFF)


def _put_off_account(account: CloudAccount, now: datetime) -> None:
    CloudAccount.objects.filter(pk=account.pk).update(next_sync_at=now + PUT_OFF)


def _put_off_node(node: Node, now: datetime) -> None:
    Node.objects.filter(pk=node.pk).update(next_check_at=now + PUT_OFF)


def _look(client: Any, *, job: OtaJob) -> Any:
    return look_before_push(client, job)


def _looked(job: OtaJob, look: Any, now: datetime) -> Talk | None:
    if job.node.account.failures:
        job.node.account.answered(now)
    # from here the claim is ours alone; the deadline is on this process' own clock
    by = monotonic() + timings().push_by_s
    if not prepared(job, look, now):
        return None
    return Talk(
        key=("job", job.pk),
        account=job.node.account,
        say=partial(_send, job=job, by=by),
        write=partial(_sent, job),
        failed=partial(push_failed, job),
    )


def _look_failed(job: OtaJob, problem: CloudError, now: datetime) -> None:
    if now >= job.expires_at:
        job.trouble_text = str(problem)[:300]
        expire(job, now)
    else:
        look_failed(job, problem, now)


def _send(client: Any, *, job: OtaJob, by: float) -> str | PushTooLate:
    try:
        return send(client, job, by)
    except PushTooLate as late:
        return late


def _sent(job: OtaJob, answer: str | PushTooLate, now: datetime) -> None:
    if isinstance(answer, PushTooLate):
        push_failed(job, answer, now)
    else:
        push_answered(job, answer, now)


def _ask(client: Any, *, job: OtaJob) -> Any:
    return ask(client, job)


def _heard(job: OtaJob, news: Any, now: datetime) -> None:
    heard(job, news, now)
    if job.node.account.failures and not news.problems:
        job.node.account.answered(now)


def _not_asked(job: OtaJob, problem: CloudError, now: datetime) -> None:
    # ask() returns its errors; this one kept it from being called at all
    heard(job, Heard.nothing(problem), now)


def find_chores(now: datetime, busy: frozenset[Hashable]) -> Iterator[Talk]:
    """Yield the checks a person waits for, the accounts to be read, then the daily checks."""
    for account in CloudAccount.objects.due_for_sync(now).select_related("household")[:DUE_AT_ONCE]:
        if ("account", account.pk) not in busy:
            yield _reading(account)
    for account in CloudAccount.objects.due_for_sign_in(now)[:DUE_AT_ONCE]:
        if ("account", account.pk) not in busy:
            yield _signing_in(account)
    for wish in ImageFetch.objects.due(now)[:FILES_AT_ONCE]:
        if ("file", wish.pk) not in busy:
            yield _fetching(wish)
    due = Node.objects.due_for_check(now).in_turn(THREADS_PER_ACCOUNT)
    due = due.select_related("account__household")
    for node in due[:DUE_AT_ONCE]:
        if ("node", node.pk) not in busy:
            yield Talk(
                key=("node", node.pk),
                account=node.account,
                say=partial(_check, node_id=node.node_id),
                write=partial(_keep_offer, node),
                failed=partial(check_failed, node),
                later=partial(_put_off_node, node),
            )


def _reading(account: CloudAccount) -> Talk:
    return Talk(
        key=("account", account.pk),
        account=account,
        say=partial(_read_page, start_id=account.sync_cursor),
        write=partial(_keep_page, account),
        failed=partial(_read_failed, account),
        later=partial(_put_off_account, account),
    )


def _signing_in(account: CloudAccount) -> Talk:
    return Talk(
        key=("account", account.pk),
        account=account,
        say=partial(unattended.sign_in, account=account),
        write=partial(unattended.signed_in, account),
        failed=partial(unattended.not_signed_in, account),
        later=partial(unattended.put_off, account),
    )


def _fetching(wish: ImageFetch) -> Talk:
    return Talk(
        key=("file", wish.pk),
        account=wish.node.account,
        say=partial(images.fetch, wish=wish),
        write=partial(images.arrived, wish),
        failed=partial(images.not_arrived, wish),
        later=partial(images.put_off, wish),
    )


def _read_page(client: Any, *, start_id: str) -> tuple[datetime, NodesPage]:
    return timezone.now(), client.nodes(start_id, num_records=HUBS_PER_PAGE)


def _keep_page(account: CloudAccount, heard: tuple[datetime, NodesPage], now: datetime) -> None:
    # the next page, if there is one, is found as due: a long list takes its turn with the others
    asked_at, page = heard
    keep_page(account, page, now, asked_at=asked_at)


def _read_failed(account: CloudAccount, problem: CloudError, now: datetime) -> None:
    account.sync_cursor = ""  # a place in the list may be what the cloud does not like
    account.save(update_fields=["sync_cursor"])
    if not account_failed(account, problem, now):
        # the list alone is in trouble: installs and checks of this account go on
        CloudAccount.objects.filter(pk=account.pk).update(
            next_sync_at=now + LIST_AGAIN,
            trouble=trouble_code(problem),
            trouble_text=str(problem)[:300],
        )


def _check(client: Any, *, node_id: str) -> FirmwareOffer:
    offer: FirmwareOffer = client.check_firmware_update(node_id)
    return offer


def _keep_offer(node: Node, offer: FirmwareOffer, now: datetime) -> None:
    keep_offer(node, offer, now)
    node.account.answered(now)
