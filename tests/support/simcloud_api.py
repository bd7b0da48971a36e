"""A person signed in to the simulated cloud, over real HTTP."""

from __future__ import annotations

from typing import Any

import requests

OTHER = ("other@example.com", "s3cret:colon")
UPDATE, STATUS = "/v1/user/nodes/ota_update", "/v1/user/nodes/ota_status"


class Api:
    """One signed-in person; every call gives (HTTP status, decoded body)."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self.url, self.session = url, requests.Session()
        self.tokens = self.call("POST", "/v1/login2", user_name=email, password=password)[1]
        self.session.headers["Authorization"] = self.tokens["accesstoken"]

    def call(self, method: str, path: str, body: Any = None, **fields: Any) -> tuple[int, Any]:
        payload = fields if body is None and fields else body
        answer = self.session.request(method, self.url + path, json=payload, timeout=10)
        return answer.status_code, answer.json()

    def get(self, path: str) -> tuple[int, Any]:
        return self.call("GET", path)


def refusal(answer: tuple[int, Any]) -> tuple[int, int]:
    """(HTTP status, error code) of a refusal in the cloud's form."""
    status, body = answer
    assert body["status"] == "failure"
    assert isinstance(body["description"], str)
    assert type(body["error_code"]) is int
    return status, body["error_code"]
