"""The cache that several servers share: Redis, and the database while Redis does not answer.

It counts sign-ins and other limits, so people could not sign in without it.
"""

import hashlib
import json
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from time import monotonic
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.redis import RedisCache
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
# So long the database serves after an operation that failed, before Redis is asked again.
ASK_AGAIN_S = 15.0
# One new value in twenty removes expired ones, this many at most.
CLEANS, CLEANED_AT_ONCE = 0.05, 100


class DatabaseCache(BaseCache):
    """Django's own keeps pickles, which would run as code what a person with the database wrote."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name = self._name(key, version)
        values = {"value": json.dumps(value), "expires_at": self._until(timeout)}
        # one statement: of two at once the second finds it no longer expired
        if _entries().filter(pk=name, expires_at__lte=timezone.now()).update(**values):
            return True
        _, is_new = _entries().get_or_create(key=name, defaults=values)
        if is_new and random.random() < CLEANS:  # noqa: S311 - guards nothing
            self._delete_expired()
        return bool(is_new)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        name = self._name(key, version)
        found = _valid().filter(key=name).values_list("value", flat=True).first()
        return default if found is None else json.loads(found)

    def set(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        name = self._name(key, version)
        values = {"value": json.dumps(value), "expires_at": self._until(timeout)}
        _entries().update_or_create(key=name, defaults=values)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name = self._name(key, version)
        return bool(_valid().filter(key=name).update(expires_at=self._until(timeout)))

    def delete(self, key: str, version: int | None = None) -> bool:
        name = self._name(key, version)
        return bool(_entries().filter(key=name).delete()[0])

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        name = self._name(key, version)
        with transaction.atomic():
            entry = _valid().select_for_update().filter(key=name).first()
            if entry is None:
                raise ValueError(f"Key '{key}' not found")
            value = int(json.loads(entry.value)) + delta
            _entries().filter(key=name).update(value=json.dumps(value))
        return value

    def clear(self) -> None:
        _entries().all().delete()

    def _until(self, timeout: Any) -> datetime | None:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return None if seconds is None else timezone.now() + timedelta(seconds=seconds)

    def _name(self, key: str, version: int | None) -> str:
        """Return the key as it is stored: of any length, and telling nothing about anybody."""
        return hashlib.sha256(self.make_key(key, version=version).encode()).hexdigest()

    def _delete_expired(self) -> None:
        """Delete some values that have expired; those another request is at are left to it."""
        with transaction.atomic():
            old = _entries().filter(expires_at__lte=timezone.now())
            found = old.select_for_update(skip_locked=True).values_list("pk", flat=True)
            _entries().filter(pk__in=list(found[:CLEANED_AT_ONCE])).delete()


def _entries() -> Any:
    from devices.models.cache_entry import CacheEntry  # the cache is there before the models are

    return CacheEntry.objects


def _valid() -> Any:
    return _entries().filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


def _guarded(name: str) -> Callable[..., Any]:
    """Return the operation: Redis' own, or the database's while Redis does not answer."""
    asked, kept = getattr(RedisCache, name), getattr(DatabaseCache, name)

    @wraps(asked)
    def operation(self: "RedisOrDatabase", *args: Any, **named: Any) -> Any:
        if not self.is_away:
            try:
                answer = asked(self, *args, **named)
            except (RedisError, OSError) as problem:
                self.went_away(problem)
            else:
                self.came_back()
                return answer
        return kept(self.database, *args, **named)

    return operation


class RedisOrDatabase(RedisCache):
    """Redis, else the database. Each change of the two starts the counts at zero again."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self.database = DatabaseCache(server, params)
        self._away_until = 0.0

    @property
    def is_away(self) -> bool:
        """Did Redis not answer within the last seconds?"""
        return monotonic() < self._away_until

    def went_away(self, problem: Exception) -> None:
        if not self._away_until:
            reason = " ".join(str(problem).split())
            log.error("Redis does not answer (%s): limits are counted in the database", reason)
        self._away_until = monotonic() + ASK_AGAIN_S

    def came_back(self) -> None:
        if self._away_until:
            log.warning("Redis answers again")
            self._away_until = 0.0

    def answers(self) -> bool:
        """Ask Redis itself."""
        try:
            self.ping()
        except (RedisError, OSError) as problem:
            self.went_away(problem)
            return False
        self.came_back()
        return True

    def ping(self) -> None:
        """Ask Redis itself. Raises RedisError or OSError."""
        self._cache.get_client().ping()

    add = _guarded("add")
    get = _guarded("get")
    set = _guarded("set")
    touch = _guarded("touch")
    delete = _guarded("delete")
    incr = _guarded("incr")
    get_many = _guarded("get_many")
    set_many = _guarded("set_many")
    delete_many = _guarded("delete_many")
    has_key = _guarded("has_key")
    clear = _guarded("clear")
