"""Conversations that kill the worker: found by what was under way at each death, and set aside.

The queue's own count of attempts knows nothing of a worker that died. So a loop writes down what
it is about to talk about before it does; whoever takes over its lease finds the list, unless it
was given back. All on it are suspects, and from then on suspects take turns: the next death has
one of them at most, which is how the guilty one is told from those that were only beside it.
"""

import logging
from collections.abc import Collection, Hashable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from devices.models import Actor, CloudAccount, Node, OtaJob, audit
from devices.models.suspect import Suspect

log = logging.getLogger(__name__)

PARK_AFTER = 3
# Left alone for so long, and twice as long each further time.
FIRST_PARK = timedelta(minutes=5)
LONGEST_PARK = timedelta(hours=6)
WORKER = Actor.worker()


def label(key: Hashable) -> str:
    """Return the key of a conversation as it is written down, such as "job:12"."""
    return ":".join(map(str, key)) if isinstance(key, tuple) else str(key)


def blame(loop: str, keys: Collection[str], now: datetime) -> None:
    """Count a death of the loop against everything that was under way; set aside what had enough.

    One that was set aside before and kills again is set aside at once, for longer.
    """
    if not keys:
        return
    log.error("%s: the worker died while it talked about %s", loop, ", ".join(sorted(keys)))
    with transaction.atomic():
        audit.lock()
        for key in sorted(set(keys)):
            suspect, _ = Suspect.objects.select_for_update().get_or_create(
                loop=loop, key=key[:64], defaults={"died_at": now}
            )
            suspect.deaths += 1
            suspect.died_at = now
            if suspect.deaths >= PARK_AFTER:
                _park(suspect, now)
            suspect.save()


def _park(suspect: Suspect, now: datetime) -> None:
    pause = min(FIRST_PARK * 2 ** min(suspect.times_parked, 10), LONGEST_PARK)
    suspect.parked_until = now + pause
    suspect.times_parked += 1
    what, about = _subject(suspect.key)
    audit.record(
        WORKER,
        "worker.set_aside",
        f"The worker died {suspect.deaths} times while it dealt with {what}: it is left alone for "
        f"{round(pause.total_seconds() / 60)} minutes, so that everything else goes on.",
        outcome=audit.Outcome.FAILED,
        at=now,
        detail={"key": suspect.key, "deaths": suspect.deaths, "times": suspect.times_parked},
        **about,
    )


def _subject(key: str) -> tuple[str, dict[str, Any]]:
    kind, _, number = key.partition(":")
    pk = int(number) if number.isdigit() else 0
    job = OtaJob.objects.filter(pk=pk).first() if kind == "job" else None
    if job is not None:
        return f"the install of {job.to_version} on {job.hub_name}", {"job": job}
    node = Node.objects.filter(pk=pk).first() if kind == "node" else None
    if node is not None:
        return f"the check of {node}", {"node": node}
    account = CloudAccount.objects.filter(pk=pk).first() if kind == "account" else None
    if account is not None:
        return f"the hubs of an account at {account.cloud_host}", {"household": account.household}
    return key, {}
