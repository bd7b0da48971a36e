"""A start as containers run it: one JSON object a line on standard output, and /metrics."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as families

from tests.support.started import Started, eventually

TOKEN = "monitoring-only-0123456789"
pytestmark = pytest.mark.processes


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    product = Started(tmp_path, demo=False)
    product.environment |= {"LOG_TO": "stdout", "LOG_FORMAT": "json", "READY_TOKEN": TOKEN}
    product.environment |= {"LOG_LEVELS": "django_q=INFO,django-q=INFO"}
    with product:
        yield product


def lines(product: Started) -> list[dict[str, Any]]:
    return [json.loads(line) for line in product.text.splitlines()]


def sign_in_wrongly(product: Started) -> requests.Response:
    with requests.Session() as browser:
        page = browser.get(f"{product.url}/account/login/")
        secret = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form = {"login": "me@example.com", "password": "not-this-one-ever"}
        return browser.post(page.url, form | {"csrfmiddlewaretoken": secret})


def test_every_line_is_json_with_ids_and_no_secret(started: Started) -> None:
    wrong = sign_in_wrongly(started)
    number = wrong.headers["X-Request-ID"]
    eventually(lambda: number in started.text)
    found = next(one for one in lines(started) if one.get("request") == number)
    assert (found["logger"], found["method"], found["status"]) == ("access", "POST", 200)
    assert found["address"] in {"127.0.0.1", "::1"}
    eventually(lambda: any(one["logger"] == "django-q" for one in lines(started)))  # the worker
    assert "not-this-one-ever" not in started.text
    assert "me@example.com" not in started.text
    assert not list((started.data_dir / "log").glob("web.log*"))


def test_every_web_process_counts_the_same(started: Started) -> None:
    for _ in range(2):
        sign_in_wrongly(started)
    bearer = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
    for _ in range(12):
        answer = requests.get(f"{started.url}/metrics", headers=bearer, timeout=20)
        samples = [one for family in families(answer.text) for one in family.samples]
        failed = [
            one.value for one in samples if one.labels.get("action") == "person.sign_in_failed"
        ]
        assert failed == [2]
        assert any(one.name == "thermacell_ready" and one.value == 1 for one in samples)
