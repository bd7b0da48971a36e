"""Ask which update a hub is offered, and keep the answer."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from devices.accounts.failures import record_failure
from devices.audit import log as audit_log
from devices.explanations.error_codes import error_code
from devices.fleet.sync import jitter, names
from devices.models import (
    CHECK_AFTER_INSTALL,
    CHECK_EVERY,
    Actor,
    AuditAction,
    Dismissal,
    Node,
    Offer,
    OfferEnd,
    OtaJob,
    Suspect,
    database_clock,
)
from devices.models.account import common_mark
from devices.models.node import INSTALLING_FOR, LONGEST_NOTES
from devices.models.plan import wake_hubs
from devices.models.text import clip
from devices.models.version_text import is_same_version
from devices.notifications.outbox import notify_offer
from devices.rainmaker.errors import AnswerLost, Busy, CallRefused, CloudError, ServerTrouble
from devices.rainmaker.schemas import FirmwareOffer, OtaStatus, OtaWord
from devices.taskqueue.quarantine import label
from devices.taskqueue.wakeups import wake_installs, wake_sync

# A hub whose check failed for a reason of its own is asked again after this.
CHECK_AGAIN = timedelta(hours=1)
CHECK_AT_WORK = timedelta(minutes=1)
# One statement names no more hubs than this.
HUBS_AT_ONCE = 500


def ask_check(nodes: Iterable[Node], *, actor: Actor, now: datetime | None = None) -> int:
    """Ask for a check of these hubs as soon as possible; return how many. Safe to repeat."""
    now = now or database_clock.now()
    asked = [node for node in nodes if node.gone_at is None and node.account.is_linked]
    with audit_log.locked():
        for start in range(0, len(asked), HUBS_AT_ONCE):
            ids = [node.pk for node in asked[start : start + HUBS_AT_ONCE]]
            Node.objects.filter(pk__in=ids).touch_all(now, check_asked_at=now, next_check_at=now)
            Suspect.release([label(("node", pk)) for pk in ids])
        if asked:
            audit_log.record(
                actor,
                AuditAction.CHECK_ASKED,
                f"A check for new firmware was asked for: {names(asked)}.",
                household=asked[0].account.household,
                node=asked[0] if len(asked) == 1 else None,
                at=now,
                detail={"hubs": len(asked)} | common_mark(node.account for node in asked),
            )
            wake_sync()
    return len(asked)


def check_soon(node: Node, now: datetime) -> None:
    """Have this hub checked as soon as possible: what it is offered may have changed."""
    if node.gone_at is None and node.account.is_linked:
        node.touch(now, check_asked_at=now, next_check_at=now)
        wake_sync()


def keep_offer(
    node: Node, found: FirmwareOffer, now: datetime, status: OtaStatus | None = None
) -> None:
    """Write what a check found. The same offer again changes nothing but its time.

    A version that the hub already runs does not count as an offer: after an install the cloud goes
    on offering the same job for a while. Such a hub is checked again soon.

    status: what the cloud says about the offered update on this hub, if it was asked. While the hub
    is installing it, although no install from here runs, the hub is checked again every minute.
    """
    found = replace(
        found,
        fw_version=clip(found.fw_version, 64),
        description=clip(found.description, LONGEST_NOTES + 1),
        md5=clip(found.md5, 64),
    )
    at_work = _is_at_work(node, status, now)
    if not at_work and _keep_nothing_new(node, found, now):
        return
    with audit_log.locked():
        # the other loop may have stored a new version since this hub was loaded
        node.refresh_from_db(fields=["fw_version", "check_asked_at", "check_trouble"])
        pause = CHECK_EVERY
        if found.is_available and is_same_version(found.fw_version, node.fw_version):
            found, pause = FirmwareOffer(is_available=False), CHECK_AFTER_INSTALL
        current = node.offers.filter(ended_at__isnull=True).first()
        same = current is not None and found.is_available and _is_same(current, found)
        was_at_work = current is not None and current.installing_at is not None
        if at_work:
            pause = CHECK_AT_WORK
        if same and current is not None:
            news = _learned(node, current, found) | {"installing_at": now if at_work else None}
            Offer.objects.filter(pk=current.pk).update(**news, last_seen_at=now)
        else:
            if current is not None:
                _end_offer(node, current, found, now)
            if found.is_available:
                _open_offer(node, found, now, installing_at=now if at_work else None)
            if wake_hubs([node.pk], now):  # a plan is bound to what was offered
                wake_installs()
        times = _times(now, pause)
        is_quiet = (same or (current is None and not found.is_available)) and not (
            node.is_being_checked or node.check_trouble or at_work or was_at_work
        )
        if is_quiet:
            Node.objects.filter(pk=node.pk).update(**times)
        else:
            node.touch(now, **times)


def _keep_nothing_new(node: Node, found: FirmwareOffer, now: datetime) -> bool:
    """Store a check that found what is known already; False, and nothing stored, when there is
    news. It does not lock the trail: most checks are like this. Two or three queries.
    """
    if node.is_being_checked or node.check_trouble or node.doubted_version:
        return False
    offer = node.offers.filter(ended_at__isnull=True).first()
    if (offer is not None) != found.is_available:
        return False
    if offer is not None:
        is_news = offer.installing_at is not None or is_same_version(
            found.fw_version, node.fw_version
        )
        learned = _learned(node, offer, found)
        if is_news or not _is_same(offer, found) or _differs(offer, learned):
            return False
    # everything that changes a hub or its offer raises the hub's revision
    as_loaded = Node.objects.filter(pk=node.pk, revision=node.revision)
    if not as_loaded.update(**_times(now, CHECK_EVERY)):
        return False
    if offer is not None:
        Offer.objects.filter(pk=offer.pk).update(last_seen_at=now)
    return True


def _times(now: datetime, pause: timedelta) -> dict[str, Any]:
    """Return what a check that was answered writes to its hub in any case."""
    return {
        "doubted_version": "",
        "checked_at": now,
        "next_check_at": now + pause * jitter(),
        "check_asked_at": None,
        "check_trouble": "",
        "check_trouble_text": "",
    }


def _learned(node: Node, offer: Offer, found: FirmwareOffer) -> dict[str, Any]:
    """Return what a check may change of an offer that is the same."""
    return {
        "description": found.description,
        "has_link": bool(found.url),
        "is_step_back": offer.is_older_than(node.fw_version),
        **_limits(found),
    }


def _differs(offer: Offer, learned: dict[str, Any]) -> bool:
    return any(getattr(offer, name) != value for name, value in learned.items())


def _is_at_work(node: Node, status: OtaStatus | None, now: datetime) -> bool:
    """Does the cloud say that the hub is installing now, while no install from here runs?

    A status without a readable time may be from any day.
    """
    if status is None or status.state not in {OtaWord.STARTED, OtaWord.IN_PROGRESS}:
        return False
    if status.at is None or abs(now - status.at) >= INSTALLING_FOR:
        return False
    host = node.account.cloud_host
    ours = OtaJob.objects.filter(cloud_host=host, cloud_node_id=node.node_id)
    # also one that was given up and is still listened to
    return not (ours.live() | ours.filter(next_poll_at__isnull=False)).exists()


def _is_same(offer: Offer, found: FirmwareOffer) -> bool:
    return (offer.ota_job_id, offer.fw_version, offer.size_bytes, offer.md5) == (
        found.ota_job_id,
        found.fw_version,
        found.size_bytes,
        found.md5,
    )


def _limits(found: FirmwareOffer) -> dict[str, Any]:
    """Return the fields of an offer that say when it may be installed."""
    return {
        "valid_from": found.valid_from,
        "valid_until": found.valid_until,
        "window_start_min": found.window_start_min,
        "window_end_min": found.window_end_min,
        "has_other_limits": not found.is_window_readable,
    }


def _open_offer(
    node: Node, found: FirmwareOffer, now: datetime, *, installing_at: datetime | None
) -> None:
    offer = Offer(
        node=node,
        ota_job_id=found.ota_job_id,
        fw_version=found.fw_version,
        description=found.description,
        size_bytes=found.size_bytes,
        md5=found.md5,
        has_link=bool(found.url),
        installing_at=installing_at,
        **_limits(found),
        first_seen_at=now,
        last_seen_at=now,
    )
    offer.is_step_back = offer.is_older_than(node.fw_version)
    offer.dismissal = Dismissal.covering(node, offer.fw_version)
    offer.save()
    audit_log.record(
        Actor.worker(),
        AuditAction.OFFER_SEEN,
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
    if offer.dismissal is None:
        notify_offer(offer, now)


def _end_offer(node: Node, offer: Offer, found: FirmwareOffer, now: datetime) -> None:
    if is_same_version(offer.fw_version, node.fw_version):
        reason, words = OfferEnd.INSTALLED, f"{node} runs {offer.fw_version}; its offer is over."
    elif found.is_available:
        reason = OfferEnd.SWAPPED
        words = f"The offer for {node} changed from {offer.fw_version} to {found.fw_version}."
    else:
        reason, words = OfferEnd.WITHDRAWN, f"The offer of {offer.fw_version} for {node} is gone."
    offer.ended_at, offer.end_reason = now, reason
    offer.save(update_fields=["ended_at", "end_reason"])
    audit_log.record(
        Actor.worker(),
        AuditAction(f"offer.{reason}"),
        words,
        node=node,
        at=now,
        detail={"ota_job_id": offer.ota_job_id, "fw_version": offer.fw_version},
    )


def check_failed(node: Node, problem: CloudError, now: datetime) -> None:
    """Write that a check brought no answer, and when it is tried again.

    Trouble of the whole account rests the account; trouble of one hub leaves the others alone.
    """
    rests = record_failure(node.account, problem, now, hub=node)
    pause = CHECK_AGAIN
    if rests:
        pause = timedelta(seconds=5)  # the account's own pause counts
    elif isinstance(problem, Busy):
        pause = timedelta(seconds=problem.retry_after_s or 60)
    if isinstance(problem, AnswerLost | CallRefused | ServerTrouble):  # perhaps this hub's alone
        pause = timedelta(minutes=5)
    node.touch(
        now,
        next_check_at=now + pause * jitter(),
        check_asked_at=None,
        check_trouble=error_code(problem),
        check_trouble_text=clip(str(problem), 300),
    )
