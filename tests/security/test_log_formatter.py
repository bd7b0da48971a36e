"""Log lines: their ids, one line each, as text and as JSON, without secrets."""

import json
import logging
import sys
from typing import Any

import pytest

from devices.security.log_context import log_ids, set_log_ids
from devices.security.log_formatter import JsonFormatter, SafeFormatter
from tests.support.client import Client

SECRETS = ("someone@example.com", "gAAAA" + "x" * 40, "twh_" + "k" * 30, "eyJhbGciOi.eyJzdWIi.sig")


@pytest.fixture(autouse=True)
def no_request_came_before() -> None:
    set_log_ids()


def record(text: str, name: str = "devices.x", **more: Any) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "", 1, text, (), more.pop("exc_info", None))


def test_ids_are_in_every_line_and_only_as_long_as_they_hold() -> None:
    text, as_json = SafeFormatter("%(message)s"), JsonFormatter()
    with log_ids(account=3), log_ids(job="12"):
        assert text.format(record("pushed")) == "pushed [account=3 job=12]"
        found = json.loads(as_json.format(record("pushed")))
    assert (found["account"], found["job"], found["message"]) == (3, "12", "pushed")
    assert text.format(record("idle")) == "idle"
    assert "account" not in json.loads(as_json.format(record("idle")))


@pytest.mark.parametrize("formatter", [SafeFormatter("%(message)s"), JsonFormatter()])
def test_no_line_can_be_forged_and_none_holds_a_secret(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(" ".join(SECRETS))
    except ValueError:
        trace = sys.exc_info()
    line = formatter.format(record("a\nINFO forged\r " + " ".join(SECRETS), exc_info=trace))
    assert len(line.splitlines()) == 1
    assert "Traceback" in line
    for secret in SECRETS:
        assert secret not in line


@pytest.mark.django_db
def test_access_is_logged_without_query_and_one_time_links(
    client: Client, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    caplog.handler.setFormatter(SafeFormatter("%(name)s %(message)s"))
    with caplog.at_level(logging.INFO, "access"):
        answer = client.get("/welcome/abcdefghijklmnopqrstuvwxyz/?q=private")
        client.get("/healthz")
    line = next(line for line in caplog.text.splitlines() if line.startswith("access"))
    assert line.startswith("access GET /welcome/[…]/ 410 ")
    assert line.endswith(f" 127.0.0.1 - [request={answer['X-Request-ID']}]")
    assert "private" not in caplog.text
    assert "healthz" not in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("is_behind", "given", "is_taken"),
    [(True, "proxy-123456", True), (False, "proxy-123456", False), (True, "a b\nc" * 3, False)],
)
def test_a_request_id_comes_from_a_proxy_of_ours_alone(
    client: Client, settings: Any, is_behind: bool, given: str, is_taken: bool
) -> None:
    settings.BEHIND_PROXY = is_behind
    answer = client.get("/healthz", headers={"X-Request-ID": given})
    assert (answer["X-Request-ID"] == given) is is_taken
