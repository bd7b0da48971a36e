"""A program in a process of its own, forked from the start once everything is loaded.

What the processes have in common is in memory once, and a new one is there at once. Each leads a
session of its own: Ctrl-C in the terminal reaches the start alone, which stops them in order, and
what a program leaves behind is ended with its group.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from django.core.management.base import CommandError

from devices.server import orphans

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# mallopt(3): glibc gives each thread a heap of its own, and what a thread gives back stays in it.
# The loops' threads come and go, and the processes would grow for days.
ARENA_MAX, FEW = -8, 2


@dataclass(frozen=True, slots=True)
class Program:
    """One program of a start. A lower rank starts earlier and stops later."""

    name: str
    run: Callable[[], object]
    """Runs until SIGTERM ends it; raises SystemExit or returns."""
    rank: int
    stop_wait_s: float
    """How long it may take to stop; then it is killed, with all that it started."""
    starts_last: bool = False
    """Started by start_program() once its turn has come, not with the others."""


@contextmanager
def signals_held() -> Iterator[None]:
    """Let a signal that ends the start wait until the body is done."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the programs of one start run."""

    run_folder: Path
    log_folder: Path | None
    """None: they write to the standard output of the start."""
    working_folder: Path
    lifeline: int
    """A pipe to read from: it ends when the start does, however that ends."""
    closed: Sequence[int]
    """Open files that belong to the start alone."""

    def fork(self, program: Program) -> int:
        """Return the number of a new process that runs the program. To be called while signals are
        held, with no connection to the database open and no thread beside this one.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            self._run(program)
        return pid

    def _run(self, program: Program) -> NoReturn:
        status = 1
        try:
            self._settle(program)
            program.run()
            status = 0
        except SystemExit as ended:
            if isinstance(ended.code, str):
                sys.stderr.write(f"{ended.code}\n")
            status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        except CommandError as problem:
            sys.stderr.write(f"{problem}\n")
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
            # what the start would clean up at its end is not this process's
            os._exit(status)

    def _settle(self, program: Program) -> None:
        os.setsid()
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        for opened in self.closed:
            os.close(opened)
        os.chdir(self.working_folder)
        orphans.mark(self.run_folder, program.name)
        _name_process(program.name)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        if self.log_folder is not None:
            with open(self.log_folder / f"{program.name}.log", "ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
        sys.stdout, sys.stderr = (
            open(number, "w", buffering=1, closefd=False)  # noqa: SIM115 - until the process ends
            for number in (1, 2)
        )
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(ARENA_MAX, FEW)
        arguments = (self.lifeline, program.stop_wait_s)
        threading.Thread(target=_end_with_the_start, args=arguments, daemon=True).start()


def _name_process(name: str) -> None:
    # for `ps` and `top`; only Linux has it, and 15 characters of it
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"tw-{name}"[:15])


def _end_with_the_start(lifeline: int, patience_s: float) -> None:
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience_s)
    os.killpg(0, signal.SIGKILL)
