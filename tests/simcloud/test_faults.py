"""Scripted trouble over real HTTP: hubs that misbehave, lines that break, and the proof of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.simcloud_api import STATUS, UPDATE, Api, refusal
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cloud() -> Iterator[SimCloud]:
    users = ["me@example.com:fireflies", "b@example.com:pw:1"]
    with SimCloud(hubs=60, offers=1, users=users, state=False) as cloud:
        yield cloud


@pytest.fixture
def me(cloud: SimCloud) -> Iterator[Api]:
    cloud.clear_faults()
    yield Api(cloud.url, "me@example.com", "fireflies")
    cloud.clear_faults()


@pytest.fixture(scope="module")
def spare(cloud: SimCloud) -> Iterator[str]:
    hubs = [hub for hub in cloud.hubs()[5:] if hub["online"] and hub["offer"]]
    return iter([hub["node_id"] for hub in hubs])


def push(me: Api, node: str) -> str:
    """Check and push; the job's id."""
    job = str(me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"])
    assert me.call("POST", UPDATE, node_id=node, ota_job_id=job)[0] == 200
    return job


@pytest.mark.parametrize(
    ("scenario", "params", "status", "info", "has_new_version"),
    [
        ("happy", {}, "success", "verified successfully", True),
        ("percent", {"step": 25}, "success", "verified successfully", True),
        ("slow", {"factor": 1.5}, "success", "verified successfully", True),
        ("first_attempt_fails", {}, "success", "verified successfully", True),
        ("all_attempts_fail", {}, "failed", "OTA Attempt 3/3 failed: OTA Begin", False),
        ("rejected", {"reason": "secure_version"}, "rejected", "Lower secure version", False),
        ("rolled_back", {}, "rejected", "Firmware rolled back", False),
        ("delayed", {"opens_in_s": 5000}, "success", "verified successfully", True),
        ("failed_final", {"reason": "no_url"}, "failed", "Aborted. URL not found", False),
        ("silent", {}, "started", "", False),
        ("stuck", {}, "in-progress", "Downloading Firmware Image", False),
        ("offline_mid_flash", {"away_s": 60}, "success", "verified successfully", True),
        ("success_lie", {}, "success", "verified successfully", False),
        ("version_only", {}, "in-progress", "Rebooting into new firmware", True),
        ("already_running", {}, "success", "verified successfully", True),
    ],
)
def test_where_each_scenario_leads(
    cloud: SimCloud,
    me: Api,
    spare: Iterator[str],
    scenario: str,
    params: dict[str, Any],
    status: str,
    info: str,
    has_new_version: bool,
) -> None:
    node = next(spare)
    old = cloud.hub(node)["fw_version"]
    cloud.set_scenario(node, scenario, **params)
    job = push(me, node)
    cloud.advance(700)
    me = Api(cloud.url, "me@example.com", "fireflies")
    _, found = me.get(f"{STATUS}?node_id={node}&ota_job_id={job}")
    if scenario == "all_attempts_fail":
        assert found["status"] in ("failed", "in-progress")
    else:
        assert found["status"] == status
        assert info in found["additional_info"]
    version = me.get(f"/v1/user/nodes/config?node_id={node}")[1]["info"]["fw_version"]
    assert (version != old) is has_new_version


@pytest.mark.parametrize("name", ["offer_swapped", "offer_withdrawn"])
def test_offer_that_changes_after_it_was_seen_cannot_be_pushed(
    cloud: SimCloud, me: Api, spare: Iterator[str], name: str
) -> None:
    node = next(spare)
    cloud.set_scenario(node, name)
    seen = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
    answer = me.call("POST", UPDATE, node_id=node, ota_job_id=seen)
    assert refusal(answer) == (400, 105061)
    _, now = me.get(f"{UPDATE}?node_id={node}")
    assert now["ota_available"] is (name == "offer_swapped")
    assert refusal(me.get(f"{STATUS}?node_id={node}&ota_job_id={seen}")) == (404, 105024)


def test_offline_hub_takes_no_push_and_says_since_when(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    cloud.set_scenario(node, "offline", since_s=86_400)
    found = me.get(f"/v1/user/nodes/status?node_id={node}")[1]["connectivity"]
    assert found["connected"] is False
    ago_s = cloud.control("GET", "clock")["wire"] - found["timestamp"] / 1000
    assert ago_s == pytest.approx(86_400, abs=5)
    cloud.set_online(node, True)
    assert me.get(f"/v1/user/nodes/status?node_id={node}")[1]["connectivity"]["connected"] is True


def test_second_push_while_busy_is_answered_and_ignored(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    job = push(me, node)
    cloud.advance(30)
    assert push(me, node) == job
    assert cloud.pushes(node, job) == {"accepted": 1, "ignored_busy": 1}
    cloud.advance(400)
    assert cloud.starts(node, job) == 1
    assert Api(cloud.url, "me@example.com", "fireflies").get(
        f"{STATUS}?node_id={node}&ota_job_id={job}"
    )[1]["status"] == ("success")


def test_answer_lost_after_the_effect(cloud: SimCloud, me: Api, spare: Iterator[str]) -> None:
    node = next(spare)
    job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
    cloud.fault("cut_after", method="POST", path="*/ota_update", node_id=node, count=1)
    with pytest.raises(requests.ConnectionError):
        me.call("POST", UPDATE, node_id=node, ota_job_id=job)
    assert cloud.pushes(node) == {"accepted": 1}
    assert me.get(f"{STATUS}?node_id={node}&ota_job_id={job}")[1]["status"] == "started"


def test_request_lost_before_any_effect(cloud: SimCloud, me: Api, spare: Iterator[str]) -> None:
    node = next(spare)
    job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
    cloud.fault("cut_before", method="POST", path="*/ota_update", count=1)
    with pytest.raises(requests.ConnectionError):
        me.call("POST", UPDATE, node_id=node, ota_job_id=job)
    assert cloud.pushes(node) == {"lost": 1}
    assert me.get(f"{STATUS}?node_id={node}&ota_job_id={job}")[1]["status"] == "triggered"


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("423", 423, 105078), ("429", 429, 100070), ("500", 500, 100001)]
)
def test_refusing_faults_have_no_effect_and_run_out(
    cloud: SimCloud, me: Api, spare: Iterator[str], kind: str, status: int, code: int
) -> None:
    node = next(spare)
    job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
    cloud.fault(kind, path="*/ota_update", node_id=node, count=2, retry_after_s=7)
    for _ in range(2):
        answer = me.session.post(
            cloud.url + UPDATE, json={"node_id": node, "ota_job_id": job}, timeout=5
        )
        assert refusal((answer.status_code, answer.json())) == (status, code)
        assert answer.headers.get("Retry-After") == ("7" if kind == "429" else None)
    assert cloud.starts(node) == 0
    assert me.call("POST", UPDATE, node_id=node, ota_job_id=job)[0] == 200
    assert cloud.pushes(node) == {f"refused:{code}": 2, "accepted": 1}


def test_any_refusal_can_be_asked_for(cloud: SimCloud, me: Api) -> None:
    cloud.fault("http", path="/v1/user", status=403, error_code=100013, description="Forbidden")
    assert refusal(me.get("/v1/user")) == (403, 100013)
    assert me.get("/v1/user2")[0] == 200


def test_a_firewall_answers_with_a_page_and_nothing_happens(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
    cloud.fault("blocked", method="POST", path="*/ota_update", node_id=node, count=1)
    body = {"node_id": node, "ota_job_id": job}
    answer = me.session.post(cloud.url + UPDATE, json=body, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html")
    assert b"blocked" in answer.content
    assert cloud.starts(node) == 0


def test_a_short_list_contradicts_its_total(cloud: SimCloud, me: Api) -> None:
    whole = me.get("/v1/user/nodes?node_details=true")[1]
    cloud.fault("short_list", account="me@example.com", path="*/user/nodes", keep=2, count=1)
    short = me.get("/v1/user/nodes?node_details=true")[1]
    assert short["nodes"] == whole["nodes"][:2]
    assert [one["id"] for one in short["node_details"]] == whole["nodes"][:2]
    assert short["total"] == whole["total"] > 2
    again = me.get("/v1/user/nodes?node_details=true")[1]  # its hubs have lived on meanwhile
    assert (again["nodes"], again["total"]) == (whole["nodes"], whole["total"])


def test_revoked_token_stays_dead_until_the_next_login(cloud: SimCloud, me: Api) -> None:
    cloud.fault("token_revoked", account="me@example.com", count=1)
    assert me.get("/v1/user") == (401, {"message": "Unauthorized"})
    assert me.get("/v1/user")[0] == 401
    refresh = me.call("POST", "/v1/login2", refreshtoken=me.tokens["refreshtoken"])
    assert refusal(refresh) == (400, 101017)
    assert Api(cloud.url, "me@example.com", "fireflies").get("/v1/user")[0] == 200


def test_control_revokes_one_account_or_all(cloud: SimCloud, me: Api) -> None:
    other = Api(cloud.url, "b@example.com", "pw")
    cloud.revoke_tokens("b@example.com")
    assert (me.get("/v1/user")[0], other.get("/v1/user")[0]) == (200, 401)
    cloud.revoke_tokens()
    assert me.get("/v1/user")[0] == 401


def test_fault_meets_only_the_account_and_path_it_is_for(cloud: SimCloud, me: Api) -> None:
    other = Api(cloud.url, "b@example.com", "pw")
    cloud.fault("500", account="b@example.com", path="/v1/user", method="GET", skip=1)
    assert [other.get("/v1/user")[0] for _ in range(3)] == [200, 500, 500]
    assert me.get("/v1/user")[0] == 200
    assert other.get("/v1/user2")[0] == 200
    cloud.clear_faults()
    assert other.get("/v1/user")[0] == 200


def test_fault_on_the_way_in_can_be_for_one_person(cloud: SimCloud) -> None:
    cloud.fault("500", path="/v1/login2", account="b@example.com", count=1)
    body = {"user_name": "b@example.com", "password": "pw"}
    assert requests.post(cloud.url + "/v1/login2", json=body, timeout=5).status_code == 500
    assert requests.post(cloud.url + "/v1/login2", json=body, timeout=5).status_code == 200


def test_slow_push_takes_effect_before_the_wait(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
    cloud.fault("slow", method="POST", path="*/ota_update", delay_s=30, count=1)
    with pytest.raises(requests.ReadTimeout):
        me.session.post(
            cloud.url + UPDATE, json={"node_id": node, "ota_job_id": job}, timeout=(5, 0.2)
        )
    assert cloud.pushes(node) == {"accepted": 1}


def test_dripping_body_arrives_whole_in_the_end(cloud: SimCloud, me: Api) -> None:
    cloud.fault("slow_body", path="/v1/user/nodes", drip_s=0.4, count=1)
    began = time.monotonic()
    status, found = me.get("/v1/user/nodes")
    assert status == 200
    assert found["total"] == 59
    assert time.monotonic() - began > 0.3


def test_garbage_of_every_kind(cloud: SimCloud, me: Api) -> None:
    def garbage(kind: str) -> requests.Response:
        cloud.fault("garbage", path="/v1/user", body=kind, count=1, size_bytes=2_000_000)
        return me.session.get(cloud.url + "/v1/user", timeout=10)

    for kind in ("not_json", "truncated_json", "html", "empty"):
        with pytest.raises(requests.JSONDecodeError):
            garbage(kind).json()
    assert "text/html" in garbage("html").headers["Content-Type"]
    assert len(garbage("huge").content) > 2_000_000
    assert garbage("null").json() is None
    assert garbage("list").json() == [1, 2, 3]
    assert garbage("wrong_types").json()["user_name"] == 7
    assert me.get("/v1/user")[1]["user_name"] == "me@example.com"


def test_counters_count_everything_and_can_be_reset(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    job = push(me, node)
    assert cloud.counters()["courses"][node] == {job: ["happy"]}
    cloud.advance(5)
    cloud.reset_counters()
    assert cloud.counters() == {
        "requests": {},
        "answers": {},
        "nodes": {},
        "pushes": {},
        "starts": {},
        "courses": {},
    }
    me.get(f"/v1/user/nodes/status?nodeid={node}")
    me.get("/v1/nonsense")
    counted = cloud.counters()
    assert counted["requests"] == {"GET /v1/user/nodes/status": 1, "GET /v1/nonsense": 1}
    assert counted["answers"]["GET /v1/nonsense"] == {"400": 1}
    assert counted["nodes"] == {node: {"GET /v1/user/nodes/status": 1}}


def test_offers_can_be_published_swapped_and_withdrawn(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    made = cloud.publish_offer(node, fw_version="6.0.0", image_access=True, description="New")
    found = me.get(f"{UPDATE}?node_id={node}")[1]
    assert found.pop("url").startswith(cloud.url)
    assert len(found.pop("file_md5")) == 32
    assert found == {"status": "success", "ota_available": True, **made}
    swapped = cloud.swap_offer(node, fw_version="6.0.1", job_id="JOB-1")
    assert swapped["ota_job_id"] == "JOB-1"
    cloud.withdraw_offer(node)
    assert me.get(f"{UPDATE}?node_id={node}")[1]["ota_available"] is False


def test_truth_about_a_hub_includes_its_timeline(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    push(me, node)
    cloud.advance(400)
    found = cloud.hub(node)
    assert [step["effect"] for step in found["timeline"] if step["effect"]] == [
        "start",
        "offline",
        "online",
        "boot",
        "idle",
    ]
    assert found["timeline"][-1]["status"] == "success"
    assert cloud.hub(found["index"])["node_id"] == cloud.hub(found["name"])["node_id"] == node


def test_hub_can_be_shared_and_its_params_bent(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node, other = next(spare), Api(cloud.url, "b@example.com", "pw")
    cloud.share(node, "b@example.com")
    assert node in other.get("/v1/user/nodes")[1]["nodes"]
    cloud.unshare(node, "b@example.com")
    assert node not in other.get("/v1/user/nodes")[1]["nodes"]
    cloud.set_repellent(node, True)
    cloud.set_params(node, Error=4, **{"Refill Life": 3})
    found = me.get(f"/v1/user/nodes/params?node_id={node}")[1]["LIV Hub"]
    assert (found["Enable Repellers"], found["Error"], found["Refill Life"]) == (True, 4, 3)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "hubs/nowhere/scenario", {"name": "happy"}),
        ("PUT", "hubs/0/scenario", {"name": "nonsense"}),
        ("PUT", "hubs/0/online", {}),
        ("POST", "hubs/0/offer", {"colour": "red"}),
        ("POST", "hubs/0/share", {"email": "nobody@example.com"}),
        ("POST", "faults", {"kind": "nonsense"}),
        ("POST", "faults", {"kind": "garbage", "body": "nonsense"}),
        ("POST", "faults", {"kind": "500", "nonsense": 1}),
        ("POST", "clock", {"advance_s": -1}),
        ("GET", "nonsense", None),
    ],
)
def test_wrong_control_request_says_what_is_wrong(
    cloud: SimCloud, method: str, path: str, body: Any
) -> None:
    with pytest.raises(ValueError, match="error"):
        cloud.control(method, path, body)


def test_control_lists_what_there_is(cloud: SimCloud) -> None:
    found = cloud.control("GET", "")
    assert found["hubs"] == 60
    assert "rolled_back" in found["scenarios"]
    assert "cut_after" in found["faults"]["after"]
