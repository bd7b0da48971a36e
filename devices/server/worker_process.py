"""The task cluster's main process: how it says which one it is, and how it is ended."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

# The main process alone is asked first: it lets its workers finish. See programs.worker.
STOP_WAIT_S = 8.0


class LocalCluster:
    """The cluster of this machine and data folder, by the note its main process leaves there."""

    def __init__(self, run_folder: Path, *, stop_wait_s: float = STOP_WAIT_S) -> None:
        self.note = run_folder / "worker.pid"
        self.stop_wait_s = stop_wait_s

    def sign_in(self) -> None:
        """Note that this process is the main one."""
        self.note.parent.mkdir(parents=True, exist_ok=True)
        draft = self.note.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps([os.getpid(), _signs(psutil.Process())]))
        draft.replace(self.note)

    def main_pid(self) -> int | None:
        """Return the process number of the main process, None when there is none."""
        process = self._main()
        return process.pid if process is not None else None

    def _main(self) -> psutil.Process | None:
        try:
            number, signs = json.loads(self.note.read_text())
            process = psutil.Process(number)
            if _signs(process) == signs and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (OSError, ValueError, TypeError, psutil.Error):
            pass
        return None

    def end(self) -> None:
        """Ask the main process to stop, wait, and end what is left with all its children."""
        main = self._main()
        if main is None:
            return
        with suppress(psutil.Error):
            family = [main, *main.children(recursive=True)]
            main.terminate()
            psutil.wait_procs([main], timeout=self.stop_wait_s)
            if main.is_running():
                _kill_group(main.pid)
            for process in family:
                with suppress(psutil.Error):
                    process.kill()  # psutil checks the start time: never a recycled number
            psutil.wait_procs(family, timeout=5)


def _signs(process: psutil.Process) -> list[object]:
    """Return what no other process shows that is later given the same number.

    The programs of one start have the same command. When it began counts in ticks since this
    machine was switched on: by the clock on the wall, it would change with that.
    """
    began = ""
    with suppress(OSError):  # only Linux has it
        about = Path("/proc", str(process.pid), "stat").read_text()
        began = about.rpartition(")")[2].split()[19]  # proc(5): field 22
    return [process.name(), process.cmdline(), began]


def _kill_group(pid: int) -> None:
    # in one stroke: a sentinel that outlived its workers for a moment would start new ones
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
