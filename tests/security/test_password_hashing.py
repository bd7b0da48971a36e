"""Hashing passwords: strong enough, one at a time, and never in the way of pages."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.core.cache import cache

from devices.models import Role
from devices.security import password_hashing
from devices.security.password_hashing import MAY_WAIT, BoundedArgon2, TooBusy, in_turn
from tests.support.client import Client
from tests.support.factories import make_user

OURS = "devices.security.password_hashing.BoundedArgon2"


class Work:
    """Something slow that counts how many of it run at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.may_end = threading.Event()
        self.began = threading.Event()

    def __call__(self) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        self.began.set()
        self.may_end.wait(30)
        self.now -= 1
        return 1


def test_a_password_is_hashed_with_bounded_memory(settings: Any) -> None:
    settings.PASSWORD_HASHERS = [OURS]
    encoded = make_password("mosquito-free-evening")
    assert "m=47104,t=2,p=1" in encoded
    assert check_password("mosquito-free-evening", encoded)
    assert not check_password("mosquito-free-morning", encoded)


def test_an_older_hash_is_good_and_is_renewed_when_it_is_used(settings: Any) -> None:
    settings.PASSWORD_HASHERS = [OURS]
    older = Argon2PasswordHasher().encode("mosquito-free-evening", "0123456789abcdef")
    renewed: list[str] = []
    assert check_password("mosquito-free-evening", older, renewed.append)
    assert renewed
    assert BoundedArgon2().must_update(older)


def test_one_at_a_time_some_wait_and_the_others_are_refused_at_once() -> None:
    work = Work()
    with ThreadPoolExecutor(MAY_WAIT) as threads:
        waiting = [threads.submit(in_turn, work) for _ in range(MAY_WAIT)]
        assert work.began.wait(10)
        while password_hashing._places._value:  # until the last of them stands in line
            pass
        with pytest.raises(TooBusy):
            in_turn(work)
        work.may_end.set()
        assert [one.result(10) for one in waiting] == [1] * MAY_WAIT
    assert work.most == 1
    assert in_turn(lambda: 2) == 2


def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_hashing, "WAIT_FOR_S", 0.05)
    work = Work()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(in_turn, work)
        assert work.began.wait(10)
        with pytest.raises(TooBusy):
            in_turn(lambda: 1)
        assert isinstance(first.exception(10), TooBusy)
        work.may_end.set()


@pytest.mark.django_db
def test_a_sign_in_that_came_at_a_bad_time_may_be_tried_again(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHERS = [OURS]
    user = make_user(role=Role.OWNER)
    form = {"login": user.email, "password": "wrong"}

    def busy(_: object) -> None:
        raise TooBusy

    with monkeypatch.context() as patched:
        patched.setattr(password_hashing, "in_turn", busy)
        for _ in range(7):  # more often than wrong ones may be sent
            answer = client.post("/account/login/", form)
            assert answer.status_code == 503
            assert int(answer["Retry-After"]) > 0
            assert b"The password was not checked." in answer.content
    user.set_password("mosquito-free-evening")
    user.save()
    answer = client.post("/account/login/", form | {"password": "mosquito-free-evening"})
    assert answer.status_code == 302
    cache.clear()
