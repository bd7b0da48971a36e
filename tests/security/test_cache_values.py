"""What is in Redis is read as data."""

import json
import pickle
from pathlib import Path

import pytest
from django.core.cache.backends.redis import RedisCache

from devices.security.cache_values import Json
from tests.taskqueue.test_allow_list import Bomb


@pytest.mark.parametrize("value", [1, 0, True, 1.5, "text", [1.25, "x"], {"a": None}, None])
def test_what_the_product_keeps_comes_back_the_same(value: object) -> None:
    stored = Json().dumps(value)
    assert Json().loads(str(stored).encode() if isinstance(stored, int) else stored) == value


def test_a_pickle_in_redis_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        Json().loads(pickle.dumps(Bomb(mark)))
    assert not mark.exists()


def test_the_cache_uses_it() -> None:
    options = {"OPTIONS": {"serializer": "devices.security.cache_values.Json"}}
    cache = RedisCache("redis://127.0.0.1:1", options)
    assert isinstance(vars(cache._cache)["_serializer"], Json)
