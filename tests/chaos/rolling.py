"""A rolling upgrade: hosts on two neighbouring versions carry out installs beside each other.

    python -m tests.chaos --rolling [--old REF]

1. Two hosts run the older version. 2. One stops, is upgraded, migrates the database and starts;
the other goes on. 3. That one stops, is upgraded too and starts. In each part people install on
both, and afterwards the laws of every other run hold. The older version is taken from the history.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from time import sleep

from tests.chaos.installation import Installation
from tests.chaos.machine import Life, Result, Run, head, settle, tail
from tests.support.product import ROOT

MIGRATIONS = "devices/migrations"
PARTS = ("the older version on both", "both versions beside each other", "the newer one on both")


class NoHistory(Exception):
    """There is no older version here to begin with."""


def older_version() -> str:
    """Return the newest commit of the main line whose migrations are the first ones of today's.

    Raises NoHistory.
    """
    now = sorted(path.name for path in (ROOT / MIGRATIONS).glob("[0-9]*.py"))
    for commit in _git("rev-list", "--first-parent", "HEAD").split():
        listed = _git("ls-tree", "--name-only", commit, f"{MIGRATIONS}/").split()
        then = sorted(Path(path).name for path in listed if Path(path).name[0].isdigit())
        if then and len(then) < len(now) and then == now[: len(then)]:
            return commit
    raise NoHistory("no commit has the first of today's migrations and fewer")


def play(run: Run, old: str) -> Result:
    """Upgrade from that commit while people install; each part takes a third of the installs."""
    result = Result(run)
    with tempfile.TemporaryDirectory(prefix="rolling-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        before = _taken_out(old, folder / "before")
        with Installation(
            folder,
            homes=run.homes,
            hubs=run.hubs,
            pace=run.pace,
            database_url=run.database_url,
            broken="",
            hosts=run.hosts,
            root=before,
            python=_python_of(before, folder / "environment"),
        ) as installation:
            _upgrade(run, installation, result)
    of = _git("log", "-1", "--format=%h of %cs, %s", old).strip()
    result.lines.insert(0, f"From {of}, to what is here.")
    return result


def _upgrade(run: Run, installation: Installation, result: Result) -> None:
    life = Life(run, installation)
    life.begin()
    first, second = installation.hosts
    lines = []
    seen, pages = 0, life.troubles()
    for number, (part, host) in enumerate(zip(PARTS, (None, second, first), strict=True), 1):
        if host is not None:
            host.stop()
            host.runs(ROOT)
            host.lines.clear()
            host.start()
        while len(life.diary.accepted) < run.installs * number / len(PARTS):
            if life.took_s > run.limit_s:
                result.violations.append(f"{len(life.diary.accepted)} installs until: {part}")
                break
            sleep(1)
        failed = life.troubles() - pages
        lines.append(
            f"  {part}: {len(life.diary.accepted) - seen} installs accepted, pages that failed: "
            + (", ".join(f"{what} {often}" for what, often in sorted(failed.items())) or "none")
        )
        seen, pages = len(life.diary.accepted), life.troubles()
    took_s = life.took_s
    life.end()
    books, trail = settle(installation, life, result)
    result.lines = [*head(run, books, life, took_s, ""), *lines, *tail(books, life, trail)]


def _taken_out(commit: str, folder: Path) -> Path:
    """Lay the program as it was at that commit into the folder, and return it."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    return folder


def _python_of(program: Path, folder: Path) -> str:
    """Return a Python that has what that program needs: this one, or one of a new environment."""
    needs = "requirements.txt"
    if (program / needs).read_text() == (ROOT / needs).read_text():
        return sys.executable
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    install = (python, "-m", "pip", "install", "--quiet", "-r", program / needs)
    subprocess.run(install, check=True)
    return python


def _git(*words: str) -> str:
    """Return what git answers; raises NoHistory where there is none."""
    try:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, check=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as problem:
        raise NoHistory(f"git {words[0]} has no answer here") from problem
