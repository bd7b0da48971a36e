"""What slow connections may take of the web server, with real ones and by its rules."""

import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from devices.server import demo, web_worker
from devices.server.web_worker import Connection, Server
from tests.bench.bench_silent import From, Silent
from tests.support.product import Browser
from tests.support.started import Started

ANSWERS_WITHIN_S = 6.0  # held up, it was 20 s and more; a busy machine takes some


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    product = Started(tmp_path_factory.mktemp("demo"))
    with product:
        yield product
    product.clean()


def took_s(ask: Any) -> float:
    began = time.monotonic()
    assert ask().status_code == 200
    return time.monotonic() - began


@pytest.mark.processes
def test_two_hundred_silent_connections_hold_nothing_up(running: Started) -> None:
    browser, anyone = Browser(running.url), Browser(running.url)
    assert browser.post("/account/login/", login=demo.RESIDENTS[0].email, password=demo.PASSWORD).ok
    with Silent(running.port, 200):
        for path in ("/", "/overview/", "/history/") * 3:
            assert took_s(lambda one=path: browser.get(one)) < ANSWERS_WITHIN_S
        assert took_s(lambda: anyone.get("/healthz")) < ANSWERS_WITHIN_S


@pytest.mark.processes
def test_more_connections_than_there_may_be_push_out_the_oldest(running: Started) -> None:
    with Silent(running.port, 2 * web_worker.MOST_CONNECTIONS + 100) as silent:
        for _ in range(5):
            assert took_s(lambda: Browser(running.url).get("/account/login/")) < ANSWERS_WITHIN_S
        assert silent.opened >= 900


@pytest.mark.processes
def test_unread_answers_leave_room_for_other_connections(running: Started) -> None:
    page = Browser(running.url).get("/account/login/").text
    found = re.search(r'src="(/static/[^"]*htmx[^"]*\.js)"', page)
    assert found is not None
    request = f"GET {found[1]} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n\r\n"
    with ExitStack() as open_ones:
        for _ in range(2 * web_worker.MOST_CONNECTIONS + 60):
            one = open_ones.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            with suppress(OSError):
                one.connect(("127.0.0.1", running.port))
                one.sendall(request.encode())
        for _ in range(4):
            assert took_s(lambda: Browser(running.url).get("/healthz")) < ANSWERS_WITHIN_S
            assert took_s(lambda: Browser(running.url).get("/account/login/")) < ANSWERS_WITHIN_S


def test_who_reads_a_few_bytes_at_a_time_is_not_waited_for() -> None:
    slow, steady = connection(total_outbufs_len=10**6), connection(total_outbufs_len=10**6)
    closed_at = 0
    for second in range(0, 200, 10):
        slow.bytes_read += 600
        steady.bytes_read += 6_000
        assert not Connection.is_too_slow(steady, second)
        if not closed_at and Connection.is_too_slow(slow, second):
            closed_at = second
    assert closed_at == 70


def one_of(host: str, *, unread: int = 0, since: float = 0) -> Any:
    closed: list[str] = []
    return SimpleNamespace(
        addr=(host, 1),
        is_waiting=not unread,
        is_unread=bool(unread),
        waits_since=since,
        closed=closed,
        handle_close=lambda: closed.append(host),
    )


def test_room_is_made_by_the_address_with_the_most_and_never_by_the_newest() -> None:
    many = [one_of("192.0.2.1", unread=9, since=n) for n in range(5)]
    other, newest = one_of("192.0.2.7"), one_of("192.0.2.8")
    server = Server.__new__(Server)
    server.active_channels = dict(enumerate([other, *many, newest]))
    server._make_room()
    assert [one.closed for one in many] == [["192.0.2.1"], [], [], [], []]
    assert not other.closed
    assert not newest.closed
    # of one address: those without a request first, then what has been unread longest
    mixed = [one_of("192.0.2.1", unread=1, since=1), one_of("192.0.2.1", since=5), newest]
    server.active_channels = dict(enumerate(mixed))
    server._make_room()
    assert mixed[1].closed
    assert not mixed[0].closed


@pytest.mark.processes
def test_many_wrong_sign_ins_at_once_leave_room_for_pages(running: Started) -> None:
    browser = Browser(running.url)
    assert browser.post("/account/login/", login=demo.RESIDENTS[1].email, password=demo.PASSWORD).ok

    def try_wrongly(number: int) -> int:
        one = Browser(f"http://127.0.0.1:{running.port}")
        one.session.mount("http://", From(f"127.3.0.{number + 1}"))
        return one.post(
            "/account/login/", login=f"x{number}@example.com", password="no"
        ).status_code

    is_over = threading.Event()
    pages: list[float] = []

    def read() -> None:
        while not is_over.is_set():
            pages.append(took_s(lambda: browser.get("/")))

    reader = threading.Thread(target=read)
    with ThreadPoolExecutor(40) as threads:
        reader.start()
        statuses = set(threads.map(try_wrongly, range(80)))
    is_over.set()
    reader.join()
    assert statuses <= {200, 503}
    assert max(pages) < ANSWERS_WITHIN_S
    memory = sum(process.memory_full_info().uss for process in running.processes("web"))
    assert memory < 450e6


@pytest.mark.processes
@pytest.mark.parametrize(
    ("path", "kind", "asked_first"),
    [("/account/login/", "text/html", 403), ("/api/v1/installs/", "application/json", 401)],
)
@pytest.mark.parametrize("size", [1_500_000, 30_000_000])
def test_a_body_that_is_too_large_is_refused_in_one_sentence(
    running: Started, path: str, kind: str, asked_first: int, size: int
) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        if size < 2_000_000:
            connection.sendall(b"a" * size)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head_text, _, body = answer.decode().partition("\r\n\r\n")
    status = int(head_text.split()[1])
    assert kind in head_text
    if size < 2_000_000:
        assert status == asked_first  # a token, or the form's
    else:
        assert status == 413
        assert "Nothing was" in body


@pytest.mark.processes
@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000],
)
def test_what_is_not_http_ends_and_nothing_else_does(running: Started, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(sent)
        with suppress(OSError):  # it may have ended the connection already
            connection.shutdown(socket.SHUT_WR)
            connection.recv(10)
    assert running.answer("/healthz") == 200


@pytest.mark.processes
def test_polls_keep_their_connection(running: Started) -> None:
    session = requests.Session()
    browser = Browser(running.url)
    browser.session = session
    browser.post("/account/login/", login=demo.RESIDENTS[0].email, password=demo.PASSWORD)
    page = browser.get("/").text
    live = page.split('data-hx-get="/hubs/live/')[1].split('"')[0].replace("&amp;", "&")
    answers = [browser.get(f"/hubs/live/{live}", headers={"HX-Request": "true"}) for _ in range(3)]
    assert 204 in {answer.status_code for answer in answers}
    assert all(answer.headers.get("Connection") != "close" for answer in answers)
    assert all(answer.headers["HX-Thermacell"] == "1" for answer in answers)


def connection(**facts: Any) -> Any:
    usual: dict[str, Any] = {"requests": [], "request": None, "total_outbufs_len": 0}
    usual |= {"bytes_read": 0, "looked_at": None, "waits_since": 1000.0, "last_activity": 1000.0}
    one: Any = Connection.__new__(Connection)
    one.__dict__.update(usual | facts)
    return one


ARRIVING = SimpleNamespace(headers_finished=False)
BODY = SimpleNamespace(headers_finished=True)


@pytest.mark.parametrize(
    ("facts", "limit_s"),
    [
        ({}, web_worker.IDLE_FOR_S),
        # one more byte every second does not buy more time
        ({"request": ARRIVING, "last_activity": 9e9}, web_worker.HEADERS_WITHIN_S),
        ({"request": BODY, "last_activity": 9e9}, web_worker.REQUEST_WITHIN_S),
        ({"total_outbufs_len": 10}, web_worker.UNREAD_FOR_S),
        ({"total_outbufs_len": 10, "requests": ["one"]}, web_worker.UNREAD_FOR_S),
    ],
)
def test_each_kind_of_waiting_has_an_end(facts: dict[str, Any], limit_s: float) -> None:
    one = connection(**facts)
    assert not Connection.is_too_slow(one, 1000)
    assert not Connection.is_too_slow(one, 1000 + limit_s)
    assert Connection.is_too_slow(one, 1000 + limit_s + 0.1)


def asked(path: str, command: str = "POST") -> Any:
    return SimpleNamespace(path=path, command=command, error=None)


def test_sign_ins_wait_in_a_lane_of_their_own_and_not_for_ever() -> None:
    lanes = web_worker.Lanes()
    try:
        assert lanes._lane_of(asked("/hubs/7/", "GET")) is lanes.pages
        assert lanes._lane_of(asked("/account/sessions/", "GET")) is lanes.pages
        assert lanes._lane_of(asked("/healthz", "GET")) is lanes.alive
        reset = "/account/password/reset/key/3-abc/"
        for path in ("/account/login/", "/account/password/reset/", reset):
            assert lanes._lane_of(asked(path)) is lanes.sign_ins
        waiting = [object()] * web_worker.SIGN_INS_WAITING
        lanes.sign_ins.queue = waiting  # as many as may wait
        refused = asked("/account/login/")
        assert lanes._lane_of(refused) is lanes.alive
        assert refused.error.code == 503
        assert lanes._lane_of(asked("/hubs/7/", "GET")) is lanes.pages
    finally:
        lanes.sign_ins.queue = deque()
        lanes.shutdown()


def test_a_request_that_is_being_answered_is_waited_for() -> None:
    assert not Connection.is_too_slow(connection(requests=["one"]), 9e9)


def test_the_servers_own_rules_are_in_use() -> None:
    assert Server.channel_class is Connection
    assert Connection.task_class is web_worker.Answer
    assert Connection.error_task_class is web_worker.Refusal
