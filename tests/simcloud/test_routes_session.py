"""The simulated cloud's sessions over real HTTP: sign in, refresh, sign out."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
import requests

from tests.support.simcloud_api import OTHER, Api, refusal
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes


def claims(token: str) -> dict[str, Any]:
    head, payload, signature = token.split(".")
    assert head
    assert signature
    assert "-" not in payload
    assert "_" not in payload
    return dict(json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4))))


def test_password_login_gives_three_tokens_that_plain_decoders_can_read(me: Api) -> None:
    assert me.tokens["status"] == "success"
    assert set(me.tokens) == {"status", "description", "idtoken", "accesstoken", "refreshtoken"}
    who, access = claims(me.tokens["idtoken"]), claims(me.tokens["accesstoken"])
    assert who["email"] == "me@example.com"
    assert who["custom:user_id"] == me.get("/v1/user")[1]["user_id"]
    assert who["token_use"] == "id"
    assert access["token_use"] == "access"
    assert access["exp"] - access["iat"] == 3600
    assert access["iss"].startswith("https://cognito-idp.us-east-1.")
    assert abs(access["iat"] - time.time()) < 60


def test_awkward_address_still_gives_a_payload_plain_decoders_can_read(cloud: SimCloud) -> None:
    for number in range(3):
        email = f"{'~' * number}odd~>?{number}@example.com"
        cloud.add_account(email, "pw")
        assert claims(Api(cloud.url, email, "pw").tokens["idtoken"])["email"] == email


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"user_name": "me@example.com", "password": "wrong"}, 101009),
        ({"user_name": "nobody@example.com", "password": "fireflies"}, 101009),
        ({"user_name": "not-an-address", "password": "x"}, 101002),
        ({"password": "x"}, 100006),
        ({"user_name": "me@example.com", "password": 5}, 100006),
        ({"refreshtoken": "nonsense"}, 101017),
        ({"user_name": "me@example.com", "verification_code": "123456"}, 101039),
        ({"user_name": "me@example.com", "verification_code": "1", "session": "x"}, 101012),
        ([1], 100006),
        ({}, 100006),
    ],
)
def test_login_refusals_are_400_with_their_code(me: Api, body: Any, code: int) -> None:
    answer = requests.post(me.url + "/v1/login2", json=body, timeout=10)
    assert refusal((answer.status_code, answer.json())) == (400, code)


def test_login_without_a_json_body_is_refused(me: Api) -> None:
    answer = requests.post(me.url + "/v1/login2", data="{not json", timeout=10)
    assert refusal((answer.status_code, answer.json())) == (400, 100006)


def test_refresh_gives_no_new_refresh_token_and_the_old_one_stays_good(me: Api) -> None:
    for _ in range(2):
        status, body = me.call("POST", "/v1/login2", refreshtoken=me.tokens["refreshtoken"])
        assert status == 200
        assert set(body) == {"status", "description", "idtoken", "accesstoken"}
        headers = {"Authorization": body["accesstoken"]}
        assert requests.get(me.url + "/v1/user", headers=headers, timeout=10).status_code == 200


def test_one_time_code_login(me: Api) -> None:
    _, asked = me.call("POST", "/v1/login2", user_name="me@example.com")
    status, body = me.call(
        "POST",
        "/v1/login2",
        user_name="me@example.com",
        verification_code="123456",
        session=asked["session"],
    )
    assert status == 200
    assert body["accesstoken"]


@pytest.mark.parametrize("form", ["", "nonsense", "a.b.c", "Bearer {access}", "{id}", "{refresh}"])
def test_anything_but_the_raw_access_token_is_401(me: Api, form: str) -> None:
    token = form.format(
        access=me.tokens["accesstoken"], id=me.tokens["idtoken"], refresh=me.tokens["refreshtoken"]
    )
    headers = {"Authorization": token} if token else {}
    answer = requests.get(me.url + "/v1/user/nodes", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})


def test_logout_ends_this_session_only(cloud: SimCloud, me: Api) -> None:
    here, there = (Api(cloud.url, *OTHER) for _ in range(2))
    assert here.call("POST", "/v1/logout2?logout_all=false")[0] == 200
    assert here.get("/v1/user")[0] == 401
    assert refusal(here.call("POST", "/v1/login2", refreshtoken=here.tokens["refreshtoken"])) == (
        400,
        101017,
    )
    assert there.get("/v1/user")[0] == 200
    assert refusal(there.call("POST", "/v1/logout2?logout_all=maybe")) == (400, 101036)


def test_logout_all_ends_every_session(cloud: SimCloud) -> None:
    cloud.add_account("leaver@example.com", "pw")
    here, there = (Api(cloud.url, "leaver@example.com", "pw") for _ in range(2))
    assert here.call("POST", "/v1/logout2?logout_all=true")[0] == 200
    assert there.get("/v1/user")[0] == 401


def test_who_am_i_under_both_paths(me: Api) -> None:
    found = me.get("/v1/user")[1]
    assert found["user_name"] == "me@example.com"
    assert found["mfa"] is False
    assert me.get("/v1/user2?custom_data=true")[1] == found | {"custom_data": {}}


def test_versions_need_no_token(me: Api) -> None:
    answer = requests.get(me.url + "/apiversions", timeout=10)
    assert "v1" in answer.json()["supported_versions"]
