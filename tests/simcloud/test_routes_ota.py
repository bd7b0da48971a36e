"""Firmware in the simulated cloud over real HTTP: check, push, follow, refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.simcloud_api import STATUS, UPDATE, Api, refusal
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes


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
    _, found = me.get(follow)
    assert set(found) == {"node_id", "status", "additional_info", "timestamp", "ts_source"}
    assert (found["status"], found["additional_info"], found["ts_source"]) == (
        "started",
        "",
        "CLOUD",
    )
    assert type(found["timestamp"]) is int
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


def test_an_image_that_is_missing_refuses_the_check(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    cloud.set_scenario(node, "image_not_found")
    status, found = me.get(f"{UPDATE}?node_id={node}")
    assert refusal((status, found)) == (400, 104015)
    assert found["description"] == "OTA image not found"
    cloud.set_scenario(node, "happy")
    assert me.get(f"{UPDATE}?node_id={node}")[1]["ota_available"] is True
