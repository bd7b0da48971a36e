"""Read an account's hubs into the tables: connectivity, versions, names."""

import random
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from devices.audit import log as audit_log
from devices.explanations.cloud_messages import TroubleCode
from devices.fleet.looking import pause_of
from devices.fleet.settings_kept import keep_after, settings_of
from devices.fleet.versions import record_version
from devices.models import (
    Actor,
    AuditAction,
    CloudAccount,
    Node,
    Repellent,
    VersionCause,
    VersionChange,
)
from devices.models.node import credible_time
from devices.models.plan import wake_hubs
from devices.models.text import clean_name, clip
from devices.rainmaker.schemas import NodeDetails, NodesPage
from devices.taskqueue.wakeups import wake_installs, wake_sync

# A hub that is missing is looked for once more after this, before it counts as gone.
CONFIRM_AFTER = timedelta(seconds=15)
# No account keeps more hubs than this, and no reading asks for more pages: a list may not end.
MOST_HUBS = 5000
MOST_PAGES = 500


def ask_reading(account: CloudAccount, now: datetime) -> None:
    """Have the account's hubs read as soon as possible. Safe to repeat. Two queries."""
    CloudAccount.objects.filter(pk=account.pk, next_sync_at__gt=now).update(next_sync_at=now)
    wake_sync()


def keep_page(
    account: CloudAccount, page: NodesPage, now: datetime, *, asked_at: datetime | None = None
) -> bool:
    """Write one page of an account's hubs; True when there is another page to read.

    The place in the list is kept with the account, so that a reading that was cut off goes on.
    A hub is gone when two whole readings in a row do not list it. A reading that contradicts
    itself adds and updates hubs, and takes none away. Safe to repeat.
    """
    is_first = not account.sync_cursor or account.sync_started_at is None
    if is_first:
        account.sync_started_at = now
        account.pages_read = account.hubs_listed = account.skipped_hubs = 0
        account.counts_by_page = True
    ids = [hub.node_id[:128] for hub in page.nodes]
    known = {
        node.node_id: node
        for node in account.nodes.filter(node_id__in=ids).select_related("account__household")
    }
    is_circle = not is_first and (
        page.next_id == account.sync_cursor
        or (
            bool(ids)
            and all(
                node_id in known and _listed_since(known[node_id], account.sync_started_at)
                for node_id in ids
            )
        )
    )
    room = MOST_HUBS - account.nodes.count()
    fresh = _new_hubs(account, page, known, room, now)
    back = [node for node in known.values() if node.gone_at is not None]
    listed = dict(zip(ids, page.nodes, strict=True))
    account.pages_read += 1
    account.hubs_listed += len(page.nodes)
    account.skipped_hubs += page.skipped
    account.counts_by_page &= page.total in (None, len(page.nodes) + page.skipped)
    is_full = any(node_id not in known and node_id not in fresh for node_id in ids)
    is_endless = account.pages_read >= MOST_PAGES
    is_more = bool(page.next_id) and not (is_circle or is_full or is_endless)
    ready: list[int] = []
    # the head of the trail is locked first, and only where there may be something to record
    is_news = bool(fresh or back) or not (is_more or _are_all_listed(account, ids))
    with audit_log.locked() if is_news else transaction.atomic():
        _write_new(list(fresh.values()), now)
        ready = _write_changes([(node, listed[node_id]) for node_id, node in known.items()], now)
        account.nodes.filter(node_id__in=ids).update(heard_at=now, missed_at=None)
        _record_hubs(account, list(fresh.values()), AuditAction.HUB_FOUND, "found", now)
        _record_hubs(account, back, AuditAction.HUB_BACK, "back", now)
        account.sync_cursor = page.next_id if is_more else ""
        if not is_more:
            account.list_trouble = (
                TroubleCode.LIST_TOO_LONG
                if is_full
                else TroubleCode.LIST_CONTRADICTS
                if page.next_id or not _adds_up(account, page.total)
                else TroubleCode.LIST_UNREADABLE
                if account.skipped_hubs
                else ""
            )
            _end_reading(account, now)
        account.save(
            update_fields=[
                "sync_cursor",
                "sync_started_at",
                "pages_read",
                "hubs_listed",
                "counts_by_page",
                "skipped_hubs",
                "list_trouble",
                "synced_at",
                "next_sync_at",
            ]
        )
    # not before: who changes a plan locks it before its hub
    if ready and wake_hubs(ready, now):
        wake_installs()
    for node_id, node in known.items():
        config = listed[node_id].config
        if config is not None:
            version = clip(config.fw_version, 64)
            record_version(node, version, now, asked_at=asked_at, is_listed=True)
    read = [(node, listed[node_id]) for node_id, node in known.items()]
    keep_after(read, now, asked_at=asked_at or now)
    account.answered(now)
    return is_more


def _listed_since(node: Node, since: datetime | None) -> bool:
    return since is not None and node.heard_at is not None and node.heard_at >= since


def _adds_up(account: CloudAccount, total: int | None) -> bool:
    """Is `total` the number of hubs listed, of the whole reading or of each page?

    The cloud's API definition does not say which of the two it is. Unverified: a cloud that gives
    none is believed.
    """
    listed = account.hubs_listed + account.skipped_hubs
    return account.counts_by_page or total in (None, listed)


def _end_reading(account: CloudAccount, now: datetime) -> None:
    """Note which hubs a whole reading did not list, and which a second one did not list either."""
    present = account.nodes.filter(gone_at__isnull=True)
    pause = pause_of(account, present.count(), now)
    if not account.list_trouble:
        missing = present.exclude(heard_at__gte=account.sync_started_at)
        gone = list(missing.filter(missed_at__isnull=False).select_related("account__household"))
        for node in gone:
            node.touch(now, gone_at=now)
        _record_hubs(account, gone, AuditAction.HUB_LEFT, "gone", now)
        if missing.filter(missed_at__isnull=True).update(missed_at=now):
            pause = CONFIRM_AFTER
    account.synced_at = now
    account.next_sync_at = now + pause * jitter()


def _record_hubs(
    account: CloudAccount, nodes: list[Node], action: AuditAction, words: str, now: datetime
) -> None:
    if not nodes:
        return
    audit_log.record(
        Actor.worker(),
        action,
        f"{len(nodes)} hub{'s' if len(nodes) > 1 else ''} {words} at "
        f"{account.cloud_host}: {names(nodes)}.",
        household=account.household,
        node=nodes[0] if len(nodes) == 1 else None,
        at=now,
        detail={"account_id": account.pk, "hubs": len(nodes)} | account.mark,
    )


def _new_hubs(
    account: CloudAccount, page: NodesPage, known: dict[str, Node], room: int, now: datetime
) -> dict[str, Node]:
    """Return the hubs of a page that are not known yet, as many as there is room for; unsaved."""
    fresh: dict[str, Node] = {}
    for hub in page.nodes:
        node_id = hub.node_id[:128]
        if node_id in known or node_id in fresh or len(fresh) >= room:
            continue
        node = Node(account=account, node_id=node_id, next_check_at=now)
        for name, value in _facts(hub, now).items():
            setattr(node, name, value)
        if hub.config is not None and hub.config.fw_version:
            node.fw_version = clip(hub.config.fw_version, 64)
            node.fw_version_heard_at = now
        fresh[node_id] = node
    return fresh


def _are_all_listed(account: CloudAccount, ids: list[str]) -> bool:
    """Has a reading listed every present hub, of which these are the last?"""
    present = account.nodes.filter(gone_at__isnull=True).exclude(node_id__in=ids)
    return not present.exclude(heard_at__gte=account.sync_started_at).exists()


def _write_new(fresh: list[Node], now: datetime) -> None:
    """Store new hubs and the versions they were found with. Two statements."""
    if not fresh:
        return
    Node.objects.bulk_create(fresh)
    VersionChange.objects.bulk_create(
        VersionChange(node=node, to_version=node.fw_version, at=now, cause=VersionCause.FIRST)
        for node in fresh
        if node.fw_version
    )


def _write_changes(listed: list[tuple[Node, NodeDetails]], now: datetime) -> list[int]:
    """Store what is new of known hubs. One statement for those that changed in the same fields, and
    one that shows the change on open pages. Return the hubs whose plans may start now.
    """
    groups: dict[frozenset[str], dict[int, Node]] = {}
    for node, hub in listed:
        changed = _changes(node, hub, now)
        if changed:
            for name, value in changed.items():
                setattr(node, name, value)
            groups.setdefault(frozenset(changed), {})[node.pk] = node
    # these change all the time and need no redrawn page
    quiet = {"runtime_minutes", "rssi_dbm"}
    shown = [pk for names, nodes in groups.items() if not names <= quiet for pk in nodes]
    # each only in what changed: another loop may have written the rest since it was loaded
    for names, nodes in groups.items():
        _update_each(list(nodes.values()), sorted(names))
    if shown:
        Node.objects.filter(pk__in=shown).touch_all(now)
    # what a plan waits for may have come: the hub is online, or no longer in use
    awaited = {"is_online", "repellent", "gone_at"}
    return [pk for names, nodes in groups.items() if names & awaited for pk in nodes]


def _update_each(nodes: list[Node], names: list[str]) -> None:
    """Write these fields of each hub. Django's bulk_update() takes several times as long
    (tests/bench/bench_readings.py).
    """
    columns = [column for column in Node._meta.concrete_fields if column.name in names]
    quote = connection.ops.quote_name
    written = ", ".join(f"{quote(str(column.column))} = %s" for column in columns)
    connection.cursor().executemany(
        f"UPDATE {quote(Node._meta.db_table)} SET {written} WHERE id = %s",  # noqa: S608 our names
        [
            (*(c.get_db_prep_save(getattr(node, c.attname), connection) for c in columns), node.pk)
            for node in nodes
        ],
    )


def _changes(node: Node, hub: NodeDetails, now: datetime) -> dict[str, Any]:
    """Return what is new of a known hub. What a reading leaves out stays as it was: a hub that was
    offline or in use does not become ready because the cloud left it out.
    """
    emptied = {"ota_word", "ota_info"}  # a hub without an update of its own says so by ""
    facts = {
        name: value
        for name, value in _facts(hub, now).items()
        if value not in (None, "") or name in emptied
    }
    if "is_online" not in facts:
        facts.pop("online_changed_at", None)
    elif facts["is_online"] != node.is_online:
        since, known = facts.get("online_changed_at"), credible_time(node.online_changed_at, now)
        if since is not None and known is not None and since < known:
            del facts["is_online"], facts["online_changed_at"]  # a list from an old cache
        else:
            facts.setdefault("online_changed_at", None)
    if credible_time(node.online_changed_at, now) is None:
        facts.setdefault("online_changed_at", None)
    if node.is_in_use and facts.get("repellent") == Repellent.OFF:
        facts["idle_since"] = now
    if "settings" in facts:
        facts["settings"] = (node.settings or {}) | facts["settings"]
    if facts.get("has_cartridge") is False:
        facts["refill_life_percent"] = None
    if node.gone_at is not None:
        facts |= {"gone_at": None, "missed_at": None, "next_check_at": now}
    return {name: value for name, value in facts.items() if getattr(node, name) != value}


def _facts(hub: NodeDetails, now: datetime) -> dict[str, Any]:
    """Return the cloud's values for a hub, by the names of our columns."""
    facts: dict[str, Any] = {"role": clip(hub.role, 16)}
    if hub.connectivity.is_reported:
        facts["is_online"] = hub.connectivity.is_connected
        facts["online_changed_at"] = credible_time(hub.connectivity.changed_at, now)
    if hub.config is not None:
        facts["name"] = clean_name(hub.config.name, 200)
        facts["model"] = clip(hub.config.model or hub.config.type, 120)
        facts["serial"] = clip(hub.config.serial, 64)
    if hub.facts is not None:
        facts["name"] = clean_name(hub.facts.name, 200) or facts.get("name", "")
        facts["serial"] = clip(hub.facts.serial, 64) or facts.get("serial", "")
        facts["repellent"] = hub.facts.repellent.value.replace("unknown", "")
        facts["is_on"] = hub.facts.is_on
        facts["refill_life_percent"] = hub.facts.refill_life_percent
        facts["has_cartridge"] = hub.facts.has_cartridge
        facts["runtime_minutes"] = _bounded(hub.facts.runtime_minutes, 0, 2**31 - 1)
        facts["error_bits"] = _bounded(hub.facts.error_bits, 0, 2**31 - 1) or 0
        facts["ota_word"] = clip(hub.facts.ota_status, 64)
        facts["ota_info"] = clip(hub.facts.ota_info, 300)
        facts["settings"] = settings_of(hub.facts)
        facts["rssi_dbm"] = _bounded(hub.facts.rssi_dbm, -1000, 1000)
    return facts


def _bounded(value: int | None, low: int, high: int) -> int | None:
    return None if value is None else max(low, min(high, value))


def names(nodes: list[Node]) -> str:
    shown = ", ".join(str(node) for node in nodes[:5])
    return shown if len(nodes) <= 5 else f"{shown} and {len(nodes) - 5} more"


def jitter() -> float:
    return random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
