"""A private Mosquitto broker as a real process, and a second client that listens to it."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.product import free_port

START_LIMIT_S = 20


def binary() -> str:
    """Return the path of mosquitto ($MOSQUITTO, else where systems put it), or ""."""
    sbin = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    return os.environ.get("MOSQUITTO") or shutil.which("mosquitto", path=sbin) or ""


class Mosquitto:
    """A broker on a port of its own; a context manager. What is retained survives a restart."""

    def __init__(self, *lines: str) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self._configuration = folder / "mosquitto.conf"
        self.log = folder / "mosquitto.log"
        settings = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            *(lines or ("allow_anonymous true",)),
        ]
        if os.getuid() == 0:
            settings.append("user root")
        self._configuration.write_text("\n".join(settings) + "\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and return once it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "-c", str(self._configuration)], stdout=log, stderr=log
            )
        until = time.monotonic() + START_LIMIT_S
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()


class Listener:
    """A second client, as Home Assistant is one: keeps the last message of every topic."""

    def __init__(
        self,
        port: int,
        *filters: str,
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.heard: dict[str, bytes] = {}
        self.retained: dict[str, bool] = {}
        self.count = 0
        self._news = threading.Condition()
        self._filters: Sequence[str] = filters or ("#",)
        self._connected = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        if user:
            self.client.username_pw_set(user, password)
        if tls is not None:
            self.client.tls_set_context(tls)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._connected.wait(10)

    def _on_connect(self, client: Client, *_: object) -> None:
        client.subscribe([(topic, 1) for topic in self._filters])
        self._connected.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        with self._news:
            self.count += 1
            self.heard[message.topic] = bytes(message.payload)
            self.retained[message.topic] = bool(message.retain)
            self._news.notify_all()

    def wait(self, is_true: Callable[[], object], *, limit_s: float = 60) -> None:
        """Return once it is true; it is asked again at every message."""
        until = time.monotonic() + limit_s
        with self._news:
            while not is_true():
                assert time.monotonic() < until, (
                    f"not received in time: {sorted(self.heard.copy())}"
                )
                self._news.wait(0.2)

    def read(self, topic: str) -> Any:
        """Return the last payload of the topic as JSON; None when there is none."""
        payload = self.heard.get(topic, b"")
        return json.loads(payload) if payload else None

    def topics(self, ending: str = "") -> list[str]:
        """Return the topics that hold something now."""
        heard = self.heard.copy()  # the client's own thread goes on writing
        return sorted(name for name, payload in heard.items() if payload and ending in name)

    def hubs(self) -> list[str]:
        """Return the topics where hubs are announced now."""
        return [name for name in self.topics("/config") if not name.endswith("/bridge/config")]

    def say(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
