"""A database that is taken away, silent, busy, read-only or full: what people and programs get."""

import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from django.db import connection, transaction
from django.test import RequestFactory

from devices.models import Household, Role, StaffRole, User
from devices.models.database_trouble import Trouble
from devices.taskqueue import health
from devices.views import database_away
from devices.views.database_away import Writes
from tests.support import prepared, services
from tests.support.client import Client
from tests.support.factories import make_owner, make_user, sign_in
from tests.support.line import Line
from tests.support.product import ROOT, Browser, free_port
from tests.support.started import eventually
from tests.support.troubled_database import full, only_read

PASSWORD, OWNER = "mosquito-free-evening", "owner@example.com"
HEADLINE = "The server cannot reach its data right now."
SECONDS = 10


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[str]:
    """Yield the address of one process that serves pages."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "thermacell_web.wsgi", "--no-control-socket"]
    command += ["--worker-class", "devices.server.web_worker.BufferedWorker", "--workers", "1"]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "critical"]
    url = f"http://localhost:{port}"
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as web:
        try:
            eventually(lambda: is_there(url), 60)
            yield url
        finally:
            web.terminate()


def is_there(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False


def prepare(environment: dict[str, str]) -> None:
    prepared.lay(environment)
    for words in (
        ["household", "create", "Garden", "--owner", OWNER],
        ["collectstatic", "--no-input", "--verbosity", "0"],
    ):
        subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=environment,
            input=f"{PASSWORD}\n",
            text=True,
            capture_output=True,
            check=True,
        )


def enter(url: str) -> Browser:
    browser = Browser(url)
    entered = browser.post("/account/login/", login=OWNER, password=PASSWORD)
    assert "Garden" in entered.text
    return browser


def within(limit_s: float, ask: Callable[[], requests.Response]) -> requests.Response:
    began = monotonic()
    answer = ask()
    assert monotonic() - began < limit_s
    return answer


@pytest.mark.processes
@pytest.mark.postgres
def test_a_database_that_is_taken_away_comes_back(postgres_url: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "ENV_FILE": ""}
    prepare(environment | {"DATABASE_URL": postgres_url})
    where = urlsplit(postgres_url)
    with Line(where.hostname or "", where.port or 5432) as line:
        user = f"{where.username}@" if where.username else ""
        through = where._replace(netloc=f"{user}127.0.0.1:{line.port}")
        environment["DATABASE_URL"] = urlunsplit(through)
        with serving(environment) as url:
            browser = enter(url)

            line.cut()
            every_kind_of_answer(browser, url)
            line.mend()
            eventually(lambda: browser.get("/").status_code == 200, SECONDS)

            line.silence()
            assert within(SECONDS, lambda: browser.get("/")).status_code == 503
            # no other waits for what is known
            assert within(2, lambda: browser.get("/history/")).status_code == 503
            line.mend()
            eventually(lambda: browser.get("/").status_code == 200, SECONDS)

            name = where.path.removeprefix("/")
            with services.as_owner() as owner:
                owner.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
                owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )
                assert within(SECONDS, lambda: browser.get("/")).status_code == 503
                owner.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
            eventually(lambda: browser.get("/").status_code == 200, SECONDS)


def every_kind_of_answer(browser: Browser, url: str) -> None:
    pages = ("/", "/history/", "/accounts/", "/profile/", "/nowhere/", "/account/login/")
    for path in pages:
        page = within(SECONDS, lambda path=path: browser.get(path))  # type: ignore[misc]
        assert page.status_code == 503, path
        assert page.headers["Retry-After"] == "10"
        for words in (HEADLINE, "Your hubs go on by themselves.", f"url={path}"):
            assert words in page.text, path
        for inside in ("Traceback", "OperationalError", "psycopg", str(ROOT), "127.0.0.1"):
            assert inside not in page.text, path
    german = browser.get("/", headers={"Accept-Language": "de"})
    assert 'lang="de"' in german.text
    assert HEADLINE not in german.text

    poll = browser.get("/live/", headers={"HX-Request": "true"})
    assert poll.status_code == 503
    assert poll.headers["Content-Type"].startswith("text/plain")
    assert poll.text.startswith(f"{HEADLINE} This page may be out of date.")

    asked = requests.get(f"{url}/api/v1/hubs/", headers={"Authorization": "Bearer x"}, timeout=20)
    assert asked.status_code == 503
    assert asked.json()["error"]["code"] == "unavailable"

    token = browser.session.cookies["csrftoken"]
    pressed = browser.session.post(
        f"{url}/hubs/check/",
        {"csrfmiddlewaretoken": token},
        headers={"Referer": f"{url}/?q=garden"},
        timeout=20,
    )
    assert pressed.status_code == 503
    assert "Nothing was changed or sent." in pressed.text
    assert "url=/?q=garden" in pressed.text

    assert browser.get("/healthz").text == "ok"
    ready = within(SECONDS, lambda: browser.get("/readyz"))
    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    assert browser.get("/static/app.css").status_code == 200


@pytest.mark.processes
def test_a_page_is_read_while_another_holds_an_sqlite_file(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "ENV_FILE": ""}
    environment |= {"READY_TOKEN": "monitoring-only-0123456789"}
    prepare(environment)
    with serving(environment) as url:
        browser = enter(url)
        with closing(sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert within(SECONDS, lambda: browser.get("/")).status_code == 200
            ready = within(
                SECONDS,
                lambda: browser.get(
                    "/readyz", headers={"Authorization": "Bearer monitoring-only-0123456789"}
                ),
            )
            assert ready.json()["parts"]["database"]["trouble"] == "busy"
            other.execute("ROLLBACK")
        assert "trouble" not in browser.get("/readyz").text


# In this process


@pytest.fixture
def troubled(client: Client) -> Client:
    client.raise_request_exception = False
    return client


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_only_read_shows_its_pages_and_takes_no_form(troubled: Client) -> None:
    owner = make_user(role=Role.OWNER)
    sign_in(troubled, owner)
    troubled.get("/")
    session = troubled.session
    session["used"] -= 3600  # its use would be noted now
    session.save()
    with only_read():
        assert troubled.get("/").status_code == 200
        assert health.database().figures["trouble"] == "read_only"
        pressed = troubled.post("/language/", {"language": "de"})
    assert pressed.status_code == 503
    page = pressed.content.decode()
    assert "The server cannot store anything right now." in page
    assert "Its database can only be read." in page
    assert "Nothing was changed or sent." in page
    assert health.database().is_ok
    assert troubled.post("/language/", {"language": "de"}).status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="a stand-in for an SQLite disk")
def test_a_full_disk_is_said_and_over_when_there_is_room(troubled: Client, settings: Any) -> None:
    settings.PUBLIC_URL = "http://testserver"
    administrator = make_user(staff_role=StaffRole.ADMINISTRATOR)
    sign_in(troubled, administrator)
    troubled.get("/server/")
    with full():
        part = health.database()
        assert not part.is_ok
        assert part.figures["trouble"] == "full"
        page = troubled.get("/server/")
        assert page.status_code == 200
        assert b"the disk of the database is full. Make room" in page.content
        assert troubled.get("/readyz").status_code == 503
    assert health.database().is_ok
    assert b"the disk of the database is full" not in troubled.get("/server/").content


@pytest.mark.processes
def test_a_folder_that_takes_no_more_is_no_place_for_sqlite(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "ENV_FILE": ""}
    prepared.lay(environment)

    def ready(most_bytes: int) -> dict[str, Any]:
        limit = (most_bytes, most_bytes)
        done = subprocess.run(
            [sys.executable, "manage.py", "ready", "database"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        )
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["ok"] == (done.returncode == 0)
        return found

    assert ready(resource.RLIM_INFINITY)["ok"]
    assert ready(health.ROOM_BYTES - 1)["trouble"] == "full"


@pytest.mark.django_db(transaction=True)
def test_what_is_known_of_a_form_whose_database_failed() -> None:
    def written(act: Callable[[], object]) -> Writes:
        writes = Writes()
        with connection.execute_wrapper(writes):
            act()
        return writes

    def undone() -> None:
        with transaction.atomic():
            make_owner(Household.objects.create(name="Garden"))
            transaction.set_rollback(True)

    kept = written(lambda: Household.objects.create(name="Garden"))
    begun, read = written(undone), written(lambda: User.objects.count())
    assert [one.are_undone(Trouble.FULL) for one in (kept, begun, read)] == [False, True, True]
    # the answer to a commit may have been lost
    assert [one.are_undone(Trouble.AWAY) for one in (kept, begun, read)] == [False, False, True]


@pytest.mark.parametrize(("path", "says"), [("/x/", "text/html"), ("/api/v1/x/", "json")])
def test_a_fault_of_our_own_is_no_trouble_of_the_database(path: str, says: str) -> None:
    try:
        raise ValueError("ours")
    except ValueError:
        answer = database_away.server_error(RequestFactory().get(path))
    assert answer.status_code == 500
    assert says in answer["Content-Type"]
    assert b"Something went wrong on our side." in answer.content


def test_one_asks_again_while_the_others_do_not_wait(
    troubled: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without django_db each query fails, so who asks the database does not get this far
    away = database_away._away
    away.note("it was taken away")
    try:
        page = troubled.get("/", headers={"Accept-Language": "es"})
        assert page.status_code == 503
        assert b'lang="es"' in page.content
        assert b'<meta http-equiv="refresh" content="10; url=/">' in page.content
        monkeypatch.setattr(database_away, "monotonic", lambda: monotonic() + 60)
        with away.asks:  # another does
            assert troubled.get("/").status_code == 503
        assert troubled.get("/").status_code == 500, "the database was asked"
    finally:
        away.is_over()
