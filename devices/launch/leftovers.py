"""One start at a time in a data folder, and nothing left behind by one that was killed.

Everything a start brings up inherits RUN_FOLDER, the folder it runs from, in its environment. A
process that carries the mark of this very folder was started from here: that holds for orphans
whose parent is gone, survives restarts, and can never be true of somebody else's process.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

MARK = "RUN_FOLDER"
# supervisord names the program a child belongs to.
PROGRAM = "SUPERVISOR_PROCESS_NAME"


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
        """Leave a word for whoever finds the lock taken."""
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()

    def holder(self) -> str:
        self._file.seek(0)
        return self._file.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
            environment = process.environ()
            if environment.get(MARK) != str(run_folder):
                continue
            if program and environment.get(PROGRAM) != program:
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def sweep(run_folder: Path, *, patience_s: float = 0, program: str = "") -> int:
    """End what was started from this folder and return how many processes that were.

    With patience the oldest, their supervisor, may first stop them in order.
    """
    found = find(run_folder, program)
    count = len(found)
    if found and patience_s:
        with suppress(psutil.Error):
            found[0].terminate()
        psutil.wait_procs(found, timeout=patience_s)
        found = find(run_folder, program)
    for _ in range(10):  # a dying parent may just have had a child
        if not found:
            break
        for process in found:
            with suppress(psutil.Error):
                process.kill()  # psutil checks the start time: never a recycled number
        psutil.wait_procs(found, timeout=2)
        found = find(run_folder, program)
    return count


def main() -> None:
    """Become the program given, after ending what its earlier life left behind.

    When a task cluster's main process is killed its workers live on without it, and would work
    beside those of the next one.
    """
    sweep(Path(os.environ[MARK]), program=os.environ[PROGRAM])
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command comes from supervisord.conf


if __name__ == "__main__":
    main()
