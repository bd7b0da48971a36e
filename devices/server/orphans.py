"""One start at a time in a data folder, and nothing left behind by one that was killed.

Every program of a start keeps a file of the start's run folder open, its mark, and so does what it
forks; what these start as another command has the folder in its environment. That holds for orphans
whose parent is gone, survives restarts, and is never true of another user's process.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
from django.conf import settings

MARK, PROGRAM = "RUN_FOLDER", "RUN_PROGRAM"
ENDING = ".mark"
WORKING = "working.lock"


class Lock:
    """Held by the one running start of a data folder; the kernel frees it, however that dies."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+")  # noqa: SIM115 - open for as long as the lock is held

    def take(self) -> bool:
        """Take the lock; False when a running start holds it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.note("")
        return True

    def note(self, text: str) -> None:
        """Write a note for the start that finds the lock taken."""
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()

    def holder(self) -> str:
        self._file.seek(0)
        return self._file.read()

    def fileno(self) -> int:
        """Return the open file: a forked process that keeps it open would hold the lock too."""
        return self._file.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def mark(run_folder: Path, program: str) -> None:
    """Mark this process, and all that it starts from now on, as a program of this run folder."""
    # never closed: it is open for as long as the process lives
    os.open(run_folder / f"{program}{ENDING}", os.O_CREAT | os.O_RDONLY, 0o600)
    os.environ.update({MARK: str(run_folder), PROGRAM: program})


def run_folder() -> Path:
    """Return the folder of this data folder's programs: notes, locks and marks."""
    return Path(settings.DATA_DIR) / "run"


def work_here() -> None:
    """Say that a program works in this data folder, as long as this process and what it forks live.

    That is how a restore knows of programs that no start of ours began, such as systemd's; those of
    a start are marked.
    """
    if MARK in os.environ:
        return
    folder = run_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # never closed, as a mark
    file = os.open(folder / WORKING, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(file, fcntl.LOCK_SH)


def does_any_work_here() -> bool:
    """Does a program work in this data folder that no start of ours began?"""
    path = run_folder() / WORKING
    if not path.exists():
        return False
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remove_marks(run_folder: Path) -> None:
    """Remove the marks; to be called when no process is left."""
    for path in run_folder.glob(f"*{ENDING}"):
        path.unlink(missing_ok=True)


def find(run_folder: Path, program: str = "") -> list[psutil.Process]:
    """Return the processes started from this folder, oldest first; of one program, if named.

    Never this process or one that it descends from.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        # Other people's processes do not show their environment, and need not.
        with suppress(psutil.Error, OSError):
            name = _program_of(process, run_folder)
            is_meant = name is not None and (not program or name == program)
            if is_meant and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def _program_of(process: psutil.Process, run_folder: Path) -> str | None:
    """Return the program of this run folder that a process belongs to; None when to none."""
    environment = process.environ()
    if environment.get(MARK) == str(run_folder):
        return environment.get(PROGRAM, "")
    for opened in _open_files(process):
        path = Path(opened)
        if path.suffix == ENDING and path.parent == run_folder:
            return path.stem
    return None


def _open_files(process: psutil.Process) -> list[str]:
    folder = Path("/proc", str(process.pid), "fd")
    if not folder.is_dir():  # another system than Linux
        return [one.path for one in process.open_files()]
    paths = []
    for number in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed meanwhile
            paths.append(os.readlink(folder / number))
    return paths


def sweep(run_folder: Path, *, patience_s: float = 0) -> int:
    """End what was started from this folder and return how many processes that were.

    With patience the programs' main processes may first stop by themselves.
    """
    found = find(run_folder)
    count = len(found)
    if found and patience_s:
        for process in found:
            with suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == process.pid:
                    process.terminate()
        psutil.wait_procs(found, timeout=patience_s)
        found = find(run_folder)
    for _ in range(10):  # a dying parent may just have had a child
        if not found:
            break
        for process in found:
            with suppress(psutil.Error):
                process.kill()  # psutil checks the start time: never a recycled number
        psutil.wait_procs(found, timeout=2)
        found = find(run_folder)
    return count
