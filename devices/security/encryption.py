"""Encrypt secrets at rest with the server's keys."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class DecryptionError(Exception):
    """The stored secret was encrypted with a key this server does not have."""


def encrypt(secret: str) -> str:
    """Return the secret encrypted with the newest of the server's keys."""
    return _keys().encrypt(secret.encode()).decode()


def decrypt(sealed: str) -> str:
    """Return the secret; raises DecryptionError when no key opens it."""
    try:
        return _keys().decrypt(sealed.encode()).decode()
    except InvalidToken as problem:
        raise DecryptionError(
            "a stored secret cannot be opened with this server's keys"
        ) from problem


def uses_newest_key(sealed: str) -> bool:
    """Return whether the secret was encrypted with the newest key."""
    try:
        Fernet(settings.KEY_RING.newest_first()[0]).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def reencrypt(sealed: str) -> str:
    """Return the secret encrypted with the newest key; raises DecryptionError when no key fits."""
    try:
        return _keys().rotate(sealed.encode()).decode()
    except InvalidToken as problem:
        raise DecryptionError(
            "a stored secret cannot be opened with this server's keys"
        ) from problem


def _keys() -> MultiFernet:
    ring: MultiFernet = settings.KEY_RING.fernet()
    return ring
