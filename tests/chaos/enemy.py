"""Everything that goes wrong: kills, cut lines, bad answers, locks, a full disk, jumping clocks."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import sleep

import psutil

from tests.chaos.installation import Installation

HOUR = 3600.0
GARBAGE = ["not_json", "truncated_json", "html", "empty", "wrong_types", "null", "list"]
ASKED = ["*/ota_update", "*/ota_status", "*/nodes/config", "*/nodes/status", "*/user/nodes"]


class Enemy(threading.Thread):
    """Does harm, one thing after the other, until it is told that it was enough."""

    def __init__(
        self, installation: Installation, seed: str, pause_s: float, only: tuple[str, ...] = ()
    ) -> None:
        super().__init__(daemon=True)
        self.installation = installation
        self.dice = random.Random(f"{seed} enemy")
        self.pause_s = pause_s
        self.only = only
        self.is_over = threading.Event()
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self) -> None:
        harms = self._harms()
        while harms and not self.is_over.wait(self.dice.expovariate(1 / self.pause_s)):
            harm = self.dice.choices([one for one, _ in harms], [much for _, much in harms])[0]
            try:
                harm()
            except Exception as problem:  # the machine itself failed: said, never swallowed
                self.problems.append(f"{harm.__name__}: {problem!r}")

    def _harms(self) -> list[tuple[Callable[[], None], int]]:
        harms: list[tuple[Callable[[], None], int]] = [
            (self.kill_a_worker, 12),
            (self.kill_its_parent, 6),
            (self.kill_the_sentinel, 4),
            (self.kill_the_web_server, 8),
            (self.kill_the_watchdog, 1),
            (self.kill_the_cloud, 4),
            (self.cut_the_power, 1),
            (self.kill_the_start, 1),
            (self.cut_before_the_push, 4),
            (self.cut_after_the_push, 6),
            (self.cut_lines, 4),
            (self.refuse, 8),
            (self.answer_garbage, 5),
            (self.answer_slowly, 3),
            (self.lock_the_database, 2),
            (self.set_the_clock, 2),
            (self.sleep_like_a_laptop, 1),
        ]
        if self.installation.tables.is_postgres:
            harms.append((self.cut_the_database, 4))
        elif self.installation.is_small_disk:
            harms.append((self.fill_the_disk, 2))
        return [one for one in harms if not self.only or one[0].__name__ in self.only]

    # Kills

    def _kill(self, what: str, processes: list[psutil.Process]) -> None:
        with suppress(psutil.Error, IndexError):
            self.dice.choice(processes).kill()
            self.kills[what] += 1

    def kill_a_worker(self) -> None:
        self._kill("worker", self.installation.family()[2:])

    def kill_its_parent(self) -> None:
        self._kill("cluster", self.installation.family()[:1])

    def kill_the_sentinel(self) -> None:
        self._kill("sentinel", self.installation.family()[1:2])

    def kill_the_web_server(self) -> None:
        self._kill("web", self.installation.of("web"))

    def kill_the_watchdog(self) -> None:
        self._kill("watchdog", self.installation.of("watchdog"))

    def kill_the_cloud(self) -> None:
        self.installation.cloud.kill()
        sleep(self.dice.random() * 4)
        self.installation.cloud.start()
        self.kills["cloud"] += 1

    def cut_the_power(self) -> None:
        self.installation.cut_power()
        self.kills["power"] += 1
        self.installation.start_again()

    def kill_the_start(self) -> None:
        self.installation.kill_the_start()
        self.kills["start"] += 1
        self.installation.start_again()

    # The line to the cloud

    def _fault(self, what: str, kind: str, **more: object) -> None:
        self.installation.cloud.fault(kind, **more)
        self.faults[what] += 1

    def cut_before_the_push(self) -> None:
        self._fault(
            "cut before the push", "cut_before", method="POST", path="*/ota_update", count=1
        )

    def cut_after_the_push(self) -> None:
        self._fault("cut after the push", "cut_after", method="POST", path="*/ota_update", count=1)

    def cut_lines(self) -> None:
        kind = self.dice.choice(["cut_before", "cut_after"])
        self._fault("cut lines", kind, count=self.dice.randint(1, 4))

    def refuse(self) -> None:
        kind = self.dice.choice(["423", "429", "500", "http"])
        more = {"retry_after_s": self.dice.randint(1, 5)} if kind == "429" else {}
        path = self.dice.choice(ASKED)
        self._fault(f"answer {kind}", kind, path=path, count=self.dice.randint(1, 3), **more)

    def answer_garbage(self) -> None:
        path, body = self.dice.choice(ASKED), self.dice.choice(GARBAGE)
        self._fault("garbage", "garbage", path=path, body=body, count=self.dice.randint(1, 3))

    def answer_slowly(self) -> None:
        self._fault("slow answer", "slow", delay_s=self.dice.uniform(2, 25), count=1)

    # The machine

    def lock_the_database(self) -> None:
        self.faults["locked database"] += 1
        with self.installation.tables.locked():
            sleep(self.dice.choice([2, 4, 8, 24]))

    def cut_the_database(self) -> None:
        self.installation.tables.cut_connections()
        self.faults["cut database connections"] += 1

    def fill_the_disk(self) -> None:
        self.faults["full disk"] += 1
        with self.installation.full_disk():
            sleep(self.dice.uniform(2, 6))

    def set_the_clock(self) -> None:
        self.faults["clock set"] += 1
        jump = self.dice.choice([-6 * HOUR, -HOUR, -90.0, 90.0, HOUR, 6 * HOUR])
        self.installation.set_clock(self.installation.off_s + jump)

    def sleep_like_a_laptop(self) -> None:
        self.faults["sleep"] += 1
        with self.installation.asleep():
            sleep(self.dice.uniform(1, 5))
            self.installation.set_clock(
                self.installation.off_s + self.dice.choice([1, 8, 60]) * HOUR
            )
