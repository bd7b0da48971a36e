"""Services: each is called through a proxy that tells whom it would have reached."""

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from devices.notifications.providers import PROVIDERS, ServiceUnusable, kind_of, read_service
from tests.support.product import ROOT

# One address of each kind with a fixed host, made up but well formed, and the hosts it may call.
SAMPLES = {
    "discord": ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord.com"),
    "gchat": ("gchat://workspace/key/token", "chat.googleapis.com"),
    "ifttt": ("ifttt://webhookid@event/", "maker.ifttt.com"),
    "pbul": (f"pbul://{'a' * 32}/", "api.pushbullet.com"),
    "pover": (f"pover://{'u' * 30}@{'a' * 30}/", "api.pushover.net"),
    "prowl": (f"prowl://{'a' * 40}/", "api.prowlapp.com"),
    "simplepush": (f"simplepush://{'A' * 14}/", "api.simplepu.sh"),
    "slack": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#channel", "slack.com"),
    "tgram": ("tgram://123456789:abcdefg_hijklmnop/12315544/", "api.telegram.org"),
    "threema": (f"threema://*THEGWID@{'s' * 16}/+15551234567/", "msgapi.threema.ch"),
    "wxteams": (f"wxteams://{'a' * 80}/", "api.ciscospark.com"),
}
# And of each kind that stands on somebody's own host.
HOSTED = {
    "bark": "bark://hub.example/devicekey/",
    "gotify": "gotify://hub.example/abcdefghijklmno",
    "hassio": "hassio://hub.example/accesstoken",
    "json": "json://hub.example/notify",
    "nctalk": "nctalk://user:pass@hub.example/roomid",
    "ntfy": "ntfy://hub.example/topic",
    "rocket": "rocket://user:pass@hub.example/%23channel/",
    "signal": "signal://hub.example/+15551234567/+15557654321",
    "synology": "synology://hub.example/token",
}
# What somebody might add, to have another host called.
TRICKS = (
    "?host=10.0.0.1&url=http://10.0.0.1/&base_url=http://10.0.0.1&domain=10.0.0.1"
    "&redirect=yes&verify=no&rto=3600&retry=9&api=10.0.0.1&server=10.0.0.1"
)


class Proxy(socketserver.ThreadingTCPServer):
    """Writes down whom each connection asks for, and refuses it."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refuse)
        self.asked: list[str] = []

    def hosts(self) -> list[str]:
        """Return whom it was asked to reach, without ports."""
        places = [one.removeprefix("http://").partition("/")[0] for one in self.asked]
        return [place.partition("@")[2] or place for place in map(_without_port, places)]


def _without_port(place: str) -> str:
    return place.rpartition(":")[0] if place.rpartition(":")[2].isdigit() else place


def use(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that goes out over HTTP ask this proxy."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


class _Refuse(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        line = self.rfile.readline().decode()
        self.server.asked.append(line.split(" ")[1] if " " in line else line)
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def test_every_service_is_tried() -> None:
    assert set(SAMPLES) == {scheme for scheme, kind in PROVIDERS.items() if kind.is_fixed}
    assert set(HOSTED) == {scheme for scheme, kind in PROVIDERS.items() if not kind.is_fixed}


@pytest.mark.parametrize("scheme", sorted(SAMPLES))
def test_a_service_with_a_fixed_host_calls_no_other_host(
    scheme: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, host = SAMPLES[scheme]
    use(proxy, monkeypatch)
    for address in (url, url + TRICKS):
        service = read_service(address)
        assert (service.redirects, service.verify_certificate, service.retry) == (False, True, 0)
        assert service.socket_read_timeout == 10
        assert not service.notify(body="Hello", title="Hi")
    assert proxy.asked
    for asked in proxy.hosts():
        assert asked == host or asked.endswith(f".{host}"), asked


@pytest.mark.parametrize("scheme", sorted(HOSTED))
def test_a_service_on_a_host_of_ones_own_calls_that_host_alone(
    scheme: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    use(proxy, monkeypatch)
    with pytest.raises(ServiceUnusable):
        read_service(HOSTED[scheme])
    settings.NOTIFY_HOSTS = ("hub.example",)
    for address in (HOSTED[scheme], HOSTED[scheme] + TRICKS):
        try:
            read_service(address).notify(body="Hello", title="Hi")
        except ServiceUnusable:
            assert address.endswith(TRICKS)  # some tricks are no addresses at all
    assert proxy.asked
    assert set(proxy.hosts()) == {"hub.example"}


def test_every_kind_can_be_loaded_without_a_warning() -> None:
    asked = "; ".join(
        f"import apprise.plugins.{kind.module} as m; m.{kind.plugin}" for kind in PROVIDERS.values()
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", asked],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("ntfy://ntfy.sh/x", "ntfy"),
        ("NTFYS://ntfy.sh/x", "ntfy"),
        ("discord://1/2", "Discord"),
        ("discords://1/2", ""),
        ("zulip://x", ""),
        ("", ""),
        ("://", ""),
    ],
)
def test_a_kind_is_known_by_its_scheme(url: str, name: str) -> None:
    kind = kind_of(url)
    assert (kind.name if kind else "") == name


def test_a_refusal_never_repeats_the_address() -> None:
    for url in ("json://secret-host/secret", "discord://secret", "nonsense://secret"):
        with pytest.raises(ServiceUnusable) as refused:
            read_service(url)
        assert "secret" not in str(refused.value)
