"""Sessions in the database, encrypted and bound to their id.

What Django stores is signed and readable: a copy of the database would show what a session holds
while a password is set or a second factor added, and one session's content could be put into
another's row.
"""

import json
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """A session whose stored content only this server can read, and only under its own id."""

    def encode(self, session_dict: dict[str, Any]) -> str:
        """Return what is stored for the session with the present id."""
        content = json.dumps([self.session_key, session_dict])
        return _lock().encrypt(content.encode()).decode()

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """Return what was stored under this id; nothing when it was stored otherwise."""
        data = session_data.encode() if isinstance(session_data, str) else session_data
        try:
            session_key, content = json.loads(_lock().decrypt(data))
        except (InvalidToken, ValueError, TypeError):
            return {}
        return dict(content) if session_key == self.session_key else {}


def _lock() -> MultiFernet:
    return _lock_of((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=4)
def _lock_of(keys: tuple[str, ...]) -> MultiFernet:
    digests = (sha256(b"thermacell.session-content\n" + key.encode()).digest() for key in keys)
    return MultiFernet([Fernet(urlsafe_b64encode(digest)) for digest in digests])
