"""What a session holds is read by this server alone, and only under the session's own id."""

from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from django.contrib.sessions.models import Session

from devices.models import User
from devices.security.session_cookie import seal
from devices.security.session_store import SessionStore
from tests.support.client import Client
from tests.support.factories import make_household, make_owner

pytestmark = pytest.mark.django_db
PAGE = "/account/sessions/"


def stored(key: str) -> Session:
    return Session.objects.get(session_key=key)


def session_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    assert client.get(PAGE).status_code == 200
    return str(client.session.session_key)


def test_the_content_of_one_session_opens_nothing_in_another() -> None:
    """A person who can write rows puts a victim's content under an id they were given."""
    victim = stored(session_of(make_owner(make_household())))
    mine = SessionStore()
    mine["visit"] = 1
    mine.save()
    thief = Client()
    thief.cookies["sessionid"] = seal(str(mine.session_key))
    Session.objects.filter(session_key=mine.session_key).update(session_data=victim.session_data)
    assert thief.get(PAGE).status_code == 302
    assert SessionStore(mine.session_key).load() == {}
    assert SessionStore(victim.session_key).load()["_auth_user_id"]


def test_nothing_of_it_can_be_read() -> None:
    user = make_owner(make_household())
    client = Client()
    client.force_login(user)
    session = client.session
    session[SECRET_SESSION_KEY] = "JBSWY3DPEHPK3PXP"
    session.save()
    row = stored(str(session.session_key))
    for secret in ("JBSWY3DPEHPK3PXP", "_auth_user_hash", user.email):
        assert secret not in row.session_data
    assert row.get_decoded() == {} or "JBSWY" not in str(row.get_decoded())


def test_content_follows_its_session_to_a_new_id() -> None:
    session = SessionStore()
    session["kept"] = {"n": [1, None]}
    session.save()
    before = session.session_key
    session.cycle_key()
    assert session.session_key != before
    assert SessionStore(session.session_key)["kept"] == {"n": [1, None]}


def test_an_earlier_secret_key_reads_it_while_it_is_a_fallback(settings: Any) -> None:
    session = SessionStore()
    session["kept"] = 1
    session.save()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [settings.SECRET_KEY]
    assert SessionStore(session.session_key).load() == {"kept": 1}
    settings.SECRET_KEY_FALLBACKS = []
    assert SessionStore(session.session_key).load() == {}


@pytest.mark.parametrize("data", ["", "x", "eyJhIjoxfQ:1abc:def"])
def test_what_was_not_stored_by_it_is_an_empty_session(data: str) -> None:
    session = SessionStore()
    session.save()
    Session.objects.filter(session_key=session.session_key).update(session_data=data)
    assert SessionStore(session.session_key).load() == {}
