"""The programs of a start: each is started, started again when it dies, and stopped in its turn."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connections

from devices.server import log_files, orphans
from devices.server.child import Place, Program, signals_held
from devices.server.worker_process import LocalCluster
from devices.taskqueue.backoff import backoff

# One that dies sooner counts as not started, and is tried less and less often.
SHORT_LIFE_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
# So many short lives in a row, and it is said that it does not stay up.
FAILURES = 3
STOP_LOOKS_EVERY_S = 0.02


@dataclass(slots=True)
class Child:
    """A program and the process that runs it, when one does."""

    program: Program
    is_wanted: bool = False
    pid: int = 0
    began: float = 0.0
    failures: int = 0
    """How many short lives it had in a row."""
    not_before: float = 0.0
    is_replaced: bool = False
    """Did it die, and is that to be said once it runs again?"""

    @property
    def does_not_stay_up(self) -> bool:
        return self.failures >= FAILURES


@dataclass(frozen=True, slots=True)
class News:
    """What happened to a program that a person may want to know."""

    name: str
    is_back: bool
    """It had stopped and was started again; else it does not stay up and is tried again."""


@dataclass
class Supervisor:
    """The processes of one start. No thread, so that a process can be forked at any time."""

    run_folder: Path
    log_folder: Path
    working_folder: Path
    programs: Sequence[Program]
    to_stdout: bool = False
    """Do the programs write to this process's standard output, not to files?"""
    children: dict[str, Child] = field(init=False)
    place: Place | None = field(default=None, init=False)
    lifeline: tuple[int, ...] = field(default=(), init=False)
    """Both ends of the pipe that ends with this process, while the programs run."""

    def __post_init__(self) -> None:
        by_rank = sorted(self.programs, key=lambda program: program.rank)
        self.children = {program.name: Child(program) for program in by_rank}

    def start(self, own_files: Sequence[int] = ()) -> None:
        """Start every program that does not start last.

        own_files: open files of this process that no program may keep open.
        """
        lifeline, held_by_us = self.lifeline = os.pipe()
        self.place = Place(
            self.run_folder,
            None if self.to_stdout else self.log_folder,
            self.working_folder,
            lifeline,
            (held_by_us, *own_files),
        )
        for child in self.children.values():
            if not child.program.starts_last:
                child.is_wanted = True
                self._begin(child)

    @property
    def is_running(self) -> bool:
        """Was anything started that was not stopped yet?"""
        return any(child.pid for child in self.children.values())

    def is_wanted(self, name: str) -> bool:
        """Was this program started, and not stopped since?"""
        return name in self.children and self.children[name].is_wanted

    def does_not_stay_up(self, name: str) -> bool:
        return self.children[name].does_not_stay_up

    def start_program(self, name: str) -> None:
        """Start one that starts last, or that is to be tried again later; nothing when it runs."""
        child = self.children.get(name)
        if child is not None and not child.pid:
            child.is_wanted = True
            self._begin(child)

    def stop_program(self, name: str) -> None:
        """Stop one until it is started again; nothing when it does not run."""
        if (child := self.children.get(name)) is not None:
            self._end(child)

    def carry_out(self, program: Program) -> bool:
        """Run a program to its end, apart from the others; return whether it went well."""
        with signals_held():
            pid = self._fork(program)
        return os.waitpid(pid, 0)[1] == 0

    def look(self) -> list[News]:
        """Start again what died, once its time has come. To be called about every second."""
        news = []
        for child in self.children.values():
            self._note_death(child)
            now = time.monotonic()
            if child.is_wanted and not child.pid and now >= child.not_before:
                if child.failures == FAILURES:
                    news.append(News(child.program.name, is_back=False))
                try:
                    self._begin(child)
                except OSError:  # no room for another process now
                    self._did_not_stay(child, now)
            if child.pid and child.is_replaced and self._is_settled(child, now):
                child.is_replaced = False
                news.append(News(child.program.name, is_back=True))
        if not self.to_stdout:
            log_files.rotate(self.log_folder, [*self.children])
        return news

    def _is_settled(self, child: Child, now: float) -> bool:
        return not child.does_not_stay_up or now - child.began >= SHORT_LIFE_S

    def _begin(self, child: Child) -> None:
        with signals_held():
            child.pid = self._fork(child.program)
        child.began = time.monotonic()

    def _fork(self, program: Program) -> int:
        if self.place is None:
            raise RuntimeError("start() comes first")
        connections.close_all()  # they belong to this process
        return self.place.fork(program)

    def _note_death(self, child: Child) -> None:
        if not child.pid or not _has_ended(child.pid):
            return
        _kill_group(child.pid)  # a cluster's workers would work beside those of the next one
        now = time.monotonic()
        child.pid, child.is_replaced = 0, True
        if now - child.began >= SHORT_LIFE_S:
            child.failures, child.not_before = 0, now
        else:
            self._did_not_stay(child, now)

    def _did_not_stay(self, child: Child, now: float) -> None:
        child.not_before = now + backoff(child.failures, FIRST_WAIT_S, LONGEST_WAIT_S)
        child.failures += 1

    def _end(self, child: Child) -> None:
        """Ask the main process to stop, wait, and end what is left of its group.

        Only that one is asked: a cluster whose workers are signalled too does their work twice.
        """
        child.is_wanted = child.is_replaced = False
        child.failures = 0
        if not child.pid:
            return
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + child.program.stop_wait_s
        while not _has_ended(child.pid):
            if time.monotonic() > deadline:
                _kill_group(child.pid)
                deadline = float("inf")
            time.sleep(STOP_LOOKS_EVERY_S)
        _kill_group(child.pid)
        child.pid = 0

    def stop(self) -> None:
        """Stop the programs in order and leave nothing behind. Safe on repeat."""
        for child in reversed(self.children.values()):
            self._end(child)
        orphans.sweep(self.run_folder)
        orphans.remove_marks(self.run_folder)
        LocalCluster(self.run_folder).note.unlink(missing_ok=True)
        for end in self.lifeline:
            os.close(end)
        self.lifeline, self.place = (), None

    def last_words(self, name: str, lines: int = 15) -> str:
        """Return the end of a program's log."""
        path = self.log_folder / name
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def _has_ended(pid: int) -> bool:
    """Has this child of ours ended? It is true once; nothing else waits for our children."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
