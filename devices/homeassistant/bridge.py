"""The bridge: what the tables say goes to each household's broker, and presses come back.

One bridge works at a time (a lease, as for the loops). The broker keeps what was published, so a
bridge that starts or a broker that comes back is told everything anew and nothing else is needed.
Only this thread touches the tables; the lines have threads of their own.
"""

import logging
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from time import monotonic, sleep

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import Count, Sum
from django.utils import timezone

from devices.broker import Broker, BrokerUnusable
from devices.homeassistant.discovery import ONLINE, Home, messages, removal
from devices.homeassistant.line import Connected, Event, Heard, Line, Lost, leave
from devices.homeassistant.mirror import home_of, hubs_of, nodes_of
from devices.homeassistant.press import press
from devices.homelink import broker_of
from devices.models import (
    Actor,
    Beat,
    HomeAssistantLink,
    Household,
    LineState,
    Node,
    audit,
)
from devices.models.account import Unsealable
from devices.models.beat import BRIDGE

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)
BEAT_EVERY_S = 3.0
LOOK_EVERY_S = 0.5
# Home Assistant's own, whatever its discovery prefix (integrations/mqtt, "Birth and last will").
BIRTH_TOPIC, BIRTH = "homeassistant/status", b"online"
# More presses than this in a minute are not people's; the rest are not even looked at.
PRESSES_A_MINUTE = 30
# How long at most a broker has to say what it still holds of a household that was switched off.
LEFT_OVERS_WITHIN_S = 30.0


@dataclass
class Place:
    """One household as it stands at its broker."""

    link: HomeAssistantLink
    home: Home
    broker: Broker
    line: Line
    published: dict[str, str] = field(default_factory=dict)
    revisions: dict[int, int] = field(default_factory=dict)
    is_stale: bool = True
    test_sent_at: datetime | None = None
    presses: list[float] = field(default_factory=list)
    connected_at: float | None = None
    # Of a place that is only tidied: what was said to learn whether all left-overs have come.
    marker: str = ""
    has_removed: bool = False
    is_tidy: bool = False

    @property
    def knows_left_overs(self) -> bool:
        """Did the broker say all that it kept, or had it long enough to?

        A line is connected a moment before this place is told so.
        """
        if self.connected_at is None:
            return False
        return self.is_tidy or monotonic() - self.connected_at > LEFT_OVERS_WITHIN_S

    def read_anew(self) -> None:
        """Have every hub read again; which are shown stays known, for one may have left since."""
        self.revisions = dict.fromkeys(self.revisions, -1)


class Bridge:
    """Runs until stop(). Whatever ends it, the broker's last will tells Home Assistant."""

    def __init__(self) -> None:
        self.holder = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.places: dict[int, Place] = {}
        self.is_stopping = self.is_mine = False
        self.beat_due = self.look_due = 0.0
        self.seen = ""

    def stop(self) -> None:
        self.is_stopping = True

    def run(self) -> None:
        """Work while holding the lease; wait for it while another bridge has it."""
        try:
            while not self.is_stopping:
                self.turn()
        finally:
            self.close()

    def turn(self) -> None:
        """Do what is due, then listen until something is due again: half a second at most."""
        try:
            if monotonic() >= self.beat_due:
                self.beat_due = monotonic() + (BEAT_EVERY_S if self.is_mine else 1.0)
                self._hold()
            if self.is_mine and monotonic() >= self.look_due:
                self.look_due = monotonic() + LOOK_EVERY_S
                self._look()
            self._answer(until=min(self.beat_due, self.look_due if self.is_mine else self.beat_due))
        except DatabaseError:
            log.exception("homeassistant: the database did not answer; trying again")
            close_old_connections()
            self.beat_due = self.look_due = monotonic() + 1.0
            sleep(1.0)

    def close(self) -> None:
        """Say offline everywhere and give the lease back."""
        self._leave_all()
        if self.is_mine:
            self.is_mine = False
            with suppress(DatabaseError):
                Beat.give_back(BRIDGE, self.holder)

    def _hold(self) -> None:
        now, was_mine = timezone.now(), self.is_mine
        hold = Beat.renew if was_mine else Beat.take
        self.is_mine = hold(BRIDGE, self.holder, now, LEASE)
        if was_mine and not self.is_mine:
            log.warning("homeassistant: another bridge took over")
            self._leave_all()
        elif self.is_mine and not was_mine:
            self.seen, self.look_due = "", 0.0

    # The tables

    def _look(self) -> None:
        """Bring every broker to what the tables say; two small queries when nothing changed."""
        of_links = HomeAssistantLink.objects.aggregate(n=Count("pk"), r=Sum("revision"))
        fingerprint = f"{Node.objects.fingerprint()} {of_links['n']}-{of_links['r'] or 0}"
        fingerprint += f" {Household.objects.count()}"
        if fingerprint != self.seen:
            self._follow_links()
            self.seen = fingerprint
            for place in self.places.values():
                place.is_stale = True
        for place in list(self.places.values()):
            if not place.line.is_connected:
                continue
            if place.link.is_on and place.is_stale:
                self._tell(place)
            elif not place.link.is_on and place.knows_left_overs:
                self._leave(place, clear=True)

    def _follow_links(self) -> None:
        _join_sole_household()
        links = {
            link.pk: link
            for link in HomeAssistantLink.objects.select_related("household", "allowed_by")
        }
        for pk in list(self.places):
            place, link = self.places[pk], links.get(pk)
            if link and link.is_announced and not (link.is_on or place.published):
                place.link = link  # only the broker can say what an earlier bridge left there
                continue
            if link is None or not link.is_on or self._wanted(link) != (place.home, place.broker):
                self._leave(place, clear=True)
                continue
            if link.revision != place.link.revision:
                place.read_anew()  # what may be pressed may be another now
            place.link = link
        for link in links.values():
            if link.pk not in self.places and (link.is_on or link.is_announced):
                self._join(link)
            elif not link.is_on:
                link.stands(LineState.OFF)

    def _wanted(self, link: HomeAssistantLink) -> tuple[Home, Broker | None]:
        """Return where this household is to be; no broker with what is wrong in the link."""
        try:
            return home_of(link), broker_of(link)
        except Unsealable:
            link.stands(LineState.LOST, "unsealable")
        except BrokerUnusable:
            link.stands(LineState.LOST, "unusable")
        return home_of(link), None

    def _join(self, link: HomeAssistantLink) -> None:
        home, broker = self._wanted(link)
        if broker is None:
            if not link.trouble:
                link.stands(LineState.LOST, "no_broker")
            return
        filters = [home.install_topics, home.config_topics, home.test_topic]
        filters += sorted({BIRTH_TOPIC, f"{home.discovery_prefix}/status"})
        line = Line(broker, home.status_topic, filters, self.events)
        self.places[link.pk] = Place(link, home, broker, line)
        link.stands(LineState.WAITING)
        line.start()

    def _leave(self, place: Place, *, clear: bool = False) -> None:
        """End the line; with clear, take back everything that was published."""
        if clear and place.line.is_connected:
            for topic in place.published:
                place.line.publish(topic, "")
        leave([place.line])
        del self.places[place.link.pk]
        if clear:
            place.link.heard(is_announced=False, announced_hubs=0)

    def _leave_all(self) -> None:
        leave([place.line for place in self.places.values()])
        self.places.clear()

    def _tell(self, place: Place) -> None:
        """Publish what changed since it was published last; only changed hubs are read."""
        link = place.link
        now_known = dict(nodes_of(link).values_list("pk", "revision"))
        for number in place.revisions.keys() - now_known.keys():
            self._remove(place, number)
        changed = [pk for pk, revision in now_known.items() if place.revisions.get(pk) != revision]
        for hub, revision in hubs_of(link, changed):
            for topic, payload in messages(place.home, hub).items():
                self._publish(place, topic, payload)
            place.revisions[hub.number] = revision
        self._publish(place, place.home.status_topic, ONLINE)
        self._test(place)
        place.is_stale = False
        if (link.announced_hubs, link.is_announced) != (len(now_known), True):
            link.heard(announced_hubs=len(now_known), is_announced=True)

    def _publish(self, place: Place, topic: str, payload: str) -> None:
        if place.published.get(topic) != payload and place.line.publish(topic, payload):
            place.published[topic] = payload

    def _remove(self, place: Place, number: int) -> None:
        for topic in removal(place.home, number):
            place.line.publish(topic, "")
            place.published.pop(topic, None)
        place.revisions.pop(number, None)
        place.has_removed = True

    def _test(self, place: Place) -> None:
        asked_at = place.link.test_asked_at
        if place.link.is_testing and place.test_sent_at != asked_at and asked_at is not None:
            place.test_sent_at = asked_at
            place.line.publish(place.home.test_topic, asked_at.isoformat(), retain=False)

    # The lines

    def _answer(self, *, until: float) -> None:
        """Do what the lines heard, until the next look is due."""
        while True:
            try:
                event = self.events.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                return
            place = next((one for one in self.places.values() if one.line is event.line), None)
            if place is not None:
                self._take(place, event)
            if monotonic() >= until:
                return

    def _take(self, place: Place, event: Event) -> None:
        if isinstance(event, Connected):
            log.info("homeassistant: connected to %s", place.broker)
            place.link.stands(LineState.CONNECTED)
            place.connected_at = monotonic()
            self._begin_anew(place)
            if not place.link.is_on:
                self._mark(place)
        elif isinstance(event, Lost):
            log.warning("homeassistant: no connection to %s (%s)", place.broker, event.trouble)
            place.link.stands(LineState.LOST, event.trouble)
            place.connected_at, place.is_tidy = None, False
        else:
            self._hear(place, event)

    def _begin_anew(self, place: Place) -> None:
        place.published = dict.fromkeys(place.published, "")  # all of it is to be said again
        place.read_anew()
        place.is_stale = True

    def _hear(self, place: Place, event: Heard) -> None:
        number = place.home.number_in(event.topic)
        if event.topic.endswith("/config"):
            self._clear_left_over(place, event, number)
        elif event.topic == place.home.test_topic:
            self._test_came_back(place, event)
        elif event.topic.endswith("/status"):
            if event.payload == BIRTH and not event.is_retained:
                log.info("homeassistant: Home Assistant at %s started", place.broker)
                self._begin_anew(place)
        elif number is not None and event.payload:
            self._press(place, event, number)

    def _clear_left_over(self, place: Place, event: Heard, number: int | None) -> None:
        """Remove what was announced by an earlier bridge and is no longer there."""
        if not event.is_retained or number is None or not event.payload:
            return
        if not nodes_of(place.link).filter(pk=number).exists() or not place.link.is_on:
            self._remove(place, number)

    def _mark(self, place: Place) -> None:
        """Say something that comes back after all that the broker kept, and after what was removed
        so far: a broker has no word of its own for that.
        """
        place.marker, place.has_removed = uuid.uuid4().hex, False
        place.line.publish(place.home.test_topic, place.marker, retain=False)

    def _marker_came_back(self, place: Place) -> None:
        if place.has_removed:
            self._mark(place)
        else:
            place.is_tidy, self.look_due = True, 0.0

    def _test_came_back(self, place: Place, event: Heard) -> None:
        if place.marker and event.payload == place.marker.encode():
            self._marker_came_back(place)
            return
        sent_at = place.test_sent_at
        if sent_at is not None and event.payload == sent_at.isoformat().encode():
            place.link.heard(test_answered_at=timezone.now())

    def _press(self, place: Place, event: Heard, number: int) -> None:
        if event.is_retained:
            place.line.publish(event.topic, "")  # or it would come again at every connect
        now_s = monotonic()
        place.presses = [at for at in place.presses if now_s - at < 60]
        if len(place.presses) >= PRESSES_A_MINUTE:
            log.warning("homeassistant: too many presses at %s; not looked at", place.broker)
            return
        place.presses.append(now_s)
        node = nodes_of(place.link).for_list().filter(pk=number).first()
        # what an owner allowed a moment ago counts, not what was read with the last look
        links = HomeAssistantLink.objects.select_related("household", "allowed_by")
        link = links.filter(pk=place.link.pk, is_on=True).first()
        if node is None or link is None:
            log.warning("homeassistant: a press for a hub that is not here was ignored")
            return
        payload = event.payload.decode(errors="replace")
        press(link, node, payload, is_retained=event.is_retained, now=timezone.now())
        self._look()


def _join_sole_household() -> None:
    """With a broker of the server's, the only household's hubs appear by themselves; several
    households each decide, for all who may read that broker could see them.
    """
    if not settings.MQTT_URL or Household.objects.count() != 1:
        return
    household = Household.objects.get()
    _, is_new = HomeAssistantLink.objects.get_or_create(
        household=household, defaults={"is_on": True}
    )
    if is_new:
        audit.record(
            Actor.worker(),
            "household.home_assistant_on",
            f"The hubs of {household} are shown to Home Assistant.",
            household=household,
            why="the server's only household, and MQTT_URL is set",
        )
