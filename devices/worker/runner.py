"""Run the cloud calls that are due: HTTP in threads, the database here, one runner a machine.

A runner is a task of bounded length that holds a lease. What it had not finished when it ended,
crashed or slept is still due in the database, and the next one finds it there. On one machine it
leads the loop. Where several share the database the others help it: each asks about accounts that
it has claimed, and the one that leads also changes what time alone changes.
"""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from math import inf
from time import monotonic, sleep
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.db import DatabaseError

from devices.accounts.allowed_clouds import is_allowed, require_allowed
from devices.accounts.sessions import keep_tokens, tokens_of, values_of_session
from devices.models import Beat, CloudAccount, StaleJob, Suspect, Tally, database_clock
from devices.models.lease import CLOCK_SKEW
from devices.rainmaker import calls
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import CloudError
from devices.rainmaker.schemas import Tokens
from devices.security.log_context import log_ids
from devices.taskqueue.claims import Claims
from devices.taskqueue.connections import drop_broken_connections
from devices.taskqueue.lease_holder import is_elsewhere, place
from devices.taskqueue.leases import SHARED_LEASE, Lease, held
from devices.taskqueue.quarantine import label, record_crash

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=45)
BEAT_EVERY_S = 1.0
TICK_S = 0.25
# The pause between two looks at what is due: a look costs as much as several polls. Shorter while
# calls wait for room, so that what has ended makes room for the next at once.
LOOK_EVERY_S, LOOK_SOON_S = 0.2, 0.05
ADVANCE_EVERY_S = 0.5
READ_TIMEOUT_S = 10.0
# The task hands over at the first calm moment after SOFT_END_S; after HARD_END_S it starts
# nothing new, so that the last answers (four calls of 20 s) are written within the queue's limit.
SOFT_END_S = 45.0
HARD_END_S = 75.0
THREADS = 32
THREADS_PER_ACCOUNT = 4
ASK_FOR_HELP_EVERY_S = 5.0
COUNT_CALLS_EVERY_S = 5.0


Answer = TypeVar("Answer")


class CloudTask(ABC, Generic[Answer]):
    """One cloud call: `call` runs in a thread, everything else in the runner's thread."""

    def __init__(self, key: Hashable, account: CloudAccount) -> None:
        self.key = key
        self.account = account
        self.session: _Session | None = None
        """The session that the call was made with."""
        self.is_troubled = False
        """Did the last calls about the same hub fail?"""

    @property
    def ids(self) -> dict[str, str | int]:
        """Return what log lines about this call carry: of install, hub or file, and account."""
        kind, _, number = label(self.key).partition(":")
        return {kind: number, "account": self.account.pk}

    @abstractmethod
    def call(self, client: RainmakerClient) -> Answer:
        """Call the cloud and return its answer. No database here. Raises CloudError."""

    @abstractmethod
    def on_result(self, answer: Answer, now: datetime) -> "CloudTask[Any] | None":
        """Store the answer; return the next call that belongs to it, if there is one."""

    @abstractmethod
    def on_error(self, error: CloudError, now: datetime) -> None:
        """Store that the call failed."""

    def defer(self, now: datetime) -> None:
        """Make it due later, when its answer could not be stored or it is in quarantine."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What takes no turn: calls in flight, accounts that another machine works for, full ones."""

    keys: frozenset[Hashable] = frozenset()
    accounts: frozenset[int] = frozenset()
    full: frozenset[int] = frozenset()
    """Accounts of which as many calls are in flight as may be at once."""


@dataclass(slots=True)
class _Session:
    """An open session with one account's cloud."""

    client: RainmakerClient
    sealed: str
    tokens: Tokens | None
    """The session as it is stored."""

    def is_of(self, account: CloudAccount) -> bool:
        """Is the account's stored session still this one? It is when only its encryption changed
        or another loop extended it; that extension is then used here too.
        """
        if self.sealed != account.sealed_refresh_token:
            stored, open_now = tokens_of(account), self.client.tokens
            if not stored or not open_now or stored.refresh_token != open_now.refresh_token:
                return False
            self.sealed = account.sealed_refresh_token
            if _ends_later(stored, open_now):
                self.client.tokens = self.tokens = stored
        return True


def _ends_later(one: Tokens, other: Tokens) -> bool:
    ends, other_ends = one.access_expires_at, other.access_expires_at
    return ends is not None and other_ends is not None and ends > other_ends


def never() -> bool:
    """Return False: the runner ends on its own."""
    return False


def no_help() -> None:
    """Enqueue nothing: no other machine can help."""


def nothing_to_advance(now: datetime, busy: Taken) -> None:
    """Change nothing: the rows of this loop change only by answers from the cloud."""


@dataclass(slots=True)
class Runner:
    """Carries out the calls that `find` yields."""

    name: str
    find: Callable[[datetime, Taken], Iterable[CloudTask[Any]]]
    """Yield what is due and not busy."""
    is_idle: Callable[[datetime], bool]
    on_clock_set_back: Callable[[datetime, timedelta], None] = lambda now, by: None
    """Correct what was planned, after the clock was set back by so much."""
    advance: Callable[[datetime, Taken], None] = nothing_to_advance
    """Change what time alone changes (queues go on, confirmations expire), before looks."""
    is_stopping: Callable[[], bool] = never
    """Is this process asked to end? Then nothing new is started."""
    make_client: Callable[..., RainmakerClient] = RainmakerClient
    sessions: dict[int, _Session] = field(default_factory=dict)
    in_flight: dict[Future[Any], CloudTask[Any]] = field(default_factory=dict)
    suspects: dict[str, Suspect] = field(default_factory=dict)
    wake: Callable[[], None] = no_help
    """Enqueue this loop once more, for a machine that may help."""
    leads: bool = True
    has_room: bool = True
    """At the last look, could more calls have been started, of each account?"""
    advanced: float = -inf
    """When that was done last, on the monotonic clock."""
    claims: Claims = field(init=False)

    def __post_init__(self) -> None:
        self.claims = Claims(self.name, "", is_shared=False)

    def run(self) -> bool:
        """Work while there is something to do; True when work is left for the next task.

        Returns at once when another process of this machine runs the loop: it will find the work.
        """
        drop_broken_connections()
        while True:
            last = Beat.last(self.name)
            with self._lease() as lease:
                if lease is None:
                    return False
                self.leads = lease.name == self.name
                self._begin(lease, last)
                is_left = self._run_with_lease(lease)
            # look for what was enqueued between the last look and the release of the lease
            if is_left or self.is_stopping() or self.is_idle(database_clock.now()):
                return is_left

    @contextmanager
    def _lease(self) -> Iterator[Lease | None]:
        """Lead the loop, or help the machine that does; None when this machine runs it already."""
        ttl = SHARED_LEASE if settings.DATABASE_CLOCK else LEASE
        with held(self.name, ttl) as lease:
            if lease is not None or not self._leader_is_elsewhere():
                yield lease
                return
        with held(f"{self.name}@{place()}", ttl) as lease:
            yield lease

    def _leader_is_elsewhere(self) -> bool:
        if not settings.DATABASE_CLOCK:
            return False
        now = database_clock.now()
        leads = Beat.objects.filter(name=self.name, held_until__gt=now)
        return any(is_elsewhere(holder) for holder in leads.values_list("holder", flat=True))

    def _begin(self, lease: Lease, last: datetime | None) -> None:
        """Put right what the holder before this one left; last: when it had its last heartbeat."""
        self._look_at_clock(last)
        record_crash(self.name, lease.pop_in_flight(), database_clock.now())

    def _lead_instead(self, lease: Lease) -> Lease:
        """Lead the loop if no machine does any more; return the lease to work with from here on."""
        if self._leader_is_elsewhere():
            return lease
        last, lead = Beat.last(self.name), Lease(self.name, lease.ttl, lease.holder)
        if not lead.acquire():
            return lease
        log.warning("%s: this machine leads now", self.name)
        lease.release()
        self.leads = True
        self._begin(lead, last)
        return lead

    def _run_with_lease(self, lease: Lease) -> bool:
        started = last_beat = last_wake = last_count = monotonic()
        last_look = -inf
        self.claims = Claims(self.name, lease.holder, is_shared=settings.DATABASE_CLOCK)
        self.suspects = Suspect.of(self.name)
        seen = database_clock.now()
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix=self.name)
        try:
            while True:
                now, age_s = database_clock.now(), monotonic() - started
                if self.is_stopping():  # what is in flight is stored, the next runner does the rest
                    age_s = HARD_END_S
                if monotonic() - last_beat >= BEAT_EVERY_S:
                    last_beat = monotonic()
                    self._look_at_clock(seen)
                    seen = now
                    if not lease.renew(self._labels()):
                        log.warning("%s: another worker took over", self.name)
                        return False
                    if monotonic() - last_count >= COUNT_CALLS_EVERY_S:
                        last_count = monotonic()
                        _store_calls()
                    self.suspects = Suspect.of(self.name)
                    self.claims.look(now, [task.account.pk for task in self.in_flight.values()])
                    if not self.leads:
                        lease = self._lead_instead(lease)
                    elif monotonic() - last_wake >= ASK_FOR_HELP_EVERY_S:
                        last_wake = monotonic()
                        self._ask_for_help(now)
                pause_s = LOOK_EVERY_S if self.has_room else LOOK_SOON_S
                if age_s < HARD_END_S and monotonic() - last_look >= pause_s:
                    last_look = monotonic()
                    self._start(pool, now, lease)
                if not self.in_flight:
                    if age_s >= SOFT_END_S:
                        return not self.is_idle(database_clock.now())
                    if self.is_idle(now):
                        return False
                self._finish(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            with suppress(DatabaseError):  # else they run out
                self.claims.give_back_all()
                _store_calls()
            lease.release()
            for session in self.sessions.values():
                session.client.close()
            self.sessions.clear()
            self.in_flight.clear()

    def _ask_for_help(self, now: datetime) -> None:
        """Enqueue the loop for a machine that does not help yet. Two queries with PostgreSQL."""
        if settings.DATABASE_CLOCK and Beat.machines(now) > Beat.runners(self.name, now):
            self.wake()

    def _look_at_clock(self, seen: datetime | None) -> None:
        """A time that was seen already and is still to come: the clock was set back.

        One machine puts right what that changes: the one that leads.
        """
        if not self.leads:
            return
        now = database_clock.now()
        if seen is not None and seen - now > CLOCK_SKEW:
            log.warning("%s: the clock was set back by %s", self.name, seen - now)
            self.on_clock_set_back(now, seen - now)

    def _start(self, pool: ThreadPoolExecutor, now: datetime, lease: Lease) -> None:
        try:
            self._start_due(pool, now, lease)
        except DatabaseError:
            log.exception("%s: what is due could not be read", self.name)
            drop_broken_connections()
            sleep(TICK_S)

    def _start_due(self, pool: ThreadPoolExecutor, now: datetime, lease: Lease) -> None:
        chosen = self._chosen(now)
        if not chosen:
            return
        # stored before the calls start: if one of them kills this process, the next one knows
        in_flight = self._labels() + [label(task.key) for task in chosen]
        if lease.set_in_flight(in_flight):
            for task in chosen:
                self._submit(pool, task)

    def _chosen(self, now: datetime) -> list[CloudTask[Any]]:
        """Return the calls to start now: as many as fit, of the suspects one at a time."""
        chosen: list[CloudTask[Any]] = []
        per_account = Counter(task.account.pk for task in self.in_flight.values())
        keys = frozenset(task.key for task in self.in_flight.values())
        asked = [task.account for task in self.in_flight.values()]
        full = frozenset(one.pk for one in asked if per_account[one.pk] >= _room(one))
        busy = Taken(keys, self.claims.elsewhere | self.claims.left.keys(), full)
        has_troubled = {task.account.pk for task in self.in_flight.values() if task.is_troubled}
        has_suspect = any(self._suspect(task) for task in self.in_flight.values())
        # what time changes need not be asked with each look while answers are awaited
        if self.leads and (not keys or monotonic() - self.advanced >= ADVANCE_EVERY_S):
            self.advanced = monotonic()
            self.advance(now, busy)
        for task in self.find(now, busy):
            if len(self.in_flight) + len(chosen) >= THREADS:
                break
            suspect = self._suspect(task)
            if suspect is not None:
                if suspect.is_parked(now):
                    self._defer(task, now)
                    continue
                if has_suspect:
                    continue
                has_suspect = True
            # hubs in trouble take one call of an account at a time
            pk = task.account.pk
            if per_account[pk] < _room(task.account) and not (
                task.is_troubled and pk in has_troubled
            ):
                per_account[pk] += 1
                if task.is_troubled:
                    has_troubled.add(pk)
                chosen.append(task)
        is_full = len(self.in_flight) + len(chosen) >= THREADS
        self.has_room = not is_full and max(per_account.values(), default=0) < THREADS_PER_ACCOUNT
        mine = self.claims.take({task.account.pk for task in chosen}, now)
        return [task for task in chosen if task.account.pk in mine]

    def _labels(self) -> list[str]:
        return [label(task.key) for task in self.in_flight.values()]

    def _suspect(self, task: CloudTask[Any]) -> Suspect | None:
        return self.suspects.get(label(task.key)) if self.suspects else None

    def _submit(self, pool: ThreadPoolExecutor, task: CloudTask[Any]) -> None:
        session = task.session = self._session(task.account)
        is_allowed_now = is_allowed(task.account.base_url)
        call = task.call if is_allowed_now else partial(_refuse_call, task)
        self.in_flight[pool.submit(_with_ids, task, call, session.client)] = task

    def _session(self, account: CloudAccount) -> _Session:
        session = self.sessions.get(account.pk)
        if session is None or not session.is_of(account):
            tokens = tokens_of(account)
            session = _Session(
                client=self.make_client(
                    account.base_url,
                    tokens=tokens,
                    read_timeout_s=READ_TIMEOUT_S,
                    total_timeout_s=2 * READ_TIMEOUT_S,
                ),
                sealed=account.sealed_refresh_token,
                tokens=tokens,
            )
            self.sessions[account.pk] = session
        return session

    def _finish(self, pool: ThreadPoolExecutor) -> None:
        """Store what has been answered; wait a tick at most for the next answer."""
        if not self.in_flight:
            sleep(TICK_S)
            return
        done, _ = wait(self.in_flight, timeout=TICK_S, return_when=FIRST_COMPLETED)
        for future in done:
            task = self.in_flight.pop(future)
            follow_up = self._store(task, future)
            if follow_up is not None:  # it takes the place of the call that is done
                self._submit(pool, follow_up)
            elif self._suspect(task) is not None:
                self._release(task)

    def _store(self, task: CloudTask[Any], future: Future[Any]) -> CloudTask[Any] | None:
        with log_ids(**task.ids):
            return self._store_answer(task, future)

    def _store_answer(self, task: CloudTask[Any], future: Future[Any]) -> CloudTask[Any] | None:
        now = database_clock.now()
        try:
            self._keep_session(task)
            error = future.exception()
            if error is None:
                return task.on_result(future.result(), now)
            if not isinstance(error, CloudError):
                raise error
            task.on_error(error, now)
        except StaleJob:
            log.info("%s: %s was moved by another worker", self.name, task.key)
        except DatabaseError:
            log.exception("%s: the answer for %s could not be stored", self.name, task.key)
            drop_broken_connections()
            self._defer(task, now)
        except Exception:
            # one faulty call must not stop the others
            log.exception("%s: %s failed", self.name, task.key)
            self._defer(task, now)
        return None

    def _release(self, task: CloudTask[Any]) -> None:
        """Remove it from the suspects: this process survived it."""
        try:
            Suspect.release([label(task.key)])
        except DatabaseError:
            log.exception("%s: %s stays suspect", self.name, task.key)
        else:
            del self.suspects[label(task.key)]

    def _defer(self, task: CloudTask[Any], now: datetime) -> None:
        try:
            task.defer(now)
        except DatabaseError:
            log.exception("%s: %s could not be deferred", self.name, task.key)

    def _keep_session(self, task: CloudTask[Any]) -> None:
        """Store the session when the client had to extend it; not over a newer sign-in."""
        account, session = task.account, task.session
        if session is None or session.client.tokens is None:
            return
        tokens = session.client.tokens
        if tokens == session.tokens:
            return
        rows = CloudAccount.objects.filter(pk=account.pk)
        if session.tokens is not None and tokens.access_token == session.tokens.access_token:
            pause = {"extend_after": tokens.extend_after, "extensions": tokens.extensions}
            rows.filter(sealed_refresh_token=session.sealed).update(**pause)
            session.tokens = tokens
            return
        keep_tokens(account, tokens)
        fresh = values_of_session(account)
        if not rows.filter(sealed_refresh_token=session.sealed).update(**fresh):
            stored = rows.first()
            if stored is not None and session.is_of(stored):  # only its encryption is another
                rows.filter(sealed_refresh_token=session.sealed).update(**fresh)
        session.sealed, session.tokens = account.sealed_refresh_token, tokens


def _room(account: CloudAccount) -> int:
    """Return how many calls of an account may be in flight: after a failed one, one at first."""
    return 1 if account.failures else THREADS_PER_ACCOUNT


def _store_calls() -> None:
    Tally.add("cloud_call", calls.take())
    Tally.add_calls(calls.take_by_account(), database_clock.now())


def _with_ids(
    task: CloudTask[Any], call: Callable[[RainmakerClient], Any], client: RainmakerClient
) -> Any:
    with log_ids(**task.ids), calls.counted_for(task.account.pk):
        return call(client)


def _refuse_call(task: CloudTask[Any], client: RainmakerClient) -> None:
    require_allowed(task.account.base_url)
