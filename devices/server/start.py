"""Start the product: prepare what it needs, run its processes, stop them all at the end."""

import gc
import json
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
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection, connections

from devices.accounts import trial_cloud
from devices.models import Beat, database_clock
from devices.models.lease import LOOPS
from devices.server import CannotStart, announcement, bootstrap, demo, programs, self_checks
from devices.server.announcement import short
from devices.server.child import Program
from devices.server.orphans import Lock, run_folder, sweep
from devices.server.ports import free_port, read_port, require_free
from devices.server.programs import BRIDGE
from devices.server.supervisor import News, Supervisor
from devices.taskqueue import wakeups
from thermacell_web.environment import START_FILE

ANSWER_WITHIN_S = 60
# How long processes of a killed start may take to stop.
LEFTOVER_PATIENCE_S = 5
# How often to look for a broker that was named since.
BRIDGE_EVERY_S = 10.0
# What can run in containers or on machines of its own.
HALVES = {"web": {programs.WEB}, "worker": {programs.WORKER, programs.WATCHDOG, programs.BRIDGE}}
TRIAL_EVERY_S = 5.0
TRIAL_WITHIN_S = 5.0
NAMES = {
    programs.WEB: "web server",
    programs.WORKER: "worker",
    programs.CLOUD: "simulated cloud",
    BRIDGE: "bridge to Home Assistant",
    programs.WATCHDOG: "watchdog",
}


class StartCommand(BaseCommand):
    help = "Prepare and start everything: web server, worker and, with --demo, a simulated cloud."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="sample data, simulated cloud")
        parser.add_argument(
            "--only", choices=HALVES, default="", help="one half of it, beside others (PostgreSQL)"
        )
        parser.add_argument(
            "--prepare", action="store_true", help="only what comes before the processes, then end"
        )
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
            if options["prepare"]:
                prepare()
            else:
                Start(options).run()
        except CannotStart as problem:
            sys.exit(str(problem))
        except DatabaseError as problem:
            sys.exit(bootstrap.explain(problem))
        except OSError as problem:
            where = f" {problem.filename}" if problem.filename else ""
            reason = problem.strerror or str(problem)
            sys.exit(f"The start cannot use{where} ({reason}): check the data folder and its disk.")


class Start:
    """One start, from the first check to the last process."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.is_stopping = False
        self.bridge_not_before = self.trial_not_before = 0.0
        self.parent = os.getppid() if options["stop_with_parent"] else None
        self.is_demo = bool(options["demo"])
        self.is_whole = not options["only"]
        self.wanted = HALVES[options["only"]] if options["only"] else set(NAMES)
        if not self.is_whole and (self.is_demo or connection.vendor == "sqlite"):
            raise CannotStart("--only needs a database that others reach: set DATABASE_URL to one.")
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
            working_folder=Path(settings.BASE_DIR),
            programs=self._programs(),
            to_stdout=settings.LOG_TO == "stdout",
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
        bootstrap.recall_trial_cloud()
        kept = trial_cloud.asked_port()
        if kept and kept != self.port:
            return kept
        return free_port("127.0.0.1", after=self.port if self.port < 65535 else 1023)

    def _enter_demo(self, data_dir: Path, mqtt_url: str) -> None:
        """Start this process again in the demo's own environment, unless this is it."""
        environment = demo.environment(
            os.environ,
            data_dir=data_dir.resolve(),
            port=self.port,
            cloud_port=self.cloud_port,
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
            state = trial_cloud.folder() / "cloud.sqlite3"
            options = [
                "--hubs",
                str(trial_cloud.HUBS),
                "--user",
                f"{trial_cloud.EMAIL}:{trial_cloud.PASSWORD}",
            ]
            wanted.append(programs.cloud(self.cloud_port, state, *options, starts_last=True))
        return [one for one in wanted if one.name in self.wanted]

    def run(self) -> None:
        """Start everything, stay until a signal comes, and leave nothing behind."""
        _close_data_dir(self.data_dir)
        with Lock(self.supervisor.run_folder / "start.lock") as lock:
            if not lock.take():
                _already_running(self.data_dir, lock.holder())
            lock.note(f"{self.public_url} (process {os.getpid()})")
            self._require_own_address()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._interrupt)
            try:
                self._start(lock)
                self._stay()
            except KeyboardInterrupt:
                pass
            finally:
                self._stop()

    def _start(self, lock: Lock) -> None:
        """Return when every program answers."""
        began = time.monotonic()
        if sweep(self.supervisor.run_folder, patience_s=LEFTOVER_PATIENCE_S):
            say("Stopped what an earlier start had left behind.")
        _require_libraries()
        self._require_ports()
        bootstrap.require_cache()
        _prepare_database()
        if programs.WEB in self.wanted:
            bootstrap.collect_static()
        bootstrap.free_leases()
        started_at = database_clock.now()
        wakeups.wake_installs()
        wakeups.wake_sync()
        self._keep_for_commands()
        self._load()
        self.supervisor.start([lock.fileno()])
        if self.is_demo:
            self._wait_for(programs.CLOUD, self._cloud_answers)
        else:
            if not trial_cloud.is_linked():  # nothing runs yet, so no account is being linked
                trial_cloud.forget()
            if self.is_whole:
                self._manage_trial(is_running=False)
                self._wait_for_trial()
        self.supervisor.start_program(programs.WORKER)
        if self.is_demo:
            self._fill_demo()
        if programs.WEB in self.wanted:
            self._wait_for(programs.WEB, self._web_answers)
        if programs.WORKER in self.wanted:
            self._wait_for(programs.WORKER, lambda: _worker_answers(started_at))
        say(
            announcement.text(
                public_url=self.public_url,
                bind=self.bind,
                port=self.port,
                data_dir=short(self.data_dir),
                took_s=time.monotonic() - began,
                is_demo=self.is_demo,
            )
        )
        self.supervisor.start_program(programs.WATCHDOG)
        self._start_bridge()

    def _require_own_address(self) -> None:
        """Read the settings again when they rest on the address of an earlier start, which other
        settings follow from.
        """
        if self.public_url == settings.PUBLIC_URL:
            return
        known = urlsplit(settings.PUBLIC_URL)
        if (known.scheme, known.hostname) == ("http", "localhost"):
            settings.PUBLIC_URL = self.public_url  # another port, which nothing follows from
            return
        (self.data_dir / START_FILE).unlink(missing_ok=True)
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], dict(os.environ))  # noqa: S606

    def _keep_for_commands(self) -> None:
        """Set what only this start decides, and keep it for commands that run beside it."""
        os.environ.update({"BIND": self.bind, "PORT": str(self.port)})
        values = {"PUBLIC_URL": self.public_url}
        trial_url = os.environ.get("TRIAL_CLOUD_URL", "")
        if self.is_whole and not self.is_demo:
            trial_url = values["TRIAL_CLOUD_URL"] = trial_cloud.address(self.cloud_port)
        settings.TRIAL_CLOUD_URL = trial_url
        settings.SAMPLE_SIGN_INS = demo.sign_ins() if self.is_demo else None
        os.environ.update(values)
        lines = "".join(f"{name}={value}\n" for name, value in values.items())
        (self.data_dir / START_FILE).write_text(lines)

    def _load(self) -> None:
        """Load what the programs have in common before they are forked: it is in memory once."""
        programs.load(self.wanted)
        gc.collect()
        # never looked at again: a collection would copy all of it for each process
        gc.freeze()

    def _fill_demo(self) -> None:
        # in a process of its own: it hashes passwords in a thread, and no process is forked from
        # one that has threads
        if not self.supervisor.carry_out(programs.demo_data()):
            self._failed("The sample data cannot be made", f"{programs.DEMO_DATA}.log")

    def _require_ports(self) -> None:
        if programs.WEB not in self.wanted:
            return
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
            self.supervisor.look()
            if self.supervisor.does_not_stay_up(name) or time.monotonic() > deadline:
                self._failed(f"The {NAMES[name]} does not start", f"{name}.log")
            time.sleep(0.05)

    def _failed(self, what: str, log: str) -> NoReturn:
        last_words = self.supervisor.last_words(log)
        raise CannotStart(
            f"{last_words}\n\n{what}; the end of its log is above, all of it is in "
            f"{self._log(log)}."
        )

    def _log(self, name: str) -> str:
        is_here = self.supervisor.to_stdout
        return "this output" if is_here else short(self.supervisor.log_folder / name)

    def _stay(self) -> None:
        """Return when the calling process is gone; say when a program died and came back."""
        while self.parent is None or os.getppid() == self.parent:
            time.sleep(1)
            for news in self.supervisor.look():
                self._tell(news)
            if BRIDGE in self.wanted and not self.supervisor.is_wanted(BRIDGE):
                self._start_bridge()
            if not self.is_demo and programs.CLOUD in self.wanted:
                self._manage_trial(is_running=self.supervisor.is_wanted(programs.CLOUD))

    def _start_bridge(self) -> None:
        """Start the bridge once a broker was named, at the start or later on a household's page."""
        if time.monotonic() < self.bridge_not_before:
            return
        self.bridge_not_before = time.monotonic() + BRIDGE_EVERY_S
        with suppress(DatabaseError):
            if bootstrap.is_bridge_wanted():
                self.supervisor.start_program(BRIDGE)
        connections.close_all()

    def _manage_trial(self, *, is_running: bool) -> None:
        """Start the simulated cloud once a person wants to try things out; stop it when no account
        there is linked any more.
        """
        if not is_running:
            if trial_cloud.asked_port() == self.cloud_port:
                self.supervisor.start_program(programs.CLOUD)
        elif time.monotonic() >= self.trial_not_before:
            self.trial_not_before = time.monotonic() + TRIAL_EVERY_S
            with suppress(DatabaseError):
                if trial_cloud.is_over():
                    trial_cloud.forget()
                    self.supervisor.stop_program(programs.CLOUD)
            connections.close_all()

    def _wait_for_trial(self) -> None:
        """Let a simulated cloud that is wanted be there before anybody asks it; real hubs do not
        wait for one that does not start.
        """
        deadline = time.monotonic() + TRIAL_WITHIN_S
        while trial_cloud.asked_port() == self.cloud_port and time.monotonic() < deadline:
            if self._cloud_answers():
                return
            time.sleep(0.1)

    def _tell(self, news: News) -> None:
        log = self._log(f"{news.name}.log")
        if news.is_back:
            say(f"The {NAMES[news.name]} had stopped and was started again; see {log}.")
        else:
            say(f"The {NAMES[news.name]} does not stay up and is tried again; see {log}.")

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
        self.supervisor.stop()
        if was_running:
            say("Everything has stopped.")


def prepare() -> None:
    """Bring data folder, database and static files up to date, for processes that something else
    runs, such as systemd. Safe to repeat, also while they run.
    """
    data_dir = Path(settings.DATA_DIR)
    _close_data_dir(data_dir)
    with Lock(run_folder() / "start.lock") as lock:
        if not lock.take():
            _already_running(data_dir, lock.holder())
        lock.note("the database is being prepared")
        _require_libraries()
        _prepare_database()
        bootstrap.collect_static()
        lock.note("")


def _close_data_dir(data_dir: Path) -> None:
    os.umask(0o077)  # only this user may read what is written from here on
    if sentence := bootstrap.prepare_data_dir(data_dir):
        say(sentence)
    bootstrap.keep_private(data_dir)


def _require_libraries() -> None:
    if faults := self_checks.faults():
        raise CannotStart(" ".join(faults))


def _prepare_database() -> None:
    if backup := bootstrap.prepare_database():
        say(f"The database was upgraded; as it was before, it is kept in {backup}.")


def _already_running(data_dir: Path, where: str) -> NoReturn:
    raise CannotStart(
        f"Thermacell Web already runs from {short(data_dir)}, at "
        f"{where or 'an address not known yet'}: stop it there first (Ctrl-C); a second one "
        "beside it needs another data folder and another PORT=."
    )


def say(text: str) -> None:
    """Print for the person at the terminal, who may have closed it; among JSON lines as one."""
    if settings.LOG_FORMAT == "json":
        text = json.dumps({"logger": "start", "level": "INFO", "message": text.strip()})
    with suppress(OSError, ValueError):
        print(text, flush=True)


def _worker_answers(since: datetime) -> bool:
    return Beat.objects.filter(name__in=LOOPS, beat_at__gte=since).exists()
