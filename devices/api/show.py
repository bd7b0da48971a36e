"""Hubs and installs as JSON."""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from devices.explain import explain_job
from devices.models import Node, OtaJob
from devices.policies import Reason


def hub_json(node: Node) -> dict[str, Any]:
    """Return a hub; reads what `for_list` fetched."""
    offer, job = node.new_offer, node.latest_job
    return {
        "id": node.pk,
        "node_id": node.node_id,
        "name": str(node),
        "model": node.model or None,
        "serial": node.serial or None,
        "is_simulated": node.account.is_simulated,
        "installed_version": node.fw_version or None,
        "latest_version": (offer.fw_version if offer is not None else node.fw_version) or None,
        "is_online": node.is_online,
        "is_in_use": node.is_in_use,
        "checked_at": _time(node.checked_at),
        "update_available": offer is not None,
        "offer": {
            "ota_job_id": offer.ota_job_id,
            "version": offer.fw_version,
            "description": offer.description or None,
            "size_bytes": offer.size_bytes,
            "md5": offer.md5 or None,
        }
        if offer is not None
        else None,
        "install": install_json(job, node) if job is not None else None,
        "page": f"{settings.PUBLIC_URL}{reverse('hub', args=[node.pk])}",
    }


def install_json(job: OtaJob, node: Node | None = None) -> dict[str, Any]:
    """Return an install with its verdict and witnesses in plain words."""
    told = explain_job(job)
    return {
        "id": job.pk,
        "hub": node.pk if node is not None else job.node_id,
        "node_id": job.cloud_node_id,
        "is_simulated": (node or job.node).account.is_simulated,
        "ota_job_id": job.ota_job_id,
        "from_version": job.from_version or None,
        "to_version": job.to_version,
        "state": job.state,
        "is_over": not job.is_live,
        "percent": job.percent,
        "headline": told.headline,
        "what": told.what,
        "is_the_hub_safe": told.is_safe,
        "what_to_do": told.todo,
        "support_code": told.code,
        "cloud_says": job.cloud_word or None,
        "version_seen": job.version_seen or None,
        "is_online": job.is_online,
        "requested_at": _time(job.requested_at),
        "ended_at": _time(job.ended_at),
        "page": f"{settings.PUBLIC_URL}{reverse('install', args=[job.pk])}",
    }


def reasons_json(reasons: list[Reason]) -> list[dict[str, str]]:
    return [{"code": reason.code, "sentence": reason.sentence} for reason in reasons]


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at is not None else None
