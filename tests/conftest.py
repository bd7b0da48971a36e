"""Fixtures every test may ask for, and the rule about what may be left out.

A test that needs PostgreSQL, Redis, Mosquitto or Chromium is left out where there is none, and the
end of the output says so. With CI=true nothing is left out: there it fails.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.utils import translation

from tests.support import mosquitto, prepared, services
from tests.support.client import Client
from tests.support.hostile_server import HostileServer, reply
from tests.support.push_service import PushService
from tests.support.simcloud_process import SimCloud
from tests.support.smtp_server import SmtpServer
from tests.tools import find_browser

LEFT_OUT = "Left out: "
ASK_FOR_ROWS = {"db", "transactional_db", "live_server", "django_db_setup"}


def leave_out(what: str) -> NoReturn:
    """Skip the test and say so at the end; fail it under CI."""
    if services.IS_CI:
        pytest.fail(f"{what} With CI=true nothing is left out.", pytrace=False)
    pytest.skip(LEFT_OUT + what)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that wait for real processes: none of them is left for the end."""
    waiting = {item.path for item in items if item.get_closest_marker("processes")}
    items.sort(key=lambda item: item.path not in waiting)
    # what PostgreSQL is asked too: tests with rows, known by a mark or by a fixture
    for item in items:
        if item.get_closest_marker("django_db") or ASK_FOR_ROWS & set(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker("database")


def pytest_configure() -> None:
    """Let all runners share what the first of them prepares, and no busy moment fail a test."""
    prepared.begin()
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("busy")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was left out, how many tests that concerns, and which failed at the first try."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
        _, found, what = reason.partition(LEFT_OUT)
        if found:
            reasons[what] = reasons.get(what, 0) + 1
    for what, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{LEFT_OUT}{count} tests. {what}", yellow=True)
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"Tried once more: {report.nodeid}", yellow=True)
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Let the tests' database begin with its tables: the migrations run once for all runners."""
    prepared.lay_for_rows()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Empty the tables: what the keys of this run seal is made again."""
    with django_db_blocker.unblock():
        call_command("flush", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def the_clock_goes_on() -> Iterator[None]:
    """Fail the test that leaves the clock moved or standing, not one of those that follow it."""
    yield
    assert not time_machine.escape_hatch.is_travelling(), "the clock was left moved"


@pytest.fixture(autouse=True)
def the_language_is_not_yet_chosen() -> None:
    """Forget the language of the last request: it stays with its thread, and all tests share one.

    A server's threads do not mind, for each request chooses again.
    """
    translation.deactivate()


@pytest.fixture(autouse=True)
def nothing_was_counted_yet() -> None:
    """Forget what the tests before asked for: limits are counted by address, which all share."""
    cache.clear()
    for path in settings.AUDIT_MARKS:  # of rows that were rolled back
        path.unlink(missing_ok=True)


@pytest.fixture
def client() -> Client:
    """Return a browser that is not signed in."""
    return Client()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of a Chromium."""
    path = os.environ.get("CHROMIUM") or find_browser.on_path()
    return path or leave_out("No Chromium was found: CHROMIUM may name one.")


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """Return the address of a PostgreSQL server."""
    found = services.postgres_url()
    return found or leave_out("No PostgreSQL answers: TEST_DATABASE_URL may name one.")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Yield the address of a fresh, empty database; it is gone afterwards."""
    with services.fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Return the address of a Redis; a test that uses it cleans up its own keys."""
    found = services.redis_url()
    return found or leave_out("No Redis answers: TEST_REDIS_URL may name one.")


@pytest.fixture
def broker() -> Iterator[mosquitto.Mosquitto]:
    """Yield a Mosquitto broker of one's own, as a real process."""
    if not mosquitto.binary():
        leave_out("No Mosquitto was found: MOSQUITTO may name one.")
    with mosquitto.Mosquitto() as started:
        yield started


@pytest.fixture
def simcloud() -> Iterator[SimCloud]:
    """Yield a simulated cloud of one's own, as a real process."""
    with SimCloud() as cloud:
        yield cloud


@pytest.fixture
def smtp(settings: Any) -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.HAS_MAIL_SERVER = True
        settings.PUBLIC_URL = "https://hubs.example.org"
        yield server


@pytest.fixture
def push_service(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PushService]:
    """Yield a push service of one's own, over https, that may be called."""
    with PushService(tmp_path, settings, monkeypatch) as service:
        yield service


@pytest.fixture
def hook(settings: Any) -> Iterator[HostileServer]:
    """Yield a host that the operator allowed, and that accepts messages."""
    with HostileServer() as server:
        host = server.url.removeprefix("http://")
        settings.NOTIFY_HOSTS = (host,)
        settings.PUBLIC_URL = "https://hubs.example.org"
        server.on("POST /notify", reply(200))
        yield server
