"""A household whose owner wants to be notified of everything."""

from datetime import UTC, datetime
from typing import Any

from devices.models import TOPICS, Channel, Topic
from devices.models.message import Message, MessageCode
from devices.notifications.channels import set_provider_url
from devices.notifications.outbox import notify
from tests.support.factories import make_account, make_household, make_node, make_owner
from tests.support.hostile_server import HostileServer

ALL = [topic.value for topic in TOPICS]
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Home:
    """A household with a hub, its owner and a mail channel of theirs."""

    def __init__(self, **channel: Any) -> None:
        self.household = make_household("Garden house", time_zone="Europe/Berlin")
        self.account = make_account(self.household)
        self.node = make_node(self.account, name="Back porch", fw_version="5.3.2")
        self.owner = make_owner(self.household)
        values = {"topics": ALL} | channel
        self.channel = Channel.objects.create(household=self.household, user=self.owner, **values)

    def service(self, url: str, **fields: Any) -> Channel:
        channel = Channel(household=self.household, name="Chat", topics=ALL, **fields)
        set_provider_url(channel, url)
        channel.save()
        return channel

    def say(self, topic: Topic = Topic.NEEDS_YOU, now: datetime = NOW, **facts: Any) -> None:
        message = Message.of(MessageCode.AS_IT_STANDS, text=facts.pop("words", "Look here."))
        notify(
            topic, household=self.household, path="/queues/7/", now=now, message=message, **facts
        )


def service_url(hook: HostileServer) -> str:
    return hook.url.replace("http://", "json://") + "/notify"
