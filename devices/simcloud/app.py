"""One request in, one answer out: routing, sign-in, faults and counting. No sockets.

Order: count the request; meet a fault that comes before any effect; act; write what changed;
meet a fault that comes after. So an answer that leaves this module is already on disk.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devices.simcloud.accounts import Account
from devices.simcloud.hub import Hub
from devices.simcloud.store import Store
from devices.simcloud.wire import Answer, Refusal, Request, Unauthorized, reply
from devices.simcloud.world import World

_LOG = logging.getLogger(__name__)
OTA_UPDATE = "/v1/user/nodes/ota_update"


@dataclass(slots=True)
class Call:
    """A request together with who makes it."""

    world: World
    request: Request
    _signed_in: tuple[Account, dict[str, Any]] | None = None

    @property
    def account(self) -> Account:
        """Who is signed in. Raises Unauthorized."""
        return self._session()[0]

    @property
    def claims(self) -> dict[str, Any]:
        return self._session()[1]

    def _session(self) -> tuple[Account, dict[str, Any]]:
        if self._signed_in is None:
            token = self.request.headers.get("authorization", "")
            self._signed_in = self.world.signed_in(token)
        return self._signed_in

    def hub(self, node_id: str, *, missing: int, foreign: int) -> Hub:
        """The caller's node. Raises Refusal with the code that endpoint uses."""
        if not node_id:
            raise Refusal(missing, "NodeId is missing")
        hub = self.world.hubs.get(node_id)
        if hub is None or not hub.may_be_seen_by(self.account.email):
            raise Refusal(foreign, "Node does not belong to user")
        return hub


Handler = Callable[[Call], "Answer | dict[str, Any]"]


class Routes:
    """Handlers by method and path. Every path is fixed; ids travel in the query or the body."""

    def __init__(self) -> None:
        self.table: dict[tuple[str, str], tuple[Handler, bool]] = {}

    def add(self, method: str, path: str, *, is_open: bool = False) -> Callable[[Handler], Handler]:
        def remember(handler: Handler) -> Handler:
            self.table[method, path] = (handler, is_open)
            return handler

        return remember

    def find(self, request: Request) -> tuple[Handler, bool]:
        """(handler, whether it needs no token). Raises Refusal for an unknown path."""
        found = self.table.get((request.method, request.path))
        if found is None:
            version = request.path.split("/")[1]
            if version[:1] == "v" and version[1:].isdigit() and version != "v1":
                raise Refusal(100002, "Unsupported API version")
            raise Refusal(100003, "Invalid path or method")
        return found


class App:
    def __init__(self, world: World, routes: Routes, store: Store | None = None) -> None:
        self.world, self.routes, self.store = world, routes, store

    def handle(self, request: Request) -> Answer:
        """Answer one request. Never raises for anything a client can send."""
        endpoint = f"{request.method} {request.path}"
        call = Call(self.world, request)
        node_id, job_id = _subject(request)
        self.world.counters.request(endpoint, node_id)
        fault = self.world.faults.meet(request, node_id, _caller(call))
        if fault:
            self.world.is_touched = True
        if fault and fault.comes_before:
            if fault.kind == "token_revoked":
                self._revoke(call)
            answer = fault.refuse()
        else:
            answer = self._act(call)
        outcome = "cut" if answer.cut else str(answer.status)
        self._count(endpoint, outcome, answer, node_id, job_id)
        self.save()
        return fault.spoil(answer) if fault and not fault.comes_before else answer

    def save(self) -> None:
        if self.store:
            self.store.write(self.world)

    def _act(self, call: Call) -> Answer:
        try:
            handler, is_open = self.routes.find(call.request)
            if not is_open:
                _ = call.account
            result = handler(call)
        except (Refusal, Unauthorized) as refusal:
            return refusal.answer()
        except Exception:
            # The real cloud's answer to its own fault; the reason is for the operator of this one.
            _LOG.exception("%s %s", call.request.method, call.request.path)
            return Refusal(100001, "Internal server error", 500).answer()
        return result if isinstance(result, Answer) else reply(result)

    def _count(
        self, endpoint: str, outcome: str, answer: Answer, node_id: str, job_id: str
    ) -> None:
        self.world.counters.answer(endpoint, outcome)
        if endpoint != f"POST {OTA_UPDATE}":
            return
        if answer.cut:
            self.world.counters.push(node_id, job_id, "lost")
        elif answer.status != 200:
            self.world.counters.push(node_id, job_id, f"refused:{answer.error_code or outcome}")
        else:
            last = self.world.hubs[node_id].pushes[-1]
            outcome = "ignored_busy" if last.ignored else "accepted"
            self.world.counters.push(node_id, job_id, outcome)

    def _revoke(self, call: Call) -> None:
        try:
            self.world.revoke_tokens(call.account.email)
        except Unauthorized:
            return


def _subject(request: Request) -> tuple[str, str]:
    """(node id, job id) a request is about, wherever it says so; empty where it does not."""
    node_id, job_id = request.node_id, request.query.get("ota_job_id", "")
    if request.path == OTA_UPDATE and request.body:
        try:
            body = json.loads(request.body)
        except ValueError:
            return node_id, job_id
        if isinstance(body, dict):
            node_id = _text(body.get("node_id")) or node_id
            job_id = _text(body.get("ota_job_id")) or job_id
    return node_id, job_id


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _caller(call: Call) -> str:
    """The e-mail address a request is made for, or '' when it is unknown."""
    try:
        return call.account.email
    except Unauthorized:
        pass
    try:
        body = call.request.json_object()
    except Refusal:
        return ""
    return _text(body.get("user_name")).lower()
