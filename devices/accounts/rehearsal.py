"""Have a simulated hub play trouble, through the controls of the simulated cloud it is in.

No real cloud has such controls: they answer on the server's own machine only, where a simulated
cloud is. So this is the second thing, beside linking, that a page waits for, two seconds at most.
"""

import json
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from django.utils.translation import gettext

from devices.accounts.allowed_clouds import is_allowed
from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, Node, Rehearsal, database_clock

WITHIN_S = 2.0
MOST_BYTES = 100_000
HAPPY = "happy"
# What each plays beside the defaults of the simulated cloud: short enough to watch.
PARAMETERS: dict[Rehearsal, dict[str, Any]] = {
    Rehearsal.OFFLINE: {"away_s": 120.0},
    Rehearsal.SLOW: {"factor": 4.0},
}


class RehearsalError(Exception):
    """The simulated cloud did not do it; nothing was changed. str() is a sentence."""


def play(node: Node, trouble: Rehearsal, *, actor: Actor, now: datetime | None = None) -> None:
    """Have the hub play this trouble with each install until it is reset. Raises RehearsalError."""
    now = now or database_clock.now()
    _control(node, "PUT", "scenario", {"name": trouble.value, **PARAMETERS.get(trouble, {})})
    _keep(node, trouble, actor, f"{actor.name} has {node} rehearse: {trouble.value}.", now)


def reset(node: Node, *, actor: Actor, now: datetime | None = None) -> None:
    """Have the hub behave again, and be online. Raises RehearsalError. Safe to repeat."""
    now = now or database_clock.now()
    _control(node, "PUT", "scenario", {"name": HAPPY})
    _control(node, "PUT", "online", {"online": True})
    _keep(node, Rehearsal.NONE, actor, f"{actor.name} ended the rehearsal of {node}.", now)


def offer(node: Node, *, actor: Actor, now: datetime | None = None) -> None:
    """Have the simulated cloud offer the hub a new update. Raises RehearsalError."""
    now = now or database_clock.now()
    _control(node, "PUT", "offer", {})
    trouble = Rehearsal(node.rehearsal)
    _keep(node, trouble, actor, f"{actor.name} has {node} offered an update to rehearse.", now)


def _keep(node: Node, trouble: Rehearsal, actor: Actor, words: str, now: datetime) -> None:
    with audit_log.locked():
        node.touch(now, rehearsal=trouble.value)
        audit_log.record(
            actor,
            AuditAction.HUB_REHEARSED,
            words,
            node=node,
            household=node.account.household,
            at=now,
            why=f"role {actor.role}",
            detail={"rehearsal": trouble.value},
        )


def _control(node: Node, method: str, what: str, body: dict[str, Any]) -> None:
    base_url = node.account.base_url
    if not node.account.is_simulated or not is_allowed(base_url):
        raise RehearsalError(gettext("Only simulated hubs can rehearse trouble."))
    there = urlsplit(base_url)
    line = HTTPConnection(there.hostname or "", there.port or 80, timeout=WITHIN_S)
    try:
        path = f"{there.path.rstrip('/')}/control/hubs/{quote(node.node_id, safe='')}/{what}"
        headers = {"Content-Type": "application/json"}
        line.request(method, path, json.dumps(body), headers)
        answer = line.getresponse()
        answer.read(MOST_BYTES)
    except (OSError, HTTPException) as problem:
        raise RehearsalError(
            gettext("The simulated cloud does not answer. Nothing was changed.")
        ) from problem
    finally:
        line.close()
    if answer.status != 200:
        raise RehearsalError(gettext("The simulated cloud refused this. Nothing was changed."))
