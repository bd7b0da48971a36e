"""The file of a backup: whatever it claims, unpacking it stays within limits."""

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.utils import timezone

from devices.backup import CannotKeep, archive
from devices.backup.archive import Manifest

ZEROS = 300 << 20


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Write a small backup."""
    database = tmp_path / "copy"
    database.write_bytes(b"rows " * 100)
    manifest = Manifest(timezone.now(), "1", "sqlite", "", (), 0, "", 0, {})
    path = tmp_path / "kept.tar.gz"
    archive.write(path, manifest, database, b"{}")
    return path


def manifest_of(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as tar:
        found = tar.extractfile("manifest.json")
        assert found is not None
        return dict(json.loads(found.read()))


class Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return b"\0" * size


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def large_database(path: Path, found: dict[str, Any]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "manifest.json", json.dumps(found).encode())
        add(tar, "keys.json", b"{}")
        member = tarfile.TarInfo("database")
        member.size = ZEROS
        tar.addfile(member, Zeros())


def large_database_that_the_manifest_names(path: Path, found: dict[str, Any]) -> None:
    large_database(path, found | {"sizes": {"database": ZEROS, "keys.json": 2}})


def large_database_of_an_earlier_version(path: Path, found: dict[str, Any]) -> None:
    large_database(path, {name: value for name, value in found.items() if name != "sizes"})


def large_keys(path: Path, found: dict[str, Any]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "manifest.json", json.dumps(found | {"sizes": {}}).encode())
        add(tar, "keys.json", b"\0" * 2_000_000)


def large_extra_member_first(path: Path, found: dict[str, Any]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "manifest.json", json.dumps(found).encode())
        member = tarfile.TarInfo("more")
        member.size = ZEROS
        tar.addfile(member, Zeros())


def file_with_holes(path: Path, found: dict[str, Any]) -> None:
    """A sparse member: a few bytes in the file, any size when it is unpacked."""
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "manifest.json", json.dumps(found | {"sizes": {}}).encode())
        header = bytearray(tarfile.TarInfo("database").tobuf(tarfile.GNU_FORMAT))
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[483:495] = b"%011o\0" % ZEROS
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        tar.fileobj.write(bytes(header))
        tar.offset += len(header)


WAYS: list[Callable[[Path, dict[str, Any]], None]] = [
    large_database,
    large_database_that_the_manifest_names,
    large_database_of_an_earlier_version,
    large_keys,
    large_extra_member_first,
    file_with_holes,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_small_file_never_unpacks_to_a_large_one(
    kept: Path, tmp_path: Path, way: Callable[[Path, dict[str, Any]], None]
) -> None:
    bomb, folder = tmp_path / "bomb.tar.gz", tmp_path / "into"
    folder.mkdir()
    way(bomb, manifest_of(kept))
    assert bomb.stat().st_size < 1_000_000
    with pytest.raises(CannotKeep, match="unpacks to more than is allowed"):
        archive.unpack(bomb, folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1000


@pytest.mark.parametrize("name", ["manifest.json", "pax"])
def test_a_large_beginning_is_not_even_read(tmp_path: Path, name: str) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, "wb") as packed:
        member = tarfile.TarInfo(name)
        member.size = ZEROS
        if name == "pax":
            member.type = tarfile.XHDTYPE
        packed.write(member.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(ZEROS >> 20):
            packed.write(b"\0" * (1 << 20))
    with pytest.raises(CannotKeep, match="is not a backup"):
        archive.read(bomb)


def test_a_full_disk_is_said_before_anything_is_written(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(archive.LEFT_FREE_BYTES + 10))
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises(CannotKeep, match="the disk has not enough room"):
        archive.unpack(kept, folder)
    assert not (folder / "database").exists()


def test_a_good_backup_unpacks_readable_by_its_owner_only(kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "into"
    folder.mkdir()
    archive.unpack(kept, folder)
    assert (folder / "database").read_bytes() == b"rows " * 100
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert manifest_of(kept)["sizes"] == {"database": 500, "keys.json": 2}
