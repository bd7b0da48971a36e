"""Nothing a client can send makes the simulated cloud stumble, and strangers cannot steer it."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devices.simcloud import cli, control, images, server
from devices.simcloud.app import App
from devices.simcloud.wire import Answer, Request

ODD: list[Any] = [None, True, -1, 1e308, "", "x", "\ud800", "a@b.c", [], [[]], {}, {"a": {"b": []}}]
KEYS = [
    "user_name",
    "password",
    "refreshtoken",
    "verification_code",
    "session",
    "tags",
    "metadata",
    "nodes",
    "node_ids",
    "accept",
    "request_id",
    "transfer",
    "new_role",
    "group_name",
    "node_list",
    "operation",
    "type",
    "ota_job_id",
    "node_id",
    "payload",
    "Schedule",
    "Schedules",
    "id",
    "System",
    "Reboot",
    "LIV Hub",
    "Name",
    "LED Hue",
    "Enable Repellers",
    "Refill Reset",
]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    options = ["--hubs=3", "--offers=1", f"--state={tmp_path / 'state'}"]
    made = cli.build(parser.parse_args(options))
    yield made
    assert made.store is not None
    made.store.close()


def request(method: str, path: str, body: Any = None, **more: Any) -> Request:
    payload = b"" if body is None else json.dumps(body).encode()
    fields = {"query": {}, "headers": {}, "peer": "127.0.0.1"} | more
    return Request(method, path, fields["query"], fields["headers"], payload, fields["peer"])


def sign_in(app: App) -> dict[str, str]:
    body = {"user_name": "porch@example.com", "password": "fireflies"}
    found = json.loads(app.handle(request("POST", "/v1/login2", body)).body)
    return {"authorization": found["accesstoken"]}


def test_ten_thousand_odd_requests_are_all_answered_in_form(app: App) -> None:
    dice, nodes = random.Random(5), list(app.world.hubs)
    node = app.world.hub_list[0]
    jobs = [job.job_id for job in node.jobs]

    def odd(depth: int) -> Any:
        kind = dice.random()
        if depth and kind < 0.55:
            return {dice.choice(KEYS): odd(depth - 1) for _ in range(dice.randrange(5))}
        if depth and kind < 0.7:
            return [odd(depth - 1) for _ in range(dice.randrange(3))]
        return dice.choice([*ODD, *nodes, *jobs])

    headers, routes = sign_in(app), list(app.routes.table)
    names = ["node_id", "nodeid", "num_records", "start_id", "group_id", "request_id", "tags"]
    for _ in range(10_000):
        method, path = dice.choice(routes)
        query = {name: str(dice.choice([*ODD, *nodes])) for name in dice.sample(names, 2)}
        answer = app.handle(request(method, path, odd(3), query=query, headers=headers))
        if path == images.IMAGE:
            # an object store answers here, in its own form, and no odd link is signed
            assert (answer.status, answer.headers["Content-Type"]) == (403, "application/xml")
            continue
        found = json.loads(answer.body)
        if answer.status == 401:
            headers = sign_in(app)
        elif answer.status >= 400:
            assert found["error_code"] != 100001, (method, path, found)
        else:
            assert answer.status in (200, 207)


def test_a_mistake_of_its_own_is_a_500_in_the_clouds_form(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(_call: object) -> Answer:
        raise ZeroDivisionError

    app.routes.add("GET", "/v1/stumble", is_open=True)(stumble)
    answer = app.handle(request("GET", "/v1/stumble"))
    assert (answer.status, json.loads(answer.body)["error_code"]) == (500, 100001)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("peer", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("192.168.1.20", {}, False),
        ("fe80::1%eth0", {}, False),
        ("127.0.0.1", {"origin": "https://example.com"}, False),
    ],
)
def test_only_this_machine_and_no_web_page_on_it_steers(
    peer: str, headers: dict[str, str], allowed: bool
) -> None:
    asked = request("GET", "/control/hubs", peer=peer, headers=headers)
    assert server._is_control(asked) is allowed


def test_every_control_path_in_the_docstring_exists(app: App) -> None:
    documented = {
        tuple(line.split()[:2])
        for line in (control.__doc__ or "").splitlines()
        if line.split()[:1] and line.split()[0] in ("GET", "POST", "PUT", "DELETE")
    }
    assert len(documented) > 20
    for method, path in documented:
        answer = control.handle(app, request(method, path.replace("{hub}", "0"), {}))
        assert b"see devices/simcloud/control.py" not in answer.body, (method, path)
