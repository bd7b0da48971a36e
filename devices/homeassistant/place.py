"""One household at its broker: what was published there, and what waits to be published."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from django.utils.translation import override

from devices.homeassistant.broker import Broker
from devices.homeassistant.discovery import ONLINE, Home, Hub, messages, removal
from devices.homeassistant.mqtt_connection import MqttConnection, Received
from devices.homeassistant.snapshot import bridge_of, counts_of, hubs_of, revisions_of
from devices.models import HomeAssistantHub, HomeAssistantLink
from devices.models.household import language_of

# A broker keeps only so much for a slow Home Assistant: 1,000 hubs are spread over half a minute.
HUBS_AT_ONCE = 16
# How long at most to wait for a broker to send everything it kept.
STOCK_WITHIN_S, CLEARED_WITHIN_S = 5.0, 30.0


@dataclass(frozen=True, slots=True)
class WaitingPress:
    """A press that waits until the hub was read again."""

    event: Received
    number: int
    pressed_at: datetime
    until: float
    """On the monotonic clock; it is decided then at the latest."""


@dataclass
class Place:
    """One household's topics at its broker, as this bridge left them."""

    link: HomeAssistantLink
    home: Home
    broker: Broker
    connection: MqttConnection
    published: dict[str, str] = field(default_factory=dict)
    revisions: dict[int, int] = field(default_factory=dict)
    """The revisions at which each hub was published; -1 when it must be published again."""
    kept: dict[str, str] = field(default_factory=dict)
    """The announcements that the broker still had when it was asked last."""
    is_stale: bool = True
    test_sent_at: datetime | None = None
    presses: list[float] = field(default_factory=list)
    waiting: list[WaitingPress] = field(default_factory=list)
    stock_asked_at: float | None = None
    marker: str = ""
    has_removed: bool = False
    has_stock: bool = False
    language: str = ""

    def __post_init__(self) -> None:
        self.language = language_of(None, self.link.household)

    def knows_stock(self, within_s: float) -> bool:
        """Return whether the broker has sent everything it kept, or had long enough to."""
        if self.stock_asked_at is None:
            return False
        return self.has_stock or monotonic() - self.stock_asked_at > within_s

    def follow(self, link: HomeAssistantLink) -> None:
        """Take over what people changed in the link; publish all hubs again if that matters."""
        language = language_of(None, link.household)
        if (link.revision, language) != (self.link.revision, self.language):
            self.publish_again()
        self.link, self.language = link, language

    def publish_again(self, numbers: Iterable[int] | None = None) -> None:
        """Have these hubs, or all, read again; only what differs is sent."""
        self.revisions |= dict.fromkeys(self.revisions if numbers is None else numbers, -1)
        self.is_stale = True

    # What the broker keeps

    def connected(self) -> None:
        """Expect nothing at the broker until it says what it kept."""
        self.published = dict.fromkeys(self.published, "")
        self.publish_again()
        self.take_stock(subscribe=False)

    def disconnected(self) -> None:
        self.stock_asked_at, self.has_stock = None, False
        self.kept.clear()

    def take_stock(self, *, subscribe: bool = True) -> None:
        """Ask the broker what it kept, then send a marker: it comes back after all of that."""
        self.kept.clear()
        self.has_stock, self.stock_asked_at = False, monotonic()
        if subscribe:
            self.connection.subscribe_again(self.home.config_topics)
        self.send_marker()

    def send_marker(self) -> None:
        self.marker, self.has_removed = uuid.uuid4().hex, False
        self.connection.publish(self.home.test_topic, self.marker, retain=False)

    def marker_came_back(self) -> None:
        """The broker has sent all it kept: publish again what it lost."""
        if self.has_removed and not self.link.is_on:
            self.send_marker()
            return
        self.has_stock = True
        lost = [
            number
            for number in self.revisions
            if self.kept.get(topic := self.home.config_topic(number))
            != self.published.get(topic, "")
        ]
        for number in lost:
            for topic in removal(self.home, number):
                self.published.pop(topic, None)
        self.publish_again(lost)

    # What is published

    def publish(self, topic: str, payload: str) -> None:
        """Publish a retained message, unless the broker has exactly this already."""
        if self.published.get(topic) == payload:
            return
        if self.kept.pop(topic, None) == payload or self.connection.publish(topic, payload):
            self.published[topic] = payload

    def remove(self, announced_at: str, number: int | None) -> None:
        """Take one hub back, or the bridge without a number."""
        topics = [announced_at] if number is None else removal(self.home, number)
        for topic in topics:
            self.connection.publish(topic, "")
            self.published.pop(topic, None)
        if number is not None:
            self.revisions.pop(number, None)
        self.has_removed = True

    def publish_hubs(self) -> None:
        """Publish what changed since the last time, a few hubs at once; only those are read."""
        link = self.link
        present = revisions_of(link)
        for number in self.revisions.keys() - present.keys():
            self.remove(self.home.config_topic(number), number)
        changed = [pk for pk, revision in present.items() if self.revisions.get(pk) != revision]
        # news first, then what is only published again
        changed.sort(key=lambda pk: (self.revisions.get(pk, -1) < 0, pk))
        self.publish(self.home.bridge_topic, bridge_of(link, self.home))
        self.publish(self.home.counts_topic, counts_of(link))
        with override(self.language):
            for hub in hubs_of(link, changed[:HUBS_AT_ONCE]):
                self._publish_hub(hub)
                self.revisions[hub.data.id] = present[hub.data.id]
        self.is_stale = len(changed) > HUBS_AT_ONCE
        if not self.is_stale:
            self.publish(self.home.status_topic, ONLINE)
        shown = len(self.revisions)
        if (link.announced_hubs, link.is_announced) != (shown, True):
            link.note(announced_hubs=shown, is_announced=True)

    def _publish_hub(self, hub: Hub) -> None:
        for topic, payload in messages(self.home, hub).items():
            self.publish(topic, payload)
        topic = self.home.hub_topic(hub.data.id, "event")
        for payload in hub.events:
            self.connection.publish(topic, payload, retain=False)
        if hub.events_sent:
            HomeAssistantHub.objects.update_or_create(
                node_id=hub.data.id, defaults=dict(hub.events_sent)
            )

    def send_test(self) -> None:
        """Send the test message that a person asked for, once."""
        asked_at = self.link.test_asked_at
        if self.link.is_testing and asked_at is not None and self.test_sent_at != asked_at:
            self.test_sent_at = asked_at
            self.connection.publish(self.home.test_topic, asked_at.isoformat(), retain=False)
