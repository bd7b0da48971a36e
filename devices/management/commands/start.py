"""Start the product: prepare what it needs, run its processes, stop them all at the end."""

import os
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connections
from django.utils import timezone

from devices import trial, wake, welcome
from devices.launch import CannotStart, demo, prepare, programs
from devices.launch.leftovers import Lock, sweep
from devices.launch.ports import free_port, read_port, require_free
from devices.launch.programs import BRIDGE
from devices.launch.supervisor import Program, ProgramState, Supervisor
from devices.management.commands.demo_data import staff_codes
from devices.models import Beat, User
from devices.models.beat import LOOPS
from thermacell_web.environment import START_FILE

ANSWER_WITHIN_S = 60
# How long what a killed start left behind may take to stop by itself.
LEFTOVER_PATIENCE_S = 5
# How long a program that does not stay up waits for its next start at most.
LONGEST_WAIT_S = 30.0
# How often it is looked whether somebody has named a broker meanwhile.
BRIDGE_EVERY_S = 3.0
TRIAL_EVERY_S = 5.0
TRIAL_WITHIN_S = 5.0
NAMES = {
    programs.WEB: "web server",
    programs.WORKER: "worker",
    programs.CLOUD: "simulated cloud",
    BRIDGE: "bridge to Home Assistant",
    programs.WATCHDOG: "watchdog",
}


class Command(BaseCommand):
    help = "Prepare and start everything: web server, worker and, with --demo, a simulated cloud."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="sample data, simulated cloud")
        parser.add_argument("--host", help="address to listen on (BIND, else 127.0.0.1)")
        parser.add_argument("--port", help="port of the web server (PORT, else 8000)")
        parser.add_argument("--cloud-port", help="the simulated cloud's (CLOUD_PORT, else PORT+1)")
        parser.add_argument("--mqtt", help="demo: the broker to show the sample hubs at")
        parser.add_argument("--data-dir", help="demo: where its data lives (else var/demo)")
        parser.add_argument(
            "--stop-with-parent", action="store_true", help="stop when the calling process ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            Start(options).run()
        except CannotStart as problem:
            sys.exit(str(problem))


class Start:
    """One start, from the first check to the last process."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.is_stopping = False
        self.failed_starts: dict[str, tuple[int, float]] = {}
        self.bridge_not_before = self.trial_not_before = 0.0
        self.parent = os.getppid() if options["stop_with_parent"] else None
        self.is_demo = bool(options["demo"])
        self.target = "make demo" if self.is_demo else "make run"
        self.bind = options["host"] or os.environ.get("BIND") or "127.0.0.1"
        self.port = read_port(options["port"] or os.environ.get("PORT") or "8000", "PORT")
        self.cloud_port = self._cloud_port(options["cloud_port"] or os.environ.get("CLOUD_PORT"))
        if self.is_demo:
            data_dir = Path(options["data_dir"] or settings.BASE_DIR / "var" / "demo")
            self._enter_demo(data_dir, options["mqtt"] or "")
        self.public_url = (
            settings.PUBLIC_URL if os.environ.get("PUBLIC_URL") else f"http://localhost:{self.port}"
        )
        self.data_dir = Path(settings.DATA_DIR)
        self.supervisor = Supervisor(
            run_folder=self.data_dir / "run",
            log_folder=self.data_dir / "log",
            working_folder=settings.BASE_DIR,
            programs=self._programs(),
        )

    def _cloud_port(self, given: str | None) -> int:
        """Return the simulated cloud's port: as given, or as kept, or the one after the server's.

        Only the demo insists on it; elsewhere another free one will do.
        """
        if given:
            port = read_port(given, "CLOUD_PORT")
            if port == self.port:
                raise CannotStart(f"PORT and CLOUD_PORT must differ; both are {port}.")
            return port
        if self.is_demo:
            return read_port(str(self.port + 1), "CLOUD_PORT")
        kept = trial.asked_port()
        if kept and kept != self.port:
            return kept
        return free_port("127.0.0.1", after=self.port if self.port < 65535 else 1023)

    def _enter_demo(self, data_dir: Path, mqtt_url: str) -> None:
        """Begin anew in the demo's own environment, unless this is it already."""
        environment = demo.environment(
            os.environ,
            data_dir=data_dir.resolve(),
            port=self.port,
            cloud_port=self.cloud_port,
            example=settings.BASE_DIR / ".env.example",
            mqtt_url=mqtt_url,
        )
        if environment != dict(os.environ):
            sys.stdout.flush()
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606

    def _programs(self) -> list[Program]:
        wanted = [programs.web(self.bind, self.port), programs.worker()]
        wanted += [programs.watchdog(), programs.bridge()]
        if self.is_demo:
            users = [
                option
                for home in demo.HOMES
                for option in ("--user", f"{home.cloud_email}:{demo.PASSWORD}:{home.hubs}")
            ]
            state = self.data_dir / "cloud.sqlite3"
            hubs = str(sum(home.hubs for home in demo.HOMES))
            wanted.append(
                programs.cloud(
                    self.cloud_port, state, "--hubs", hubs, "--speed", str(demo.PACE), *users
                )
            )
        else:
            state = trial.folder() / "cloud.sqlite3"
            options = ["--hubs", str(trial.HUBS), "--user", f"{trial.EMAIL}:{trial.PASSWORD}"]
            wanted.append(programs.cloud(self.cloud_port, state, *options, starts_last=True))
        return wanted

    def run(self) -> None:
        """Start everything, stay until told to stop, and leave nothing behind."""
        os.umask(0o077)  # what is written from here on is nobody else's to read
        for folder in (self.supervisor.run_folder, self.supervisor.log_folder):
            folder.mkdir(parents=True, exist_ok=True)
        with Lock(self.supervisor.run_folder / "start.lock") as lock:
            if not lock.take():
                self._already_running(lock.holder())
            lock.note(f"{self.public_url} (process {os.getpid()})")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._interrupt)
            try:
                self._stay(self._start())
            except KeyboardInterrupt:
                pass
            finally:
                self._stop()

    def _start(self) -> dict[str, ProgramState]:
        """Return the programs as they were when each of them answered."""
        began = time.monotonic()
        if sweep(self.supervisor.run_folder, patience_s=LEFTOVER_PATIENCE_S):
            say("Stopped what an earlier start had left behind.")
        self._require_ports()
        prepare.require_cache()
        if backup := prepare.prepare_database():
            say(f"The database was upgraded; as it was before, it is kept in {backup}.")
        prepare.collect_static()
        prepare.free_leases()
        started_at = timezone.now()
        wake.wake_installs()
        wake.wake_chores()
        self.supervisor.start({**os.environ, **self._set_aside()})
        if self.is_demo:
            self._wait_for(programs.CLOUD, self._cloud_answers)
        else:
            if not trial.is_linked():  # nobody can be about to: nothing runs yet
                trial.forget()
            # before it answers, nothing more can be started
            self._wait_for(programs.WORKER, lambda: bool(self.supervisor.states()))
            self._see_to_trial(is_running=False)
            self._wait_a_little_for_trial()
        self.supervisor.start_program(programs.WORKER)
        if self.is_demo:
            call_command("demo_data", verbosity=0)
        self._wait_for(programs.WEB, self._web_answers)
        self._wait_for(programs.WORKER, lambda: _worker_answers(started_at))
        known = self.supervisor.states()
        self._announce(time.monotonic() - began)
        self.supervisor.start_program(programs.WATCHDOG)
        self._start_bridge()
        return known

    def _set_aside(self) -> dict[str, str]:
        """Return what only this start decides, kept for commands that run beside it."""
        values = {"PUBLIC_URL": self.public_url}
        if not self.is_demo:
            values["TRIAL_CLOUD_URL"] = trial.address(self.cloud_port)
        lines = "".join(f"{name}={value}\n" for name, value in values.items())
        (self.data_dir / START_FILE).write_text(lines)
        return values

    def _require_ports(self) -> None:
        example = f"{self.target} PORT={{port}}"
        require_free(self.bind, self.port, name="PORT", example=example)
        if self.is_demo:
            example = f"{self.target} PORT={self.port} CLOUD_PORT={{port}}"
            require_free("127.0.0.1", self.cloud_port, name="CLOUD_PORT", example=example)

    def _cloud_answers(self) -> bool:
        return programs.answers("127.0.0.1", self.cloud_port, "/apiversions")

    def _web_answers(self) -> bool:
        return programs.answers(self.bind, self.port, "/healthz")

    def _wait_for(self, name: str, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while not is_there():
            state = self.supervisor.states().get(name)
            gave_up = state is not None and state.state == "FATAL"
            if not self.supervisor.is_running:
                self._failed("supervisord ended", "supervisor.err")
            if gave_up or time.monotonic() > deadline:
                self._failed(f"The {NAMES[name]} does not start", f"{name}.log")
            time.sleep(0.1)

    def _failed(self, what: str, log: str) -> NoReturn:
        last_words = self.supervisor.last_words(log)
        raise CannotStart(
            f"{last_words}\n\n{what}; the last it said is above, and all of it in "
            f"{_short(self.supervisor.log_folder / log)}."
        )

    def _already_running(self, where: str) -> NoReturn:
        raise CannotStart(
            f"Thermacell Web already runs from {_short(self.data_dir)}, at "
            f"{where or 'an address it has not said yet'}: stop it there first (Ctrl-C); a second "
            "one beside it needs another data folder and another PORT=."
        )

    def _announce(self, took_s: float) -> None:
        lines = ["", f"Thermacell Web is running: {self.public_url}/", ""]
        if self.is_demo:
            lines += _sign_ins()
        elif not User.objects.exists():
            lines += [
                "Nobody can sign in yet. This link makes you the owner of the first household;",
                "it works once, and for a day:",
                "",
                f"    {self.public_url}/welcome/{welcome.make_token()}/",
                "",
            ]
            if welcome.stays_here(self.public_url):
                lines += [
                    "It opens only on this computer, until PUBLIC_URL is set (README.md).",
                    "",
                ]
        lines += [
            f"Data and logs are in {_short(self.data_dir)}. Started in {took_s:.1f} s.",
            "Ctrl-C stops everything.",
        ]
        say("\n".join(lines))

    def _stay(self, known: dict[str, ProgramState]) -> None:
        """Return when the calling process is gone; say when a program died and came back.

        `known` are the programs as they were before a person was told of them.
        """
        while self.parent is None or os.getppid() == self.parent:
            time.sleep(1)
            if not self.supervisor.is_running:
                self._failed("supervisord ended unexpectedly", "supervisor.log")
            now = self.supervisor.states()
            if BRIDGE in now and now[BRIDGE].state == "STOPPED":
                self._start_bridge()
            if not self.is_demo and programs.CLOUD in now:
                self._see_to_trial(is_running=now[programs.CLOUD].state == "RUNNING")
            for name, state in now.items():
                self._watch(name, known.get(name), state)
            known |= {
                name: state
                for name, state in now.items()
                if state.state in {"RUNNING", "STOPPED"}  # what died is neither
            }

    def _start_bridge(self) -> None:
        """Start the bridge once a broker was named, at the start or later on a household's page."""
        if time.monotonic() < self.bridge_not_before:
            return
        self.bridge_not_before = time.monotonic() + BRIDGE_EVERY_S
        with suppress(DatabaseError):
            if prepare.is_bridge_wanted():
                self.supervisor.start_program(BRIDGE)
        connections.close_all()

    def _see_to_trial(self, *, is_running: bool) -> None:
        """Start the simulated cloud beside real ones once somebody wants to try things out; stop it
        when no account there is linked any more.
        """
        if not is_running:
            if trial.asked_port() == self.cloud_port:
                self.supervisor.start_program(programs.CLOUD)
        elif time.monotonic() >= self.trial_not_before:
            self.trial_not_before = time.monotonic() + TRIAL_EVERY_S
            with suppress(DatabaseError):
                if trial.is_over():
                    trial.forget()
                    self.supervisor.stop_program(programs.CLOUD)
            connections.close_all()

    def _wait_a_little_for_trial(self) -> None:
        """Let a simulated cloud that is wanted be there before anybody asks it; real hubs do not
        wait for one that does not start.
        """
        deadline = time.monotonic() + TRIAL_WITHIN_S
        while trial.asked_port() == self.cloud_port and time.monotonic() < deadline:
            if self._cloud_answers():
                return
            time.sleep(0.1)

    def _watch(self, name: str, before: ProgramState | None, now: ProgramState) -> None:
        if now.state == "FATAL":
            self._try_again(name)
        elif now.state == "RUNNING" and before is not None and before.pid not in {0, now.pid}:
            log = _short(self.supervisor.log_folder / f"{name}.log")
            say(f"The {NAMES.get(name, name)} had stopped and was started again; see {log}.")
            self.failed_starts.pop(name, None)

    def _try_again(self, name: str) -> None:
        """Start what supervisord gave up on: less and less often, twice a minute in the end."""
        count, not_before = self.failed_starts.get(name, (0, 0.0))
        if time.monotonic() < not_before:
            return
        if count == 0:
            log = _short(self.supervisor.log_folder / f"{name}.log")
            say(f"The {NAMES.get(name, name)} does not stay up and is tried again; see {log}.")
        wait_s = min(2.0**count, LONGEST_WAIT_S)
        self.failed_starts[name] = (count + 1, time.monotonic() + wait_s)
        self.supervisor.start_program(name)

    def _interrupt(self, *_: object) -> None:
        """Leave for the stop, once: a second Ctrl-C must not cut the stop short."""
        if not self.is_stopping:
            self.is_stopping = True
            raise KeyboardInterrupt

    def _stop(self) -> None:
        self.is_stopping = True
        was_running = self.supervisor.is_running
        if was_running:
            say("\nStopping …")
        self.supervisor.stop(programs.STOP_WAIT_S)
        if was_running:
            say("Everything has stopped.")


def say(text: str) -> None:
    """Print for the person at the terminal, who may have closed it."""
    with suppress(OSError, ValueError):
        print(text, flush=True)


def _worker_answers(since: datetime) -> bool:
    return Beat.objects.filter(name__in=LOOPS, beat_at__gte=since).exists()


def _sign_ins() -> list[str]:
    width = max(len(person.email) for person in (*demo.RESIDENTS, *demo.STAFF))
    people = [
        f"    {person.email:<{width}}   {person.role} of {person.household}"
        for person in demo.RESIDENTS
    ]
    return [
        "A demo: the cloud and its hubs are simulated, nothing real is touched. Sign in as",
        "",
        *people,
        "",
        f"    password of all of them: {demo.PASSWORD}",
        "",
        "Staff need a second factor too; each of these codes lets in once:",
        "",
        *(
            f"    {one.email:<{width}}   {one.words}: {', '.join(staff_codes(one.email))}"
            for one in demo.STAFF
        ),
        "",
    ]


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
