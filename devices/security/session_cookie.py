"""The cookie of a session: the session's id with a seal made by SECRET_KEY.

The ids are in the database. Without the seal, a copy of the database would open every session.
"""

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.signing import BadSignature, Signer
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse

from devices.models.database_trouble import Trouble, trouble_of

_SALT = "thermacell.session"


def seal(session_key: str) -> str:
    """Return what the cookie of this session holds."""
    return Signer(salt=_SALT).sign(session_key)


def key_of(cookie: str) -> str | None:
    """Return the id of the session that the cookie opens; None without a genuine seal."""
    try:
        return Signer(salt=_SALT).unsign(cookie)
    except BadSignature:
        return None


def session_key_in(request: HttpRequest) -> str | None:
    """Return the id of the session that the request's cookie opens, if any."""
    return key_of(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))


class SealedSessions(SessionMiddleware):
    """Open the session of a sealed cookie, and seal the cookie that is sent."""

    def process_request(self, request: HttpRequest) -> None:
        request.session = self.SessionStore(session_key_in(request))

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        try:
            answer = super().process_response(request, response)
        except DatabaseError as error:
            # a page that was only read is worth more than what it would note
            if request.method != "GET" or trouble_of(error) in {None, Trouble.AWAY}:
                raise
            answer = response
        cookie = answer.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and cookie.value:  # empty: the session has ended
            sealed = seal(cookie.value)
            cookie.set(settings.SESSION_COOKIE_NAME, sealed, sealed)
        return answer
