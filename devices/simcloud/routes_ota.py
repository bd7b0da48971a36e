"""The three OTA calls (ESP RainMaker API 3.8.0), in either of two dialects.

`real` speaks as the API definition and the firmware do: `triggered`, `started`, `in-progress`, ...
and milliseconds. `documented` speaks as an API write-up in circulation does: `initiated`,
`in_progress`, seconds, `ota_job_id` in the answer, nothing known of a job before its push.
"""

from __future__ import annotations

import re
from typing import Any

from devices.simcloud import images
from devices.simcloud.app import OTA_UPDATE, Call, Routes
from devices.simcloud.firmware import VERIFIED
from devices.simcloud.hub import Report
from devices.simcloud.wire import Refusal, done

DOCUMENTED_STATUS = {"started": "initiated", "delayed": "initiated", "in-progress": "in_progress"}
_PERCENT = re.compile(r"Downloaded (\d+)% Firmware Image")


def add(routes: Routes) -> None:
    images.add(routes)
    routes.add("GET", OTA_UPDATE)(check)
    routes.add("POST", OTA_UPDATE)(push)
    routes.add("GET", "/v1/user/nodes/ota_status")(status)


def check(call: Call) -> dict[str, Any]:
    """`status` here is the request's, never the update's."""
    hub = call.hub(call.request.query.get("node_id", ""), missing=105018, foreign=103020)
    job = call.world.checked(hub)
    if job is not None and hub.scenario.name == "image_not_found":
        raise Refusal(104015, "OTA image not found")
    if job is None:
        return {
            "status": "success",
            "ota_available": False,
            "description": "Device is running latest firmware",
        }
    offer = job.as_offer()
    if job.image_access:
        offer.setdefault("url", images.link(call, job))
        offer.setdefault("file_md5", images.md5_of(job.fw_version, job.file_size))
    return {"status": "success", "ota_available": True, **offer}


def push(call: Call) -> dict[str, Any]:
    body = call.request.json_object()
    job_id = _required(body, "ota_job_id", 105014, "OTA Job Id is missing")
    node_id = _required(body, "node_id", 105018, "NodeId is missing")
    hub = call.hub(node_id, missing=105018, foreign=103013)
    job = hub.job(job_id)
    if job is None:
        raise Refusal(105036, "OTA job is not for this node")
    now = call.world.clock.now()
    if not hub.is_online(now):
        raise Refusal(102001, "Node is offline")
    if job is not hub.offer(now):
        raise Refusal(105061, "OTA job is not the currently available one; check again")
    call.world.push(hub, job)
    return done("OTA update initiated successfully")


def status(call: Call) -> dict[str, Any]:
    query = call.request.query
    if not query.get("node_id"):
        raise Refusal(105018, "NodeId is missing")
    job_id = query.get("ota_job_id", "")
    if not job_id:
        raise Refusal(105014, "OTA Job Id is missing")
    hub = call.hub(query["node_id"], missing=105018, foreign=100010)
    report = hub.report(job_id, call.world.clock.now())
    documented = call.world.dialect == "documented"
    if report is None or (documented and report.status == "triggered"):
        raise Refusal(105024, "OTA status not found", 404)
    at_ms = call.world.clock.wire_ms(report.at)
    answer = {
        "node_id": hub.node_id,
        "status": report.status,
        "additional_info": report.info,
        "timestamp": at_ms,
        "ts_source": report.source,
    }
    if documented:
        job = hub.job(job_id)
        answer |= _documented(report, job.fw_version if job else "") | {
            "ota_job_id": job_id,
            "timestamp": at_ms // 1000,
        }
    return answer


def _documented(report: Report, version: str) -> dict[str, str]:
    info = _PERCENT.sub(r"Downloading firmware... \1%", report.info)
    if info == VERIFIED:
        info = f"Firmware updated successfully to version {version}"
    word = DOCUMENTED_STATUS.get(report.status, report.status)
    return {"status": word, "additional_info": info}


def _required(body: dict[str, Any], key: str, code: int, text: str) -> str:
    value = body.get(key)
    if value is None or value == "":
        raise Refusal(code, text)
    if not isinstance(value, str):
        raise Refusal(100006, "Invalid request body")
    return value
