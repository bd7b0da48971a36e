"""Announce plans before they may start, so that people can put them off or stop them in time.

A notice that waits in the outbox is judged again when it is sent: it names only what may still
start, and is not sent when that is nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.urls import reverse

from devices.models import BatchState, Household, Notice, Plan, Topic, When
from devices.models.message import NO_MESSAGE, Message, MessageCode
from devices.notifications import outbox
from devices.notifications.outbox import notify
from devices.planning.waits import Around, end_of, why_not_now

# Plans for a time; when the others start depends on what their hubs do.
ANNOUNCED = (When.TONIGHT, When.AT, When.POLICY)
# What a notice says of the times of its plans.
TIMES = ("start", "end")


def announce(
    plans: Sequence[Plan],
    *,
    household: Household,
    now: datetime,
    not_after: datetime,
    until: datetime | None = None,
    by_mail: bool = True,
) -> int:
    """Put one notice about these plans, at least one, into the outbox of every channel that wants
    it; return how many those are. Call it in the transaction that makes or marks the plans.

    not_after: no daily summary and no quiet hours hold it for longer. until: from then on it is of
    no use; None: as long as a plan waits.
    """
    topic = Topic.NEEDS_YOU if plans[0].is_by_policy else Topic.PLANNED
    return notify(
        topic,
        household=household,
        path=reverse("planned"),
        now=now,
        accounts=[plan.node.account for plan in plans],
        by_mail=by_mail,
        not_after=not_after,
        message=_message(plans),
        **_facts(plans) | ({"until": until.isoformat()} if until is not None else {}),
    )


def is_moot(notice: Notice, now: datetime) -> bool:
    """Is the notice about nothing that may still come? What may not is taken out of it (not saved).

    About fifteen queries for an announcement, however many plans; see `outbox.is_moot`.
    """
    if "plans" not in notice.facts:
        return outbox.is_moot(notice)
    left = _left(notice, now)
    if left:
        kept = {name: value for name, value in notice.facts.items() if name not in TIMES}
        notice.facts = kept | _facts(left)
        if message := _message(left):
            notice.facts["message"] = message.as_json()
    return not left


def _left(notice: Notice, now: datetime) -> list[Plan]:
    """Return the plans of a notice that may still start, in its time. One that was changed and
    announced again since is left to that notice.
    """
    named = Plan.objects.filter(pk__in=notice.facts["plans"], household__stored_at=None)
    waiting = named.waiting().filter(when__in=ANNOUNCED).exclude(announced_at__gt=notice.at)
    if until := notice.facts.get("until"):
        ends = datetime.fromisoformat(until)
        if ends <= now:
            return []
        waiting = waiting.filter(not_before__lt=ends)
    plans = list(waiting.loaded().order_by("not_before", "position", "pk"))
    around = Around.of(plans)
    return [
        plan
        for plan in plans
        if (plan.batch is None or plan.batch.state == BatchState.RUNNING)
        # one whose offer changed, or is not wanted any more, ends as soon as it is looked at
        and end_of(plan, why_not_now(plan, now, around)) is None
    ]


def _facts(plans: Sequence[Plan]) -> dict[str, Any]:
    """Return what a notice keeps of these plans."""
    first, facts = plans[0], {"plans": [plan.pk for plan in plans]}
    if first.is_by_policy:
        return facts | {"versions": list(_by_version(plans))}
    return facts | {"hub": first.hub_name, "to_version": first.to_version} | _times(first)


def _times(plan: Plan) -> dict[str, str]:
    """Return between which times it may start, or at which, by the household's clock."""
    if plan.window_start is not None and plan.window_end is not None:
        return {"start": f"{plan.window_start:%H:%M}", "end": f"{plan.window_end:%H:%M}"}
    return {"start": f"{plan.not_before.astimezone(plan.household.zone):%H:%M}"}


def _message(plans: Sequence[Plan]) -> Message:
    """Return what an update policy announces; what people planned has a sentence of its own."""
    if not plans[0].is_by_policy:
        return NO_MESSAGE
    at = f"{plans[0].not_before.astimezone(plans[0].household.zone):%Y-%m-%d %H:%M}"
    return Message.join(
        Message.of(MessageCode.POLICY_ANNOUNCED, version=version, hub=mine[0].hub_name, at=at)
        if len(mine) == 1
        else Message.of(MessageCode.POLICY_ANNOUNCED_MANY, version=version, n=len(mine), at=at)
        for version, mine in _by_version(plans).items()
    )


def _by_version(plans: Sequence[Plan]) -> dict[str, list[Plan]]:
    found: dict[str, list[Plan]] = defaultdict(list)
    for plan in plans:
        found[plan.to_version].append(plan)
    return found
