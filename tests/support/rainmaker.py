"""What the cloud is asked and answers in tests of its client, and how its errors are caught."""

import base64
import json
import pickle
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import CloudError
from devices.rainmaker.schemas import Tokens
from tests.support.hostile_server import reply

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NODE = "JM7UVxmMgPUYUhVJVBWEf6"
JOB = "OTA_JOB_12345"
EMAIL = "someone.canary@example.org"
PASSWORD = 'canary-pass"wörd&'
REFRESH = "canary-refresh-token"
LOGIN = "POST /v1/login2"
USER = "GET /v1/user"
CHECK = "GET /v1/user/nodes/ota_update"
PUSH = "POST /v1/user/nodes/ota_update"
STATUS = "GET /v1/user/nodes/ota_status"
NODES = "GET /v1/user/nodes"
USER_ANSWER = reply(json={"user_id": "u1", "user_name": EMAIL})
NO_UPDATE = reply(json={"status": "success", "ota_available": False, "description": "Latest"})
PUSHED = reply(json={"status": "success", "description": "OTA update initiated successfully"})


def jwt(**claims: object) -> str:
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, "canarysignature"])


ACCESS = jwt(exp=int((NOW + timedelta(hours=1)).timestamp()), n=1)
FRESH = jwt(exp=int((NOW + timedelta(hours=2)).timestamp()), n=2)
TOKENS = Tokens(
    access_token=ACCESS,
    refresh_token=REFRESH,
    access_expires_at=NOW + timedelta(hours=1),
    user_id="u1",
    email=EMAIL,
)
SESSION = {
    "status": "success",
    "description": "Login successful",
    "idtoken": jwt(**{"custom:user_id": "u1", "email": EMAIL}),
    "accesstoken": ACCESS,
    "refreshtoken": REFRESH,
}
EXTENDED = reply(
    json={
        "status": "success",
        "description": "ok",
        "accesstoken": FRESH,
        "idtoken": jwt(**{"custom:user_id": "u1", "n": 2}),
    }
)
Connect = Callable[..., RainmakerClient]


def push(client: RainmakerClient) -> str:
    return client.push_firmware_update(node_id=NODE, ota_job_id=JOB)


def ask_status(client: RainmakerClient) -> object:
    return client.get_ota_status(node_id=NODE, ota_job_id=JOB)


def error_of(call: Callable[..., object], *args: Any, **kwargs: Any) -> CloudError:
    with pytest.raises(CloudError) as caught:
        call(*args, **kwargs)
    problem = caught.value
    sentence = str(problem)
    assert sentence[:1].isupper(), sentence
    assert_no_secret(problem)
    return problem


def pickled_and_back(problem: CloudError) -> CloudError:
    twin = pickle.loads(pickle.dumps(problem))  # noqa: S301
    assert isinstance(twin, CloudError)
    return twin


def assert_no_secret(problem: CloudError) -> None:
    """Neither the error nor anything it wraps gives a secret away, printed or pickled."""
    seen: list[BaseException] = []
    waiting: list[Any] = [problem]
    texts = ["".join(traceback.format_exception(problem))]
    texts.append(repr(vars(pickled_and_back(problem))))
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            texts += [repr(one), repr(vars(one))]
            request = getattr(one, "request", None)
            texts.append(repr(vars(request)) if request is not None else "")
            waiting += [one.__cause__, one.__context__, *one.args]
    whole = "\n".join(texts)
    for secret in ("canary", ACCESS, FRESH, PASSWORD):
        assert secret not in whole


def without_refresh() -> Tokens:
    return replace(TOKENS, refresh_token="")
