"""Put notifications into the outbox, in the transaction of what they are about."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse

from devices.models.account import CloudAccount, common_mark
from devices.models.household import Household, User
from devices.models.install import OtaJob
from devices.models.message import NO_MESSAGE, Message
from devices.models.node import Offer
from devices.models.notification import Channel, Delivery, Notice, Topic
from devices.models.proposal import Proposal
from devices.models.season import is_put_away, put_away

# A version that a household was notified of is not announced again for so long.
SAME_VERSION = timedelta(days=30)
# Further hubs with that version are collected for so long, then sent as one message.
COLLECT = timedelta(days=1)


def notify(
    topic: Topic,
    *,
    household: Household,
    path: str,
    now: datetime,
    job: OtaJob | None = None,
    accounts: Iterable[CloudAccount] = (),
    only: Channel | None = None,
    by_mail: bool = True,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    message: Message = NO_MESSAGE,
    proposals: Collection[Proposal] = (),
    letters_to: Collection[User] = (),
    **facts: Any,
) -> int:
    """Put a notice into the outbox of every channel that wants it; return how many those are.
    Where the job or all accounts it is about are simulated the notice is marked.
    not_before: it is sent then at the earliest. not_after: no daily summary and no quiet hours
    hold it for longer. proposals: it is about these. letters_to: each of these people gets a
    letter, a mail of their own with a link of their own, whatever channels they have.

    One query when no one wants it, up to five otherwise. Call it in the transaction of the event.
    """
    wanting = [only] if only else _wanting(topic, household, by_mail=by_mail)
    if not wanting and not letters_to:
        return 0
    if message:
        facts["message"] = message.as_json()
    facts |= common_mark([job.node.account] if job is not None else accounts)
    notice = Notice.objects.create(
        household=household, job=job, topic=topic, facts=facts, path=path, at=now
    )
    if proposals:
        Proposal.objects.filter(pk__in=[one.pk for one in proposals]).update(notice=notice)
    at = max(now, not_before or now)
    due = {one: at if only else one.due_at(at, household.zone, not_after) for one in wanting}
    _deliver(notice, due)
    Delivery.objects.bulk_create(
        Delivery(recipient=one, notice=notice, due_at=now) for one in letters_to
    )
    return len(wanting)


def notify_offer(offer: Offer, now: datetime) -> None:
    """Put a notice about newly offered firmware into the outbox: one a version and household.

    The first hub is announced at once. Hubs that are offered the same version later are added to
    a message that still waits, or collected for a day in one more message. A hub that was announced
    with this version, under this account or another, is not announced again. Five queries, and
    two for each notice that is written. Call it in the transaction of the event.
    """
    node = offer.node
    household = node.account.household
    if is_put_away(node):
        return
    wanting = _wanting(Topic.NEW_FIRMWARE, household)
    if not wanting:
        return
    rows = {node.pk, *node.twins().values_list("pk", flat=True)}
    sent = Delivery.objects.filter(
        notice__household=household,
        notice__topic=Topic.NEW_FIRMWARE,
        notice__facts__to_version=offer.fw_version,
        notice__at__gt=now - SAME_VERSION,
    )
    earlier: dict[int, list[Delivery]] = defaultdict(list)
    partly_sent = set()
    for delivery in sent.select_related("notice").order_by("notice__at", "pk"):
        if delivery.channel_id is not None:  # no letters are about offers
            earlier[delivery.channel_id].append(delivery)
        if not delivery.is_waiting:
            partly_sent.add(delivery.notice_id)
    grown: dict[int, Notice] = {}
    begun: dict[tuple[datetime, bool], list[Channel]] = defaultdict(list)
    for channel in wanting:
        mine = earlier[channel.pk]
        if any(rows & set(one.notice.facts.get("nodes", [])) for one in mine):
            continue
        last = mine[-1] if mine else None
        if last is None:
            begun[now, False].append(channel)
        elif not last.is_waiting:
            begun[now + COLLECT, True].append(channel)
        elif last.notice_id in partly_sent:
            begun[now, True].append(channel)
        else:
            grown[last.notice_id] = last.notice
    for notice in grown.values():
        notice.facts["nodes"] = [*notice.facts.get("nodes", []), node.pk]
        notice.path = f"{reverse('hubs')}?show=new"
        notice.save(update_fields=["facts", "path"])
    facts: dict[str, Any] = {
        "hub": str(node),
        "nodes": [node.pk],
        "from_version": node.fw_version,
        "to_version": offer.fw_version,
    }
    facts |= node.account.mark
    if offer.is_step_back:
        facts["older"] = True
    for (at, is_more), channels in begun.items():
        notice = Notice.objects.create(
            household=household,
            topic=Topic.NEW_FIRMWARE,
            facts=facts | ({"more": True} if is_more else {}),
            path=reverse("hub", args=[node.pk]),
            at=now,
        )
        _deliver(notice, {one: one.due_at(at, household.zone) for one in channels})


def is_moot(notice: Notice) -> bool:
    """Is the notice about firmware that no hub is offered any more, that was dismissed, or that is
    for hubs in their winter store?

    Hubs for which that is so are taken out of the notice (not saved). One query for such a notice.
    """
    named = notice.facts.get("nodes", [])
    if notice.topic != Topic.NEW_FIRMWARE or not named:
        return False
    offers = Offer.objects.filter(
        node__in=named, ended_at=None, dismissal=None, fw_version=notice.facts.get("to_version", "")
    ).exclude(put_away("node__"))
    offers = offers.select_related("node")
    left = {offer.node_id: offer.node for offer in offers}
    kept = [pk for pk in named if pk in left]
    if kept and kept[0] != named[0]:
        first = left[kept[0]]
        notice.facts |= {"hub": str(first), "from_version": first.fw_version}
    notice.facts["nodes"] = kept
    return not kept


def is_wanted(topic: Topic, household: Household, *, by_mail: bool = True) -> bool:
    """Would `notify` put a notice of this topic into any outbox? One query."""
    return bool(_wanting(topic, household, by_mail=by_mail))


def _wanting(topic: Topic, household: Household, *, by_mail: bool = True) -> list[Channel]:
    channels = Channel.objects.filter(household=household, is_on=True)
    return [one for one in channels if topic.value in one.topics and (by_mail or not one.is_mail)]


def _deliver(notice: Notice, due: dict[Channel, datetime]) -> None:
    Delivery.objects.bulk_create(
        Delivery(channel=channel, notice=notice, due_at=at) for channel, at in due.items()
    )
