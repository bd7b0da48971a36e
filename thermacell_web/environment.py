"""Typed, checked values from the environment, and the keys a first start creates.

A value that cannot be used raises ImproperlyConfigured with one sentence that names the variable.
"""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError, validate

env = Env()


def read(reader: Callable[..., Any], name: str, default: Any = None, **options: Any) -> Any:
    """Return the variable through an environs reader; a bad value is one sentence."""
    try:
        if default is None and name not in os.environ:
            return None
        return reader(name, default, **options)
    except (EnvError, ValueError) as problem:
        raise ImproperlyConfigured(
            f"{name} is set to a value that cannot be used: {problem}. See .env.example."
        ) from problem


def read_number(name: str, default: int, low: int, high: int) -> int:
    """Return a whole number between low and high."""
    value: int = read(env.int, name, default, validate=validate.Range(min=low, max=high))
    return value


def read_time_zone(name: str, default: str) -> str:
    """Return the name of an IANA time zone."""
    value = os.environ.get(name, default)
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError) as problem:
        raise ImproperlyConfigured(
            f"{name} must be the name of a time zone, such as Europe/Berlin, not {value!r}."
        ) from problem
    return value


def read_origin(name: str, default: str) -> str:
    """Return an address such as https://hubs.example.org, without path or trailing slash."""
    value = os.environ.get(name, default).rstrip("/")
    try:
        parts = urlsplit(value)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and not (parts.path or parts.query or parts.fragment or parts.username)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable = False
    if not usable:
        raise ImproperlyConfigured(
            f"{name} must be the address people open, such as https://hubs.example.org, "
            f"not {value!r}."
        )
    return value


@dataclass(frozen=True, slots=True)
class Keys:
    """The server's own secrets; repr shows none of them."""

    secret: str
    encryption: tuple[str, ...]
    audit: str

    def __repr__(self) -> str:
        return "Keys(…)"


def read_keys(data_dir: Path) -> Keys:
    """Return the keys from the environment, else from the data folder's keys.json.

    SECRET_KEY, ENCRYPTION_KEYS (comma separated, newest first) and AUDIT_KEY win one by one.
    The file is created once, readable by its owner only, and never written over.
    """
    given = {
        "secret": os.environ.get("SECRET_KEY", ""),
        "encryption": os.environ.get("ENCRYPTION_KEYS", ""),
        "audit": os.environ.get("AUDIT_KEY", ""),
    }
    kept = {} if all(given.values()) else _kept_keys(data_dir / "keys.json")
    keys = Keys(
        secret=given["secret"] or kept["secret"],
        encryption=tuple((given["encryption"] or kept["encryption"]).split(",")),
        audit=given["audit"] or kept["audit"],
    )
    for key in keys.encryption:
        try:
            Fernet(key)
        except ValueError as problem:
            raise ImproperlyConfigured(
                "ENCRYPTION_KEYS must be Fernet keys, separated by commas; "
                "`python manage.py new_key` prints one."
            ) from problem
    return keys


def _kept_keys(path: Path) -> dict[str, str]:
    if not path.exists():
        fresh = {
            "secret": secrets.token_urlsafe(60),
            "encryption": Fernet.generate_key().decode(),
            "audit": secrets.token_urlsafe(40),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"keys.{os.getpid()}.tmp")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(fresh, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails when another process was first: then its keys count
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        kept = json.loads(path.read_text())
        return {name: str(kept[name]) for name in ("secret", "encryption", "audit")}
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ImproperlyConfigured(
            f"The key file {path} cannot be read; restore it from a backup, since the linked "
            "cloud accounts cannot be opened without it."
        ) from problem
