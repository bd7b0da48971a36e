"""From the tables to what Home Assistant is sent."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Min, Sum
from django.utils import timezone
from django.utils.translation import override

from devices.fleet.attention import attention_of, count, hubs_in
from devices.homeassistant.commands import is_allowed_still, payload_for
from devices.homeassistant.discovery import (
    COUNTS,
    PRESS_REFUSED,
    REQUESTED,
    Home,
    Hub,
    as_json,
    bridge_announcement,
)
from devices.installs.eligibility import against_plan, busy_hubs, why_unfit
from devices.models import HomeAssistantHub, HomeAssistantLink, Node, Plan, State, When
from devices.models.household import language_of
from devices.models.node import NodeQuerySet
from devices.models.text import one_line
from devices.planning.next_start import next_start
from devices.presentation.serializers import HubData, PlanData, values_of

# With the mark of a simulated hub it still fits into a device's name.
LONGEST_NAME = 100
# The first event of a hub is not sent when it is older: Home Assistant was connected later.
EVENT_IS_NEWS_FOR = timedelta(hours=1)


def home_of(link: HomeAssistantLink) -> Home:
    return Home(link.key, link.topic_prefix, link.discovery_prefix)


def nodes_of(link: HomeAssistantLink) -> NodeQuerySet:
    """Return the hubs that Home Assistant is shown: those present in this household."""
    return Node.objects.present_once(is_oldest=True).filter(account__household_id=link.household_id)


def bridge_of(link: HomeAssistantLink, home: Home) -> str:
    """Return the payload that announces the bridge."""
    with override(language_of(None, link.household)):
        return as_json(bridge_announcement(home, link.household.name))


def counts_of(link: HomeAssistantLink) -> str:
    """Return how many hubs there are of each kind, as the lists count them. One query."""
    counts = count(hubs_in(link.household))
    return as_json({name: counts.shown_by(name) for name in COUNTS})


def revisions_of(link: HomeAssistantLink) -> dict[int, int]:
    """Return the hubs to show, each with a number that grows with every change of any of its rows:
    a hub in two accounts is shown by its oldest one. One query.
    """
    rows = Node.objects.present().filter(account__household_id=link.household_id)
    hubs = rows.values("node_id", "account__base_url").annotate(oldest=Min("pk"), r=Sum("revision"))
    return dict(hubs.values_list("oldest", "r"))


def hubs_of(link: HomeAssistantLink, numbers: Iterable[int]) -> Iterator[Hub]:
    """Yield these hubs of the household. Nine queries."""
    wanted, now = list(numbers), timezone.now()
    if not wanted:
        return
    may_press = is_allowed_still(link)
    allowed = link.allowed_ids()
    own = {hub.node_id: hub for hub in HomeAssistantHub.objects.filter(node__in=wanted)}
    nodes = list(nodes_of(link).for_list().filter(pk__in=wanted))
    busy, needs, plans = busy_hubs(nodes), attention_of(nodes), _plans(link, nodes)
    for node in nodes:
        node.attention = needs[node.pk]  # as the lists count it, in any of its accounts
        one = own.get(node.pk) or HomeAssistantHub(node=node)
        unfit = why_unfit(node, node.new_offer, busy)
        is_fit = not (node.is_in_use or unfit) if one.when == When.NOW else not against_plan(unfit)
        with override(language_of(None, link.household)):
            hub = _hub(node, one, link.lets_install_on(node, allowed), may_press and is_fit)
            if (plan := plans.get((node.node_id, node.account.base_url))) is not None:
                hub = replace(hub, **_plan(plan, now))
            events, sent = _events(hub, one, now)
        yield replace(hub, events=events, events_sent=sent)


def _hub(node: Node, own: HomeAssistantHub, is_allowed: bool, is_fit: bool) -> Hub:
    data = HubData.of(node)
    # an install that was verified after a refusal answers it
    job, refused_at = node.latest_job, own.refused_at
    is_answered = (
        refused_at is not None
        and job is not None
        and job.state == State.VERIFIED
        and job.ended_at is not None
        and job.ended_at > refused_at
    )
    hub = Hub(
        data=data,
        # cut before it is marked, so that the mark is never lost
        marked_name=node.account.marked(one_line(str(node), LONGEST_NAME)),
        press=payload_for(node, node.new_offer, own.presses) if is_allowed else None,
        can_install=is_allowed and is_fit,
        when=When(own.when),
    )
    if is_answered or not own.refusal_code:
        return hub
    return replace(
        hub, refusal_code=own.refusal_code, refusal=str(own.refusal), refused_at=refused_at
    )


def _plans(link: HomeAssistantLink, nodes: Iterable[Node]) -> dict[tuple[str, str], Plan]:
    """Return the plans of these hubs, by whichever account they were made. One query."""
    ids = [node.node_id for node in nodes]
    waiting = Plan.objects.waiting().filter(household=link.household_id, node__node_id__in=ids)
    rows = waiting.select_related("household", "node__account")
    return {(plan.node.node_id, plan.node.account.base_url): plan for plan in rows}


def _plan(plan: Plan, now: datetime) -> dict[str, Any]:
    """Return what a hub shows of its plan."""
    start = next_start(plan, now)
    is_timed = start is not None and not start.is_any_time
    return {
        "plan": replace(PlanData.of(plan), reason=str(plan.reason) or None),
        "plan_starts_at": start.begins_at if start is not None and is_timed else None,
    }


def _events(
    hub: Hub, own: HomeAssistantHub, now: datetime
) -> tuple[tuple[str, ...], dict[str, object]]:
    """Return what happened since the last event that was sent, and what to keep of it."""
    events: list[dict[str, object]] = []
    sent: dict[str, object] = {}
    install = hub.data.install
    if install is not None:
        kind = install.state.value if install.is_over else REQUESTED
        at = install.ended_at if install.is_over else install.requested_at
        key = f"{install.id}:{kind}"
        is_first = not own.job_event
        if key != own.job_event and at and not (is_first and now - at > EVENT_IS_NEWS_FOR):
            events.append({"event_type": kind, "at": at} | values_of(install))
            sent["job_event"] = key
    at = hub.refused_at
    if at is not None and at != own.refusal_event_at:
        if now - at <= EVENT_IS_NEWS_FOR:
            about = {"code": hub.refusal_code, "sentence": hub.refusal}
            events.append({"event_type": PRESS_REFUSED, "at": at} | about)
        sent["refusal_event_at"] = at
    return tuple(as_json(event) for event in events), sent
