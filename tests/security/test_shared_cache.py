"""Redis may go away: sign-in goes on, and limits are counted in the database until it is back."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from devices.models import CacheEntry
from devices.security import rate_limits, shared_cache
from devices.taskqueue.health import check_all
from tests.conftest import leave_out
from tests.support.client import Client
from tests.support.factories import PASSWORD, make_household, make_owner
from tests.support.product import free_port

pytestmark = pytest.mark.django_db
BACKEND = "devices.security.shared_cache.RedisOrDatabase"
OPTIONS = {"serializer": "devices.security.cache_values.Json", "socket_connect_timeout": 1}


class Redis:
    """A Redis of one's own, to be stopped and started."""

    def __init__(self, binary: str) -> None:
        self.binary, self.port = binary, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self.binary, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if b"eady to accept connections" in line:
                return
        raise AssertionError("Redis did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    binary = shutil.which("redis-server")
    if binary is None:
        leave_out("No redis-server was found, to be stopped and started again.")
    monkeypatch.setattr(shared_cache, "ASK_AGAIN_S", 0.0)
    server = Redis(binary)
    server.start()
    url = f"redis://127.0.0.1:{server.port}/0"
    values = {"default": {"BACKEND": BACKEND, "LOCATION": url, "OPTIONS": OPTIONS}}
    with override_settings(CACHES=values, REDIS_URL=url):
        yield server
    server.stop()


def test_people_sign_in_while_redis_is_away(redis: Redis) -> None:
    user = make_owner(make_household())

    def sign_in(password: str) -> int:
        form = {"login": user.email, "password": password}
        return Client().post("/account/login/", form).status_code

    assert sign_in(PASSWORD) == 302
    redis.stop()
    assert sign_in(PASSWORD) == 302
    # wrong ones are counted all the same
    answers = [sign_in("wrong") for _ in range(8)]
    assert set(answers) == {200}
    assert CacheEntry.objects.exists()
    redis.start()
    assert sign_in(PASSWORD) == 302


def test_limits_hold_with_redis_and_without(redis: Redis) -> None:
    def uses_until_refused(what: str) -> int:
        return next(n for n in range(20) if rate_limits.spend(what, 3, 60))

    assert uses_until_refused("there") == 3
    redis.stop()
    assert uses_until_refused("away") == 3
    redis.start()
    assert uses_until_refused("back") == 3


def test_readiness_names_redis(redis: Redis) -> None:
    assert check_all()["redis"].figures == {"answers": 1}
    redis.stop()
    part = check_all()["redis"]
    assert (part.is_ok, part.figures) == (True, {"answers": 0})


def test_it_is_not_asked_again_for_some_seconds(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_cache, "ASK_AGAIN_S", 60.0)
    cache: Any = caches["default"]
    redis.stop()
    cache.set("one", 1)
    assert cache.is_away
    redis.start()
    assert cache.get("one") == 1
    cache.set("two", {"n": 2}, None)
    assert cache.get_many(["one", "two"]) == {"one": 1, "two": {"n": 2}}


def test_a_value_that_is_over_is_in_nobodys_way(redis: Redis) -> None:
    redis.stop()
    cache: Any = caches["default"]
    for number in range(shared_cache.CLEANED_AT_ONCE + 20):
        cache.set(f"over {number}".replace(" ", "-"), 1, -1)
    for number in range(shared_cache.CLEANED_AT_ONCE + 20):
        assert cache.add(f"over-{number}", 1, 60), number


def test_values_in_the_database_end_and_are_json(redis: Redis) -> None:
    redis.stop()
    cache: Any = caches["default"]
    cache.set("over", "x", -1)
    assert cache.get("over") is None
    assert cache.add("over", "y", 60)
    assert not cache.add("over", "z", 60)
    assert (cache.get("over"), cache.touch("over", 60), cache.delete("over")) == ("y", True, True)
    with pytest.raises(ValueError, match="not found"):
        cache.incr("over")
    assert [cache.get_or_set("n", 5), cache.incr("n"), cache.decr("n", 2)] == [5, 6, 4]
    assert set(CacheEntry.objects.values_list("value", flat=True)) == {"4"}
    cache.clear()
    assert not CacheEntry.objects.exists()
