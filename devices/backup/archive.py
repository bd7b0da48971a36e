"""The one file of a backup: database, keys, and a manifest to check both by."""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from devices.backup import CannotKeep

FORMAT = 1
MANIFEST, KEYS, DATABASE = "manifest.json", "keys.json", "database"
LARGEST_MANIFEST = 1_000_000
LARGEST_KEYS = 1_000_000
CHUNK = 1 << 20
# A backup may unpack to so many times its size: a database packs to a quarter or so, never to a
# hundredth. What is small in any case may. Some room on the disk is left for everything else.
MOST_TIMES, SMALL_BYTES, LEFT_FREE_BYTES = 100, 64 << 20, 64 << 20
# What a tar adds to its members: blocks of 512 bytes, and headers.
AROUND_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds, and what made it."""

    made_at: datetime
    version: str
    kind: str
    """The database's: sqlite or postgresql."""
    schema: str
    """Where the tables live; "" for SQLite."""
    migrations: tuple[str, ...]
    audit_sequence: int
    audit_digest: str
    live_jobs: int
    checksums: dict[str, str]
    """SHA-256 of each other member, by name."""
    sizes: dict[str, int] = field(default_factory=dict)
    """The size of each other member in bytes, by name; empty in backups of earlier versions."""


def write(path: Path, manifest: Manifest, database: Path, keys: bytes) -> Manifest:
    """Write the file, readable by its owner only, and return the manifest with its checksums.

    Nothing is there until all of it is: it gets its name at the very end. Raises FileExistsError.
    """
    with database.open("rb") as file:
        sums = {DATABASE: _checksum(file), KEYS: hashlib.sha256(keys).hexdigest()}
    sizes = {DATABASE: database.stat().st_size, KEYS: len(keys)}
    manifest = replace(manifest, checksums=sums, sizes=sizes)
    about = json.dumps(asdict(manifest) | {"format": FORMAT}, default=_as_text, indent=1).encode()
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            with tarfile.open(fileobj=out, mode="w:gz", compresslevel=6) as tar:
                for name, content in ((MANIFEST, about), (KEYS, keys)):
                    tar.addfile(_member(name, len(content), manifest), io.BytesIO(content))
                with database.open("rb") as file:
                    tar.addfile(_member(DATABASE, sizes[DATABASE], manifest), file)
            out.flush()
            os.fsync(out.fileno())
        os.link(draft, path)  # unlike a rename it never writes over another file
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def read(path: Path) -> Manifest:
    """Return the manifest of a backup; raises CannotKeep."""
    try:
        with _opened(path, LARGEST_MANIFEST + AROUND_BYTES) as tar:
            first = tar.next()
            if first is None or first.name != MANIFEST or not _is_plain(first, LARGEST_MANIFEST):
                raise CannotKeep(f"{path} is not a backup of Thermacell Web.")
            file = tar.extractfile(first)
            return _manifest(json.loads(file.read()) if file is not None else {}, path)
    except _TooLarge as problem:
        raise CannotKeep(f"{path} is not a backup of Thermacell Web.") from problem
    except FileNotFoundError as problem:
        raise CannotKeep(f"There is no file {path}.") from problem
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as problem:
        raise CannotKeep(f"{path} cannot be read as a backup ({problem}).") from problem


def unpack(path: Path, folder: Path) -> None:
    """Put database and keys into the folder, owner-only, if their sizes and checksums fit.

    Never writes more than the limits allow. Raises CannotKeep.
    """
    manifest = read(path)
    most = max(SMALL_BYTES, path.stat().st_size * MOST_TIMES)
    room = max(0, shutil.disk_usage(folder).free - LEFT_FREE_BYTES)
    largest = {KEYS: LARGEST_KEYS, DATABASE: min(most, room)}
    missing = {DATABASE, KEYS}
    try:
        with _opened(path, most + LARGEST_MANIFEST + LARGEST_KEYS + AROUND_BYTES) as tar:
            for member in tar:
                if member.name not in missing:
                    continue
                size = manifest.sizes.get(member.name, member.size)
                if not _is_plain(member, largest[member.name]) or member.size != size:
                    raise _TooLarge(member.name, member.size)
                _extract(tar, member, folder / member.name, manifest, path)
                missing.discard(member.name)
                if not missing:
                    return
    except _TooLarge as problem:
        reason = (
            "the disk has not enough room for it"
            if room < most
            else "it is not what a backup of this size can hold"
        )
        raise CannotKeep(
            f"{path} unpacks to more than is allowed ({reason}): nothing was restored."
        ) from problem
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise CannotKeep(
            f"{path} is damaged ({problem}): nothing was restored. Use another backup."
        ) from problem
    if missing:
        raise CannotKeep(f"{path} is not whole: {' and '.join(sorted(missing))} is missing.")


class _TooLarge(Exception):
    """A member, or the whole file, unpacks to more than its limit."""


class _Bounded(io.RawIOBase):
    """Reads a gzip file forward, up to a limit of unpacked bytes. Raises _TooLarge."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self.file, self.left = file, limit

    def read(self, size: int = -1) -> bytes:
        piece = self.file.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(piece)
        if self.left < 0:
            raise _TooLarge
        return piece


@contextmanager
def _opened(path: Path, limit: int) -> Iterator[tarfile.TarFile]:
    with (
        gzip.open(path, "rb") as packed,
        tarfile.open(fileobj=cast(IO[bytes], _Bounded(packed, limit)), mode="r|") as tar,
    ):
        yield tar


def _is_plain(member: tarfile.TarInfo, largest: int) -> bool:
    """Is it a regular file of an allowed size, without holes that unpack to zeros?"""
    return member.isreg() and not member.issparse() and member.size <= largest


def _extract(
    tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, manifest: Manifest, path: Path
) -> None:
    source = tar.extractfile(member)
    digest = hashlib.sha256()
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while source is not None and (piece := source.read(CHUNK)):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != manifest.checksums.get(member.name):
        raise CannotKeep(
            f"{path} is damaged: the checksum of its {member.name} does not fit. Nothing was "
            "restored. Use another backup."
        )


def _manifest(found: dict[str, Any], path: Path) -> Manifest:
    if found.get("format") != FORMAT:
        raise CannotKeep(
            f"{path} was made by another version ({found.get('version', 'unknown')}) in a format "
            "that this one does not read: restore it with that version."
        )
    try:
        return Manifest(
            made_at=datetime.fromisoformat(found["made_at"]),
            version=str(found["version"]),
            kind=str(found["kind"]),
            schema=str(found["schema"]),
            migrations=tuple(map(str, found["migrations"])),
            audit_sequence=int(found["audit_sequence"]),
            audit_digest=str(found["audit_digest"]),
            live_jobs=int(found["live_jobs"]),
            checksums={str(name): str(value) for name, value in found["checksums"].items()},
            sizes={str(name): int(value) for name, value in found.get("sizes", {}).items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise CannotKeep(f"{path} is not a backup of Thermacell Web.") from problem


def _member(name: str, size: int, manifest: Manifest) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    member.mtime = int(manifest.made_at.timestamp())
    return member


def _checksum(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
