"""Requests and answers as values, and the error body every refusal takes.

Success of an action is `{"status": "success", "description": ...}`; a refusal is
`{"status": "failure", "description": ..., "error_code": <int>}`, nearly always with HTTP 400
(ESP RainMaker API 3.8.0). The code is an int because the iOS app decodes it as one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes
    peer: str

    def json(self) -> Any:
        """The decoded body. Raises Refusal 100006 when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refusal(100006, "Invalid request body") from error

    def json_object(self) -> dict[str, Any]:
        body = self.json()
        if not isinstance(body, dict):
            raise Refusal(100006, "Invalid request body")
        return body

    def flag(self, name: str, default: bool) -> bool:
        value = self.query.get(name, "").lower()
        return default if value not in ("true", "false") else value == "true"

    @property
    def node_id(self) -> str:
        """The node asked about, in the query under either of its names."""
        return self.query.get("node_id") or self.query.get("nodeid") or ""


@dataclass(slots=True)
class Answer:
    """What to send, and how badly. `cut` closes the connection without sending anything."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0  # spread the body over this long
    cut: bool = False
    error_code: int | None = None


class Refusal(Exception):
    """The request is refused; nothing was changed."""

    def __init__(self, code: int, description: str, http: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.http = code, description, http

    def answer(self) -> Answer:
        body = {"status": "failure", "description": self.description, "error_code": self.code}
        answer = reply(body, self.http)
        answer.error_code = self.code
        return answer


class Unauthorized(Exception):
    """Missing, foreign, revoked or expired token; answered in the gateway's form."""

    def answer(self) -> Answer:
        return reply({"message": str(self) or "Unauthorized"}, 401)


def reply(body: Any, status: int = 200) -> Answer:
    payload = json.dumps(body, separators=(",", ":")).encode()
    return Answer(status, payload, {"Content-Type": "application/json"})


def done(description: str, **more: Any) -> dict[str, Any]:
    return {"status": "success", "description": description, **more}
