"""The one file of a backup: database, keys, and a manifest to check both by."""

import hashlib
import io
import json
import os
import tarfile
import zlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from devices.backup import CannotKeep

FORMAT = 1
MANIFEST, KEYS, DATABASE = "manifest.json", "keys.json", "database"
LARGEST_MANIFEST = 1_000_000
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says about itself."""

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


def write(path: Path, manifest: Manifest, database: Path, keys: bytes) -> Manifest:
    """Write the file, readable by its owner only, and return the manifest with its checksums.

    Nothing is there until all of it is: it gets its name at the very end. Raises FileExistsError.
    """
    with database.open("rb") as file:
        sums = {DATABASE: _checksum(file), KEYS: hashlib.sha256(keys).hexdigest()}
    manifest = replace(manifest, checksums=sums)
    told = json.dumps(asdict(manifest) | {"format": FORMAT}, default=_as_text, indent=1).encode()
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            with tarfile.open(fileobj=out, mode="w:gz", compresslevel=6) as tar:
                for name, content in ((MANIFEST, told), (KEYS, keys)):
                    tar.addfile(_member(name, len(content), manifest), io.BytesIO(content))
                with database.open("rb") as file:
                    size = database.stat().st_size
                    tar.addfile(_member(DATABASE, size, manifest), file)
            out.flush()
            os.fsync(out.fileno())
        os.link(draft, path)  # unlike a rename it never writes over another file
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def read(path: Path) -> Manifest:
    """Return what the file says about itself; raises CannotKeep."""
    try:
        with tarfile.open(path, "r:gz") as tar:
            first = tar.next()
            if first is None or first.name != MANIFEST or first.size > LARGEST_MANIFEST:
                raise CannotKeep(f"{path} is not a backup of Thermacell Web.")
            file = tar.extractfile(first)
            told: dict[str, Any] = json.loads(file.read()) if file is not None else {}
            return _manifest(told, path)
    except FileNotFoundError as problem:
        raise CannotKeep(f"There is no file {path}.") from problem
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as problem:
        raise CannotKeep(f"{path} cannot be read as a backup ({problem}).") from problem


def unpack(path: Path, folder: Path) -> None:
    """Put database and keys into the folder, owner-only, if their checksums fit.

    Raises CannotKeep.
    """
    manifest = read(path)
    missing = {DATABASE, KEYS}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                if member.name in missing and member.isreg():
                    _extract(tar, member, folder / member.name, manifest, path)
                    missing.discard(member.name)
    except (tarfile.TarError, EOFError, zlib.error) as problem:
        raise CannotKeep(
            f"{path} is damaged ({problem}): nothing was restored. Use another backup."
        ) from problem
    if missing:
        raise CannotKeep(f"{path} is not whole: {' and '.join(sorted(missing))} is missing.")


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


def _manifest(told: dict[str, Any], path: Path) -> Manifest:
    if told.get("format") != FORMAT:
        raise CannotKeep(
            f"{path} was made by another version ({told.get('version', 'unknown')}) in a form that "
            "this one does not read: restore it with that version."
        )
    try:
        return Manifest(
            made_at=datetime.fromisoformat(told["made_at"]),
            version=str(told["version"]),
            kind=str(told["kind"]),
            schema=str(told["schema"]),
            migrations=tuple(map(str, told["migrations"])),
            audit_sequence=int(told["audit_sequence"]),
            audit_digest=str(told["audit_digest"]),
            live_jobs=int(told["live_jobs"]),
            checksums={str(name): str(value) for name, value in told["checksums"].items()},
        )
    except (KeyError, TypeError, AttributeError) as problem:
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
