"""Everything that goes wrong: kills, cut lines, bad answers, locks, a full disk, jumping clocks."""

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, sleep

import psutil

from tests.chaos.host import Host
from tests.chaos.installation import Installation, keys
from tests.chaos.people import Visitor
from tests.support.product import free_port

HOUR = 3600.0
# A host is away for so long; what is left of the installation goes on this soon.
AWAY_S = (30, 90)
SOON_S = 30
# Who leads, helps, or works for an account now.
HOLDERS = (
    "SELECT name, holder FROM devices_beat WHERE held_until > now() AND holder <> '' "
    "UNION ALL SELECT 'account', holder FROM devices_claim "
    "WHERE held_until > now() AND holder <> ''"
)
GARBAGE = ["not_json", "truncated_json", "html", "empty", "wrong_types", "null", "list"]
ASKED = ["*/ota_update", "*/ota_status", "*/nodes/config", "*/nodes/status", "*/user/nodes"]


class Enemy(threading.Thread):
    """Does harm, one thing after the other, until it is stopped.

    With several hosts it begins with each harm once, in any order.
    """

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
        self.waits = Waits()
        self.problems: list[str] = []
        self.harms = self._harms()
        self.done = Counter({harm.__name__: 0 for harm, _ in self.harms})

    @property
    def has_done_all(self) -> bool:
        return all(self.done.values())

    def run(self) -> None:
        first = [harm for harm, _ in self.harms] if self.installation.is_shared else []
        self.dice.shuffle(first)
        while self.harms and not self.is_over.wait(self.dice.expovariate(1 / self.pause_s)):
            one = first.pop() if first else self._any()
            try:
                one()
                self.done[one.__name__] += 1
            except Exception as problem:  # the machine itself failed: reported, never swallowed
                self.problems.append(f"{one.__name__}: {problem!r}")

    def _any(self) -> Callable[[], None]:
        harms = [harm for harm, _ in self.harms]
        return self.dice.choices(harms, [much for _, much in self.harms])[0]

    def _harms(self) -> list[tuple[Callable[[], None], int]]:
        harms: list[tuple[Callable[[], None], int]] = [
            (self.kill_a_worker, 12),
            (self.kill_its_parent, 6),
            (self.kill_the_sentinel, 4),
            (self.kill_the_web_server, 8),
            (self.kill_the_watchdog, 1),
            (self.kill_the_cloud, 4),
            (self.kill_the_start, 1),
            (self.cut_before_the_push, 4),
            (self.cut_after_the_push, 6),
            (self.cut_lines, 4),
            (self.refuse, 8),
            (self.answer_garbage, 5),
            (self.answer_slowly, 3),
            (self.block, 4),
            (self.make_a_hub_sick, 4),
            (self.shorten_the_list, 4),
            (self.lock_the_database, 2),
        ]
        if self.installation.is_shared:
            harms += [
                (self.lose_a_host, 2),
                (self.freeze_a_host, 2),
                (self.drop_packets_of_a_host, 2),
                (self.put_a_clock_five_minutes_off, 3),
                (self.lose_postgresql, 2),
                (self.make_postgresql_read_only, 2),
                (self.knock_with_other_keys, 1),
            ]
            if self.installation.redis is not None:
                harms.append((self.lose_redis, 2))
        else:
            harms += [
                (self.cut_the_power, 1),
                (self.set_the_clock, 2),
                (self.sleep_like_a_laptop, 1),
            ]
        if self.installation.tables.is_postgres:
            harms.append((self.cut_the_database, 4))
        elif self.installation.hosts[0].is_small_disk:
            harms.append((self.fill_the_disk, 2))
        return [one for one in harms if not self.only or one[0].__name__ in self.only]

    def _host(self) -> Host:
        return self.dice.choice(self.installation.hosts)

    # Kills

    def _kill(self, what: str, processes: list[psutil.Process]) -> None:
        with suppress(psutil.Error, IndexError):
            self.dice.choice(processes).kill()
            self.kills[what] += 1

    def kill_a_worker(self) -> None:
        family = self._host().family()
        self._kill("worker", family[2:] or family)  # all in one process, or a cluster

    def kill_its_parent(self) -> None:
        self._kill("cluster", self._host().family()[:1])

    def kill_the_sentinel(self) -> None:
        self._kill("sentinel", self._host().family()[1:2])

    def kill_the_web_server(self) -> None:
        self._kill("web", self._host().of("web"))

    def kill_the_watchdog(self) -> None:
        self._kill("watchdog", self._host().of("watchdog"))

    def kill_the_cloud(self) -> None:
        self.installation.cloud.kill()
        sleep(self.dice.random() * 4)
        self.installation.cloud.start()
        self.kills["cloud"] += 1

    def cut_the_power(self) -> None:
        host = self._host()
        host.cut_power()
        self.kills["power"] += 1
        host.start_again()

    def kill_the_start(self) -> None:
        host = self._host()
        host.kill_the_start()
        self.kills["start"] += 1
        host.start_again()

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

    def block(self) -> None:
        path = self.dice.choice([*ASKED, "*/login2", ""])
        self._fault("block page", "blocked", path=path, count=self.dice.randint(1, 4))

    def make_a_hub_sick(self) -> None:
        """Let all calls about one hub fail for a while, beside healthy neighbours."""
        node = self.dice.choice(self.installation.cloud.node_ids())
        kind = self.dice.choice(["500", "blocked", "garbage"])
        self._fault("sick hub", kind, node_id=node, count=self.dice.randint(10, 40))

    def shorten_the_list(self) -> None:
        """Let the lists of one account leave hubs out, several times in a row."""
        home, keep = (
            self.dice.randrange(most) for most in (self.installation.homes, self.installation.hubs)
        )
        self._fault(
            "short list",
            "short_list",
            path="*/user/nodes",
            account=self.installation.cloud_email(home),
            keep=keep,
            count=self.dice.randint(1, 4),
        )
        self.installation.tables.read_lists_now()

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
        with self.installation.hosts[0].full_disk():
            sleep(self.dice.uniform(2, 6))

    def set_the_clock(self) -> None:
        self.faults["clock set"] += 1
        jump = self.dice.choice([-6 * HOUR, -HOUR, -90.0, 90.0, HOUR, 6 * HOUR])
        host = self.installation.hosts[0]
        host.set_clock(host.off_s + jump)

    def sleep_like_a_laptop(self) -> None:
        self.faults["sleep"] += 1
        host = self.installation.hosts[0]
        with host.asleep():
            sleep(self.dice.uniform(1, 5))
            host.set_clock(host.off_s + self.dice.choice([1, 8, 60]) * HOUR)

    # One of several hosts, and what they share

    def lose_a_host(self) -> None:
        """Cut the power of a host; it comes back when the others have taken over."""
        host = self._host()
        pids = _pids(host)
        host.cut_power()
        self.kills["host"] += 1
        self._others_go_on("lost host", host, pids)
        host.start_again()

    def freeze_a_host(self) -> None:
        """Hold every process of a host at once, with whatever it was in the middle of."""
        self.faults["frozen host"] += 1
        host, until = self._host(), monotonic() + self.dice.uniform(*AWAY_S)
        pids = _pids(host)
        with host.asleep():
            self._others_go_on("frozen host", host, pids)
            sleep(max(0, until - monotonic()))

    def drop_packets_of_a_host(self) -> None:
        """Keep a host apart from the database; packets are dropped, no connection is closed."""
        self.faults["dropped packets"] += 1
        host, until = self._host(), monotonic() + self.dice.uniform(*AWAY_S)
        pids, line = _pids(host), host.line
        assert line is not None
        line.silence()
        try:
            self._others_go_on("dropped packets", host, pids)
            sleep(max(0, until - monotonic()))
        finally:
            line.mend()

    def put_a_clock_five_minutes_off(self) -> None:
        """Set the clock of one host, or set it right again."""
        self.faults["clock five minutes off"] += 1
        host = self._host()
        host.set_clock(0 if host.off_s else self.dice.choice([-300, 300]))
        sleep(self.dice.uniform(5, 20))

    def lose_redis(self) -> None:
        """Kill Redis with all it knew; people can sign in all the same."""
        server = self.installation.redis
        assert server is not None
        server.kill()
        self.kills["redis"] += 1
        try:
            for host in self.installation.hosts:
                visitor = Visitor(self.installation, self.installation.hosts.index(host))
                self.waits.until("signed in without Redis", visitor.sign_in)
            sleep(self.dice.uniform(1, 10))
        finally:
            server.start()

    def lose_postgresql(self) -> None:
        """Cut every host's connections to the database; each says so within seconds."""
        self.faults["postgresql lost"] += 1
        lines = [host.line for host in self.installation.hosts if host.line is not None]
        for line in lines:
            line.cut()
        try:
            self._all_say_so("said that postgresql was lost")
            sleep(self.dice.uniform(1, 20))
        finally:
            for line in lines:
                line.mend()

    def make_postgresql_read_only(self) -> None:
        """Let the database refuse to write; each host says so within seconds."""
        self.faults["postgresql read-only"] += 1
        with self.installation.tables.read_only():
            self._all_say_so("said that postgresql was read-only")
            sleep(self.dice.uniform(1, 20))

    def knock_with_other_keys(self) -> None:
        """Start one more host, whose keys are not the installation's: it must refuse."""
        self.faults["other keys"] += 1
        done = self._host().try_to_manage("start", "--port", str(free_port()), **self._strange())
        if done.returncode == 0 or "keys" not in done.stdout + done.stderr:
            self.problems.append(f"other keys: {done.returncode} {done.stdout}{done.stderr}")

    def _strange(self) -> dict[str, str]:
        folder = self.installation.hosts[0].data_dir.parent / "strange"
        folder.mkdir(exist_ok=True)
        return keys() | {"DATA_DIR": str(folder)}

    def _others_go_on(self, what: str, host: Host, pids: set[int]) -> None:
        """Measure until this host leads nothing, another one does, and the trail can be written."""

        def go_on() -> bool:
            holders = self.installation.tables.rows(HOLDERS)
            alive = [name for name, holder in holders if _pid(holder) not in pids]
            return len(alive) == len(holders) and "installs" in alive

        self.waits.until(what, go_on)
        began = monotonic()
        self.installation.tables.lock_the_head()
        self.waits.add(f"{what}: the trail's head", monotonic() - began)

    def _all_say_so(self, what: str) -> None:
        for host in self.installation.hosts:
            self.waits.until(what, partial(_says_no, host))


def _says_no(host: Host) -> bool:
    return host.readiness()[0] == 503


class Waits:
    """How long the product took to do what it promises to do soon."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)

    def add(self, what: str, took_s: float) -> None:
        self.taken[what].append(took_s)

    def until(self, what: str, is_true: Callable[[], bool]) -> None:
        """Wait until it is true, for three times as long as it may take."""
        began = monotonic()
        while not is_true() and monotonic() - began < 3 * SOON_S:
            sleep(0.25)
        self.add(what, monotonic() - began)

    def violations(self) -> list[str]:
        return [
            f"{what} after {took_s:.1f} s"
            for what, all_s in self.taken.items()
            for took_s in all_s
            if took_s > SOON_S
        ]

    def report(self) -> dict[str, str]:
        """Return the number and the longest of each."""
        return {
            what: f"{len(all_s)} × within {max(all_s):.1f} s" for what, all_s in self.taken.items()
        }


def _pids(host: Host) -> set[int]:
    return {process.pid for process in host.everything()}


def _pid(holder: str) -> int:
    return int(holder.split(":")[1])
