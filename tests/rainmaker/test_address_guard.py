"""What this server calls: named clouds and links on the open internet, nothing inside."""

import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone

from devices.rainmaker import address_guard
from devices.rainmaker.address_guard import cloud_key, is_host_name, may_call
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.download import LinkExpired, TooLarge, fetch_image
from devices.rainmaker.errors import (
    AnswerLost,
    AnswerUnreadable,
    CloudError,
    NotTrusted,
    ServerTrouble,
    TellPerson,
    Unreachable,
)
from tests.support.hostile_server import HostileServer, cut_mid_body, drip, failure, flood, reply

INSIDE = """
    127.0.0.1 127.8.9.10 0.0.0.0 0.1.2.3 10.0.0.1 172.16.4.4 172.31.255.255 192.168.1.20
    100.64.0.1 100.127.255.255 169.254.169.254 192.0.0.8 192.0.0.170 192.0.2.7 192.88.99.1
    198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 ::1 ::
    ::7f00:1 ::a00:1 fe80::1 fe80::1%eth0 fe80::1%1 febf::1 fec0::1 feff::1 fd00::1 fc00::5
    ff02::1 ff0e::1 100::1 100:0:0:1::1 2001:db8::1 2001:2::1 2001:10::1 2001:20::1 3fff::1
    3fff:fff::1 4000::1 5f00::1 64:ff9b:1::a00:1 2001:0:4136:e378:8000:63bf:3fff:fdd2
    ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::ffff:0.0.0.0 ::ffff:0:10.0.0.1
    2002:7f00:1:: 2002:a9fe:a9fe::1 2002:c0a8:1:: 2002:0:0:: 64:ff9b::a00:1 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b:: not-an-address 127.1 0x7f.0.0.1 2130706433 127.0.0.1%eth0
"""
OUTSIDE = """
    93.184.215.14 8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 172.32.0.1
    2606:2800:21f:cb07:6820:80da:af6b:8b2c 2001:4860:4860::8888 2a00:1450:4001::1 3ffe::1
    64:ff9b::5db8:d70e 2002:5db8:d70e::1 ::ffff:93.184.215.14
"""


@pytest.mark.parametrize("address", INSIDE.split())
def test_a_machine_inside_is_never_called(address: str) -> None:
    assert not may_call(address)


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".example", "a..example", ".", "", "x." * 127 + "example", "." + "a" * 9]
)
def test_a_host_that_cannot_be_looked_up_is_refused_with_a_sentence(host: str) -> None:
    assert not is_host_name(host)
    with pytest.raises(NotTrusted, match="host"):
        RainmakerClient(f"https://{host}")
    with pytest.raises(socket.gaierror):
        address_guard.look_up("a" * 64 + ".example", 443)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://localhost:8100", "http://127.0.0.1:8100/"),
        ("http://LOCALHOST:8100", "http://[::1]:8100"),
        ("http://sim.localhost:8100", "http://127.0.0.2:8100"),
        ("https://API.example.com", "https://api.example.com:443/"),
        ("https://api.example.com.", " https://api.example.com// "),
        ("HTTPS://api.example.com/b", "https://api.example.com/b/"),
    ],
)
def test_spellings_of_one_cloud_are_one(one: str, other: str) -> None:
    assert cloud_key(one) == cloud_key(other)


@pytest.mark.parametrize(
    "other",
    [
        "https://api.example.com:8443",
        "http://api.example.com",
        "https://api.example.com/b",
        "https://api.example.com.evil.example",
        "https://api.example.net",
    ],
)
def test_another_cloud_is_another(other: str) -> None:
    assert cloud_key(other) != cloud_key("https://api.example.com")


@pytest.mark.parametrize("address", OUTSIDE.split())
def test_the_open_internet_is(address: str) -> None:
    assert may_call(address)
    assert not may_call(address, is_here=True)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Give names other addresses, one answer after the other; returns what was asked for."""

    def answer(*answers: list[str]) -> list[str]:
        asked: list[str] = []

        def resolve(host: str, port: int) -> list[str]:
            asked.append(host)
            return answers[min(len(asked), len(answers)) - 1]

        monkeypatch.setattr(address_guard, "look_up", resolve)
        return asked

    return answer


def fetch(url: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    fetch_image(url, sink, max_bytes=options.pop("max_bytes", 1_000_000), **options)
    return sink.getvalue()


@pytest.mark.parametrize("address", INSIDE[:-1])
def test_a_cloud_whose_name_leads_inside_gets_no_password(
    names: Callable[..., list[str]], address: str
) -> None:
    asked = names([address])
    with (
        RainmakerClient("https://cloud.example.org") as client,
        pytest.raises(NotTrusted, match="inside a private network") as caught,
    ):
        client.sign_in("a@example.com", "a-password")
    assert caught.value.nothing_happened
    assert asked == ["cloud.example.org"]


def test_one_bad_address_among_good_ones_is_enough(names: Callable[..., list[str]]) -> None:
    names(["93.184.215.14", "169.254.169.254"])
    with pytest.raises(NotTrusted, match="private network"):
        fetch("https://files.example.org/image")


def test_a_name_that_changes_its_answer_gains_nothing(
    server: HostileServer, names: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: good while it is checked, this machine when it is called."""
    asked = names(["93.184.215.14"], ["127.0.0.1"])
    called: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        called.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(Unreachable):
        fetch(f"https://files.example.org:{server.port}/image")
    assert asked == ["files.example.org"], "looked up once"
    assert called == [("93.184.215.14", server.port)], "and called at the checked address"
    assert server.connections == 0


def test_this_machine_is_reached_only_under_its_own_name(
    server: HostileServer, names: Callable[..., list[str]]
) -> None:
    server.on("GET /image", reply(body=b"image"))
    assert fetch(f"{server.url}/image", may_be_here=True) == b"image"
    for url in (f"{server.url}/image", f"http://localhost:{server.port}/image"):
        with pytest.raises(NotTrusted, match="private network"):
            fetch(url)
    names(["127.0.0.1"])
    with pytest.raises(NotTrusted):
        fetch(f"https://files.example.org:{server.port}/image", may_be_here=True)
    names(["192.168.1.20"])
    with pytest.raises(NotTrusted):
        fetch(f"http://localhost:{server.port}/image", may_be_here=True)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.org/image",
        "ftp://files.example.org/image",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "https://",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fd00::1]/image",
        "https://user:pw@files.example.org/image",
        "https://2130706433/image",
        "https://0x7f.1/image",
        "https://files.example.org/\r\nHost: inside",
        "https://files.example.org:port/",
        "not a link",
        "",
    ],
)
def test_an_address_that_must_not_be_called_is_refused(url: str) -> None:
    with pytest.raises(CloudError) as caught:
        fetch(url, may_be_here=True)
    assert isinstance(caught.value, NotTrusted | Unreachable)
    assert caught.value.was_sent is False


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://files.example.org/elsewhere",
        "http://127.0.0.1:1/",
        "/elsewhere",
        "file:///etc/passwd",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_link_that_points_on_is_not_followed(
    server: HostileServer, target: str, status: int
) -> None:
    server.on("GET /image", reply(status, headers={"Location": target}))
    server.on("GET /elsewhere", reply(body=b"secret of the inside"))
    with pytest.raises(NotTrusted, match="redirects to another"):
        fetch(f"{server.url}/image", may_be_here=True)
    assert [seen.path for seen in server.requests] == ["/image"]


def test_the_session_with_the_cloud_never_travels_with_the_download(server: HostileServer) -> None:
    server.on("GET /image", reply(body=b"image"))
    fetch(f"{server.url}/image?X-Amz-Signature=abc", may_be_here=True)
    assert server.requests[0].headers.keys() <= {
        "host",
        "accept-encoding",
        "user-agent",
        "connection",
    }
    assert server.requests[0].query == {"X-Amz-Signature": "abc"}


def test_a_download_is_limited_in_size_and_time(server: HostileServer) -> None:
    whole = b"HTTP/1.1 200 OK\r\n\r\n"
    server.on("GET /huge", flood(whole, b"x" * 65_536))
    with pytest.raises(TooLarge):
        fetch(f"{server.url}/huge", may_be_here=True, max_bytes=100_000)
    server.on("GET /slow", drip(whole, b"x", 0.02))
    with pytest.raises(AnswerLost):
        fetch(f"{server.url}/slow", may_be_here=True, total_timeout_s=0.6)


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (reply(403, body=b"<Error><Code>AccessDenied</Code></Error>"), LinkExpired),
        (reply(404), TellPerson),
        (reply(503), ServerTrouble),
        (failure(429), CloudError),
        (cut_mid_body(), AnswerLost),
        (reply(body=b"x", headers={"Content-Encoding": "gzip"}), AnswerUnreadable),
    ],
)
def test_a_file_that_does_not_come_says_why_without_the_link(
    server: HostileServer, behaviour: Any, kind: type[CloudError], caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    server.on("GET /image", behaviour)
    with pytest.raises(kind) as caught:
        fetch(f"{server.url}/image?X-Amz-Signature=canary", may_be_here=True)
    found = [caught.value, caught.value.__cause__]
    assert "canary" not in "".join(f"{one} {one!r}" for one in found)
    ours = [record for record in caplog.records if not record.name.startswith("urllib3")]
    assert "canary" not in "".join(record.getMessage() for record in ours)


@pytest.mark.django_db
def test_only_the_clouds_that_were_named_are_linked_or_called(
    settings: Any, server: HostileServer
) -> None:
    from devices.accounts.allowed_clouds import is_allowed
    from devices.accounts.linking import link_account
    from devices.models import AuditEvent, CloudAccount, OtaJob, State
    from tests.support.engine import run_until
    from tests.support.factories import (
        make_account,
        make_household,
        make_job,
        make_node,
        make_owner,
        person,
    )

    settings.LOOPBACK_CLOUDS = False
    settings.ALLOWED_CLOUDS = ("https://api.iot.thermacell.com",)
    assert is_allowed("https://api.iot.thermacell.com/")
    for cloud in (
        "https://api.rainmaker.espressif.com",
        "https://api.iot.thermacell.com.evil.example",
        "https://api.iot.thermacell.com:8443",
        "https://api.iot.thermacell.com/v2",
        "http://127.0.0.1:8001",
        "http://localhost",
        "banana",
    ):
        assert not is_allowed(cloud), cloud
    household = make_household()
    with pytest.raises(NotTrusted, match="ALLOWED_CLOUDS"):
        link_account(
            household=household,
            base_url=server.url,
            email="a@example.com",
            password="a-password",
            actor=person(make_owner(household)),
        )
    assert AuditEvent.objects.get().outcome == "failed"
    # one that was linked when it was still allowed
    account = make_account(household, base_url=server.url)
    job = make_job(make_node(account), state=State.RUNNING, next_poll_at=timezone.now())
    run_until(lambda: OtaJob.objects.get(pk=job.pk).trouble == "not_allowed")
    run_until(lambda: CloudAccount.objects.get(pk=account.pk).trouble == "not_allowed")
    assert OtaJob.objects.get(pk=job.pk).state == State.RUNNING
    assert server.connections == 0
