"""What the cloud client sends, whom it trusts, and what an answer that is lost or damaged means."""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import (
    AnswerLost,
    AnswerUnreadable,
    CloudError,
    NotTrusted,
    Unreachable,
)
from tests.support.hostile_server import (
    HostileServer,
    chunked,
    cut,
    cut_mid_body,
    drip,
    failure,
    flood,
    raw,
    reply,
    silence,
)
from tests.support.rainmaker import (
    ACCESS,
    CHECK,
    EMAIL,
    LOGIN,
    NO_UPDATE,
    NODE,
    PASSWORD,
    PUSH,
    PUSHED,
    TOKENS,
    USER,
    USER_ANSWER,
    Connect,
    error_of,
    push,
)


def test_a_request_carries_the_raw_token_and_escaped_parameters(server, connect):
    server.on(CHECK, NO_UPDATE)
    connect(server.url).check_firmware_update("a&b=c d/../?#%é")
    (seen,) = server.seen(CHECK)
    assert seen.headers["authorization"] == ACCESS
    assert seen.query == {"node_id": "a&b=c d/../?#%é"}
    assert seen.target.startswith("/v1/user/nodes/ota_update?node_id=a%26b%3Dc")
    assert "cookie" not in seen.headers


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


def test_a_certificate_without_a_known_authority_is_not_trusted(tls_server, connect):
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
                with suppress(OSError):  # the client may have hung up at the first byte
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


def test_a_kept_connection_that_died_does_not_repeat_a_push(server, connect):
    server.on(USER, USER_ANSWER)
    server.on(PUSH, cut(), PUSHED)
    client = connect(server.url)
    client.user()
    assert isinstance(error_of(push, client), AnswerLost)
    assert len(server.seen(PUSH)) == 1
