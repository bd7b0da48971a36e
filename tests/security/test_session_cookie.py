"""A copy of the database holds the ids of sessions, and none of them opens one."""

from http.cookies import Morsel
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.sessions.models import Session

from devices.security.session_cookie import key_of, seal
from tests.support.client import Client
from tests.support.factories import PASSWORD, make_household, make_owner

pytestmark = pytest.mark.django_db
PAGE = "/account/sessions/"


def signed_in() -> tuple[Client, Morsel[str]]:
    """Sign in on the page, as a browser does, and return the cookie it was given."""
    user, client = make_owner(make_household()), Client()
    answer = client.post("/account/login/", {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client, answer.cookies[configured.SESSION_COOKIE_NAME]


def status_with(cookie: str) -> int:
    client = Client()
    client.cookies[configured.SESSION_COOKIE_NAME] = cookie
    return client.get(PAGE).status_code


def test_what_the_database_holds_opens_no_session() -> None:
    client, cookie = signed_in()
    assert client.get(PAGE).status_code == 200
    stored = Session.objects.get().session_key
    assert status_with(cookie.value) == 200
    assert cookie.value != stored
    assert status_with(stored) == 302


def test_another_seal_opens_no_session() -> None:
    _, cookie = signed_in()
    key, _, mark = cookie.value.rpartition(":")
    for forged in (f"{key}:", f"{key}:{mark[::-1]}", f"{key}:{seal('other').rpartition(':')[2]}"):
        assert status_with(forged) == 302, forged


def test_a_new_secret_key_keeps_sessions_while_the_old_one_is_a_fallback(settings: Any) -> None:
    _, cookie = signed_in()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [settings.SECRET_KEY]
    assert key_of(cookie.value)
    settings.SECRET_KEY_FALLBACKS = []
    assert key_of(cookie.value) is None


def test_the_cookie_keeps_what_protects_it() -> None:
    client, cookie = signed_in()
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["max-age"] == configured.SESSION_COOKIE_AGE
    answer = client.post("/account/logout/")
    assert answer.cookies[configured.SESSION_COOKIE_NAME].value == ""
    assert status_with(cookie.value) == 302
