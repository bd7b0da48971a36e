"""The cloud calls that are due: installs, readings, sign-ins, files, checks."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from time import monotonic
from typing import Any

from django.db.models import Q

from devices.accounts import auto_sign_in
from devices.accounts.failures import record_failure, shown_error
from devices.explanations.error_codes import last_error
from devices.fleet import firmware_files
from devices.fleet.attention import store_attention
from devices.fleet.checks import check_failed, keep_offer
from devices.fleet.sync import keep_page
from devices.fleet.versions import record_version
from devices.installs import restoring
from devices.installs.lifecycle import expire
from devices.installs.polling import (
    PollResult,
    apply_verdict,
    next_poll_at,
    poll,
    record_poll,
    time_unanswered_s,
)
from devices.installs.push import (
    PrePushCheck,
    PushTooLate,
    check_before_push,
    claim_for_push,
    pre_push_check_failed,
    push_answered,
    push_failed,
    send,
)
from devices.installs.timings import timings
from devices.models import CloudAccount, ImageFetch, Node, OtaJob, StaleJob, State, database_clock
from devices.models.account import can_be_asked
from devices.models.install import OtaJobQuerySet
from devices.models.text import clip
from devices.models.version_text import is_same_version
from devices.planning import planner
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import CloudError
from devices.rainmaker.schemas import FirmwareOffer, NodeConfig, NodesPage, OtaStatus, Tokens
from devices.worker.runner import THREADS, THREADS_PER_ACCOUNT, Answer, CloudTask, Taken

log = logging.getLogger(__name__)
DUE_AT_ONCE = 64
FILES_AT_ONCE = 2
# As many as fill all threads.
ACCOUNTS_AT_ONCE = THREADS // THREADS_PER_ACCOUNT
HUBS_PER_PAGE = 100
LIST_AGAIN = timedelta(minutes=5)
PUT_OFF = timedelta(minutes=1)
# A good answer is recorded with the account at most this often while calls go on.
ANSWER_FRESH = timedelta(seconds=10)


def installs_are_idle(now: datetime) -> bool:
    """Is no install due soon?"""
    soon = now + timedelta(seconds=15)
    is_due = OtaJob.objects.filter(next_poll_at__lte=soon).exists()
    return not is_due and planner.is_idle(now)


def chores_are_idle(now: datetime) -> bool:
    """Is nothing due within the next seconds?"""
    soon = now + timedelta(seconds=2)
    return not (
        CloudAccount.objects.due_for_sync(soon).exists()
        or CloudAccount.objects.due_for_sign_in(soon).exists()
        or Node.objects.due_for_check(soon).exists()
        or ImageFetch.objects.due(soon).exists()
        or _restores(soon).exists()
    )


def advance_installs(now: datetime, busy: Taken) -> None:
    """Advance plans, the timers of installs whose cloud cannot be asked, and wishes that are too
    old.
    """
    store_attention()
    planner.advance(now)
    restoring.expire(now)
    for job in _due_installs(now, busy, ~can_be_asked(now, "node__account__")):
        _wait_unasked(job, now)


def advance_chores(now: datetime, busy: Taken) -> None:
    """Store what the hubs that changed need."""
    store_attention()


def find_installs(now: datetime, busy: Taken) -> Iterator[CloudTask[Any]]:
    """Yield the next call of each install that is due and whose cloud can be asked."""
    for job in _due_installs(now, busy, can_be_asked(now, "node__account__")):
        yield CheckBeforePush(job) if job.state == State.REQUESTED else Poll(job)


def _due_installs(now: datetime, busy: Taken, of_accounts: Q) -> list[OtaJob]:
    """Return the installs of these accounts that are due and not in flight: those in flight take no
    turn, nor do those of accounts that another machine works for or that are full. More than can
    be asked at once, because some of them may be in trouble and have to wait.
    """
    in_flight = [key[1] for key in busy.keys if isinstance(key, tuple) and key[0] == "job"]
    ours = OtaJob.objects.filter(of_accounts, next_poll_at__lte=now).exclude(pk__in=in_flight)
    if without := busy.accounts | busy.full:
        ours = ours.exclude(node__account__in=without)
    room = max(THREADS - len(busy.keys), THREADS_PER_ACCOUNT)
    return ours.due(now, 4 * THREADS_PER_ACCOUNT, limit=min(2 * room, DUE_AT_ONCE))


def find_chores(now: datetime, busy: Taken) -> Iterator[CloudTask[Any]]:
    """Yield the account readings, sign-ins, downloads and checks that are due, in this order."""
    accounts = CloudAccount.objects.exclude(pk__in=busy.accounts)
    for account in accounts.due_for_sync(now).select_related("household")[:DUE_AT_ONCE]:
        if ("account", account.pk) not in busy.keys:
            yield ReadAccount(account)
    for account in accounts.due_for_sign_in(now)[:DUE_AT_ONCE]:
        if ("account", account.pk) not in busy.keys:
            yield SignIn(account)
    for job in _restores(now).exclude(node__account__in=busy.accounts)[:FILES_AT_ONCE]:
        if ("settings", job.pk) not in busy.keys:
            yield PutBack(job)
    files = ImageFetch.objects.exclude(node__account__in=busy.accounts)
    for fetch in files.due(now)[:FILES_AT_ONCE]:
        if ("file", fetch.pk) not in busy.keys:
            yield FetchFile(fetch)
    yield from _checks(now, busy)


def _restores(now: datetime) -> OtaJobQuerySet:
    """Return the installs before which the hub had settings that a person wants back."""
    wanted = OtaJob.objects.filter(
        can_be_asked(now, "node__account__"),
        put_back_asked_at__gt=now - restoring.ASKED_FOR,
        is_latest=True,  # nothing is written to a hub that installs again
    )
    return wanted.select_related("node__account__household", "household").order_by("pk")


def _checks(now: datetime, busy: Taken) -> Iterator[CloudTask[Any]]:
    """Yield the checks that are due, of one account after the other."""
    accounts = CloudAccount.objects.exclude(pk__in=busy.accounts | busy.full)
    due = accounts.due_for_check(now).select_related("household")[:ACCOUNTS_AT_ONCE]
    in_flight = [key[1] for key in busy.keys if isinstance(key, tuple) and key[0] == "node"]
    hubs = []
    for account in due:
        waiting = account.nodes.exclude(pk__in=in_flight)
        hubs.append(list(waiting.next_to_check(now, THREADS_PER_ACCOUNT)))
        for node in hubs[-1]:
            node.account = account
    for together in zip_longest(*hubs):
        for node in together:
            if node is not None:
                yield CheckForUpdate(node)


class JobTask(CloudTask[Answer]):
    """A call that belongs to one install."""

    def __init__(self, job: OtaJob) -> None:
        super().__init__(("job", job.pk), job.node.account)
        self.job = job
        self.is_troubled = job.failed_rounds > 0

    def defer(self, now: datetime) -> None:
        # the row as it is stored: an answer that could not be stored proves nothing
        found = OtaJob.objects.select_related("node__account__household", "household")
        stored = found.filter(pk=self.job.pk).first()
        if stored is not None:
            _wait_unasked(stored, now)
            _defer_poll(stored, now)


class CheckBeforePush(JobTask[PrePushCheck]):
    """Ask the cloud once more what it offers, then claim the install."""

    def call(self, client: RainmakerClient) -> PrePushCheck:
        return check_before_push(client, self.job)

    def on_result(self, answer: PrePushCheck, now: datetime) -> "CloudTask[Any] | None":
        if self.account.failures:
            self.account.answered(now)
        # from here only this task may push; the deadline is on this process' own clock
        deadline = monotonic() + timings().push_by_s
        return Push(self.job, deadline) if claim_for_push(self.job, answer, now) else None

    def on_error(self, error: CloudError, now: datetime) -> None:
        if now >= self.job.expires_at:
            self.job.trouble_text = last_error(error)["trouble_text"]
            expire(self.job, now)
        else:
            pre_push_check_failed(self.job, error, now)


class Push(JobTask["str | PushTooLate"]):
    """POST the update of a claimed install, once."""

    def __init__(self, job: OtaJob, deadline: float) -> None:
        super().__init__(job)
        self.deadline = deadline

    def call(self, client: RainmakerClient) -> str | PushTooLate:
        try:
            return send(client, self.job, self.deadline)
        except PushTooLate as late:
            return late

    def on_result(self, answer: str | PushTooLate, now: datetime) -> None:
        if isinstance(answer, PushTooLate):
            push_failed(self.job, answer, now)
        else:
            push_answered(self.job, answer, now)

    def on_error(self, error: CloudError, now: datetime) -> None:
        push_failed(self.job, error, now)

    def defer(self, now: datetime) -> None:
        """Leave the claim as it is: the next poll finds out whether the push was sent."""


class Poll(JobTask[PollResult]):
    """Ask the three witnesses of an install that was sent."""

    def call(self, client: RainmakerClient) -> PollResult:
        return poll(client, self.job)

    def on_result(self, answer: PollResult, now: datetime) -> None:
        record_poll(self.job, answer, now)
        if not answer.problems:
            _answered(self.account, now)

    def on_error(self, error: CloudError, now: datetime) -> None:
        # poll() returns its errors; with this one it was not called at all
        record_poll(self.job, PollResult.nothing(error), now)


class ReadAccount(CloudTask[tuple[datetime, NodesPage]]):
    """Read one page of an account's hubs."""

    def __init__(self, account: CloudAccount) -> None:
        super().__init__(("account", account.pk), account)

    def call(self, client: RainmakerClient) -> tuple[datetime, NodesPage]:
        asked_at = database_clock.last_known()
        return asked_at, client.nodes(self.account.sync_cursor, num_records=HUBS_PER_PAGE)

    def on_result(self, answer: tuple[datetime, NodesPage], now: datetime) -> None:
        # the next page, if there is one, becomes due: a long list takes turns with other calls
        asked_at, page = answer
        keep_page(self.account, page, now, asked_at=asked_at)

    def on_error(self, error: CloudError, now: datetime) -> None:
        self.account.sync_cursor = ""  # a cursor may be what the cloud rejects
        self.account.save(update_fields=["sync_cursor"])
        if not record_failure(self.account, error, now):
            # only the list is in trouble: installs and checks of this account go on
            CloudAccount.objects.filter(pk=self.account.pk).update(
                next_sync_at=now + LIST_AGAIN, **shown_error(self.account, error)
            )

    def defer(self, now: datetime) -> None:
        CloudAccount.objects.filter(pk=self.account.pk).update(next_sync_at=now + PUT_OFF)


class SignIn(CloudTask[Tokens]):
    """Sign in to a cloud account with its kept password."""

    def __init__(self, account: CloudAccount) -> None:
        super().__init__(("account", account.pk), account)

    def call(self, client: RainmakerClient) -> Tokens:
        return auto_sign_in.sign_in(client, self.account)

    def on_result(self, answer: Tokens, now: datetime) -> None:
        auto_sign_in.on_signed_in(self.account, answer, now)

    def on_error(self, error: CloudError, now: datetime) -> None:
        auto_sign_in.on_failed(self.account, error, now)

    def defer(self, now: datetime) -> None:
        auto_sign_in.defer(self.account, now)


class FetchFile(CloudTask[firmware_files.Arrived]):
    """Download one firmware file."""

    def __init__(self, fetch: ImageFetch) -> None:
        super().__init__(("file", fetch.pk), fetch.node.account)
        self.fetch = fetch

    def call(self, client: RainmakerClient) -> firmware_files.Arrived:
        return firmware_files.fetch(client, self.fetch)

    def on_result(self, answer: firmware_files.Arrived, now: datetime) -> None:
        firmware_files.arrived(self.fetch, answer, now)

    def on_error(self, error: CloudError, now: datetime) -> None:
        firmware_files.not_arrived(self.fetch, error, now)

    def defer(self, now: datetime) -> None:
        firmware_files.put_off(self.fetch, now)


class PutBack(CloudTask[str]):
    """Write the settings that a hub had before an install, once."""

    def __init__(self, job: OtaJob) -> None:
        super().__init__(("settings", job.pk), job.node.account)
        self.job = job

    def call(self, client: RainmakerClient) -> str:
        return client.write_params(self.job.node.node_id, restoring.what_to_write(self.job))

    def on_result(self, answer: str, now: datetime) -> None:
        restoring.written(self.job, now)

    def on_error(self, error: CloudError, now: datetime) -> None:
        restoring.not_written(self.job, error, now)

    def defer(self, now: datetime) -> None:
        """Leave the wish as it is: it is carried out later or expires."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The cloud's answers when one hub was checked."""

    asked_at: datetime
    config: NodeConfig | None
    """Only asked for when the hub's version is in doubt."""
    offer: FirmwareOffer
    status: OtaStatus | None
    """Of the offered update on this hub; only asked for when it is news to the hub."""


class CheckForUpdate(CloudTask[CheckResult]):
    """Ask which update one hub is offered, which version it runs if that is in doubt, and whether
    it is being installed already: the vendor and the app can start it too.
    """

    def __init__(self, node: Node) -> None:
        super().__init__(("node", node.pk), node.account)
        self.node = node

    def call(self, client: RainmakerClient) -> CheckResult:
        asked_at, node_id, status = database_clock.last_known(), self.node.node_id, None
        config = client.get_node_config(node_id) if self.node.doubted_version else None
        offer = client.check_firmware_update(node_id)
        if offer.is_available and not is_same_version(offer.fw_version, self.node.fw_version):
            # the offer counts also without it; whose trouble it is shows at the next call
            with suppress(CloudError):
                status = client.get_ota_status(node_id=node_id, ota_job_id=offer.ota_job_id)
        return CheckResult(asked_at, config, offer, status)

    def on_result(self, answer: CheckResult, now: datetime) -> None:
        config = answer.config
        if config is not None:
            version = clip(config.fw_version, 64)
            record_version(self.node, version, now, asked_at=answer.asked_at)
        keep_offer(self.node, answer.offer, now, answer.status)
        _answered(self.account, now)

    def on_error(self, error: CloudError, now: datetime) -> None:
        check_failed(self.node, error, now)

    def defer(self, now: datetime) -> None:
        Node.objects.filter(pk=self.node.pk).update(next_check_at=now + PUT_OFF)


def _answered(account: CloudAccount, now: datetime) -> None:
    """Record that the cloud answered, unless that was recorded a moment ago."""
    last = account.answered_at
    if account.failures or last is None or now - last > ANSWER_FRESH:
        account.answered(now)


def _wait_unasked(job: OtaJob, now: datetime) -> None:
    """Advance the timers of a job whose account cannot be asked: it expires or ends in time."""
    try:
        if job.state == State.REQUESTED and now >= job.expires_at:
            expire(job, now)
            return
        unanswered_s = job.unanswered_s + time_unanswered_s(job, now, timings())
        OtaJob.objects.filter(pk=job.pk).update(unanswered_s=unanswered_s)
        job.unanswered_s = unanswered_s
        apply_verdict(job, now)
        if job.is_listening and job.next_poll_at is not None and job.next_poll_at <= now:
            listening = job.as_loaded().filter(next_poll_at__isnull=False)
            listening.update(next_poll_at=next_poll_at(job, now, timings()))
    except StaleJob:
        return
    except Exception:
        # a fault in one job must not stop the others
        log.exception("job %s could not be timed", job.pk)
        _defer_poll(job, now)


def _defer_poll(job: OtaJob, now: datetime) -> None:
    OtaJob.objects.filter(pk=job.pk, next_poll_at__isnull=False).update(next_poll_at=now + PUT_OFF)
