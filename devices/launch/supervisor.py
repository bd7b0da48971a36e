"""supervisord: what it is told to run, and how a start talks to it.

It restarts what dies, and a stop signals only a program's main process. As a program of its own
this module is supervisord bound to whoever started it: it stops when its standard input ends,
so that a start killed without warning leaves nothing running.
"""

import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from devices.launch import CannotStart, leftovers
from devices.launch.cluster import LocalCluster

# The longest path of a Unix socket on any system we know of is 103 characters; supervisord adds
# its process number to it for a moment.
LONGEST_SOCKET_PATH = 90
# glibc gives each thread a heap of its own, and what a thread gives back stays in it (mallopt(3),
# M_ARENA_MAX): the loops' threads come and go, and the processes would grow for days.
FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, slots=True)
class Program:
    """One program supervisord runs. A lower rank starts earlier and stops later."""

    name: str
    command: Sequence[str]
    rank: int
    stop_wait_s: int
    # The one that must not survive its main process: see leftovers.main.
    leaves_orphans: bool = False
    # Started by start_program() once its turn has come, not with the others.
    starts_last: bool = False

    def section(self, log_folder: Path) -> str:
        command = list(self.command)
        if self.leaves_orphans:
            command = [sys.executable, "-m", "devices.launch.leftovers", *command]
        return _section(
            f"program:{self.name}",
            command=shlex.join(command),
            priority=self.rank,
            autostart="false" if self.starts_last else "true",
            autorestart="true",
            # one that dies sooner counts as not started, and is tried less and less often
            startsecs=5,
            startretries=3,
            # Only the main process is asked to stop: a task cluster whose workers are signalled
            # as well does their work twice. What does not stop in time is ended with all of it.
            stopsignal="TERM",
            stopasgroup="false",
            killasgroup="true",
            stopwaitsecs=self.stop_wait_s,
            redirect_stderr="true",
            stdout_logfile=log_folder / f"{self.name}.log",
            stdout_logfile_maxbytes="5MB",
            stdout_logfile_backups=3,
        )


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What supervisord says about a program."""

    name: str
    state: str
    pid: int
    started_at: int


@dataclass
class Supervisor:
    """One supervisord and the folders it works in."""

    run_folder: Path
    log_folder: Path
    working_folder: Path
    programs: Sequence[Program]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def socket_path(self) -> Path:
        path = self.run_folder / "supervisor.sock"
        if len(str(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"thermacell-web-{os.getuid()}-{digest}.sock"

    def configuration(self) -> str:
        """Return supervisord.conf."""
        sections = [
            _section("unix_http_server", file=self.socket_path, chmod="0700"),
            _section(
                "supervisord",
                nodaemon="true",
                silent="true",
                umask="077",
                logfile=self.log_folder / "supervisor.log",
                logfile_maxbytes="5MB",
                logfile_backups=3,
                pidfile=self.run_folder / "supervisord.pid",
                childlogdir=self.log_folder,
            ),
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n",
            *(program.section(self.log_folder) for program in self.programs),
        ]
        return "\n".join(sections)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start supervisord and through it every program; raises CannotStart for a path that
        its configuration cannot name.
        """
        path = self.run_folder / "supervisord.conf"
        path.write_text(self.configuration())
        with open(self.log_folder / "supervisor.err", "wb") as errors:
            self._spawn(path, environment, errors)

    def _spawn(self, path: Path, environment: Mapping[str, str], errors: IO[bytes]) -> None:
        # A session of its own: Ctrl-C in the terminal reaches the start alone, which stops the
        # programs in order.
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-m", "devices.launch.supervisor", "-c", str(path)],
            cwd=self.working_folder,
            env={**FEW_ARENAS, **environment, leftovers.MARK: str(self.run_folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def states(self) -> dict[str, ProgramState]:
        """Return what supervisord says about each program; empty while it does not answer."""
        try:
            told: Any = self._ask("getAllProcessInfo")
        except (OSError, Fault):
            return {}
        return {
            one["name"]: ProgramState(one["name"], one["statename"], one["pid"], one["start"])
            for one in told
        }

    def start_program(self, name: str) -> None:
        """Start one that starts last, or that supervisord gave up on; nothing when it runs."""
        try:
            self._ask("startProcess", name, False)
        except (OSError, Fault):
            return

    def stop_program(self, name: str) -> None:
        """Have one stopped, until it is started again; nothing when it does not run."""
        try:
            self._ask("stopProcess", name, False)
        except (OSError, Fault):
            return

    def stop(self, patience_s: float) -> None:
        """Stop the programs in order and supervisord after them. Safe on repeat."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        leftovers.sweep(self.run_folder)
        for path in (
            self.socket_path,
            self.run_folder / "supervisord.conf",
            self.run_folder / "supervisord.pid",
            LocalCluster(self.run_folder).note,
        ):
            path.unlink(missing_ok=True)

    def last_words(self, name: str, lines: int = 15) -> str:
        """Return the end of a program's log."""
        path = self.log_folder / name
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _ask(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket_path}")
        with ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)


def _section(name: str, **values: object) -> str:
    lines = [f"[{name}]"]
    for key, value in values.items():
        text = str(value)
        # It reads these as comments and as expansions, the latter twice for some of its options.
        if re.search(r"\s[;#]|%|[\r\n]", text):
            raise CannotStart(
                f"supervisord cannot work in a folder whose path holds '%', ' #' or ' ;' ({text}): "
                "move it, or choose another DATA_DIR."
            )
        lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"


def _stop_when_input_ends() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run supervisord until told to stop, or until whoever started it is gone."""
    from supervisor import supervisord

    threading.Thread(target=_stop_when_input_ends, daemon=True).start()
    supervisord.main()


if __name__ == "__main__":
    main()
