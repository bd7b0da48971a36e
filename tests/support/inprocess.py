"""The simulated cloud without sockets and without waiting: for tests that move time themselves.

The product's own client talks to it; only its transport is another one.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import AnswerLost
from devices.rainmaker.http import Answer
from devices.simcloud import (
    control,
    routes_groups,
    routes_nodes,
    routes_ota,
    routes_session,
    routes_sharing,
)
from devices.simcloud.app import App, Routes
from devices.simcloud.clock import Clock
from devices.simcloud.wire import Request
from devices.simcloud.world import Person, Setup, World

HERE = "http://127.0.0.1:9"


class Cloud:
    """A world of its own whose clock stands still until it is moved."""

    def __init__(self, began_s: float, *, hubs: int, people: tuple[Person, ...]) -> None:
        self.wall_s = began_s
        setup = Setup(hubs=hubs, offers=0, people=people)
        self.world = World(setup, Clock(wall=lambda: self.wall_s))
        routes = Routes()
        for module in (routes_session, routes_nodes, routes_sharing, routes_groups, routes_ota):
            module.add(routes)
        self.app = App(self.world, routes)

    def control(self, method: str, path: str, body: object = None) -> Any:
        """One control request; raises ValueError with what the cloud says is wrong."""
        payload = b"" if body is None else json.dumps(body).encode()
        asked = Request(method, f"/control/{path}", {}, {}, payload, "127.0.0.1")
        answer = control.handle(self.app, asked)
        if answer.status != 200:
            raise ValueError(answer.body.decode())
        return json.loads(answer.body)

    def hub(self, name: object) -> dict[str, Any]:
        return dict(self.control("GET", f"hubs/{quote(str(name))}"))

    def client(self, email: str, password: str) -> RainmakerClient:
        """Return a signed-in client."""
        client = RainmakerClient(HERE)
        client._transport = _Line(self.app)  # type: ignore[assignment]
        client.sign_in(email, password)
        return client


class _Line:
    def __init__(self, app: App) -> None:
        self.app = app

    def close(self) -> None:
        """There is nothing to close."""

    def exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        access_token: str = "",
    ) -> Answer:
        payload = b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": access_token} if access_token else {}
        asked = Request(method, path, dict(params or {}), headers, payload, "127.0.0.1")
        answer = self.app.handle(asked)
        if answer.cut:
            raise AnswerLost("The connection broke.", endpoint=f"{method} {path}", was_sent=None)
        return Answer(f"{method} {path}", answer.status, answer.headers, answer.body)
