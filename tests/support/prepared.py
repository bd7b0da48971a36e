"""Databases that have their tables already: the migrations run once for all tests of a run.

For tests of what happens afterwards. Those about a first start or an upgrade begin with nothing.
The parts of `make test` share what the first of them made; `python -m tests.support.prepared`
removes it in the end, and the next run what a broken one left.
"""

import atexit
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from django.db import connections

from tests.support import services

ROOT = Path(__file__).resolve().parents[2]
SQLITE = "db.sqlite3"
# What Django calls the database of tests.
IN_MEMORY = "file:memorydb_default?mode=memory&cache=shared"
RUN, PREFIX = "TEST_RUN_PREPARED", "thermacell-web-test-prepared-"


def lay(environment: Mapping[str, str]) -> None:
    """Give the installation of this environment its tables, as `manage.py migrate` would.

    Its database, in the data folder or at DATABASE_URL, must be new.
    """
    if url := environment.get("DATABASE_URL"):
        _copy_postgres(urlsplit(url).path.removeprefix("/"))
    else:
        data_dir = Path(environment["DATA_DIR"])
        data_dir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_sqlite(), data_dir / SQLITE)


def lay_for_rows() -> None:
    """Give the database that Django is about to make for tests with rows its tables."""
    connection = connections["default"]
    if connection.vendor == "postgresql":
        with _alone():
            _make_template()
        connection.settings_dict["TEST"]["TEMPLATE"] = _template()
        return
    made, kept = sqlite3.connect(_sqlite()), sqlite3.connect(IN_MEMORY, uri=True)
    with closing(made):
        made.backup(kept)
    atexit.register(kept.close)  # the database is gone with its last connection


def clean() -> None:
    """Remove what this run prepared."""
    if not _folder().exists():
        return
    if (_folder() / "postgres").exists():
        with services.as_owner() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{_template()}" WITH (FORCE)'.encode())
    shutil.rmtree(_folder())


def begin() -> None:
    """Say that this process and those it starts share what is prepared, and that it cleans up."""
    if RUN not in os.environ:
        os.environ[RUN] = str(os.getpid())
        atexit.register(clean)


def end() -> None:
    """Remove what this run prepared, and what runs left that are over."""
    own = os.environ.get(RUN)
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        number = folder.name.removeprefix(PREFIX)
        if number == own or not psutil.pid_exists(int(number)):
            os.environ[RUN] = number
            clean()


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / f"{PREFIX}{os.environ[RUN]}"


def _template() -> str:
    return f"thermacell_web_test_{os.environ[RUN]}"


def _sqlite() -> Path:
    with _alone():
        made = _folder() / SQLITE
        if not made.exists():
            making = _folder() / "making"
            _migrate({"DATA_DIR": str(making)})
            (making / SQLITE).rename(made)
    return made


def _make_template() -> None:
    made = _folder() / "postgres"
    if not made.exists():
        with services.as_owner() as connection:
            connection.execute(f'CREATE DATABASE "{_template()}"'.encode())
        url = services.with_database(services.postgres_url(), _template())
        _migrate({"DATA_DIR": str(_folder() / "making"), "DATABASE_URL": url})
        made.touch()


def _copy_postgres(name: str) -> None:
    with _alone():
        _make_template()
        with services.as_owner() as connection:
            connection.execute(f'DROP DATABASE "{name}"'.encode())
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{_template()}"'.encode())


@contextmanager
def _alone() -> Iterator[None]:
    begin()
    _folder().mkdir(mode=0o700, exist_ok=True)
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _migrate(variables: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": "", **variables},
        check=True,
    )


if __name__ == "__main__":
    end()
