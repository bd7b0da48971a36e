"""The cloud client against real servers on this machine, most of which misbehave."""

import base64
import copy
import gzip
import json
import logging
import pickle
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devices.cloud import RainmakerClient
from devices.cloud.errors import (
    AnswerLost,
    AnswerUnreadable,
    Busy,
    CloudError,
    HubOffline,
    NoOtaStatus,
    NotTrusted,
    NotYourHub,
    OfferGone,
    OurBug,
    ServerTrouble,
    SignInAgain,
    TellPerson,
    TryLater,
    Unreachable,
)
from devices.cloud.types import OtaWord, Tokens
from tests.hostile_server import (
    Behaviour,
    HostileServer,
    calling,
    chunked,
    cut,
    cut_mid_body,
    drip,
    failure,
    flood,
    raw,
    reply,
    silence,
    together,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NODE = "JM7UVxmMgPUYUhVJVBWEf6"
JOB = "OTA_JOB_12345"
EMAIL = "someone.canary@example.org"
PASSWORD = 'canary-pass"wörd&'
REFRESH = "canary-refresh-token"

LOGIN = "POST /v1/login2"
USER = "GET /v1/user"
CHECK = "GET /v1/user/nodes/ota_update"
PUSH = "POST /v1/user/nodes/ota_update"
STATUS = "GET /v1/user/nodes/ota_status"
NODES = "GET /v1/user/nodes"

USER_ANSWER = reply(json={"user_id": "u1", "user_name": EMAIL})
NO_UPDATE = reply(json={"status": "success", "ota_available": False, "description": "Latest"})
PUSHED = reply(json={"status": "success", "description": "OTA update initiated successfully"})


def jwt(**claims: object) -> str:
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, "canarysignature"])


ACCESS = jwt(exp=int((NOW + timedelta(hours=1)).timestamp()), n=1)
FRESH = jwt(exp=int((NOW + timedelta(hours=2)).timestamp()), n=2)
TOKENS = Tokens(
    access_token=ACCESS,
    refresh_token=REFRESH,
    access_expires_at=NOW + timedelta(hours=1),
    user_id="u1",
    email=EMAIL,
)
SESSION = {
    "status": "success",
    "description": "Login successful",
    "idtoken": jwt(**{"custom:user_id": "u1", "email": EMAIL}),
    "accesstoken": ACCESS,
    "refreshtoken": REFRESH,
}
EXTENDED = reply(
    json={"status": "success", "description": "ok", "accesstoken": FRESH, "idtoken": jwt(n=2)}
)

Connect = Callable[..., RainmakerClient]


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open clients that are closed after the test."""
    clients: list[RainmakerClient] = []

    def open_client(base_url: str, **changes: Any) -> RainmakerClient:
        settings: dict[str, Any] = {
            "tokens": TOKENS,
            "connect_timeout_s": 5,
            "read_timeout_s": 5,
            "clock": lambda: NOW,
        }
        clients.append(RainmakerClient(base_url, **(settings | changes)))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


def push(client: RainmakerClient) -> str:
    return client.push_firmware_update(node_id=NODE, ota_job_id=JOB)


def ask_status(client: RainmakerClient) -> object:
    return client.get_ota_status(node_id=NODE, ota_job_id=JOB)


def error_of(call: Callable[..., object], *args: Any, **kwargs: Any) -> CloudError:
    with pytest.raises(CloudError) as caught:
        call(*args, **kwargs)
    problem = caught.value
    sentence = str(problem)
    assert sentence[:1].isupper(), sentence
    assert_no_secret(problem)
    return problem


def pickled_and_back(problem: CloudError) -> CloudError:
    twin = pickle.loads(pickle.dumps(problem))  # noqa: S301
    assert isinstance(twin, CloudError)
    return twin


def assert_no_secret(problem: CloudError) -> None:
    """Neither the error nor anything it wraps gives a secret away, printed or pickled."""
    seen: list[BaseException] = []
    waiting: list[Any] = [problem]
    texts = ["".join(traceback.format_exception(problem))]
    texts.append(repr(vars(pickled_and_back(problem))))
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            texts += [repr(one), repr(vars(one))]
            request = getattr(one, "request", None)
            texts.append(repr(vars(request)) if request is not None else "")
            waiting += [one.__cause__, one.__context__, *one.args]
    whole = "\n".join(texts)
    for secret in ("canary", ACCESS, FRESH, PASSWORD):
        assert secret not in whole


# What is sent


def test_a_request_carries_the_raw_token_and_escaped_parameters(server, connect):
    server.on(CHECK, NO_UPDATE)
    connect(server.url).check_firmware_update("a&b=c d/../?#%é")
    (seen,) = server.seen(CHECK)
    assert seen.headers["authorization"] == ACCESS
    assert seen.query == {"node_id": "a&b=c d/../?#%é"}
    assert seen.target.startswith("/v1/user/nodes/ota_update?node_id=a%26b%3Dc")
    assert "cookie" not in seen.headers


def test_a_push_sends_both_ids_as_json(server, connect):
    server.on(PUSH, PUSHED)
    assert push(connect(server.url)) == "OTA update initiated successfully"
    (seen,) = server.seen(PUSH)
    assert seen.json == {"ota_job_id": JOB, "node_id": NODE}
    assert seen.headers["content-type"] == "application/json"


@pytest.mark.parametrize("bad", ["", " ", "a\n", "a\x00b", "x" * 129, None, 7, b"x", "\ud800"])
def test_an_id_that_cannot_be_one_is_not_sent(server, connect, bad):
    client = connect(server.url)
    for call in (
        lambda: client.check_firmware_update(bad),
        lambda: client.push_firmware_update(node_id=bad, ota_job_id=JOB),
        lambda: client.push_firmware_update(node_id=NODE, ota_job_id=bad),
        lambda: client.get_ota_status(node_id=NODE, ota_job_id=bad),
        lambda: client.node(bad),
    ):
        problem = error_of(call)
        assert isinstance(problem, OurBug)
        assert problem.nothing_happened
    assert server.requests == []


def test_cookies_are_neither_kept_nor_sent(server, connect):
    server.on(USER, reply(json={"user_id": "u"}, headers={"Set-Cookie": "a=b; Path=/"}))
    client = connect(server.url)
    client.user()
    client.user()
    assert "cookie" not in server.seen(USER)[1].headers


def test_a_password_file_does_not_replace_the_token(server, connect, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.on(USER, USER_ANSWER)
    connect(server.url).user()
    assert server.seen(USER)[0].headers["authorization"] == ACCESS


def test_a_proxy_is_not_asked_for_this_machine(server, connect, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.on(USER, USER_ANSWER)
    connect(server.url).user()


def test_a_proxy_from_the_environment_is_asked_for_the_real_cloud(connect, monkeypatch):
    with HostileServer() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        problem = error_of(connect("https://cloud.invalid").user)
        assert isinstance(problem, Unreachable)
        assert proxy.requests[0].method == "CONNECT"
        assert "authorization" not in proxy.requests[0].headers


def test_connections_are_used_again(server, connect):
    server.on(USER, USER_ANSWER)
    server.on(CHECK, failure(400, 103020), NO_UPDATE)
    client = connect(server.url)
    client.user()
    error_of(client.check_firmware_update, NODE)
    client.check_firmware_update(NODE)
    assert server.connections == 1


def test_a_shared_session_lends_its_connections_and_stays_open(server):
    server.on(USER, USER_ANSWER)
    with requests.Session() as shared:
        for _ in range(2):
            with RainmakerClient(server.url, tokens=TOKENS, session=shared) as client:
                client.user()
        assert server.connections == 1


# Where it is sent


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://10.0.0.1",
        "http://[::2]",
        "http://2130706433",
        "ftp://localhost",
        "https://user@api.example.org",
        "https://user:canary@api.example.org",
        "https://api.example.org/a/../b",
        "https://api.example.org/./b",
        "https://api.example.org//b",
        "https://api.example.org/b//",
        "https://api.example.org/%2e%2e",
        "https://api.example.org/b?c=d",
        "https://api.example.org?",
        "https://api.example.org/#",
        "https://api.example.org\\@evil.example",
        "https://api.example.org:port",
        "https://api.example.org:99999",
        "https://api.exa mple.org",
        "https://api.example.org\n",
        "https://ápi.example.org",
        "https://",
        "https:///v1",
        "https://[",
        "api.example.org",
        "",
    ],
)
def test_an_address_that_may_not_be_sent_secrets_is_refused_at_once(url):
    problem = error_of(RainmakerClient, url)
    assert isinstance(problem, NotTrusted)
    assert problem.nothing_happened


@pytest.mark.parametrize(
    "url",
    [
        "https://api.iot.thermacell.com",
        "https://api.example.org:8443/stage-1/",
        "https://192.0.2.1",
        "https://[2001:db8::1]:8443",
        "http://127.0.0.1:8800",
        "http://127.9.9.9",
        "http://[::1]:8800",
        "http://localhost:8800/",
    ],
)
def test_https_and_this_machine_are_trusted(url):
    RainmakerClient(url).close()


def test_a_base_url_may_have_a_path(server, connect):
    server.on("GET /stage/v1/user", USER_ANSWER)
    assert connect(f"{server.url}/stage/").user().user_id == "u1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_server_is_followed_once(server, connect, status):
    server.on(USER, reply(status, headers={"Location": "/other?x=1"}))
    server.on("GET /other", USER_ANSWER)
    assert connect(server.url).user().user_id == "u1"
    assert server.seen("GET /other")[0].query == {"x": "1"}


def test_a_redirect_without_end_is_not_followed(server, connect):
    server.on(USER, reply(302, headers={"Location": "/v1/user"}))
    assert isinstance(error_of(connect(server.url).user), AnswerUnreadable)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "place", ["http://localhost:{port}/x", "//evil.example/x", "http://127.0.0.1:1/", "x://[", ""]
)
def test_a_redirect_to_another_place_is_refused(server, connect, place):
    place = place.format(port=server.port)
    headers = {"Location": place} if place else {}
    server.on(USER, reply(302, headers=headers))
    problem = error_of(connect(server.url).user)
    assert isinstance(problem, NotTrusted if place else AnswerUnreadable)
    assert problem.status == 302


def test_a_redirect_does_not_leave_through_a_second_one(server, connect):
    with HostileServer() as other:
        server.on(USER, reply(302, headers={"Location": "/x"}))
        server.on("GET /x", reply(302, headers={"Location": f"{other.url}/x"}))
        assert isinstance(error_of(connect(server.url).user), NotTrusted)
        assert other.requests == []


@pytest.mark.parametrize("status", [302, 307])
def test_a_push_is_not_redirected(server, connect, status):
    server.on(PUSH, reply(status, headers={"Location": "/other"}))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, AnswerUnreadable)
    assert not problem.nothing_happened
    assert len(server.requests) == 1


def test_a_password_is_not_redirected(server, connect):
    with HostileServer() as other:
        server.on(LOGIN, reply(307, headers={"Location": f"{other.url}/v1/login2"}))
        problem = error_of(connect(server.url, tokens=None).sign_in, EMAIL, PASSWORD)
        assert isinstance(problem, NotTrusted)
        assert other.requests == []


def test_the_body_of_a_redirect_is_limited_too(server, connect):
    first = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.on(USER, flood(first, b"1000\r\n" + b"x" * 4096 + b"\r\n"))
    problem = error_of(connect(server.url, max_body_bytes=100_000).user)
    assert isinstance(problem, AnswerUnreadable)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hostile")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[HostileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HostileServer(tls=context) as server:
        yield server


def test_a_certificate_nobody_vouches_for_is_not_trusted(tls_server, connect):
    tls_server.on(PUSH, PUSHED)
    problem = error_of(push, connect(tls_server.url))
    assert isinstance(problem, NotTrusted)
    assert problem.was_sent is False
    assert tls_server.requests == []


def test_a_certificate_for_another_host_is_not_trusted(tls_server, connect, certificate):
    with requests.Session() as session:
        session.verify = str(certificate)
        url = tls_server.url.replace("127.0.0.1", "localhost")
        assert isinstance(error_of(connect(url, session=session).user), NotTrusted)
    assert tls_server.requests == []


def test_verification_cannot_be_switched_off(tls_server, connect):
    with requests.Session() as session:
        session.verify = False
        assert isinstance(error_of(connect(tls_server.url, session=session).user), NotTrusted)


def test_a_bundle_in_the_environment_is_used(tls_server, connect, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    tls_server.on(USER, USER_ANSWER)
    assert connect(tls_server.url).user().user_id == "u1"


@pytest.mark.parametrize(
    "behaviour",
    [cut(), cut_mid_body(), silence(), drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")],
)
def test_an_answer_lost_over_tls_is_lost_and_not_mistrusted(
    tls_server, connect, certificate, monkeypatch, behaviour
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    tls_server.on(PUSH, behaviour)
    client = connect(tls_server.url, read_timeout_s=0.4, total_timeout_s=1)
    problem = error_of(push, client)
    assert isinstance(problem, AnswerLost)
    assert problem.was_sent is None
    assert len(tls_server.requests) == 1


def error_of_handshake(connect: Connect, says: bytes | None) -> CloudError:
    """Return what a push raises when a server answers the handshake so, or with None never."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            sock, _ = listener.accept()
            accepted.append(sock)
            sock.recv(10_000)
            if says is not None:
                sock.sendall(says)
                sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=accept)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        problem = error_of(push, connect(url, connect_timeout_s=0.2))
        thread.join()
        for sock in accepted:
            sock.close()
    assert problem.nothing_happened
    return problem


def test_a_server_that_speaks_no_tls_is_not_trusted(connect):
    answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert isinstance(error_of_handshake(connect, answer), NotTrusted)


@pytest.mark.parametrize("says", [b"", None])
def test_a_handshake_that_is_cut_or_never_comes_is_only_unreachable(connect, says):
    assert isinstance(error_of_handshake(connect, says), Unreachable)


# What was not sent, and what may have arrived


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_refused_connection_sent_nothing(connect):
    problem = error_of(push, connect(f"http://127.0.0.1:{closed_port()}"))
    assert isinstance(problem, Unreachable)
    assert problem.was_sent is False
    assert problem.nothing_happened
    assert "refuses connections" in str(problem)


def test_an_unknown_name_sent_nothing(connect):
    problem = error_of(push, connect("https://cloud.invalid"))
    assert isinstance(problem, Unreachable)
    assert problem.nothing_happened


LOST = {
    "cut before the answer": cut(),
    "cut in the body": cut_mid_body(),
    "cut in the body of a refusal": cut_mid_body(400),
    "cut in a chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{}"),
    "cut between chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "silence": silence(),
    "a slow body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"),
    "a slow body of a closing connection": drip(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
    "slow chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "slow headers": drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "a slow status line": drip(b"HTTP/1.1 200 ", b"x"),
    "waiting announced without end": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
UNREADABLE = {
    "not HTTP": raw(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "cut in the status line": raw(b"HTTP/1.1 20"),
    "cut in the headers": raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "too many headers": raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n"),
    "a huge header": raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n"),
    "empty": reply(body=""),
    "a page": reply(body="<html>Welcome to the hotel, someone.canary@example.org</html>"),
    "truncated JSON": reply(body='{"status": "succ'),
    "not UTF-8": reply(body=b'{"status": "\xff\xfe"}'),
    "a constant that is not JSON": reply(body='{"status": NaN}'),
    "JSON nested too deeply": reply(body="[" * 100_000),
    "a number too long": reply(body="9" * 10_000),
    "a list": reply(json=[]),
    "a text": reply(json="success"),
    "null": reply(body="null"),
    "an object without anything": reply(json={}),
    "too large, announced": reply(length=10**9),
    "too large, in chunks": flood(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1000\r\n" + b"x" * 4096 + b"\r\n",
    ),
    "too large, without a length": flood(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
    "a gzip bomb": reply(
        body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"}
    ),
    "damaged gzip": reply(body=b"\x1f\x8b\x08nonsense", headers={"Content-Encoding": "gzip"}),
    "truncated gzip": reply(
        body=gzip.compress(b'{"status": "success"}')[:-9], headers={"Content-Encoding": "gzip"}
    ),
    "an encoding nobody asked for": reply(body=b"{}", headers={"Content-Encoding": "br"}),
    "a status from the future": reply(299, body="hello"),
    "a refusal that is a page": reply(400, body="<html>Bad request</html>"),
    "not modified": reply(304),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_answer_leaves_open_what_happened_and_is_not_asked_for_again(server, connect, name):
    server.on(PUSH, LOST[name])
    server.on(USER, LOST[name])
    client = connect(server.url, total_timeout_s=0.3)
    started = time.monotonic()
    problem = error_of(push, client)
    assert isinstance(problem, AnswerLost)
    assert problem.was_sent is None
    assert not problem.nothing_happened
    assert isinstance(error_of(client.user), AnswerLost)
    assert time.monotonic() - started < 3
    assert [one.method for one in server.requests] == ["POST", "GET"]


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_answer_leaves_open_what_happened(server, connect, name):
    server.on(PUSH, UNREADABLE[name])
    server.on(USER, UNREADABLE[name])
    client = connect(server.url, max_body_bytes=100_000)
    problem = error_of(push, client)
    assert isinstance(problem, AnswerUnreadable)
    assert problem.was_sent is True
    assert not problem.nothing_happened
    assert len(problem.excerpt) <= 300
    assert isinstance(error_of(client.user), AnswerUnreadable)
    assert [one.method for one in server.requests] == ["POST", "GET"]


def test_a_client_goes_on_after_every_kind_of_trouble(server, connect):
    server.on(USER, *LOST.values(), *UNREADABLE.values(), USER_ANSWER)
    client = connect(server.url, total_timeout_s=0.5, max_body_bytes=100_000)
    for _ in (*LOST, *UNREADABLE):
        error_of(client.user)
    assert client.user().user_id == "u1"


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(chunked([b'{"user_id"', b': "u1"}'])),
        raw(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"user_id": "u1"}'),
        raw(b'HTTP/1.0 200 OK\r\n\r\n{"user_id": "u1"}'),
        reply(body=b'\xef\xbb\xbf{"user_id": "u1"}'),
        reply(body=gzip.compress(b'{"user_id": "u1"}'), headers={"Content-Encoding": "gzip"}),
        raw(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"user_id": "u1"}'
        ),
    ],
)
def test_unusual_but_whole_answers_are_understood(server, connect, behaviour):
    server.on(USER, behaviour)
    assert connect(server.url).user().user_id == "u1"


def test_an_answer_may_be_exactly_as_large_as_allowed(server, connect):
    text = json.dumps({"user_id": "u1"})
    server.on(USER, reply(body=text))
    assert connect(server.url, max_body_bytes=len(text)).user().user_id == "u1"
    problem = error_of(connect(server.url, max_body_bytes=len(text) - 1).user)
    assert isinstance(problem, AnswerUnreadable)


# Refusals


CODES = [
    (400, 100006, OurBug),
    (400, 100009, OurBug),
    (400, 100012, OurBug),
    (400, 100002, OurBug),
    (400, 105014, OurBug),
    (400, 105018, OurBug),
    (400, 101009, SignInAgain),
    (400, 101017, SignInAgain),
    (400, 101058, SignInAgain),
    (400, 102001, HubOffline),
    (400, 100010, NotYourHub),
    (400, 103013, NotYourHub),
    (400, 103020, NotYourHub),
    (404, 100015, NotYourHub),
    (400, 105061, OfferGone),
    (400, 105036, OfferGone),
    (400, 104015, TellPerson),
    (404, 105024, NoOtaStatus),
    (400, 105024, NoOtaStatus),
    (400, 104006, TellPerson),
    (400, 999999, TellPerson),
    (403, 108001, TellPerson),
    (409, 123456, TellPerson),
    (423, 105078, Busy),
    (400, 105078, Busy),
    (429, 100070, Busy),
    (423, None, Busy),
    (429, None, Busy),
    (400, None, OurBug),
    (404, None, OurBug),
]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_a_refused_push_certainly_did_nothing(server, connect, status, code, kind):
    server.on(PUSH, failure(status, code, "In the cloud's words"))
    problem = error_of(push, connect(server.url))
    assert type(problem) is kind
    assert (problem.status, problem.code) == (status, code)
    assert problem.description == "In the cloud's words"
    assert problem.endpoint == PUSH
    assert problem.was_sent is True
    assert problem.nothing_happened
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_a_read_is_refused_alike(server, connect, status, code, kind):
    server.on(CHECK, failure(status, code))
    problem = error_of(connect(server.url, tokens=without_refresh()).check_firmware_update, NODE)
    assert type(problem) is kind


def without_refresh() -> Tokens:
    return Tokens(ACCESS, "", None, "u1", EMAIL)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("with_words", [True, False])
def test_trouble_of_the_cloud_leaves_a_push_open(server, connect, status, with_words):
    answer = failure(status, 105007) if with_words else reply(status, body="<html>oops</html>")
    server.on(PUSH, answer)
    server.on(USER, answer)
    client = connect(server.url)
    problem = error_of(push, client)
    assert isinstance(problem, ServerTrouble)
    assert problem.was_sent is None
    assert not problem.nothing_happened
    assert problem.code == (105007 if with_words else None)
    problem = error_of(client.user)
    assert isinstance(problem, ServerTrouble)
    assert problem.was_sent is True
    assert len(server.requests) == 2


@pytest.mark.parametrize("word", ["failure", "failed", "error", "FAILURE"])
def test_a_push_that_fails_with_status_200_has_failed_but_nobody_knows_how_far(
    server, connect, word
):
    answer = {"status": word, "description": "Node is offline", "error_code": 102001}
    server.on(PUSH, reply(json=answer))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, HubOffline)
    assert not problem.nothing_happened


def test_the_word_failed_is_no_failure_of_asking_for_it(server, connect):
    server.on(STATUS, reply(json={"status": "failed", "additional_info": "OTA Attempt 1/3 failed"}))
    status = connect(server.url).get_ota_status(node_id=NODE, ota_job_id=JOB)
    assert status.state is OtaWord.FAILED


@pytest.mark.parametrize("status", [202, 204])
def test_a_push_may_be_accepted_without_words(server, connect, status):
    server.on(PUSH, reply(status))
    assert push(connect(server.url)) == ""


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("Node does not belong to user", NotYourHub),
        ("NodeId is missing", OurBug),
        ("OTA Job Id missing", OurBug),
        ("OTA image not found", TellPerson),
        ("Invalid request body", OurBug),
        ("Node is offline.", HubOffline),
        ("Too much traffic, try again later", Busy),
        ("Something else", OurBug),
    ],
)
def test_refusals_without_a_code_are_known_by_their_words(server, connect, description, kind):
    server.on(PUSH, failure(400, None, description))
    assert type(error_of(push, connect(server.url))) is kind


def test_a_code_may_be_a_string(server, connect):
    server.on(PUSH, reply(400, json={"status": "failure", "error_code": "102001"}))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, HubOffline)
    assert problem.code == 102001


@pytest.mark.parametrize("code", [None, True, -1, 1.5, [], {}, "x", "1" * 400, 10**300])
def test_a_code_may_be_nonsense(server, connect, code):
    server.on(PUSH, reply(400, json={"error_code": code, "description": code, "status": code}))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, OurBug)
    assert problem.code is None


def test_no_status_is_only_what_the_cloud_itself_does_not_know(server, connect):
    client = connect(server.url)
    server.on(STATUS, failure(404, None, "OTA status not found"), failure(404, None, "Gone"))
    assert isinstance(error_of(ask_status, client), NoOtaStatus)
    assert isinstance(error_of(ask_status, client), NoOtaStatus)
    server.on(STATUS, reply(404, body="<html>Not found</html>"))
    assert isinstance(error_of(ask_status, client), AnswerUnreadable)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("999999999", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("soon", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Fri, 99 Zzz 2026 99:99:99 GMT", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_cloud_may_say_how_long_to_wait(server, connect, header, seconds, status):
    server.on(PUSH, failure(status, None, "Slow down", Retry_After=header))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, TryLater)
    assert problem.retry_after_s == seconds


def test_errors_survive_copying_and_pickling(server, connect):
    server.on(PUSH, failure(429, 100070, "Slow down", Retry_After="9"))
    problem = error_of(push, connect(server.url))
    for twin in (copy.copy(problem), pickled_and_back(problem)):
        assert type(twin) is Busy
        assert vars(twin) == vars(problem)
        assert str(twin) == str(problem)


# The session


def test_signing_in_opens_a_session(server, connect):
    server.on(LOGIN, reply(json=SESSION))
    client = connect(server.url, tokens=None)
    tokens = client.sign_in(EMAIL, PASSWORD)
    assert tokens == TOKENS
    assert client.tokens == tokens
    (seen,) = server.seen(LOGIN)
    assert seen.json == {"user_name": EMAIL, "password": PASSWORD}
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("code", [101009, 101015, 101016, 101058, 101002])
def test_a_sign_in_that_is_refused(server, connect, code):
    server.on(LOGIN, failure(400, code, f"No, {EMAIL} {PASSWORD}"))
    client = connect(server.url, tokens=None)
    problem = error_of(client.sign_in, EMAIL, PASSWORD)
    assert isinstance(problem, SignInAgain)
    assert client.tokens is None
    assert len(server.requests) == 1


def test_a_sign_in_that_asks_for_a_code_is_told(server, connect):
    server.on(LOGIN, reply(json={"status": "success", "session": "canary-session"}))
    problem = error_of(connect(server.url, tokens=None).sign_in, EMAIL, PASSWORD)
    assert isinstance(problem, TellPerson)
    assert "one-time code" in str(problem)


@pytest.mark.parametrize("token", [None, "", 5, "a\r\nX: y", "tökén", "x" * 20_000, "a b"])
def test_an_access_token_that_fits_no_header_is_unreadable(server, connect, token):
    server.on(LOGIN, reply(json=SESSION | {"accesstoken": token}))
    problem = error_of(connect(server.url, tokens=None).sign_in, EMAIL, PASSWORD)
    assert isinstance(problem, AnswerUnreadable)


@pytest.mark.parametrize("id_token", [None, "", "a.b", "a.!!!.c", jwt(n=1), "a.W10.c"])
def test_an_unreadable_id_token_costs_only_what_it_would_have_said(server, connect, id_token):
    server.on(LOGIN, reply(json=SESSION | {"idtoken": id_token, "accesstoken": "opaque"}))
    tokens = connect(server.url, tokens=None).sign_in(EMAIL, PASSWORD)
    assert (tokens.user_id, tokens.email, tokens.access_expires_at) == ("", EMAIL, None)


def test_empty_credentials_are_not_sent(server, connect):
    client = connect(server.url, tokens=None)
    assert isinstance(error_of(client.sign_in, "", PASSWORD), OurBug)
    assert isinstance(error_of(client.sign_in, EMAIL, ""), OurBug)
    assert server.requests == []


def test_nothing_is_asked_without_a_session(server, connect):
    client = connect(server.url, tokens=None)
    for call in (client.user, client.nodes, lambda: push(client), client.extend_session):
        problem = error_of(call)
        assert isinstance(problem, SignInAgain)
        assert problem.nothing_happened
    assert server.requests == []
    client.sign_out()
    assert server.requests == []


TURNED_AWAY = [
    reply(401, json={"message": "Unauthorized"}),
    failure(401, 100011, "Unauthorized"),
    reply(401, body="go away"),
    reply(403, json={"message": "Forbidden"}),
]


@pytest.mark.parametrize("behaviour", TURNED_AWAY)
def test_a_read_extends_the_session_once_and_goes_on(server, connect, behaviour):
    server.on(USER, behaviour, USER_ANSWER)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url)
    assert client.user().user_id == "u1"
    assert [one.headers["authorization"] for one in server.seen(USER)] == [ACCESS, FRESH]
    (extension,) = server.seen(LOGIN)
    assert extension.json == {"refreshtoken": REFRESH}
    assert "authorization" not in extension.headers
    tokens = client.tokens
    assert tokens is not None
    assert (tokens.access_token, tokens.refresh_token) == (FRESH, REFRESH)
    assert (tokens.user_id, tokens.email) == ("u1", EMAIL)
    assert tokens.access_expires_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize("behaviour", TURNED_AWAY)
def test_a_read_turned_away_twice_needs_a_person(server, connect, behaviour):
    server.on(USER, behaviour)
    server.on(LOGIN, EXTENDED)
    assert isinstance(error_of(connect(server.url).user), SignInAgain)
    assert len(server.seen(USER)) == 2
    assert len(server.seen(LOGIN)) == 1


@pytest.mark.parametrize(
    "refused",
    [failure(400, 101017), failure(400, 555555), failure(401), reply(401, body="")],
)
def test_a_refused_extension_is_not_tried_again(server, connect, refused):
    server.on(USER, TURNED_AWAY[0])
    server.on(LOGIN, refused)
    client = connect(server.url)
    for _ in range(3):
        assert isinstance(error_of(client.user), SignInAgain)
    assert len(server.seen(LOGIN)) == 1


def test_an_extension_that_fails_for_now_may_be_tried_again(server, connect):
    server.on(USER, TURNED_AWAY[0], TURNED_AWAY[0], USER_ANSWER)
    server.on(LOGIN, failure(500), EXTENDED)
    client = connect(server.url)
    assert isinstance(error_of(client.user), ServerTrouble)
    assert client.tokens == TOKENS
    assert client.user().user_id == "u1"


def test_many_threads_turned_away_at_once_extend_the_session_once(server, connect):
    threads = 8
    crowd = together(threads, TURNED_AWAY[0])
    server.on(USER, *[crowd] * threads, USER_ANSWER)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url, read_timeout_s=10)
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda _: client.user(), range(threads)))
    assert {answer.user_id for answer in answers} == {"u1"}
    assert len(server.seen(LOGIN)) == 1
    assert len(server.seen(USER)) == 2 * threads


def test_a_session_without_a_refresh_token_cannot_be_extended(server, connect):
    server.on(USER, TURNED_AWAY[0])
    assert isinstance(error_of(connect(server.url, tokens=without_refresh()).user), SignInAgain)
    assert len(server.requests) == 1


def test_signing_out_tells_the_cloud_and_forgets(server, connect):
    server.on("POST /v1/logout2", reply(json={"status": "success", "description": "bye"}))
    client = connect(server.url)
    client.sign_out()
    (seen,) = server.requests
    assert seen.query == {"logout_all": "false"}
    assert seen.json == {"refreshtoken": REFRESH}
    assert seen.headers["authorization"] == ACCESS
    assert client.tokens is None


def test_signing_out_of_a_session_already_over_is_no_error(server, connect):
    server.on("POST /v1/logout2", TURNED_AWAY[0])
    client = connect(server.url)
    client.sign_out()
    assert client.tokens is None
    assert len(server.requests) == 1


def test_a_failed_sign_out_keeps_the_tokens(server, connect):
    server.on("POST /v1/logout2", failure(500))
    client = connect(server.url)
    assert isinstance(error_of(client.sign_out), ServerTrouble)
    assert client.tokens == TOKENS


# A push is sent at most once


def test_a_push_turned_away_extends_the_session_for_later(server, connect):
    server.on(PUSH, TURNED_AWAY[0], PUSHED)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url)
    problem = error_of(push, client)
    assert isinstance(problem, TryLater)
    assert problem.nothing_happened
    assert problem.was_sent is True
    assert len(server.seen(PUSH)) == 1
    push(client)
    assert server.seen(PUSH)[1].headers["authorization"] == FRESH


def test_a_push_turned_away_for_good_needs_a_person(server, connect):
    server.on(PUSH, TURNED_AWAY[0])
    server.on(LOGIN, failure(400, 101017))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, SignInAgain)
    assert problem.nothing_happened
    assert len(server.seen(PUSH)) == 1


def test_a_push_turned_away_while_the_extension_is_lost_is_for_later(server, connect):
    server.on(PUSH, TURNED_AWAY[0])
    server.on(LOGIN, cut())
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, TryLater)
    assert problem.nothing_happened
    assert problem.endpoint == PUSH


def test_a_forbidden_push_needs_a_person_and_is_not_sent_again(server, connect):
    server.on(PUSH, TURNED_AWAY[3])
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, SignInAgain)
    assert problem.nothing_happened
    assert len(server.requests) == 1


@pytest.mark.parametrize(("left_s", "extends"), [(59, True), (-100, True), (61, False)])
def test_a_session_about_to_end_is_extended_before_a_push(server, connect, left_s, extends):
    server.on(PUSH, PUSHED)
    server.on(LOGIN, EXTENDED)
    tokens = Tokens(ACCESS, REFRESH, NOW + timedelta(seconds=left_s), "u1", EMAIL)
    push(connect(server.url, tokens=tokens))
    assert len(server.seen(LOGIN)) == int(extends)
    assert server.seen(PUSH)[0].headers["authorization"] == (FRESH if extends else ACCESS)


@pytest.mark.parametrize("behaviour", [cut(), failure(500), failure(400, 101017), reply(body="x")])
def test_a_push_is_not_sent_when_its_session_cannot_be_extended(server, connect, behaviour):
    server.on(LOGIN, behaviour)
    tokens = Tokens(ACCESS, REFRESH, NOW, "u1", EMAIL)
    problem = error_of(push, connect(server.url, tokens=tokens))
    assert problem.nothing_happened
    assert server.seen(PUSH) == []


def test_a_kept_connection_that_died_does_not_repeat_a_push(server, connect):
    server.on(USER, USER_ANSWER)
    server.on(PUSH, cut(), PUSHED)
    client = connect(server.url)
    client.user()
    assert isinstance(error_of(push, client), AnswerLost)
    assert len(server.seen(PUSH)) == 1


# Hubs


def details(node_id: str) -> dict[str, object]:
    return {"id": node_id, "role": "primary", "config": {"info": {"fw_version": "5.3.2"}}}


def page(*node_ids: str, next_id: str = "") -> Behaviour:
    return reply(
        json={
            "nodes": list(node_ids),
            "node_details": [details(node_id) for node_id in node_ids],
            "total": 3,
            "next_id": next_id,
        }
    )


def test_all_pages_are_asked_for(server, connect):
    server.on(NODES, page("A", "B", next_id="b+/="), page("B", "C"))
    nodes = list(connect(server.url).all_nodes())
    assert [node.node_id for node in nodes] == ["A", "B", "C"]
    first, second = server.seen(NODES)
    assert first.query == {"node_details": "true", "num_records": "100"}
    assert second.query == {"node_details": "true", "num_records": "100", "start_id": "b+/="}


def test_pages_in_a_circle_end(server, connect):
    server.on(NODES, page("A", next_id="b"), page("B", next_id="c"), page("C", next_id="b"))
    problem = error_of(list, connect(server.url).all_nodes())
    assert isinstance(problem, AnswerUnreadable)
    assert len(server.requests) == 3


def test_an_unreadable_element_is_left_out_and_logged(server, connect, caplog):
    server.on(NODES, reply(json={"node_details": [details("A"), 7, details("B")]}))
    nodes = list(connect(server.url).all_nodes())
    assert [node.node_id for node in nodes] == ["A", "B"]
    assert "1 elements" in caplog.text


def test_one_hub_is_found_by_its_id(server, connect):
    server.on(NODES, page("A", "B"))
    client = connect(server.url)
    assert client.node("B").node_id == "B"
    assert server.seen(NODES)[0].query == {"node_id": "B", "node_details": "true"}
    assert isinstance(error_of(client.node, "Z"), NotYourHub)


def test_versions_need_no_session(server, connect):
    server.on("GET /apiversions", reply(json={"supported_versions": ["v1", "v2"]}))
    assert connect(server.url, tokens=None).api_versions() == ("v1", "v2")
    assert "authorization" not in server.requests[0].headers


def test_a_status_of_another_hub_is_not_believed(server, connect):
    server.on(STATUS, reply(json={"status": "success", "node_id": "another"}))
    problem = error_of(ask_status, connect(server.url))
    assert isinstance(problem, AnswerUnreadable)
    assert problem.endpoint == STATUS


# Secrets


def test_nothing_secret_is_printed_logged_or_kept_in_an_error(server, connect, caplog):
    """error_of() looks through every error of this module; here is a cloud that tells them all."""
    caplog.set_level(logging.DEBUG)
    told = {
        "status": "failure",
        "description": f"Bearer {ACCESS} of {EMAIL} with {PASSWORD}",
        "accesstoken": FRESH,
        "refreshToken": "canary2",
        "url": "https://s3.example/a.bin?X-Amz-Signature=canary3&x=canary4#canary5",
        "where": "https://me:canary6@host/",
        "text": "password=canary7&x=1",
    }
    server.on(LOGIN, reply(400, json=told), reply(500, json=told), reply(json=SESSION))
    client = connect(server.url, tokens=None)
    for _ in range(2):
        assert error_of(client.sign_in, EMAIL, PASSWORD).excerpt
    client.sign_in(EMAIL, PASSWORD)
    told["description"] = f"{ACCESS} {EMAIL} {REFRESH}"
    for status in (200, 400, 404, 418, 500):
        server.on(CHECK, reply(status, json=told))
        server.on(PUSH, reply(status, json=told), reply(status, body=str(told)), cut())
        error_of(client.check_firmware_update, NODE)
        error_of(push, client)
        error_of(push, client)
        error_of(push, client)
    assert "canary" not in repr(client) + repr(client.tokens) + caplog.text
    assert ACCESS not in caplog.text
    assert "ota_update: HTTP 418" in caplog.text


def test_a_hostile_answer_is_searched_for_secrets_in_no_time(server, connect):
    client = connect(server.url)
    for text in (
        "a" * 100_000,
        "a-" * 50_000,
        "http://" * 15_000,
        '"token"' * 10_000,
        "eyJ." * 9999,
    ):
        server.on(PUSH, reply(500, body=text))
        started = time.process_time()
        error_of(push, client)
        assert time.process_time() - started < 1


def test_two_clients_in_one_thread_do_not_share_a_deadline(server, connect):
    """Calling another cloud from within a call leaves the outer one its own limits."""
    with HostileServer() as other:
        other.on(USER, USER_ANSWER)
        inner = connect(other.url)
        server.on(USER, calling(lambda seen: inner.user(), USER_ANSWER))
        assert connect(server.url).user().user_id == "u1"
