"""The bridge: publishes what the tables say to each household's broker, and takes presses back.

One bridge works at a time (a lease, as for the loops). The broker keeps what was published. A
bridge that starts, or a broker that comes back, is sent the states again and the announcements it
lost. Only this thread touches the tables; each connection has a thread of its own.
"""

import logging
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from time import monotonic, sleep

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from devices.audit import log as audit_log
from devices.fleet.sync import ask_reading
from devices.homeassistant.broker import Broker, BrokerUnusable
from devices.homeassistant.commands import check, choose_when, press, should_ask_first
from devices.homeassistant.discovery import BIRTH, BIRTH_TOPIC, CHECK, WHEN, Home
from devices.homeassistant.mqtt_connection import (
    Connected,
    Event,
    Lost,
    MqttConnection,
    Received,
    leave,
)
from devices.homeassistant.place import CLEARED_WITHIN_S, STOCK_WITHIN_S, Place, WaitingPress
from devices.homeassistant.settings import broker_of
from devices.homeassistant.snapshot import home_of, nodes_of
from devices.models import (
    Actor,
    AuditAction,
    HomeAssistantHub,
    HomeAssistantLink,
    Household,
    LineState,
    Node,
)
from devices.models.lease import BRIDGE
from devices.security.encryption import DecryptionError
from devices.taskqueue.connections import drop_broken_connections
from devices.taskqueue.leases import Lease

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)
BEAT_EVERY_S = 3.0
LOOK_EVERY_S = 0.5
REFUSALS_EVERY_S = 60.0
# A press waits this long at most for a fresh reading of the hub.
READING_WITHIN_S = 20.0
# More presses than this in a minute do not come from people; the rest are ignored.
PRESSES_A_MINUTE = 30


class Bridge:
    """Runs until stop(). However it ends, the broker's last will tells Home Assistant."""

    def __init__(self) -> None:
        self.lease = Lease(BRIDGE, LEASE)
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.places: dict[int, Place] = {}
        self.is_stopping = self.is_mine = False
        self.beat_due = self.look_due = self.refusals_due = 0.0
        self.seen: object = None

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
        """Do what is due, then handle events until the next thing is: half a second at most."""
        try:
            if monotonic() >= self.beat_due:
                self.beat_due = monotonic() + (BEAT_EVERY_S if self.is_mine else 1.0)
                self._renew()
            if self.is_mine and monotonic() >= self.look_due:
                self.look_due = monotonic() + LOOK_EVERY_S
                self._look()
            until = min(self.beat_due, self.look_due if self.is_mine else self.beat_due)
            self._handle_events(until)
        except DatabaseError:
            log.exception("homeassistant: the database did not answer; trying again")
            drop_broken_connections()
            self.beat_due = self.look_due = monotonic() + 1.0
            sleep(1.0)

    def close(self) -> None:
        """Decide what waits, publish offline everywhere and release the lease."""
        if self.is_mine:
            for place in self.places.values():
                self._decide_waiting(place, at_once=True)
        self._leave_all()
        if self.is_mine:
            self.is_mine = False
            self.lease.release()

    def _renew(self) -> None:
        was_mine = self.is_mine
        self.is_mine = self.lease.renew() if was_mine else self.lease.acquire()
        if was_mine and not self.is_mine:
            log.warning("homeassistant: another bridge took over")
            self._leave_all()
        elif self.is_mine and not was_mine:
            self.seen, self.look_due = None, 0.0

    # The tables

    def _look(self) -> None:
        """Bring every broker up to date with the tables; three queries when nothing changed."""
        links = HomeAssistantLink.objects.values_list("pk", "revision", "household__language")
        seen = (Node.objects.present().fingerprint(), list(links), Household.objects.count())
        if seen != self.seen:
            self._follow_links()
            self.seen = seen
            for place in self.places.values():
                place.is_stale = True
        if monotonic() >= self.refusals_due:
            self.refusals_due = monotonic() + REFUSALS_EVERY_S
            HomeAssistantHub.drop_old_refusals(timezone.now())
        for place in list(self.places.values()):
            if not place.connection.is_connected:
                continue
            if place.link.is_on and place.knows_stock(STOCK_WITHIN_S):
                if place.is_stale:
                    place.publish_hubs()
                place.send_test()
                self._decide_waiting(place)
            elif not place.link.is_on and place.knows_stock(CLEARED_WITHIN_S):
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
                place.link = link  # only the broker knows what an earlier bridge left there
            elif (
                link is None or not link.is_on or self._place_of(link) != (place.home, place.broker)
            ):
                self._leave(place, clear=True)
            else:
                place.follow(link)
        for link in links.values():
            if link.pk not in self.places and (link.is_on or link.is_announced):
                self._join(link)
            elif not link.is_on:
                link.set_state(LineState.OFF)

    def _place_of(self, link: HomeAssistantLink) -> tuple[Home, Broker | None]:
        """Return topics and broker for this household; without a broker the link says why."""
        try:
            return home_of(link), broker_of(link)
        except DecryptionError:
            link.set_state(LineState.LOST, "unsealable")
        except BrokerUnusable:
            link.set_state(LineState.LOST, "unusable")
        return home_of(link), None

    def _join(self, link: HomeAssistantLink) -> None:
        home, broker = self._place_of(link)
        if broker is None:
            if not link.trouble:
                link.set_state(LineState.LOST, "no_broker")
            return
        filters = [*home.command_topics, home.config_topics, home.test_topic]
        filters += sorted({BIRTH_TOPIC, f"{home.discovery_prefix}/status"})
        connection = MqttConnection(broker, home.status_topic, filters, self.events)
        self.places[link.pk] = Place(link, home, broker, connection)
        link.set_state(LineState.WAITING)
        connection.start()

    def _leave(self, place: Place, *, clear: bool = False) -> None:
        """End the connection; with clear, remove everything that was published first."""
        if clear and place.connection.is_connected:
            for topic in {**place.kept, **place.published}:
                place.connection.publish(topic, "")
        leave([place.connection])
        del self.places[place.link.pk]
        if clear:
            place.link.note(is_announced=False, announced_hubs=0)

    def _leave_all(self) -> None:
        leave([place.connection for place in self.places.values()])
        self.places.clear()

    # The connections

    def _handle_events(self, until: float) -> None:
        """Handle what arrives on the connections, until the next look is due."""
        while True:
            try:
                event = self.events.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                return
            places = self.places.values()
            place = next((one for one in places if one.connection is event.connection), None)
            if place is not None:
                self._handle(place, event)
            if monotonic() >= until:
                return

    def _handle(self, place: Place, event: Event) -> None:
        if isinstance(event, Connected):
            log.info("homeassistant: connected to %s", place.broker)
            place.link.set_state(LineState.CONNECTED)
            place.connected()
        elif isinstance(event, Lost):
            log.warning("homeassistant: no connection to %s (%s)", place.broker, event.trouble)
            place.link.set_state(LineState.LOST, event.trouble)
            place.disconnected()
        else:
            self._received(place, event)

    def _received(self, place: Place, event: Received) -> None:
        number = place.home.number_in(event.topic)
        if event.topic.endswith("/config"):
            if event.is_retained and event.payload:
                self._announcement_found(place, event, number)
        elif event.topic == place.home.test_topic:
            self._test_came_back(place, event)
        elif event.topic.endswith("/status"):
            if event.payload == BIRTH and not event.is_retained:
                log.info("homeassistant: Home Assistant at %s started", place.broker)
                place.take_stock()  # what the broker kept is not published again
        elif number is not None and event.payload:
            self._command(place, event, number)

    def _announcement_found(self, place: Place, event: Received, number: int | None) -> None:
        """Note what the broker kept; remove a hub that is no longer there."""
        if number is not None:
            is_shown = nodes_of(place.link).filter(pk=number).exists()
        elif event.topic == place.home.bridge_topic:
            is_shown = True
        else:
            return
        if place.link.is_on and is_shown:
            place.kept[event.topic] = event.payload.decode(errors="replace")
        else:
            place.remove(event.topic, number)

    def _test_came_back(self, place: Place, event: Received) -> None:
        if place.marker and event.payload == place.marker.encode():
            place.marker_came_back()
            self.look_due = 0.0
            return
        sent_at = place.test_sent_at
        if sent_at is not None and event.payload == sent_at.isoformat().encode():
            place.link.note(test_answered_at=timezone.now())

    # The commands

    def _command(self, place: Place, event: Received, number: int) -> None:
        if event.is_retained:
            place.connection.publish(event.topic, "")  # or it would arrive at every connect
        now_s, now = monotonic(), timezone.now()
        place.presses = [at for at in place.presses if now_s - at < 60]
        if len(place.presses) >= PRESSES_A_MINUTE:
            log.warning("homeassistant: too many presses at %s; ignored", place.broker)
            return
        place.presses.append(now_s)
        found = self._find(place, number)
        if found is None:
            log.warning("homeassistant: a press for an unknown hub was ignored")
            return
        link, node = found
        if event.topic.endswith(f"/{CHECK}"):
            if not event.is_retained:
                check(link, node, now)
        elif event.topic.endswith(f"/{WHEN}"):
            if not event.is_retained:
                choose_when(link, node, event.payload.decode(errors="replace"), now)
                self.look_due = 0.0
        elif not event.is_retained and should_ask_first(node, now):
            ask_reading(node.account, now)
            until = now_s + READING_WITHIN_S
            place.waiting.append(WaitingPress(event, number, now, until))
        else:
            self._press(link, node, event, now)

    def _decide_waiting(self, place: Place, *, at_once: bool = False) -> None:
        """Decide the presses whose hub was read meanwhile, or whose time is up."""
        waiting, place.waiting = place.waiting, []
        for one in waiting:
            found = self._find(place, one.number)
            if found is None:
                continue
            link, node = found
            is_read = node.heard_at is not None and node.heard_at > one.pressed_at
            if is_read or at_once or monotonic() >= one.until:
                self._press(link, node, one.event, timezone.now())
            else:
                place.waiting.append(one)

    def _find(self, place: Place, number: int) -> tuple[HomeAssistantLink, Node] | None:
        """Return link and hub as they are in the tables now, not as they were at the last look."""
        node = nodes_of(place.link).for_list().filter(pk=number).first()
        links = HomeAssistantLink.objects.select_related("household", "allowed_by")
        link = links.filter(pk=place.link.pk, is_on=True).first()
        return None if node is None or link is None else (link, node)

    def _press(self, link: HomeAssistantLink, node: Node, event: Received, now: datetime) -> None:
        payload = event.payload.decode(errors="replace")
        press(link, node, payload, is_retained=event.is_retained, now=now)
        self.look_due = 0.0


def _join_sole_household() -> None:
    """Show the hubs of the server's only household at the server's broker, if it has one.

    With several households each decides: everyone who may read that broker could see the hubs.
    """
    if not settings.MQTT_URL or Household.objects.count() != 1:
        return
    household = Household.objects.get()
    _, is_new = HomeAssistantLink.objects.get_or_create(
        household=household, defaults={"is_on": True}
    )
    if is_new:
        audit_log.record(
            Actor.worker(),
            AuditAction.HOUSEHOLD_HOME_ASSISTANT_ON,
            f"The hubs of {household} are shown to Home Assistant.",
            household=household,
            why="the server's only household, and MQTT_URL is set",
        )
