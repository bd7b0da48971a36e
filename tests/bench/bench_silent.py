"""How quick pages stay while the server is held up: `python -m tests.bench.bench_silent`.

Starts the demo on this machine alone. 200 connections send nothing, half a header or half a form,
20 sign-ins a second are wrong, from as many addresses, and eight signed-in people read pages.
Prints how long pages and /healthz took, and how much memory the web server used at most. Judges
nothing.
"""

import argparse
import random
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import requests
from requests.adapters import HTTPAdapter

from devices.server import demo
from tests.support.product import Browser
from tests.support.started import Started

PAGES = ("/", "/overview/", "/history/", "/accounts/")
BEGINNINGS = (
    b"",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /account/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nlogin=",
)


class From(HTTPAdapter):
    """Connects from this address of the machine's own, as limits count by address."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, source_address=(self.address, 0))


class Silent:
    """Connections that begin a request and never end it, opened again when they are closed."""

    def __init__(self, port: int, count: int) -> None:
        self.port, self.count, self.opened = port, count, 0
        self._sockets: list[socket.socket] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._hold, daemon=True)

    def __enter__(self) -> "Silent":
        self._top_up()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        for one in self._sockets:
            one.close()

    def _top_up(self) -> None:
        while len(self._sockets) < self.count:
            one = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            one.sendall(BEGINNINGS[self.opened % len(BEGINNINGS)])
            one.setblocking(False)
            self._sockets.append(one)
            self.opened += 1

    def _hold(self) -> None:
        while not self._is_over.wait(0.2):
            still_open = [one for one in self._sockets if _is_open(one)]
            for closed in set(self._sockets) - set(still_open):
                closed.close()
            self._sockets = still_open
            self._top_up()


def _is_open(one: socket.socket) -> bool:
    try:
        return one.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def sign_in_wrongly(url: str, rate: float, seconds: float, statuses: dict[int, int]) -> None:
    """Try wrong passwords at this rate, each from another address."""
    lock, ends_at = threading.Lock(), time.monotonic() + seconds

    def one(number: int) -> None:
        browser = Browser(url)
        browser.session.mount("http://", From(f"127.1.{number // 250 % 250}.{number % 250 + 1}"))
        email = random.choice(demo.RESIDENTS).email if number % 2 else f"nobody{number}@example.com"
        try:
            answer = browser.post("/account/login/", login=email, password=f"wrong {number}")
            status = answer.status_code
        except requests.RequestException:
            status = 0
        with lock:
            statuses[status] = statuses.get(status, 0) + 1

    threads, number, began = [], 0, time.monotonic()
    while time.monotonic() < ends_at:
        threads.append(threading.Thread(target=one, args=(number,), daemon=True))
        threads[-1].start()
        number += 1
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
    for thread in threads:
        thread.join(30)


def read_pages(ask: Callable[[], requests.Response], seconds: float, took_s: list[float]) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        began = time.monotonic()
        assert ask().status_code == 200
        took_s.append(time.monotonic() - began)
        time.sleep(random.uniform(0.2, 0.8))


def measure(product: Started, silent: int, rate: float, seconds: float) -> dict[str, float]:
    """Return the figures of one run."""
    people, url = [], f"http://127.0.0.1:{product.port}"
    for number in range(8):
        browser = Browser(url)
        browser.session.mount("http://", From(f"127.2.0.{number + 1}"))
        person = demo.RESIDENTS[number % len(demo.RESIDENTS)]
        browser.post("/account/login/", login=person.email, password=demo.PASSWORD)
        for path in PAGES:  # a process that has just begun takes longer
            browser.get(path)
        people.append(browser)
    pages_s: list[float] = []
    alive_s: list[float] = []
    statuses: dict[int, int] = {}
    memory_mb = [0.0]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            total = 0
            for process in product.processes("web"):
                try:
                    total += process.memory_full_info().uss
                except psutil.Error:
                    continue
            memory_mb.append(total / 1e6)

    readers = [
        threading.Thread(
            target=read_pages,
            args=(lambda one=one: one.get(random.choice(PAGES)), seconds, pages_s),
        )
        for one in people
    ]
    alone = Browser(url)
    readers.append(
        threading.Thread(target=read_pages, args=(lambda: alone.get("/healthz"), seconds, alive_s))
    )
    readers.append(threading.Thread(target=sign_in_wrongly, args=(url, rate, seconds, statuses)))
    watcher = threading.Thread(target=watch)
    with Silent(product.port, silent) as held:
        watcher.start()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        opened = held.opened
    is_over.set()
    watcher.join()
    print(f"silent connections: {silent} at a time, {opened} in all; sign-ins: {statuses}")
    return {
        "pages": len(pages_s),
        "page_p50_s": median(pages_s),
        "page_p99_s": _percentile(pages_s, 99),
        "page_max_s": max(pages_s),
        "alive_max_s": max(alive_s),
        "memory_max_mb": max(memory_mb),
    }


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--silent", type=int, default=200)
    parser.add_argument("--sign-ins", type=float, default=20, help="a second")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thermacell-web-test-") as folder:
        product = Started(Path(folder) / "demo")
        with product:
            print("with nothing else going on:")
            for name, value in measure(product, 0, 0.1, 10).items():
                print(f"  {name} {value:.3f}")
            print("held up:")
            found = measure(product, options.silent, options.sign_ins, options.seconds)
            for name, value in found.items():
                print(f"  {name} {value:.3f}")


if __name__ == "__main__":
    main()
