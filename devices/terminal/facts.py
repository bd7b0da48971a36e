"""Hubs and installs as values for a line of JSON: the same names everywhere, times in UTC."""

from typing import Any

from devices.explain import explain_job, explain_report, explain_trouble
from devices.models import CloudAccount, Node, Offer, OtaJob, Report, State


def hub_values(node: Node) -> dict[str, Any]:
    """Return what is known of a hub and of what it is offered."""
    return {
        "hub": str(node),
        "number": node.pk,
        "node_id": node.node_id,
        "serial": node.serial,
        "model": node.model,
        "is_simulated": node.account.is_simulated,
        "household": node.account.household.name,
        "fw_version": node.fw_version,
        "is_online": node.is_online,
        "repellent": node.repellent,
        "ota_available": node.offer is not None,
        "offer": offer_values(node.offer) if node.offer is not None else None,
        "checked_at": node.checked_at,
        "trouble": trouble_values(node) if node.check_trouble else None,
    }


def trouble_values(node: Node) -> dict[str, str]:
    """Return why the last check brought no answer."""
    told = explain_trouble(node.check_trouble, node.check_trouble_text)
    return {
        "trouble": node.check_trouble,
        "support_code": told.code,
        "headline": told.headline,
        "what": told.what,
        "todo": told.todo,
    }


def offer_values(offer: Offer) -> dict[str, Any]:
    """Return what the cloud offers, named as it names it."""
    return {
        "ota_job_id": offer.ota_job_id,
        "fw_version": offer.fw_version,
        "description": offer.description,
        "file_size": offer.size_bytes,
        "file_md5": offer.md5,
        "first_seen_at": offer.first_seen_at,
    }


def job_values(job: OtaJob) -> dict[str, Any]:
    """Return an install with its state, what is to be said of it, and its three witnesses."""
    told = explain_job(job)
    return {
        "job": job.pk,
        "hub": job.hub_name,
        "node_id": job.cloud_node_id,
        "is_simulated": job.node.account.is_simulated,
        "household": job.household.name,
        "ota_job_id": job.ota_job_id,
        "from_version": job.from_version,
        "to_version": job.to_version,
        "state": job.state,
        "outcome": job.outcome,
        "is_over": not job.is_live,
        "is_verified": job.state == State.VERIFIED,
        "support_code": told.code,
        "headline": told.headline,
        "what": told.what,
        "is_safe": told.is_safe,
        "todo": told.todo,
        "requested_by": job.requested_by_name,
        "requested_via": job.requested_via,
        "requested_at": job.requested_at,
        "pushes": job.pushes,
        "pushed_at": job.pushed_at,
        "ended_at": job.ended_at,
        "duration_s": job.duration,
        "witnesses": witnesses(job),
    }


def witnesses(job: OtaJob) -> dict[str, dict[str, Any]]:
    """Return what each of the three witnesses says, when, and whether it speaks for the install."""
    return {
        "cloud": {
            "agrees": job.cloud_meaning == "success",
            "status": job.cloud_word,
            "additional_info": job.cloud_info,
            "at": job.cloud_said_at,
        },
        "version": {
            "agrees": job.version_agreed_at is not None,
            "fw_version": job.version_seen,
            "at": job.version_agreed_at or job.version_seen_at,
        },
        "online": {
            "agrees": bool(job.is_online) and job.version_agreed_at is not None,
            "is_online": job.is_online,
            "back_online_at": job.back_online_at,
            "at": job.online_seen_at,
        },
    }


def report_values(report: Report) -> dict[str, Any]:
    """Return one thing the cloud said about an install, verbatim, and what it means."""
    return {
        "sequence": report.sequence,
        "status": report.word,
        "additional_info": report.info,
        "percent": report.percent,
        "title": explain_report(report.word, report.info).title,
        "at": report.heard_at,
        "cloud_at": report.cloud_at,
    }


def account_values(account: CloudAccount, hubs: int) -> dict[str, Any]:
    """Return a cloud account; never its tokens."""
    return {
        "number": account.pk,
        "email": account.email,
        "cloud": account.base_url,
        "household": account.household.name,
        "state": account.state,
        "hubs": hubs,
        "answered_at": account.answered_at,
        "trouble": account.trouble,
    }
