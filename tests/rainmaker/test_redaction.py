"""Errors and logs hold no secret, whatever the cloud answers."""

import logging
import time

from tests.support.hostile_server import cut, reply
from tests.support.rainmaker import (
    ACCESS,
    CHECK,
    EMAIL,
    FRESH,
    LOGIN,
    NODE,
    PASSWORD,
    PUSH,
    REFRESH,
    SESSION,
    error_of,
    push,
)


def test_nothing_secret_is_printed_logged_or_kept_in_an_error(server, connect, caplog):
    """error_of() looks through every error of this module; here is a cloud that tells them all."""
    caplog.set_level(logging.DEBUG)
    found = {
        "status": "failure",
        "description": f"Bearer {ACCESS} of {EMAIL} with {PASSWORD}",
        "accesstoken": FRESH,
        "refreshToken": "canary2",
        "url": "https://s3.example/a.bin?X-Amz-Signature=canary3&x=canary4#canary5",
        "where": "https://me:canary6@host/",
        "text": "password=canary7&x=1",
    }
    server.on(LOGIN, reply(400, json=found), reply(500, json=found), reply(json=SESSION))
    client = connect(server.url, tokens=None)
    for _ in range(2):
        assert error_of(client.sign_in, EMAIL, PASSWORD).excerpt
    client.sign_in(EMAIL, PASSWORD)
    found["description"] = f"{ACCESS} {EMAIL} {REFRESH}"
    for status in (200, 400, 404, 418, 500):
        server.on(CHECK, reply(status, json=found))
        server.on(PUSH, reply(status, json=found), reply(status, body=str(found)), cut())
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
