"""The simulated cloud over real HTTP: every endpoint, every refusal, every quirk."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.simcloud_process import SimCloud

pytestmark = pytest.mark.processes

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


@pytest.fixture(scope="module")
def cloud() -> Iterator[SimCloud]:
    users = ["me@example.com:fireflies:40", f"{OTHER[0]}:{OTHER[1]}:2"]
    with SimCloud(hubs=42, offers=1, users=users, state=False) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def me(cloud: SimCloud) -> Api:
    return Api(cloud.url, "me@example.com", "fireflies")


@pytest.fixture(scope="module")
def other(cloud: SimCloud) -> Api:
    return Api(cloud.url, *OTHER)


@pytest.fixture(scope="module")
def spare(cloud: SimCloud) -> Iterator[str]:
    """Hubs nobody has touched yet, connected and with an offer: take one with next()."""
    return iter([hub["node_id"] for hub in cloud.hubs()[5:40] if hub["online"] and hub["offer"]])


def claims(token: str) -> dict[str, Any]:
    head, payload, signature = token.split(".")
    assert head
    assert signature
    assert "-" not in payload
    assert "_" not in payload
    return dict(json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4))))


# Session


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
        access=me.tokens["accesstoken"],
        id=me.tokens["idtoken"],
        refresh=me.tokens["refreshtoken"],
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
    told = me.get("/v1/user")[1]
    assert told["user_name"] == "me@example.com"
    assert told["mfa"] is False
    assert me.get("/v1/user2?custom_data=true")[1] == told | {"custom_data": {}}


def test_versions_need_no_token(me: Api) -> None:
    answer = requests.get(me.url + "/apiversions", timeout=10)
    assert "v1" in answer.json()["supported_versions"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/", "/v1/user/nodes/", "//v1/user"])
def test_unknown_path_is_a_400_refusal(me: Api, path: str) -> None:
    assert refusal(me.get(path))[0] == 400


def test_unsupported_version_has_its_own_code(me: Api) -> None:
    assert refusal(me.get("/v7/user/nodes")) == (400, 100002)


# Nodes


def test_listing_is_whole_unless_pages_are_asked_for(me: Api) -> None:
    _, told = me.get("/v1/user/nodes")
    assert len(told["nodes"]) == told["total"] == 40
    assert "node_details" not in told
    assert "next_id" not in told
    assert me.get("/v1/user/nodes?start_id=")[1] == told


def test_pages_join_up(me: Api) -> None:
    everything, start, pages = [], "", 0
    while True:
        path = f"/v1/user/nodes?num_records=15&start_id={start}&node_details=true"
        _, told = me.get(path)
        everything += told["nodes"]
        assert [node["id"] for node in told["node_details"]] == told["nodes"]
        pages, start = pages + 1, told.get("next_id", "")
        if not start:
            break
    assert pages == 3
    assert everything == me.get("/v1/user/nodes")[1]["nodes"]


def test_wrong_page_is_refused(me: Api) -> None:
    assert refusal(me.get("/v1/user/nodes?start_id=nonsense")) == (500, 105043)
    assert refusal(me.get("/v1/user/nodes?num_records=none"))[0] == 400


def test_details_carry_what_each_client_reads(me: Api) -> None:
    node = me.get("/v1/user/nodes")[1]["nodes"][0]
    told = me.get(f"/v1/user/nodes?node_id={node}")[1]["node_details"][0]
    assert told["id"] == told["node_id"] == told["config"]["node_id"] == node
    assert told["role"] == "primary"
    assert told["primary"] is True
    info = told["config"]["info"]
    assert info["name"] == "Thermacell LIV Hub"
    assert info["type"] == info["model"] == "thermacell-hub"
    params = told["params"]["LIV Hub"]
    assert told["config"]["devices"][0]["serial_num"] == params["Hub ID"]
    assert isinstance(params["System Runtime"], int)
    assert told["tags"] == []
    ms = told["status"]["connectivity"]["timestamp"]
    assert type(ms) is int
    assert 1e12 < ms < (time.time() + 60) * 1000
    published = {p["name"] for p in told["config"]["devices"][0]["params"]}
    assert set(params) <= published


def test_parts_of_the_details_can_be_left_out(me: Api) -> None:
    path = "/v1/user/nodes?node_details=true&config=false&params=false&status=false&show_tags=false"
    for told in me.get(path)[1]["node_details"]:
        assert not {"config", "params", "status", "tags"} & set(told)


@pytest.mark.parametrize("name", ["node_id", "nodeid"])
@pytest.mark.parametrize("what", ["config", "status", "params"])
def test_both_spellings_of_the_node_id_work(me: Api, what: str, name: str) -> None:
    told = me.get("/v1/user/nodes?node_details=true")[1]["node_details"][3]
    status, body = me.get(f"/v1/user/nodes/{what}?{name}={told['id']}")
    assert status == 200
    part = told[what]
    assert set(body) == set(part)


@pytest.mark.parametrize(
    ("path", "missing", "foreign"),
    [
        ("config", (400, 100009), (400, 100010)),
        ("status", (400, 100009), (400, 103020)),
        ("params", (400, 100009), (400, 100010)),
        ("ota_update", (400, 105018), (400, 103020)),
    ],
)
def test_missing_and_foreign_nodes_are_refused(
    me: Api, other: Api, path: str, missing: tuple[int, int], foreign: tuple[int, int]
) -> None:
    theirs = other.get("/v1/user/nodes")[1]["nodes"][0]
    assert refusal(me.get(f"/v1/user/nodes/{path}")) == missing
    assert refusal(me.get(f"/v1/user/nodes/{path}?node_id={theirs}")) == foreign
    assert refusal(me.get(f"/v1/user/nodes/{path}?node_id=nonsense")) == foreign
    assert refusal(me.get(f"/v1/user/nodes?node_id={theirs}")) == (404, 100015)


def test_params_are_written_to_one_node_or_to_many(me: Api, spare: Iterator[str]) -> None:
    one, two = next(spare), next(spare)
    body = {"LIV Hub": {"Name": "Herb bed", "LED Hue": 120}}
    assert me.call("PUT", f"/v1/user/nodes/params?nodeid={one}", body)[0] == 200
    told = me.get(f"/v1/user/nodes/params?node_id={one}")[1]["LIV Hub"]
    assert (told["Name"], told["LED Hue"]) == ("Herb bed", 120)
    batch = [
        {"node_id": two, "payload": {"LIV Hub": {"Enable Repellers": True}}},
        {"node_id": "nonsense", "payload": {"LIV Hub": {"Enable Repellers": True}}},
    ]
    status, answers = me.call("PUT", "/v1/user/nodes/params", batch)
    assert status == 207
    assert [answer["status"] for answer in answers] == ["success", "failure"]
    told = me.get(f"/v1/user/nodes/params?node_id={two}")[1]["LIV Hub"]
    assert (told["Enable Repellers"], told["System Status"]) == (True, 2)


def test_params_that_crash_or_do_not_fit_are_refused(me: Api, spare: Iterator[str]) -> None:
    path = f"/v1/user/nodes/params?node_id={next(spare)}"
    for body in ({"LIV Hub": {"LED Saturation": 3}}, {"LIV Hub": 3}, {}):
        assert refusal(me.call("PUT", path, body)) == (400, 100012)
    assert refusal(me.call("PUT", path, [{}] * 26)) == (400, 100012)
    assert refusal(me.call("PUT", path, 3)) == (400, 100006)


def test_tags_and_metadata_merge(me: Api, spare: Iterator[str]) -> None:
    node = next(spare)
    path = f"/v1/user/nodes?node_id={node}"

    def told() -> tuple[Any, Any]:
        found = me.get(path)[1]["node_details"][0]
        return found["tags"], found.get("metadata")

    me.call("PUT", path, tags=["place:lake"], metadata={"a": {"x": 1, "y": [1]}, "b": 2})
    me.call("PUT", path, tags=["place:lake", "kind:dock"], metadata={"a": {"y": [2]}, "b": None})
    assert told() == (["place:lake", "kind:dock"], {"a": {"x": 1, "y": [2]}})
    assert me.get("/v1/user/nodes?tags=kind:dock")[1]["nodes"] == [node]
    assert refusal(me.call("PUT", path, tags=["nocolon"])) == (400, 105046)
    me.call("DELETE", path, tags=["place:lake"])
    me.call("PUT", path, {"metadata": None})
    assert told() == (["kind:dock"], None)
    assert refusal(me.call("DELETE", "/v1/user/nodes", tags=["a:b"])) == (400, 105018)


def test_schedules_are_kept_as_their_operations_say(me: Api, spare: Iterator[str]) -> None:
    path = f"/v1/user/nodes/params?node_id={next(spare)}"

    def write(**schedule: Any) -> list[Any]:
        me.call("PUT", path, {"Schedule": {"Schedules": [schedule]}})
        return list(me.get(path)[1]["Schedule"]["Schedules"])

    assert write(id="A1", operation="add", name="Dusk") == [
        {"enabled": True, "id": "A1", "name": "Dusk"}
    ]
    assert write(id="A1", operation="disable")[0]["enabled"] is False
    assert write(id="A1", operation="remove") == []


def test_reboot_takes_a_hub_away_for_a_moment(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    me.call("PUT", f"/v1/user/nodes/params?node_id={node}", {"System": {"Reboot": True}})
    assert cloud.hub(node)["online"] is True
    cloud.advance(5)
    assert cloud.hub(node)["online"] is False
    cloud.advance(20)
    assert cloud.hub(node)["online"] is True


def test_hub_never_seen_has_no_connectivity_and_no_params(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    cloud.set_scenario(node, "offline", never=True)
    assert me.get(f"/v1/user/nodes/status?node_id={node}") == (200, {"connectivity": {}})
    assert refusal(me.get(f"/v1/user/nodes/params?node_id={node}")) == (400, 102006)


# Sharing and groups


def test_sharing_from_asking_to_leaving(cloud: SimCloud, me: Api, spare: Iterator[str]) -> None:
    node, guest = next(spare), Api(cloud.url, *OTHER)
    _, asked = me.call("PUT", "/v1/user/nodes/sharing", nodes=[node], user_name=OTHER[0])
    request_id = asked["request_id"]
    _, waiting = guest.get("/v1/user/nodes/sharing/requests?primary_user=false")
    found = next(r for r in waiting["sharing_requests"] if r["request_id"] == request_id)
    assert (found["request_status"], found["node_ids"]) == ("pending", [node])
    assert refusal(guest.get(f"/v1/user/nodes/status?node_id={node}")) == (400, 103020)
    accept = {"accept": True, "request_id": request_id}
    assert guest.call("PUT", "/v1/user/nodes/sharing/requests", accept)[0] == 200
    assert refusal(guest.call("PUT", "/v1/user/nodes/sharing/requests", accept))[0] == 400
    told = guest.get(f"/v1/user/nodes?node_id={node}")[1]["node_details"][0]
    assert (told["role"], told["primary"]) == ("secondary", False)
    _, shares = me.get(f"/v1/user/nodes/sharing?node_id={node}")
    assert shares["node_sharing"][0]["users"] == {
        "primary": ["me@example.com"],
        "secondary": [OTHER[0]],
    }
    assert refusal(
        guest.call("PUT", "/v1/user/nodes/sharing", nodes=[node], user_name="me@example.com")
    )
    path = f"/v1/user/nodes/sharing?nodes={node}&user_name={OTHER[0]}"
    assert guest.call("DELETE", path)[0] == 200
    assert node not in guest.get("/v1/user/nodes")[1]["nodes"]


def test_sharing_can_be_declined_and_taken_back(cloud: SimCloud, spare: Iterator[str]) -> None:
    node = next(spare)
    cloud.add_account("giver@example.com", "pw", [node])
    cloud.add_account("taker@example.com", "pw")
    giver = Api(cloud.url, "giver@example.com", "pw")
    taker = Api(cloud.url, "taker@example.com", "pw")
    path = "/v1/user/nodes/sharing/requests"
    ask = {"node_ids": [node], "user_name": "taker@example.com"}
    first, second = (giver.call("PUT", path, ask)[1]["request_id"] for _ in range(2))
    taker.call("PUT", path, accept=False, request_id=first)
    assert giver.call("DELETE", f"{path}?request_id={second}")[0] == 200
    left = giver.get(f"{path}?primary_user=true")[1]["sharing_requests"]
    assert [(r["request_id"], r["request_status"]) for r in left] == [(first, "declined")]
    assert taker.get("/v1/user/nodes")[1]["nodes"] == []


def test_transfer_changes_the_primary_user(cloud: SimCloud, spare: Iterator[str]) -> None:
    node = next(spare)
    cloud.add_account("seller@example.com", "pw", [node])
    cloud.add_account("buyer@example.com", "pw")
    seller = Api(cloud.url, "seller@example.com", "pw")
    buyer = Api(cloud.url, "buyer@example.com", "pw")
    ask = {"nodes": [node], "user_name": "buyer@example.com", "transfer": True}
    asked = seller.call("PUT", "/v1/user/nodes/sharing/requests", ask)[1]
    buyer.call("PUT", "/v1/user/nodes/sharing", accept=True, request_id=asked["request_id"])
    assert cloud.hub(node)["owner"] == "buyer@example.com"
    assert seller.get("/v1/user/nodes")[1]["nodes"] == []
    assert buyer.get(f"/v1/user/nodes?node_id={node}")[1]["node_details"][0]["primary"] is True


def test_groups_are_made_filled_read_and_removed(me: Api, spare: Iterator[str]) -> None:
    one, two, path = next(spare), next(spare), "/v1/user/node_group"
    _, made = me.call("POST", path, group_name="Lake side", nodes=[one])
    group = f"{path}?group_id={made['group_id']}"
    me.call("PUT", group, node_list=[two])
    _, told = me.get(f"{group}&node_list=true")
    assert told["groups"][0]["nodes"] == [one, two]
    assert me.get(f"/v1/user/nodes?group_id={made['group_id']}")[1]["nodes"] == [one, two]
    me.call("PUT", group, operation="remove", nodes=[one], group_name="Dock side")
    _, told = me.get(f"{path}?node_details=true&sub_groups=true")
    found = told["groups"][-1]
    assert (found["group_name"], found["nodes"], found["total"]) == ("Dock side", [two], 1)
    assert found["node_details"][0]["id"] == two
    assert me.call("DELETE", group)[0] == 200
    assert refusal(me.get(group)) == (404, 108023)
    assert refusal(me.call("DELETE", path)) == (400, 108016)


# OTA


def test_check_push_and_follow(cloud: SimCloud, me: Api, spare: Iterator[str]) -> None:
    node = next(spare)
    _, offer = me.get(f"{UPDATE}?node_id={node}")
    assert offer["ota_available"] is True
    assert {"status", "description", "fw_version", "ota_job_id", "file_size"} <= set(offer)
    follow = f"{STATUS}?node_id={node}&ota_job_id={offer['ota_job_id']}"
    assert me.get(follow)[1]["status"] == "triggered"
    push = {"node_id": node, "ota_job_id": offer["ota_job_id"]}
    assert me.call("POST", UPDATE, push) == (
        200,
        {"status": "success", "description": "OTA update initiated successfully"},
    )
    _, told = me.get(follow)
    assert set(told) == {"node_id", "status", "additional_info", "timestamp", "ts_source"}
    assert (told["status"], told["additional_info"], told["ts_source"]) == ("started", "", "CLOUD")
    assert type(told["timestamp"]) is int
    cloud.advance(400)
    assert me.get(follow)[1]["status"] == "success"
    assert (
        me.get(f"/v1/user/nodes/config?node_id={node}")[1]["info"]["fw_version"]
        == (offer["fw_version"])
    )
    _, none = me.get(f"{UPDATE}?node_id={node}")
    assert none["ota_available"] is False
    assert none["status"] == "success"
    assert refusal(me.call("POST", UPDATE, push)) == (400, 105061)
    assert cloud.pushes(node) == {"accepted": 1, "refused:105061": 1}
    assert cloud.starts(node) == 1


def test_first_hubs_show_the_shapes_an_offer_comes_in(cloud: SimCloud, me: Api) -> None:
    nice, with_url, odd = (
        me.get(f"{UPDATE}?node_id={hub['node_id']}")[1] for hub in cloud.hubs()[:3]
    )
    assert len(nice["description"]) > 80
    assert "url" not in nice
    assert "file_md5" not in nice
    assert with_url["url"].startswith(f"{cloud.url}/firmware/image?")
    image = requests.get(with_url["url"], timeout=30).content
    assert len(image) == with_url["file_size"]
    assert hashlib.md5(image, usedforsecurity=False).hexdigest() == with_url["file_md5"]
    for spoiled in (with_url["url"] + "0", with_url["url"].replace("version=5", "version=6")):
        assert requests.get(spoiled, timeout=30).status_code == 403
    assert odd["ota_job_id"] == "OTA_JOB_12345"
    assert odd["file_md5"] == "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"


def test_push_refusals(cloud: SimCloud, me: Api, other: Api, spare: Iterator[str]) -> None:
    node, theirs = next(spare), other.get("/v1/user/nodes")[1]["nodes"][0]
    job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]

    def push(**body: Any) -> tuple[int, int]:
        return refusal(me.call("POST", UPDATE, body))

    assert push(node_id=node) == (400, 105014)
    assert push(ota_job_id=job) == (400, 105018)
    assert push(node_id=theirs, ota_job_id=job) == (400, 103013)
    assert push(node_id=node, ota_job_id="another") == (400, 105036)
    assert push(node_id=node, ota_job_id=7) == (400, 100006)
    assert refusal(me.call("POST", UPDATE, [1])) == (400, 100006)
    cloud.publish_offer(node, fw_version="9.9.9", priority=1)
    assert push(node_id=node, ota_job_id=job) == (400, 105061)
    cloud.set_online(node, False)
    job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
    assert push(node_id=node, ota_job_id=job) == (400, 102001)
    assert cloud.starts(node) == 0
    refused = {f"refused:{code}" for code in (100006, 102001, 105014, 105036, 105061)}
    assert set(cloud.pushes(node)) == refused


def test_status_refusals(me: Api, other: Api, spare: Iterator[str]) -> None:
    node, theirs = next(spare), other.get("/v1/user/nodes")[1]["nodes"][0]
    assert refusal(me.get(f"{STATUS}?ota_job_id=x")) == (400, 105018)
    assert refusal(me.get(f"{STATUS}?node_id={node}")) == (400, 105014)
    assert refusal(me.get(f"{STATUS}?node_id={theirs}&ota_job_id=x")) == (400, 100010)
    assert refusal(me.get(f"{STATUS}?node_id={node}&ota_job_id=x")) == (404, 105024)
    assert refusal(me.get(f"{STATUS}?nodeid={node}&ota_job_id=x")) == (400, 105018)


# HTTP itself


def test_connection_is_kept_and_requests_may_be_pipelined(cloud: SimCloud) -> None:
    ask = b"GET /apiversions HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=5) as line:
        line.sendall(ask * 3 + ask.replace(b"Host: x", b"Connection: close"))
        received = b"".join(iter(lambda: line.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(b"Connection: close") == 1


def test_chunked_body_is_read(cloud: SimCloud) -> None:
    line = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=5)
    parts = [b'{"user_name": "me@example.com", ', b'"password": "fireflies"}']
    line.request("POST", "/v1/login2", body=iter(parts), encode_chunked=True)
    assert line.getresponse().status == 200
    line.close()


@pytest.mark.parametrize("head", [b"NONSENSE", b"GET /x HTTP/1.1\r\nbroken", b"GET / HTTP/2.0"])
def test_nonsense_is_answered_and_the_server_lives_on(cloud: SimCloud, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=5) as line:
        line.sendall(head + b"\r\n\r\n")
        assert line.recv(65536).startswith((b"HTTP/1.1 400", b"HTTP/1.1 505"))
    assert requests.get(cloud.url + "/apiversions", timeout=5).status_code == 200


def test_five_hundred_connections_at_once_are_all_answered(cloud: SimCloud) -> None:
    lines = [socket.create_connection(("127.0.0.1", cloud.port), timeout=10) for _ in range(500)]
    for line in lines:
        line.sendall(b"GET /apiversions HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = [line.recv(65536) for line in lines]
    for line in lines:
        line.close()
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
