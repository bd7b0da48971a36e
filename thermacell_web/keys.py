"""The server's own secrets: from the environment, else from the data folder's keys.json."""

import json
import os
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet
from django.core.exceptions import ImproperlyConfigured

from thermacell_web.environment import given, refuse

SHORTEST_SECRET = 50
SHORTEST_AUDIT_KEY = 32
_NAMES = ("secret", "encryption", "audit")


class KeyRing:
    """The keys for what is encrypted at rest, newest first; repr shows none of them.

    Those of keys.json are read again whenever the file has changed, so that a rotation reaches
    every process that runs. Those of the environment stay what they were at the start.
    """

    def __init__(self, keys: tuple[str, ...], path: Path | None) -> None:
        self.path = path
        """The file the keys come from; None when they come from the environment."""
        self._lock = threading.Lock()
        self._seen = _stamp(path) if path else None
        self._set(keys)

    def __repr__(self) -> str:
        return "KeyRing(…)"

    def newest_first(self) -> tuple[str, ...]:
        """Return the keys as they are now, the one that encrypts first."""
        self._look()
        return self._keys

    def fernet(self) -> MultiFernet:
        """Return what encrypts with the newest key and opens with any."""
        self._look()
        return self._fernet

    def newest_since(self) -> datetime | None:
        """Return since when the newest key has been in use; None when that was not recorded."""
        since = _read(self.path).get("encryption_since") if self.path else None
        try:
            return datetime.fromisoformat(str(since)).astimezone(UTC) if since else None
        except ValueError:
            return None

    def add(self, now: datetime) -> None:
        """Put a fresh key first in the file; every process encrypts with it from here."""
        self._write((Fernet.generate_key().decode(), *self.newest_first()), now)

    def drop_old(self) -> None:
        """Keep only the newest key in the file."""
        self._write(self.newest_first()[:1], self.newest_since())

    def _set(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def _look(self) -> None:
        if self.path is None or self._seen == (stamp := _stamp(self.path)) or stamp is None:
            return
        with self._lock:
            self._set(_split(_read(self.path)["encryption"]))
            self._seen = stamp

    def _write(self, keys: tuple[str, ...], since: datetime | None) -> None:
        if self.path is None:
            raise ValueError("keys from the environment are changed there")
        kept = _read(self.path) | {"encryption": ",".join(keys)}
        if since is not None:
            kept["encryption_since"] = since.isoformat()
        draft = _draft(self.path, kept)
        os.replace(draft, self.path)
        _sync_folder(self.path.parent)


@dataclass(frozen=True, slots=True)
class Keys:
    """The server's own secrets; repr shows none of them."""

    secret: str
    ring: KeyRing
    audit: str

    def __repr__(self) -> str:
        return "Keys(…)"


def read_keys(data_dir: Path) -> Keys:
    """Return the keys from the environment, else from the data folder's keys.json.

    SECRET_KEY, ENCRYPTION_KEYS (comma separated, newest first) and AUDIT_KEY win one by one.
    The file is created once, readable by its owner only.
    """
    path = data_dir / "keys.json"
    from_environment = {
        name: given(name) for name in ("SECRET_KEY", "ENCRYPTION_KEYS", "AUDIT_KEY")
    }
    kept = {} if all(from_environment.values()) else _kept_keys(path)
    encryption = _split(from_environment["ENCRYPTION_KEYS"] or kept["encryption"])
    secret = from_environment["SECRET_KEY"] or kept["secret"]
    audit = from_environment["AUDIT_KEY"] or kept["audit"]
    if not _is_strong(secret, SHORTEST_SECRET):
        refuse("SECRET_KEY", f"be at least {SHORTEST_SECRET} random characters")
    if not _is_strong(audit, SHORTEST_AUDIT_KEY):
        refuse("AUDIT_KEY", f"be at least {SHORTEST_AUDIT_KEY} random characters")
    try:
        ring = KeyRing(encryption, None if from_environment["ENCRYPTION_KEYS"] else path)
    except ValueError:
        refuse("ENCRYPTION_KEYS", "be Fernet keys, separated by commas (`make key` prints one)")
    return Keys(secret=secret, ring=ring, audit=audit)


def read_fallbacks(name: str) -> list[str]:
    """Return earlier secret keys, whose sessions and links stay good for a while."""
    fallbacks = [key.strip() for key in given(name).split(",") if key.strip()]
    if not all(_is_strong(key, SHORTEST_SECRET) for key in fallbacks):
        refuse(name, "be earlier values of SECRET_KEY, separated by commas")
    return fallbacks


def _is_strong(key: str, shortest: int) -> bool:
    return len(key) >= shortest and len(set(key)) >= 5


def _split(keys: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.split(","))


def _kept_keys(path: Path) -> dict[str, str]:
    if not path.exists():
        fresh = {
            "secret": secrets.token_urlsafe(60),
            "encryption": Fernet.generate_key().decode(),
            "audit": secrets.token_urlsafe(40),
        }
        draft = _draft(path, fresh)
        try:
            os.link(draft, path)  # fails when another process was first: then its keys count
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return _read(path)


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text())
        return {str(name): str(value) for name, value in kept.items()} | {
            name: str(kept[name]) for name in _NAMES
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ImproperlyConfigured(
            f"The key file {path} cannot be read; restore it from a backup, since the linked "
            "cloud accounts cannot be opened without it."
        ) from problem


def _draft(path: Path, kept: dict[str, str]) -> Path:
    """Write the keys beside the file, readable by its owner only, and safely on the disk."""
    draft = path.with_name(f"keys.{os.getpid()}.tmp")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(kept, file)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # the keys that are known stay in use
    return found.st_mtime_ns, found.st_ino, found.st_size
