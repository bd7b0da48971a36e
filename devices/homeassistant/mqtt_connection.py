"""One household's connection to its broker: a thread that connects, listens and reconnects.

It does not use the tables. Events go on a queue, in order, for the one thread that does.
"""

import random
import secrets
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import monotonic
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from devices.homeassistant.broker import Broker, BrokerUnusable
from devices.homeassistant.discovery import OFFLINE

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
# After a connection that held this long the next pause is the shortest again.
GOOD_AFTER_S = 30.0
# Silence of one and a half times this ends the connection on either side.
KEEP_ALIVE_S = 20
CONNECT_WITHIN_S = 5.0
# How many messages may be in flight unconfirmed; paho's own 20 makes a thousand hubs slow.
IN_FLIGHT = 500
LAST_WORDS_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Connected:
    connection: "MqttConnection"


@dataclass(frozen=True, slots=True)
class Lost:
    connection: "MqttConnection"
    trouble: str


@dataclass(frozen=True, slots=True)
class Received:
    connection: "MqttConnection"
    topic: str
    payload: bytes
    is_retained: bool


Event = Connected | Lost | Received


@dataclass
class MqttConnection:
    """Connects on start() and again, with growing pauses, until leave()."""

    broker: Broker
    status_topic: str
    filters: Sequence[str]
    events: "SimpleQueue[Event]"
    is_connected: bool = field(default=False, init=False)
    _client: Client | None = field(default=None, init=False)
    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _refusal: str = field(default="", init=False)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"mqtt {self.broker}", daemon=True)
        self._thread.start()

    def publish(self, topic: str, payload: str, *, retain: bool = True) -> bool:
        """Hand the message over; False when there is no connection now."""
        client = self._client
        if client is None or not self.is_connected:
            return False
        return client.publish(topic, payload, qos=1, retain=retain).rc in {
            MQTTErrorCode.MQTT_ERR_SUCCESS,
            MQTTErrorCode.MQTT_ERR_QUEUE_SIZE,
        }

    def subscribe_again(self, topic: str) -> None:
        """Subscribe once more: the broker sends what it keeps of this filter again."""
        if self._client is not None and self.is_connected:
            self._client.subscribe(topic, 1)

    def publish_offline(self) -> MQTTMessageInfo | None:
        """Publish what the last will would, and do not reconnect; return what to wait for."""
        self._ending.set()
        client = self._client
        if client is None or not self.is_connected:
            return None
        return client.publish(self.status_topic, OFFLINE, qos=1, retain=True)

    def leave(self) -> None:
        """End the connection, and with it the thread."""
        self._ending.set()
        if self._client is not None:
            self._client.disconnect()

    def _run(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._ending.is_set():
            started = monotonic()
            trouble = self._stay_connected()
            self.is_connected = False
            self._client = None
            if self._ending.is_set():
                return
            self.events.put(Lost(self, trouble))
            if monotonic() - started > GOOD_AFTER_S:
                wait_s = FIRST_WAIT_S
            self._ending.wait(wait_s * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _stay_connected(self) -> str:
        """Connect and stay until the connection ends; return why it ended."""
        self._refusal = ""
        # a new client for every connection: nothing of the last one is sent again
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"thermacell-web-{secrets.token_hex(6)}",
            clean_session=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_WITHIN_S
        client.max_inflight_messages_set(IN_FLIGHT)
        client.will_set(self.status_topic, OFFLINE, qos=1, retain=True)
        client.on_connect, client.on_message = self._on_connect, self._on_message
        client.on_disconnect = self._on_disconnect
        if self.broker.user:
            client.username_pw_set(self.broker.user, self.broker.password or None)
        try:
            if self.broker.is_tls:
                client.tls_set_context(self.broker.tls_context())
            self._client = client
            client.connect(self.broker.host, self.broker.port, keepalive=KEEP_ALIVE_S)
            client.loop_forever()
        except (ssl.SSLError, ssl.CertificateError, BrokerUnusable):
            return "not_trusted"
        except (OSError, ValueError):
            return "unreachable"
        return self._refusal or "lost"

    def _on_connect(
        self,
        client: Client,
        _data: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = "refused"
            return
        client.subscribe([(topic, 1) for topic in self.filters])
        self.is_connected = True
        self.events.put(Connected(self))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.events.put(Received(self, message.topic, bytes(message.payload), bool(message.retain)))

    def _on_disconnect(
        self,
        _client: Client,
        _data: Any,
        _flags: DisconnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.is_connected = False


def leave(connections: Sequence[MqttConnection]) -> None:
    """Publish offline on all these connections and end them, within two seconds in all."""
    until = monotonic() + LAST_WORDS_WITHIN_S
    for message in [connection.publish_offline() for connection in connections]:
        # a connection that was lost meanwhile leaves it to the last will
        with suppress(RuntimeError, ValueError):
            if message is not None:
                message.wait_for_publish(max(0.01, until - monotonic()))
    for connection in connections:
        connection.leave()
