"""Cloud to mirror: an account's hubs, their connectivity and versions, their offers.

Functions take what was heard and the time; none of them talks to the cloud.
"""

import logging
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from devices.accounts import account_failed, trouble_code
from devices.cloud.errors import (
    AnswerLost,
    Busy,
    CloudError,
    ServerTrouble,
)
from devices.cloud.types import FirmwareOffer, NodeDetails, NodesPage
from devices.models import (
    CHECK_AFTER_INSTALL,
    CHECK_EVERY,
    Actor,
    CloudAccount,
    Node,
    Offer,
    OfferEnd,
    Suspect,
    Topic,
    audit,
    hear_version,
    tell,
)
from devices.models.account import common_mark
from devices.poison import label
from devices.wake import wake_chores

log = logging.getLogger(__name__)

SYNC_EVERY = timedelta(minutes=2)
# A large account is read less often: a tenth of a second more for each of its hubs.
SYNC_PER_HUB = timedelta(seconds=0.1)
# A hub whose check failed for a reason of its own is asked again after this.
CHECK_AGAIN = timedelta(hours=1)
# One statement names no more hubs than this.
HUBS_AT_ONCE = 500


def ask_check(nodes: Iterable[Node], *, actor: Actor, now: datetime | None = None) -> int:
    """Ask for a check of these hubs as soon as possible; return how many. Safe to repeat."""
    now = now or timezone.now()
    asked = [node for node in nodes if node.gone_at is None and node.account.is_linked]
    with transaction.atomic():
        audit.lock()
        for start in range(0, len(asked), HUBS_AT_ONCE):
            ids = [node.pk for node in asked[start : start + HUBS_AT_ONCE]]
            Node.objects.filter(pk__in=ids).touch_all(now, check_asked_at=now, next_check_at=now)
            Suspect.release([label(("node", pk)) for pk in ids])
        if asked:
            audit.record(
                actor,
                "check.asked",
                f"A check for new firmware was asked for: {_names(asked)}.",
                household=asked[0].account.household,
                node=asked[0] if len(asked) == 1 else None,
                at=now,
                detail={"hubs": len(asked)} | common_mark(node.account for node in asked),
            )
            wake_chores()
    return len(asked)


def keep_page(
    account: CloudAccount, page: NodesPage, now: datetime, *, asked_at: datetime | None = None
) -> bool:
    """Write one page of an account's hubs; True when there is another page to read.

    The place in the list is kept with the account, so that a reading that was cut off goes on.
    After the last page the hubs that were not listed are gone. Safe to repeat.
    """
    if not account.sync_cursor or account.sync_started_at is None:
        account.sync_started_at = now
    ids = [hub.node_id[:128] for hub in page.nodes]
    known = {
        node.node_id: node
        for node in account.nodes.filter(node_id__in=ids).select_related("account__household")
    }
    is_circle = bool(account.sync_cursor) and all(
        node_id in known and _heard_since(known[node_id], account.sync_started_at)
        for node_id in ids
    )
    with transaction.atomic():
        audit.lock()
        fresh = []
        for hub in page.nodes:
            node = known.get(hub.node_id[:128])
            if node is None:
                node = Node(account=account, node_id=hub.node_id[:128], next_check_at=now)
                _set(node, _facts(hub))
                node.save()
                known[node.node_id] = node
                fresh.append(node)
            else:
                _keep_changes(node, hub, now)
            if hub.config is not None:
                version = clip(hub.config.fw_version, 64)
                hear_version(node, version, now, asked_at=asked_at)
        account.nodes.filter(node_id__in=ids).update(heard_at=now)
        _record_hubs(account, fresh, "hub.found", "found", now)
        is_more = bool(page.next_id) and not is_circle
        account.skipped_hubs = (account.skipped_hubs if account.sync_cursor else 0) + page.skipped
        account.sync_cursor = page.next_id if is_more else ""
        if not is_more:
            _end_reading(account, now, is_whole=not (page.next_id or account.skipped_hubs))
        account.save(
            update_fields=[
                "sync_cursor",
                "sync_started_at",
                "skipped_hubs",
                "synced_at",
                "next_sync_at",
            ]
        )
    account.answered(now)
    return is_more


def _heard_since(node: Node, since: datetime | None) -> bool:
    return since is not None and node.heard_at is not None and node.heard_at >= since


def _end_reading(account: CloudAccount, now: datetime, *, is_whole: bool) -> None:
    present = account.nodes.filter(gone_at__isnull=True)
    if is_whole:
        left = list(
            present.exclude(heard_at__gte=account.sync_started_at).select_related("account")
        )
        for node in left:
            node.touch(now, gone_at=now)
        _record_hubs(account, left, "hub.left", "gone", now)
    account.synced_at = now
    account.next_sync_at = now + (SYNC_EVERY + SYNC_PER_HUB * present.count()) * _jitter()


def _record_hubs(
    account: CloudAccount, nodes: list[Node], action: str, words: str, now: datetime
) -> None:
    if not nodes:
        return
    audit.record(
        Actor.worker(),
        action,
        f"{len(nodes)} hub{'s' if len(nodes) > 1 else ''} {words} at "
        f"{account.cloud_host}: {_names(nodes)}.",
        household=account.household,
        node=nodes[0] if len(nodes) == 1 else None,
        at=now,
        detail={"account_id": account.pk, "hubs": len(nodes)} | account.mark,
    )


def _keep_changes(node: Node, hub: NodeDetails, now: datetime) -> None:
    facts = _facts(hub)
    if node.gone_at is not None:
        facts["gone_at"] = None
        facts["next_check_at"] = now
    changed = {name: value for name, value in facts.items() if getattr(node, name) != value}
    if changed.keys() <= {"runtime_minutes", "rssi_dbm"}:
        if changed:  # these move all the time and are no news on a list
            Node.objects.filter(pk=node.pk).update(**changed)
        return
    node.touch(now, **changed)


def _facts(hub: NodeDetails) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "role": clip(hub.role, 16),
        "is_online": hub.connectivity.is_connected,
        "online_changed_at": hub.connectivity.changed_at,
    }
    if hub.config is not None:
        facts["name"] = clip(hub.config.name, 200)
        facts["model"] = clip(hub.config.model or hub.config.type, 120)
        facts["serial"] = clip(hub.config.serial, 64)
    if hub.facts is not None:
        facts["name"] = clip(hub.facts.name, 200) or facts.get("name", "")
        facts["serial"] = clip(hub.facts.serial, 64) or facts.get("serial", "")
        facts["repellent"] = hub.facts.repellent.value.replace("unknown", "")
        facts["is_on"] = hub.facts.is_on
        facts["refill_life_percent"] = hub.facts.refill_life_percent
        facts["has_cartridge"] = hub.facts.has_cartridge
        facts["runtime_minutes"] = _bounded(hub.facts.runtime_minutes, 0, 2**31 - 1)
        facts["error_bits"] = _bounded(hub.facts.error_bits, 0, 2**31 - 1) or 0
        facts["rssi_dbm"] = _bounded(hub.facts.rssi_dbm, -1000, 1000)
    return facts


def keep_offer(node: Node, heard: FirmwareOffer, now: datetime) -> None:
    """Write what a check found. The same offer again changes nothing but its time.

    What the hub reports to run already is no offer, whatever the cloud says: until it has taken
    note of an install it offers that job still. It is asked again soon, for what comes next.
    """
    heard = replace(
        heard,
        fw_version=clip(heard.fw_version, 64),
        description=clip(heard.description, 4000),
        md5=clip(heard.md5, 64),
    )
    with transaction.atomic():
        audit.lock()
        # another loop may have heard it since this hub was loaded
        node.fw_version = Node.objects.values_list("fw_version", flat=True).get(pk=node.pk)
        pause = CHECK_EVERY
        if heard.is_available and node.fw_version and heard.fw_version == node.fw_version:
            heard, pause = FirmwareOffer(is_available=False), CHECK_AFTER_INSTALL
        current = node.offers.filter(ended_at__isnull=True).first()
        same = current is not None and heard.is_available and _is_same(current, heard)
        if same and current is not None:
            current.last_seen_at = now
            current.description = heard.description
            current.has_link = bool(heard.url)
            current.save(update_fields=["last_seen_at", "description", "has_link"])
        else:
            if current is not None:
                _end_offer(node, current, heard, now)
            if heard.is_available:
                _open_offer(node, heard, now)
        times = {
            "checked_at": now,
            "next_check_at": now + pause * _jitter(),
            "check_asked_at": None,
            "check_trouble": "",
            "check_trouble_text": "",
        }
        is_quiet = (same or (current is None and not heard.is_available)) and not (
            node.is_being_checked or node.check_trouble
        )
        if is_quiet:
            Node.objects.filter(pk=node.pk).update(**times)
        else:
            node.touch(now, **times)


def _is_same(offer: Offer, heard: FirmwareOffer) -> bool:
    return (offer.ota_job_id, offer.fw_version, offer.size_bytes, offer.md5) == (
        heard.ota_job_id,
        heard.fw_version,
        heard.size_bytes,
        heard.md5,
    )


def _open_offer(node: Node, heard: FirmwareOffer, now: datetime) -> None:
    offer = Offer.objects.create(
        node=node,
        ota_job_id=heard.ota_job_id,
        fw_version=heard.fw_version,
        description=heard.description,
        size_bytes=heard.size_bytes,
        md5=heard.md5,
        has_link=bool(heard.url),
        first_seen_at=now,
        last_seen_at=now,
    )
    audit.record(
        Actor.worker(),
        "offer.seen",
        f"{node} is offered {offer.fw_version}; it runs {node.fw_version or 'an unknown version'}.",
        node=node,
        at=now,
        detail={
            "ota_job_id": offer.ota_job_id,
            "fw_version": offer.fw_version,
            "size_bytes": offer.size_bytes,
            "md5": offer.md5,
        },
    )
    tell(
        Topic.NEW_FIRMWARE,
        household=node.account.household,
        path=reverse("hub", args=[node.pk]),
        now=now,
        accounts=[node.account],
        hub=str(node),
        from_version=node.fw_version,
        to_version=offer.fw_version,
    )


def _end_offer(node: Node, offer: Offer, heard: FirmwareOffer, now: datetime) -> None:
    if offer.fw_version == node.fw_version:
        reason, words = OfferEnd.INSTALLED, f"{node} runs {offer.fw_version}; its offer is over."
    elif heard.is_available:
        reason = OfferEnd.SWAPPED
        words = f"The offer for {node} changed from {offer.fw_version} to {heard.fw_version}."
    else:
        reason, words = OfferEnd.WITHDRAWN, f"The offer of {offer.fw_version} for {node} is gone."
    offer.ended_at, offer.end_reason = now, reason
    offer.save(update_fields=["ended_at", "end_reason"])
    audit.record(
        Actor.worker(),
        f"offer.{reason.value}",
        words,
        node=node,
        at=now,
        detail={"ota_job_id": offer.ota_job_id, "fw_version": offer.fw_version},
    )


def check_failed(node: Node, problem: CloudError, now: datetime) -> None:
    """Write that a check brought no answer, and when it is tried again.

    Trouble of the whole account rests the account; trouble of one hub leaves the others alone.
    """
    rests = account_failed(node.account, problem, now)
    pause = CHECK_AGAIN
    if rests:
        pause = timedelta(seconds=5)  # the account's own pause counts
    elif isinstance(problem, Busy):
        pause = timedelta(seconds=problem.retry_after_s or 60)
    if isinstance(problem, AnswerLost | ServerTrouble):  # it may be this hub's own trouble
        pause = timedelta(minutes=5)
    node.touch(
        now,
        next_check_at=now + pause * _jitter(),
        check_asked_at=None,
        check_trouble=trouble_code(problem),
        check_trouble_text=str(problem)[:300],
    )


def clip(text: str, length: int) -> str:
    """Return the text cut to a column's length, without NULs, which PostgreSQL refuses."""
    return text.replace("\0", "")[:length]


def _bounded(value: int | None, low: int, high: int) -> int | None:
    return None if value is None else max(low, min(high, value))


def _set(node: Node, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        setattr(node, name, value)


def _names(nodes: list[Node]) -> str:
    shown = ", ".join(str(node) for node in nodes[:5])
    return shown if len(nodes) <= 5 else f"{shown} and {len(nodes) - 5} more"


def _jitter() -> float:
    return random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
