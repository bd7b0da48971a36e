"""How a terminal says things: plain lines for people, one JSON object a line for programs."""

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

from devices.explain import explain_job
from devices.models import Node, OtaJob, State

# Exit status by verdict; a command that was misused ends with 2 as everywhere.
EXIT: dict[str, int] = {
    State.VERIFIED: 0,
    State.UNVERIFIED: 3,
    State.REJECTED: 4,
    State.FAILED: 5,
    State.LOST: 6,
    State.REFUSED: 7,
    State.EXPIRED: 8,
    State.CANCELLED: 9,
}
EXIT_NOT_CONFIRMED = 10
EXIT_REFUSED = 11
EXIT_NOTHING_NEW = 12
EXIT_STILL_RUNNING = 13
EXIT_INTERRUPTED = 130
EXIT_TABLE = """\
exit status:
  0 verified   3 not proven   4 refused by the hub   5 failed   6 no word from the hub
  7 not sent   8 expired unsent   9 cancelled   10 not confirmed by you
  11 refused here, with reasons   12 nothing new to install   13 still running at --timeout
  130 interrupted: the install goes on
"""


def plain(text: object) -> str:
    """Return the text on one line without control characters: names come from the cloud."""
    return "".join(
        char if unicodedata.category(char)[0] != "C" else " " for char in str(text)
    ).strip()


def as_json(values: dict[str, Any]) -> str:
    """Return one line of JSON; times are ISO 8601 in UTC."""
    return json.dumps(values, default=_as_text, ensure_ascii=True)


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    return str(value)


def hub_values(node: Node) -> dict[str, Any]:
    """Return what is known of a hub, for a line of JSON."""
    offer = node.offer
    return {
        "hub": str(node),
        "node_id": node.node_id,
        "household": node.account.household.name,
        "model": node.model,
        "serial": node.serial,
        "fw_version": node.fw_version,
        "is_online": node.is_online,
        "repellent": node.repellent,
        "ota_available": offer is not None,
        "offer": offer
        and {
            "ota_job_id": offer.ota_job_id,
            "fw_version": offer.fw_version,
            "description": offer.description,
            "size_bytes": offer.size_bytes,
            "md5": offer.md5,
        },
        "checked_at": node.checked_at,
        "check_trouble": node.check_trouble,
    }


def job_values(job: OtaJob) -> dict[str, Any]:
    """Return an install with its verdict and witnesses, for a line of JSON."""
    told = explain_job(job)
    return {
        "job": job.pk,
        "hub": job.hub_name,
        "node_id": job.cloud_node_id,
        "ota_job_id": job.ota_job_id,
        "from_version": job.from_version,
        "to_version": job.to_version,
        "state": job.state,
        "outcome": job.outcome,
        "is_over": not job.is_live,
        "support_code": told.code,
        "headline": told.headline,
        "what": told.what,
        "is_safe": told.is_safe,
        "todo": told.todo,
        "requested_by": job.requested_by_name,
        "requested_at": job.requested_at,
        "pushed_at": job.pushed_at,
        "ended_at": job.ended_at,
        "witnesses": {
            "cloud": {
                "word": job.cloud_word,
                "info": job.cloud_info,
                "heard_at": job.cloud_said_at,
            },
            "version": {
                "reported": job.version_seen,
                "heard_at": job.version_seen_at,
                "agreed_at": job.version_agreed_at,
            },
            "online": {
                "is_online": job.is_online,
                "heard_at": job.online_seen_at,
                "back_at": job.back_online_at,
            },
        },
    }
