"""From the tables to what Home Assistant is shown."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.urls import reverse

from devices.explain import explain_job
from devices.homeassistant.discovery import Home, Hub
from devices.homeassistant.press import payload_for
from devices.models import HomeAssistantHub, HomeAssistantLink, Node, OtaJob
from devices.models.node import NodeQuerySet
from devices.views.standing import of_job

HUBS_AT_ONCE = 250


def home_of(link: HomeAssistantLink) -> Home:
    return Home(link.key, link.topic_prefix, link.discovery_prefix)


def nodes_of(link: HomeAssistantLink) -> NodeQuerySet:
    """Return the hubs that Home Assistant is shown: those present in this household."""
    return Node.objects.present().filter(account__household_id=link.household_id)


def hubs_of(link: HomeAssistantLink, numbers: Iterable[int]) -> Iterator[tuple[Hub, int]]:
    """Yield these hubs of the household, each with the revision it was read at. Five queries for
    each few hundred.
    """
    wanted = sorted(numbers)
    allowed = link.allowed_ids()
    for start in range(0, len(wanted), HUBS_AT_ONCE):
        some = wanted[start : start + HUBS_AT_ONCE]
        own = {hub.node_id: hub for hub in HomeAssistantHub.objects.filter(node__in=some)}
        for node in nodes_of(link).for_list().filter(pk__in=some):
            yield _hub(link, node, own.get(node.pk), allowed), node.revision


def page_of(node: Node) -> str:
    """Return the absolute address of the hub's page."""
    return f"{settings.PUBLIC_URL}{reverse('hub', args=[node.pk])}"


def _hub(
    link: HomeAssistantLink, node: Node, own: HomeAssistantHub | None, allowed: set[int]
) -> Hub:
    job = node.latest_job
    offer = node.new_offer
    presses = own.presses if own is not None else 0
    may_press = link.lets_install_on(node, allowed)
    return Hub(
        number=node.pk,
        name=node.marked_name,
        model=node.model,
        serial=node.serial,
        installed=node.fw_version,
        page=page_of(node),
        is_online=node.is_online,
        checked_at=node.checked_at,
        offered=offer.fw_version if offer is not None else "",
        description=offer.description if offer is not None else "",
        size_bytes=offer.size_bytes if offer is not None else None,
        ota_job_id=offer.ota_job_id if offer is not None else "",
        md5=offer.md5 if offer is not None else "",
        is_installing=job is not None and job.is_live,
        percent=job.percent if job is not None else None,
        verdict=of_job(job).words if job is not None else "",
        verdict_about=_about(job) if job is not None else None,
        refusal_code=own.refusal_code if own is not None else "",
        refusal=own.refusal if own is not None else "",
        refused_at=own.refused_at if own is not None else None,
        press=payload_for(node, offer, presses) if may_press else None,
    )


def _about(job: OtaJob) -> dict[str, Any]:
    told = explain_job(job)
    return {
        "state": job.state,
        "is_over": not job.is_live,
        "from_version": job.from_version or None,
        "to_version": job.to_version,
        "headline": told.headline,
        "what": told.what,
        "is_the_hub_safe": told.is_safe,
        "what_to_do": told.todo,
        "support_code": told.code,
        "requested_at": job.requested_at.isoformat(timespec="seconds"),
        "ended_at": job.ended_at.isoformat(timespec="seconds") if job.ended_at else None,
        "page": f"{settings.PUBLIC_URL}{reverse('install', args=[job.pk])}",
    }
