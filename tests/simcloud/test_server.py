"""The simulated cloud's server: connections, odd requests, many at once."""

from __future__ import annotations

import http.client
import socket

import pytest
import requests

from tests.support.simcloud_api import Api, refusal
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("path", ["/v1/nothing", "/", "/v1/user/nodes/", "//v1/user"])
def test_unknown_path_is_a_400_refusal(me: Api, path: str) -> None:
    assert refusal(me.get(path))[0] == 400


def test_unsupported_version_has_its_own_code(me: Api) -> None:
    assert refusal(me.get("/v7/user/nodes")) == (400, 100002)


def test_connection_is_kept_and_requests_may_be_pipelined(cloud: SimCloud) -> None:
    ask = b"GET /apiversions HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=5) as line:
        line.sendall(ask * 3 + ask.replace(b"Host: x", b"Connection: close"))
        received = b"".join(iter(lambda: line.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(b"Connection: close") == 1


def test_chunked_body_is_read(cloud: SimCloud) -> None:
    line = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=5)
    parts = [b'{"user_name": "me@example.com", ', b'"password": "fireflies"}']
    line.request("POST", "/v1/login2", body=iter(parts), encode_chunked=True)
    assert line.getresponse().status == 200
    line.close()


@pytest.mark.parametrize("head", [b"NONSENSE", b"GET /x HTTP/1.1\r\nbroken", b"GET / HTTP/2.0"])
def test_nonsense_is_answered_and_the_server_lives_on(cloud: SimCloud, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=5) as line:
        line.sendall(head + b"\r\n\r\n")
        assert line.recv(65536).startswith((b"HTTP/1.1 400", b"HTTP/1.1 505"))
    assert requests.get(cloud.url + "/apiversions", timeout=5).status_code == 200


def test_five_hundred_connections_at_once_are_all_answered(cloud: SimCloud) -> None:
    lines = [socket.create_connection(("127.0.0.1", cloud.port), timeout=10) for _ in range(500)]
    for line in lines:
        line.sendall(b"GET /apiversions HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = [line.recv(65536) for line in lines]
    for line in lines:
        line.close()
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
