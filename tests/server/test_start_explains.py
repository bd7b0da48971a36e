"""A start that cannot go on, or goes on with likely mistakes, says so in one sentence."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from devices.presentation import settings_notes
from devices.presentation.settings_notes import about_settings
from devices.server import CannotStart, bootstrap
from tests.conftest import LEFT_OUT
from tests.support import prepared
from tests.support.product import ROOT
from tests.support.started import Started

NOBODY = 65534


def begin(data_dir: Path) -> subprocess.CompletedProcess[str]:
    product = Started(data_dir, demo=False)
    return subprocess.run(
        [sys.executable, "manage.py", "start", "--port", str(product.port)],
        cwd=ROOT,
        env=product.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def prepare(data_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "start", "--prepare"],
        cwd=ROOT,
        env=Started(data_dir, demo=False).environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.processes
def test_what_systemd_runs_first_is_as_careful_as_a_start(tmp_path: Path) -> None:
    prepared.lay({"DATA_DIR": str(tmp_path)})
    first = prepare(tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert (tmp_path / "static").is_dir()
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database, database:
        # a database of an earlier version: one step, which may run twice, is still to come
        database.execute(
            "DELETE FROM django_migrations WHERE app = 'django_q' AND name LIKE '0019%'"
        )
        assert database.total_changes == 1
    second = prepare(tmp_path)
    [backup] = (tmp_path / "backups").glob("before-upgrade-*.tar.gz")
    assert str(backup) in second.stdout + second.stderr
    (tmp_path / "keys.json").unlink()
    third = prepare(tmp_path)
    assert third.returncode == 1
    assert "is not the one that its database belongs to" in third.stderr
    assert "manage.py restore FILE" in third.stderr


@pytest.mark.processes
@pytest.mark.parametrize("name", ["log", "run", "cache", "static"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    ended = begin(tmp_path)
    assert ended.returncode == 1
    assert (
        ended.stderr == f"{tmp_path / name} must be a folder, not a file: move it or rename it.\n"
    )


def said_as_nobody(work: Callable[[], object]) -> str:
    """Return what stops a start by a user without rights; "" when nothing does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
        except CannotStart as problem:
            os.write(writer, str(problem).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as text:
        return text.read()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forks beside the threads of a runner
@pytest.mark.parametrize("name", ["db.sqlite3", "db.sqlite3-wal", "run", "log", "cache"])
def test_what_belongs_to_another_user_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    if os.getuid() != 0:
        pytest.skip(LEFT_OUT + "Only root can give files to another user.")
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(0o755)
    for made in ("run", "log", "cache"):
        (tmp_path / made).mkdir()
    for made in ("db.sqlite3", "db.sqlite3-wal"):
        (tmp_path / made).touch()
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, NOBODY, NOBODY)

    def begin_as_far_as_the_database() -> None:
        bootstrap.prepare_data_dir(tmp_path)
        bootstrap._require_writable(tmp_path / "db.sqlite3")

    assert said_as_nobody(begin_as_far_as_the_database) == ""
    os.chown(tmp_path / name, 0, 0)
    (tmp_path / name).chmod(0o700)
    text = said_as_nobody(begin_as_far_as_the_database)
    assert text.startswith(f"{tmp_path / name} belongs to root and cannot be written by")
    assert "chown -R" in text


@pytest.mark.processes
@pytest.mark.parametrize(
    "content", [b"not a database at all, " * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_broken_database_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "db.sqlite3").write_bytes(content)
    ended = begin(tmp_path)
    assert ended.returncode == 1
    assert f"The database {tmp_path / 'db.sqlite3'} cannot be used (" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.processes
@pytest.mark.parametrize(
    "lay",
    [
        lambda folder: (folder / "db.sqlite3").mkdir(),
        lambda folder: (folder / "static.stamp").mkdir(),
        lambda folder: (folder / "run").mkdir() or (folder / "run" / "start.lock").mkdir(),
    ],
    ids=["database", "stamp", "lock"],
)
def test_a_folder_where_a_file_should_be(tmp_path: Path, lay: Callable[[Path], object]) -> None:
    lay(tmp_path)
    ended = begin(tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert str(tmp_path) in ended.stderr


def test_a_data_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert "could read" in bootstrap.prepare_data_dir(folder)
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert bootstrap.prepare_data_dir(folder) == ""


def test_a_folder_that_all_users_share_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    assert bootstrap.prepare_data_dir(folder) == ""
    assert folder.stat().st_mode & 0o7777 == 0o1777


def test_a_database_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="There is no folder"):
        bootstrap._require_writable(tmp_path / "nowhere" / "db.sqlite3")


@pytest.mark.parametrize(
    ("bind", "url", "is_behind", "hosts", "says"),
    [
        ("127.0.0.1", "http://localhost:8000", False, [], ""),
        ("127.0.0.1", "https://hubs.example.org", True, [], ""),
        ("127.0.0.1", "https://hubs.example.org", False, [], "set BEHIND_PROXY=true"),
        ("0.0.0.0", "http://192.168.1.20:8000", False, [], "Passwords travel unencrypted"),  # noqa: S104
        ("127.0.0.1", "http://192.168.1.20:8000", False, [], "Set BIND=0.0.0.0"),
        ("0.0.0.0", "http://localhost:8000", False, [], "only localhost is answered"),  # noqa: S104
        ("192.168.1.20", "http://localhost:8000", False, [], "only localhost is answered"),
        ("0.0.0.0", "http://localhost:8000", False, ["nas.local"], ""),  # noqa: S104
    ],
)
def test_settings_that_likely_are_not_meant(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    bind: str,
    url: str,
    is_behind: bool,
    hosts: list[str],
    says: str,
) -> None:
    monkeypatch.setattr(settings_notes, "CONTAINER_MARKS", ())  # these tests may run inside one
    settings.BEHIND_PROXY = is_behind
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *hosts]
    text = " ".join(about_settings(bind, urlsplit(url).port or 8000, url))
    assert says in text
    assert bool(says) == bool(text)


def test_inside_a_container_the_outside_decides_who_comes_in(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = tmp_path / ".containerenv"
    mark.touch()
    monkeypatch.setattr(settings_notes, "CONTAINER_MARKS", (str(mark),))
    settings.ALLOWED_HOSTS = ["localhost"]
    assert not list(about_settings("0.0.0.0", 8000, "http://localhost:8000"))  # noqa: S104


def test_a_misspelt_name_in_the_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHIND_PROXI", "true")
    text = " ".join(about_settings("127.0.0.1", 8000, "http://localhost:8000"))
    assert "BEHIND_PROXI in the environment is no setting of this product. Is BEHIND_PROXY" in text
