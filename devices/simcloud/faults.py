"""Trouble between the client and the cloud, for requests that match, `count` times or for good.

Some faults come instead of the effect (the request changes nothing), the others after it (the
request did everything it asked for, only the answer is bad or missing):

before: `cut_before`, `token_revoked` (401; the account's tokens really die), `423`, `429`, `500`,
        `http` (any `status` and `error_code`), `blocked` (403 and the page of a firewall)
after:  `cut_after`, `slow` (`delay_s`; a push has taken effect before the wait), `slow_body`
        (`drip_s`), `garbage` (`body`: one of GARBAGE), `short_list` (a list of nodes holds `keep`
        of them, and its `total` does not know)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from devices.simcloud.wire import Answer, Refusal, Request, Unauthorized

BEFORE = ("cut_before", "token_revoked", "423", "429", "500", "http", "blocked")
AFTER = ("cut_after", "slow", "slow_body", "garbage", "short_list")
GARBAGE = ("not_json", "truncated_json", "html", "huge", "empty", "wrong_types", "null", "list")
_DEFAULTS: dict[str, Any] = {
    "delay_s": 5.0,
    "drip_s": 5.0,
    "retry_after_s": 5,
    "status": 503,
    "error_code": 100001,
    "description": "Internal server error",
    "body": "not_json",
    "size_bytes": 8_000_000,
    "keep": 0,
}


class BadFault(ValueError):
    """No such fault, or a parameter that does not fit."""


@dataclass(slots=True)
class Fault:
    """One fault and which requests it is for; an empty field matches everything."""

    kind: str
    method: str = ""
    path: str = ""  # a shell pattern: */ota_update
    node_id: str = ""
    account: str = ""
    count: int | None = None  # how many more times; None: until cleared
    skip: int = 0  # let this many matching requests through first
    params: dict[str, Any] = field(default_factory=dict)
    fault_id: int = 0
    hits: int = 0

    def matches(self, request: Request, node_id: str, account: str) -> bool:
        return (
            self.method in ("", request.method)
            and (not self.path or fnmatchcase(request.path, self.path))
            and self.node_id in ("", node_id)
            and self.account in ("", account)
        )

    @property
    def comes_before(self) -> bool:
        return self.kind in BEFORE

    def refuse(self) -> Answer:
        """The answer instead of any effect."""
        if self.kind == "cut_before":
            return Answer(0, b"", cut=True)
        if self.kind == "token_revoked":
            return Unauthorized().answer()
        if self.kind == "423":
            return Refusal(105078, "Too much traffic, try again later", 423).answer()
        if self.kind == "429":
            answer = Refusal(100070, "Too many requests", 429).answer()
            answer.headers["Retry-After"] = str(self.params["retry_after_s"])
            return answer
        if self.kind == "blocked":
            page = b"<html><head><title>403 Forbidden</title></head><body>Request blocked.</body>"
            return Answer(403, page, {"Content-Type": "text/html"})
        status = 500 if self.kind == "500" else int(self.params["status"])
        return Refusal(
            int(self.params["error_code"]), str(self.params["description"]), status
        ).answer()

    def spoil(self, answer: Answer) -> Answer:
        """The answer after the effect, made slow, broken or missing."""
        if self.kind == "cut_after":
            answer.cut = True
        elif self.kind == "slow":
            answer.delay_s += float(self.params["delay_s"])
        elif self.kind == "slow_body":
            answer.drip_s = float(self.params["drip_s"])
        elif self.kind == "garbage":
            return self._garbage(answer)
        elif self.kind == "short_list" and answer.status == 200:
            answer.body = _shorter(answer.body, int(self.params["keep"]))
        return answer

    def _garbage(self, answer: Answer) -> Answer:
        kind, json_type = self.params["body"], {"Content-Type": "application/json"}
        if kind == "html":
            page = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
            return Answer(200, page, {"Content-Type": "text/html"})
        body = {
            "not_json": b"upstream connect error or disconnect/reset before headers",
            "truncated_json": answer.body[: max(1, len(answer.body) * 2 // 3)],
            "empty": b"",
            "null": b"null",
            "list": b"[1, 2, 3]",
        }.get(kind)
        if kind == "huge":
            body = b'{"status":"success","description":"' + b"A" * self.params["size_bytes"] + b'"}'
        elif body is None:
            body = json.dumps(_wrong_types(json.loads(answer.body or b"null"))).encode()
        return Answer(answer.status, body, json_type)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.fault_id,
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "node_id": self.node_id,
            "account": self.account,
            "count": self.count,
            "skip": self.skip,
            "hits": self.hits,
            **self.params,
        }


def _shorter(body: bytes, keep: int) -> bytes:
    """The same list of nodes without all but the first of them."""
    listed = json.loads(body)
    lists = {name: listed[name][:keep] for name in ("nodes", "node_details") if name in listed}
    return json.dumps({**listed, **lists}).encode()


def _wrong_types(value: Any) -> Any:
    """The same shape with every value of another type than it should be."""
    if isinstance(value, dict):
        return {key: _wrong_types(inner) for key, inner in value.items()}
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return [str(value)]
    if isinstance(value, str):
        return 7
    return "nothing"


class Faults:
    """The faults set now, oldest first; the first that matches a request is the one it meets."""

    def __init__(self) -> None:
        self.active: list[Fault] = []
        self._next_id = 1

    def set(self, body: dict[str, Any]) -> Fault:
        """Add a fault from its JSON form. Raises BadFault."""
        given = dict(body)
        kind = str(given.pop("kind", ""))
        if kind not in BEFORE + AFTER:
            raise BadFault(f"no fault {kind!r}; there are: {', '.join(BEFORE + AFTER)}")
        try:
            count = given.pop("count", None)
            fault = Fault(
                kind=kind,
                method=str(given.pop("method", "")).upper(),
                path=str(given.pop("path", "")),
                node_id=str(given.pop("node_id", "")),
                account=str(given.pop("account", "")).lower(),
                count=None if count is None else int(count),
                skip=int(given.pop("skip", 0)),
            )
            for key, default in _DEFAULTS.items():
                fault.params[key] = type(default)(given.pop(key, default))
        except (TypeError, ValueError) as error:
            raise BadFault(f"a parameter of {kind} does not fit: {error}") from error
        if given:
            raise BadFault(f"unknown: {', '.join(given)}")
        if fault.params["body"] not in GARBAGE:
            raise BadFault(f"body must be one of: {', '.join(GARBAGE)}")
        fault.fault_id, self._next_id = self._next_id, self._next_id + 1
        self.active.append(fault)
        return fault

    def meet(self, request: Request, node_id: str, account: str) -> Fault | None:
        """The fault this request meets, used up by one."""
        for fault in self.active:
            if not fault.matches(request, node_id, account):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.hits += 1
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self.active.remove(fault)
            return fault
        return None

    def clear(self, fault_id: int | None = None) -> None:
        self.active = [f for f in self.active if fault_id not in (None, f.fault_id)]
