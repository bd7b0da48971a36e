"""No secret is anywhere but where it belongs: everything real processes leave behind is searched.

A whole life is lived over HTTP (first person, linking, an install, refusals, faults, signing out),
with logs at their wordiest. Then log files, queue, pages, trail, exports, the database as a file
and as rows, a dump, the cache and Redis are searched for every secret that was in play.
"""

import os
import pickle
import re
import sqlite3
import subprocess
import sys
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import requests
from django.urls import URLPattern, get_resolver

from tests.support import canaries, services
from tests.support.product import ROOT, Browser, Product, free_port
from tests.support.simcloud_process import SimCloud
from thermacell_web.keys import read_keys

pytestmark = pytest.mark.processes

PERSON, PERSON_PASSWORD = "canary.owner@example.com", "canary-Owner-word-93481"
CLOUD_EMAIL, CLOUD_PASSWORD = "canary.cloud@example.org", "canary-Cloud-word-55102"
WRONG_PASSWORD = "canary-Wrong-word-70417"
SERVICE_SECRET = "canary-Service-topic-40226"
SIGNATURE = "canarysignature4f2c9d11e7"
PACE = 40
LIMIT_S = 150


class World:
    """One installation in which every secret is a canary, on one kind of database."""

    def __init__(self, folder: Path, cloud: SimCloud, **variables: str) -> None:
        self.folder, self.cloud = folder, cloud
        self.product = Product(folder, demo=False)
        self.product.environment |= {
            "DEFAULT_CLOUD_URL": cloud.url,
            "ENGINE_PACE": str(PACE),
            "LOG_LEVEL": "DEBUG",
            "NOTIFY_HOSTS": "127.0.0.1",
            **variables,
        }
        self.variables = variables
        self.secrets: dict[str, str] = {
            "person's password": PERSON_PASSWORD,
            "cloud password": CLOUD_PASSWORD,
            "wrong password": WRONG_PASSWORD,
            "signature of the file's link": SIGNATURE,
        }
        self.pages: dict[str, bytes] = {}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement on the database, whichever it is."""
        if url := self.variables.get("DATABASE_URL"):
            import psycopg

            with psycopg.connect(url, autocommit=True) as connection:
                found = connection.execute(sql.encode())
                return found.fetchall() if found.description else []
        database = sqlite3.connect(self.folder / "db.sqlite3", timeout=30)
        with closing(database), database:
            return database.execute(sql).fetchall()

    def wait_for(self, sql: str, wanted: object) -> None:
        until = monotonic() + LIMIT_S
        while (found := self.rows(sql)[0][0]) != wanted:
            assert monotonic() < until, f"{sql} stays at {found}"
            sleep(0.3)

    def remember_tokens(self, when: str) -> None:
        """Take note of the tokens as they are now, opened with the server's own key."""
        fernet = read_keys(self.folder).ring.fernet()
        for kind in ("access", "refresh"):
            sealed = self.rows(f"SELECT sealed_{kind}_token FROM devices_cloudaccount")[0][0]
            if sealed:
                token = fernet.decrypt(sealed.encode()).decode()
                self.secrets[f"{kind} token, {when}"] = token.rpartition(".")[2][:40]

    def record_queue(self) -> None:
        """Let the database itself keep a copy of every task ever queued."""
        self.rows("CREATE TABLE canary_queue (payload text)")
        if self.variables.get("DATABASE_URL"):
            self.rows(
                "CREATE FUNCTION canary_copy() RETURNS trigger AS $$ BEGIN INSERT INTO canary_queue"
                " VALUES (NEW.payload); RETURN NEW; END $$ LANGUAGE plpgsql"
            )
            act = "FOR EACH ROW EXECUTE FUNCTION canary_copy()"
        else:
            act = "BEGIN INSERT INTO canary_queue VALUES (NEW.payload); END"
        self.rows(f"CREATE TRIGGER canary_queued AFTER INSERT ON django_q_ormq {act}")

    def live(self) -> None:
        """Everything that handles a secret, in the order a person would do it."""
        link = next(line.strip() for line in self.product.lines if "/welcome/" in line)
        token = link.rstrip("/").rpartition("/")[2]
        self.secrets["welcome link"] = token
        self.record_queue()
        browser = Browser(self.product.url)
        stranger = Browser(self.product.url)
        welcomed = browser.post(
            f"/welcome/{token}/",
            name="Canary",
            email=PERSON,
            password=PERSON_PASSWORD,
            household="Garden house",
            time_zone="UTC",
        )
        assert welcomed.status_code == 200, welcomed.text
        stranger.get(f"/welcome/{token}/")  # used up: refused, and logged
        self.secrets["session"] = browser.session_seal
        assert len(self.secrets["session"]) > 20
        stranger.post("/account/login/", login=PERSON, password=WRONG_PASSWORD)

        invited = browser.post("/households/1/people/", email="guest@example.net", role="viewer")
        guest = re.search(r"/invitation/([^/]+)/", invited.text)
        assert guest is not None, invited.text
        self.secrets["invitation link"] = guest[1]
        assert "Garden house" in stranger.get(f"/invitation/{guest[1]}/").text
        stranger.session.post(f"{self.product.url}/invitation/{guest[1]}/")  # no token of the form
        stranger.session.put(f"{self.product.url}/invitation/{guest[1]}/")

        (home,) = self.rows("SELECT id FROM devices_household ORDER BY id LIMIT 1")[0]
        self.secrets["notification service"] = SERVICE_SECRET
        service = f"json://127.0.0.1:9/{SERVICE_SECRET}"  # no server answers there
        wanted = {"name": "Chat", "url": service, "is_on": "on", "pace": "at_once"}
        wanted["topics"] = "new_firmware"
        browser.post(f"/households/{home}/notifications/services/new/", **wanted)
        (channel,) = self.rows("SELECT id FROM devices_channel")[0]
        place = f"/households/{home}/notifications/"
        browser.post(f"{place}{channel}/test/", page=place)
        self.wait_for("SELECT count(*) FROM devices_channel WHERE trouble <> ''", 1)

        fields = {"email": CLOUD_EMAIL, "cloud": self.cloud.url, "keep_password": "on"}
        page = browser.post("/accounts/link/", **fields, password=WRONG_PASSWORD)
        assert "did not accept" in page.text
        self.cloud.fault("cut_after", path="/v1/login2", count=1)
        browser.post("/accounts/link/", **fields, password=CLOUD_PASSWORD)
        self.cloud.fault("garbage", path="/v1/login2", body="wrong_types", count=1)
        browser.post("/accounts/link/", **fields, password=CLOUD_PASSWORD)
        browser.post("/accounts/link/", **fields, password=CLOUD_PASSWORD)
        self.wait_for("SELECT count(*) FROM devices_node WHERE checked_at IS NOT NULL", 2)
        self.remember_tokens("first")

        for number, end in enumerate(("verified", "failed")):  # the second link leads nowhere
            (pk,) = self.rows(f"SELECT id FROM devices_node ORDER BY id LIMIT 1 OFFSET {number}")[0]
            browser.post(f"/hubs/{pk}/file/", page=f"/hubs/{pk}/")
            path = f"FROM devices_imagefetch WHERE node_id = {pk}"
            until = monotonic() + LIMIT_S
            while (state := self.rows(f"SELECT state {path}")[0][0]) == "waiting":
                self.rows("UPDATE devices_imagefetch SET next_try_at = '2020-01-01 00:00:00+00'")
                browser.post("/hubs/check/", page="/")  # wakes the worker
                assert monotonic() < until, "the file is not fetched"
                sleep(0.5)
            assert state == end
            if state == "verified":
                (fetch,) = self.rows(f"SELECT id {path}")[0]
                assert browser.get(f"/hubs/{pk}/files/{fetch}/").ok
        for number, kind in enumerate(("verified", "rejected")):
            (pk,) = self.rows(f"SELECT id FROM devices_node ORDER BY id LIMIT 1 OFFSET {number}")[0]
            (node_id,) = self.rows(f"SELECT node_id FROM devices_node WHERE id = {pk}")[0]
            if kind == "rejected":
                self.cloud.set_scenario(node_id, "rejected")
                self.cloud.fault("500", path="*/ota_update", method="GET", count=1)
            installed = browser.post(f"/hubs/{pk}/install/")
            assert "/installs/" in installed.url, installed.text
            self.wait_for(f"SELECT state FROM devices_otajob WHERE node_id = {pk}", kind)
        self.cloud.revoke_tokens(CLOUD_EMAIL)
        self.rows("UPDATE devices_cloudaccount SET next_sync_at = '2020-01-01 00:00:00+00'")
        browser.post("/hubs/check/", page="/")
        reconnected = "SELECT count(*) FROM devices_auditevent WHERE action = 'account.reconnected'"
        self.wait_for(f"{reconnected} AND via = 'worker'", 1)
        self.remember_tokens("second")

        self.read_pages(browser)
        self.be_refused(browser)
        browser.post("/account/logout/")
        assert browser.get("/").url.endswith("/account/login/?next=%2F")

    def read_pages(self, browser: Browser) -> None:
        """Read every page and export that needs no number, and one hub's and install's."""
        for pattern in get_resolver("devices.urls").url_patterns:
            if not isinstance(pattern, URLPattern) or pattern.pattern.converters:
                continue
            answer = browser.get("/" + str(pattern.pattern))
            if answer.status_code == 200:
                self.pages[f"page /{pattern.pattern}"] = answer.content
        for path in ("/hubs/1/", "/installs/1/"):
            self.pages[f"page {path}"] = browser.get(path).content
        for extra in ("audit/export.csv", "audit/export.jsonl"):
            self.pages[f"page {extra}"] = browser.get(f"/{extra}").content

    def be_refused(self, browser: Browser) -> None:
        """Meet each error page in the middle of typing a password."""
        fields = {"email": CLOUD_EMAIL, "password": CLOUD_PASSWORD, "cloud": self.cloud.url}
        refused = {
            400: requests.get(browser.url + "/", headers={"Host": "evil.example"}, timeout=60),
            403: browser.session.post(browser.url + "/accounts/link/", fields),
            404: browser.get(f"/nowhere/{CLOUD_PASSWORD}/"),
            405: browser.session.put(browser.url + "/accounts/link/", fields),
        }
        self.rows("ALTER TABLE devices_membership RENAME TO away")
        try:
            token = browser.session.cookies["csrftoken"]
            refused[500] = browser.session.post(
                browser.url + "/accounts/link/",
                {**fields, "csrfmiddlewaretoken": token},
                headers={"Cookie-Canary": SIGNATURE},
            )
        finally:
            self.rows("ALTER TABLE away RENAME TO devices_membership")
        for status, answer in refused.items():
            assert answer.status_code in {status, 403}, (status, answer.status_code)
            self.pages[f"error {status}"] = answer.content
        assert b"Something went wrong on our side" in self.pages["error 500"]

    def places(self) -> dict[str, bytes]:
        """Return everything that is left behind."""
        found = canaries.files(self.folder, but=frozenset({"keys.json"}))
        found = {
            name: data for name, data in found.items() if not name.startswith(("static/", "run/"))
        }
        lines = [line for line in self.product.lines if "/welcome/" not in line]
        found["what the terminal showed"] = "".join(lines).encode()
        for table in ("canary_queue", "django_q_task", "devices_auditevent"):
            found[f"rows of {table}"] = repr(self.rows(f"SELECT * FROM {table}")).encode()
        found |= self.pages
        if url := self.variables.get("DATABASE_URL"):
            dumped = subprocess.run(["pg_dump", "--inserts", url], capture_output=True, check=True)
            found["database dump"] = dumped.stdout
        else:
            with closing(sqlite3.connect(self.folder / "db.sqlite3")) as connection:
                found["database dump"] = "\n".join(connection.iterdump()).encode()
        if url := self.variables.get("REDIS_URL"):
            found["redis"] = redis_content(url)
        return found


def redis_content(url: str) -> bytes:
    import redis

    with redis.from_url(url) as client:
        return b"\n".join(
            key + b" " + (client.dump(key) or b"") + b" " + bytes(str(client.type(key)), "ascii")
            for key in client.scan_iter()
        )


def empty_redis(url: str) -> str:
    """Return the address of a numbered database of that server in which there is nothing."""
    import redis

    base = url.rpartition("/")[0] if re.search(r"/\d+$", url) else url
    for number in range(15, 0, -1):
        with redis.from_url(f"{base}/{number}") as client:
            if client.dbsize() == 0:
                return f"{base}/{number}"
    pytest.fail("every numbered database of that Redis is in use")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(f"canaries-{request.param}")
    variables: dict[str, str] = {}
    database = None
    name = ""
    if request.param == "postgres":
        import psycopg

        server = request.getfixturevalue("postgres_server")
        redis = empty_redis(request.getfixturevalue("redis_url"))
        name = folder.name.replace("-", "_") + f"_{os.getpid()}"
        variables = {"DATABASE_URL": services.with_database(server, name), "REDIS_URL": redis}
        database = psycopg.connect(server, autocommit=True)
        database.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        users = [f"{CLOUD_EMAIL}:{CLOUD_PASSWORD}"]
        with SimCloud(hubs=2, users=users, speed=PACE, offers=1) as cloud:
            for hub in range(2):
                fields: dict[str, Any] = {"fw_version": "5.4.7", "image_access": True}
                link = f"https://files.example/liv.bin?X-Amz-Signature={SIGNATURE}"
                cloud.swap_offer(hub, **fields, **({"url": link} if hub else {}))
                cloud.set_online(hub, True)
            world = World(folder, cloud, **variables)
            with world.product:
                world.live()
                yield world
    finally:
        if database is not None:
            import redis as redis_client

            database.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            database.close()
            with redis_client.from_url(variables["REDIS_URL"]) as client:
                client.flushdb()


def test_no_secret_is_anywhere_it_does_not_belong(world: World) -> None:
    places = world.places()
    assert len(world.secrets) >= 12, "every kind of secret was in play"
    assert all(len(secret) >= 12 for secret in world.secrets.values())
    assert any(name.startswith("log/web") and data for name, data in places.items())
    assert len(places["rows of canary_queue"]) > 100, "the queue was seen at work"
    assert canaries.leaks(places, world.secrets) == set()


def test_the_clouds_address_of_a_person_is_on_their_pages_alone(world: World) -> None:
    places = {
        name: data
        for name, data in world.places().items()
        if not name.startswith(("page /accounts/", "db.sqlite3", "database dump"))
    }
    assert canaries.leaks(places, {"cloud e-mail": CLOUD_EMAIL}) == set()
    rows = world.rows("SELECT email FROM devices_cloudaccount")
    assert rows == [(CLOUD_EMAIL,)]


def test_a_leak_would_be_found_in_every_kind_of_place(world: World) -> None:
    secret = "canary-Planted-word-31337"
    packed = urlsafe_b64encode(zlib.compress(pickle.dumps({"args": (secret,)}))).decode()
    (world.folder / "log" / "planted.log").write_text(f"POST ok password={secret}\n")
    (world.folder / "cache").mkdir(exist_ok=True)
    (world.folder / "cache" / "planted.djcache").write_bytes(zlib.compress(secret.encode()))
    world.rows(f"INSERT INTO canary_queue VALUES ('.{packed}:1tXyZa:c2lnbmF0dXJl')")
    world.rows("CREATE TABLE canary_leak (text text)")
    world.rows(f"INSERT INTO canary_leak VALUES ('{urlsafe_b64encode(secret.encode()).decode()}')")
    if url := world.variables.get("REDIS_URL"):
        import redis

        with redis.from_url(url) as client:
            client.set("planted", pickle.dumps({"password": secret}))
    places = world.places() | {"error 500": f"<p>{secret}</p>".encode()}
    found = {place for _, place in canaries.leaks(places, {"planted": secret})}
    wanted = {"log/planted.log", "rows of canary_queue", "database dump", "error 500"}
    wanted |= {"redis"} if world.variables.get("REDIS_URL") else {"db.sqlite3-wal"}
    assert wanted <= found
    (world.folder / "log" / "planted.log").unlink()
    world.rows("DROP TABLE canary_leak")


def test_two_web_servers_share_what_redis_counts(world: World) -> None:
    if not world.variables.get("REDIS_URL"):
        pytest.skip("a file is shared by the servers of one machine alone")
    port = free_port()
    words = ["-m", "gunicorn", "thermacell_web.wsgi", "--bind", f"127.0.0.1:{port}"]
    environment = world.product.environment | {"PUBLIC_URL": f"http://localhost:{port}"}
    second = subprocess.Popen(
        [sys.executable, *words, "--no-control-socket"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        elsewhere = Browser(f"http://localhost:{port}")
        # one address for both, as behind a proxy
        elsewhere.session.headers["Host"] = f"localhost:{world.product.port}"
        until = monotonic() + 60
        while True:
            try:
                assert elsewhere.get("/healthz").ok
                break
            except requests.ConnectionError:
                assert monotonic() < until, "the second web server does not answer"
                sleep(0.2)
        here = Browser(world.product.url)
        tried = {"login": "guessed@example.com", "password": WRONG_PASSWORD}
        answers = [here.post("/account/login/", **tried).text for _ in range(3)]
        answers += [elsewhere.post("/account/login/", **tried).text for _ in range(4)]
        fields = [bool(re.search(r"[Tt]oo many", text)) for text in answers]
        assert fields[:5] == [False] * 5, "five tries are no attack"
        # after five, one try is let through at once; the next has to wait
        assert fields[6], "the seventh is refused by a server that saw only three before it"
    finally:
        second.terminate()
        second.wait(30)
