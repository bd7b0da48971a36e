"""Django's test client, whose cookie has the seal of `devices.security.session_cookie`."""

from typing import Any

from django import test
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.signals import request_finished
from django.db import close_old_connections
from django.http import HttpRequest

from devices.security.session_cookie import key_of, seal
from devices.security.session_store import SessionStore


class Client(test.Client):
    """A client that signs in as a browser does: with a sealed cookie."""

    @property
    def session(self) -> SessionBase:
        """Return the session of the cookie; a new one without."""
        cookie = self.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and cookie.value:
            return SessionStore(key_of(cookie.value))
        session = SessionStore()
        session.save()
        self.cookies[settings.SESSION_COOKIE_NAME] = seal(str(session.session_key))
        return session

    def _set_login_cookies(self, request: HttpRequest) -> None:
        super()._set_login_cookies(request)  # type: ignore[misc]
        cookie = self.cookies[settings.SESSION_COOKIE_NAME]
        sealed = seal(cookie.value)
        cookie.set(settings.SESSION_COOKIE_NAME, sealed, sealed)


def hang_up(answer: Any) -> None:
    """End an answer before all of it was read."""
    # as the test client does: the connection of the test's own transaction stays open
    request_finished.disconnect(close_old_connections)
    answer.close()
    request_finished.connect(close_old_connections)
