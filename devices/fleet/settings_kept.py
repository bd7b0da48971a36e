"""What a hub was set to before an install, and whether it still is afterwards.

Nothing is asked for this: both come from the readings of the account, the last one before the push
and the first one after the end that shows the hub online.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import F, Q

from devices.audit import log as audit_log
from devices.models import UNSENT, VERDICTS, Actor, AuditAction, Node, OtaJob, State
from devices.rainmaker.schemas import HubFacts, NodeDetails

# The refill is used up all the time: only more than this is a difference.
REFILL_USED_PERCENT = 5
SETTINGS = ("name", "power", "led_brightness", "led_hue", "schedules", "refill_percent")


def settings_of(facts: HubFacts) -> dict[str, Any]:
    """Return what a hub is set to, as far as it says so."""
    given = {
        "name": facts.name or None,
        "power": facts.is_on,
        "led_brightness": facts.led_brightness,
        "led_hue": facts.led_hue,
        "schedules": facts.schedules,
        "refill_percent": facts.refill_life_percent,
    }
    return {name: value for name, value in given.items() if value is not None}


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    """Return which of SETTINGS differ; what is unknown on either side does not."""
    was, now = before or {}, after or {}
    known = [name for name in SETTINGS if name in was and name in now and was[name] != now[name]]
    refill = "refill_percent"
    if refill in known and abs(was[refill] - now[refill]) <= REFILL_USED_PERCENT:
        known.remove(refill)
    return known


def keep_after(
    read: Iterable[tuple[Node, NodeDetails]], now: datetime, *, asked_at: datetime
) -> None:
    """Keep with each install that has ended what its hub is set to now, once, from this reading.

    One query where no hub of the reading waits for it.
    """
    online = {
        node.pk: node
        for node, details in read
        if details.facts is not None and details.connectivity.is_connected
    }
    is_written = Q(put_back_at=None) | Q(put_back_at__lt=asked_at)
    ended = OtaJob.objects.filter(
        is_written,
        node__in=online,
        is_latest=True,
        ended_at__lt=asked_at,
        settings_before__isnull=False,
        settings_after_at=None,
        # of one that is lost it is not known whether the hub is done
        state__in=sorted(VERDICTS - UNSENT - {State.LOST}),
    )
    for job in ended.select_related("node__account__household"):
        after = online[job.node_id].settings
        with audit_log.locked():
            if not OtaJob.objects.filter(pk=job.pk, settings_after_at=None).update(
                settings_after=after, settings_after_at=now, revision=F("revision") + 1
            ):
                continue
            job.node.touch(now)
            if changed := differences(job.settings_before, after):
                audit_log.record(
                    Actor.worker(),
                    AuditAction.INSTALL_SETTINGS_CHANGED,
                    f"{job.hub_name} is set otherwise than before the install: "
                    f"{', '.join(name.replace('_', ' ') for name in changed)}.",
                    job=job,
                    at=now,
                    detail={
                        name: [(job.settings_before or {})[name], (after or {})[name]]
                        for name in changed
                    },
                )
