"""One loop for many conversations: HTTP in threads, tables here, a lease so that it is alone.

A loop runs as a task of bounded length. Whatever it was doing when it ends, dies or sleeps is
found again in the tables by the next one.
"""

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any

from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from devices.accounts import keep_tokens, tokens_of
from devices.cloud.client import RainmakerClient
from devices.cloud.errors import CloudError
from devices.clouds import is_allowed, require_allowed
from devices.holder import here
from devices.models import Beat, CloudAccount, StaleJob, Suspect
from devices.models.beat import CLOCK_SKEW
from devices.poison import blame, label

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=45)
BEAT_EVERY_S = 1.0
TICK_S = 0.25
READ_TIMEOUT_S = 10.0
# The task hands over at the first calm moment after SOFT_END_S; after HARD_END_S it starts
# nothing new, so that the last answers (four calls of 20 s) are written within the queue's limit.
SOFT_END_S = 45.0
HARD_END_S = 75.0
THREADS = 32
THREADS_PER_ACCOUNT = 4


def is_stopping() -> bool:
    """Is this process asked to end? The worker's command says how to tell."""
    return False


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation with the cloud: said in a thread, written down by the loop."""

    key: Hashable
    account: CloudAccount
    say: Callable[[RainmakerClient], Any]
    write: Callable[[Any, datetime], "Talk | None"]
    failed: Callable[[CloudError, datetime], None]
    later: Callable[[datetime], None] = lambda now: None
    """Put it off, when its answer could not be written or it is set aside: else it would be due
    again at once."""


@dataclass(slots=True)
class _Line:
    """An open session with one account's cloud."""

    client: RainmakerClient
    sealed: str
    access_token: str

    def is_of(self, account: CloudAccount) -> bool:
        """Is the account's stored session still this one? Encrypted anew, it is."""
        if self.sealed != account.sealed_refresh_token:
            stored, open_now = tokens_of(account), self.client.tokens
            if not stored or not open_now or stored.refresh_token != open_now.refresh_token:
                return False
            self.sealed = account.sealed_refresh_token
        return True


@dataclass(slots=True)
class Loop:
    """find(now, busy) yields the conversations that are due and whose key is not busy."""

    name: str
    find: Callable[[datetime, frozenset[Hashable]], Iterable[Talk]]
    is_idle: Callable[[datetime], bool]
    set_back: Callable[[datetime, timedelta], None] = lambda now, by: None
    """Put right what was planned, after the clock was found to have been set back by so much."""
    make_client: Callable[..., RainmakerClient] = RainmakerClient
    holder: str = field(default_factory=here)
    lines: dict[int, _Line] = field(default_factory=dict)
    under_way: dict[Future[Any], Talk] = field(default_factory=dict)
    suspects: dict[str, Suspect] = field(default_factory=dict)

    def run(self) -> bool:
        """Work while there is something to do; True when work is left for the next task.

        Returns at once when another loop holds the lease: it will find the work.
        """
        _drop_broken_connections()
        self._look_at_clock(Beat.last(self.name))
        while Beat.take(self.name, self.holder, timezone.now(), LEASE):
            try:
                blame(self.name, Beat.left_behind(self.name, self.holder), timezone.now())
                is_left = self._run_with_lease()
            finally:
                with suppress(DatabaseError):
                    Beat.give_back(self.name, self.holder)
            # what was asked for between the last look and giving the lease back is looked for
            if is_left or is_stopping() or self.is_idle(timezone.now()):
                return is_left
        return False

    def _run_with_lease(self) -> bool:
        started = last_beat = monotonic()
        self.suspects = Suspect.of(self.name)
        seen = timezone.now()
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix=self.name)
        try:
            while True:
                now, age_s = timezone.now(), monotonic() - started
                if is_stopping():  # what is under way is written, the rest is for the next one
                    age_s = HARD_END_S
                if monotonic() - last_beat >= BEAT_EVERY_S:
                    last_beat = monotonic()
                    self._look_at_clock(seen)
                    seen = now
                    if not Beat.renew(self.name, self.holder, now, LEASE, self._labels()):
                        log.warning("%s: another worker took over", self.name)
                        return False
                    self.suspects = Suspect.of(self.name)
                if age_s < HARD_END_S:
                    self._start(pool, now)
                if not self.under_way:
                    if age_s >= SOFT_END_S:
                        return not self.is_idle(timezone.now())
                    if self.is_idle(now):
                        return False
                self._finish(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for line in self.lines.values():
                line.client.close()
            self.lines.clear()
            self.under_way.clear()

    def _look_at_clock(self, seen: datetime | None) -> None:
        """A time that was seen already and is still to come: the clock was set back."""
        now = timezone.now()
        if seen is not None and seen - now > CLOCK_SKEW:
            log.warning("%s: this machine's clock was set back by %s", self.name, seen - now)
            self.set_back(now, seen - now)

    def _start(self, pool: ThreadPoolExecutor, now: datetime) -> None:
        try:
            self._start_due(pool, now)
        except DatabaseError:
            log.exception("%s: what is due could not be read", self.name)
            _drop_broken_connections()
            sleep(TICK_S)

    def _start_due(self, pool: ThreadPoolExecutor, now: datetime) -> None:
        chosen = self._chosen(now)
        if not chosen:
            return
        # on record before anything is said: should it kill this process, the next one knows
        under_way = self._labels() + [label(talk.key) for talk in chosen]
        if Beat.about_to(self.name, self.holder, under_way):
            for talk in chosen:
                self._submit(pool, talk)

    def _chosen(self, now: datetime) -> list[Talk]:
        """Return what can be started now: by room, one at a time of what is suspect."""
        chosen: list[Talk] = []
        per_account = Counter(talk.account.pk for talk in self.under_way.values())
        busy = frozenset(talk.key for talk in self.under_way.values())
        has_suspect = any(self._suspect(talk) for talk in self.under_way.values())
        for talk in self.find(now, busy):
            if len(self.under_way) + len(chosen) >= THREADS:
                break
            suspect = self._suspect(talk)
            if suspect is not None:
                if suspect.is_parked(now):
                    self._put_off(talk, now)
                    continue
                if has_suspect:
                    continue
                has_suspect = True
            # an account whose last call failed is tried with one call before it gets more
            room = 1 if talk.account.failures else THREADS_PER_ACCOUNT
            if per_account[talk.account.pk] < room:
                per_account[talk.account.pk] += 1
                chosen.append(talk)
        return chosen

    def _labels(self) -> list[str]:
        return [label(talk.key) for talk in self.under_way.values()]

    def _suspect(self, talk: Talk) -> Suspect | None:
        return self.suspects.get(label(talk.key)) if self.suspects else None

    def _submit(self, pool: ThreadPoolExecutor, talk: Talk) -> None:
        line = self._line(talk.account)
        say = talk.say if is_allowed(talk.account.base_url) else partial(_not_called, talk)
        self.under_way[pool.submit(say, line.client)] = talk

    def _line(self, account: CloudAccount) -> _Line:
        line = self.lines.get(account.pk)
        if line is None or not line.is_of(account):
            tokens = tokens_of(account)
            line = _Line(
                client=self.make_client(
                    account.base_url,
                    tokens=tokens,
                    read_timeout_s=READ_TIMEOUT_S,
                    total_timeout_s=2 * READ_TIMEOUT_S,
                ),
                sealed=account.sealed_refresh_token,
                access_token=tokens.access_token if tokens else "",
            )
            self.lines[account.pk] = line
        return line

    def _finish(self, pool: ThreadPoolExecutor) -> None:
        """Write down what has been answered; wait a tick at most for the next answer."""
        if not self.under_way:
            sleep(TICK_S)
            return
        done, _ = wait(self.under_way, timeout=TICK_S, return_when=FIRST_COMPLETED)
        for future in done:
            talk = self.under_way.pop(future)
            follow_up = self._written(talk, future)
            if follow_up is not None:  # the place of the one that is done is free for it
                self._submit(pool, follow_up)
            elif self._suspect(talk) is not None:
                self._acquit(talk)

    def _written(self, talk: Talk, future: Future[Any]) -> Talk | None:
        now = timezone.now()
        try:
            self._keep_session(talk.account)
            error = future.exception()
            if error is None:
                return talk.write(future.result(), now)
            if not isinstance(error, CloudError):
                raise error
            talk.failed(error, now)
        except StaleJob:
            log.info("%s: %s was moved by someone else", self.name, talk.key)
        except DatabaseError:
            log.exception("%s: what was heard for %s could not be written", self.name, talk.key)
            _drop_broken_connections()
            self._put_off(talk, now)
        except Exception:
            # one poisonous conversation must not stop the others
            log.exception("%s: %s failed", self.name, talk.key)
            self._put_off(talk, now)
        return None

    def _acquit(self, talk: Talk) -> None:
        """Forget what was held against it: this process lived through it."""
        try:
            Suspect.release([label(talk.key)])
        except DatabaseError:
            log.exception("%s: %s stays suspect", self.name, talk.key)
        else:
            del self.suspects[label(talk.key)]

    def _put_off(self, talk: Talk, now: datetime) -> None:
        try:
            talk.later(now)
        except DatabaseError:
            log.exception("%s: %s could not be put off", self.name, talk.key)

    def _keep_session(self, account: CloudAccount) -> None:
        """Store the session when the client had to extend it; not over a newer sign-in."""
        line = self.lines.get(account.pk)
        if line is None or line.client.tokens is None:
            return
        tokens = line.client.tokens
        if tokens.access_token == line.access_token:
            return
        keep_tokens(account, tokens)
        fresh = {
            "sealed_access_token": account.sealed_access_token,
            "sealed_refresh_token": account.sealed_refresh_token,
            "access_expires_at": account.access_expires_at,
        }
        rows = CloudAccount.objects.filter(pk=account.pk)
        if not rows.filter(sealed_refresh_token=line.sealed).update(**fresh):
            stored = rows.first()
            if stored is not None and line.is_of(stored):  # only its encryption is another
                rows.filter(sealed_refresh_token=line.sealed).update(**fresh)
        line.sealed, line.access_token = account.sealed_refresh_token, tokens.access_token


def _not_called(talk: Talk, client: RainmakerClient) -> None:
    require_allowed(talk.account.base_url)


def _drop_broken_connections() -> None:
    if not connection.in_atomic_block:
        close_old_connections()
