"""One chaos run from beginning to end: attack, let it come to rest, and check the books."""

import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.chaos.books import SHOWN, Books
from tests.chaos.enemy import Enemy
from tests.chaos.installation import Installation
from tests.chaos.people import LIVE, Diary, Person, Visitor, Watcher

READ_S = 60  # how long the versions may take that hubs came to run on their own
REST_S = 900  # the longest back-off, and then the longest patience of the engine at this pace


@dataclass(frozen=True)
class Run:
    """What a run is to be like."""

    seed: str
    installs: int
    kills: int
    homes: int = 6
    hubs: int = 8
    pace: float = 60
    pause_s: float = 2.5
    limit_s: float = 3600
    database_url: str = ""
    broken: str = ""
    only_harms: tuple[str, ...] = ()
    only_courses: tuple[str, ...] = ()
    planned: float = 0.5
    """The share of the installs that are planned."""
    hosts: int = 1
    harms: int = 0
    """At least so many harms are done, of whatever kind."""


@dataclass
class Result:
    """What came of it."""

    run: Run
    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def report(self) -> str:
        return "\n".join(
            [
                *self.lines,
                *(f"VIOLATION: {sentence}" for sentence in self.violations[:50]),
                f"{len(self.violations)} violations. Seed {self.run.seed}.",
            ]
        )


def play(run: Run) -> Result:
    """Play one run; the result has a violation for each law that was broken."""
    result = Result(run)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder,
        Installation(
            Path(folder),
            homes=run.homes,
            hubs=run.hubs,
            pace=run.pace,
            database_url=run.database_url,
            broken=run.broken,
            hosts=run.hosts,
        ) as installation,
    ):
        _attack(run, installation, result)
    return result


class Life:
    """The people of an installation, who go on installing until it is over."""

    def __init__(self, run: Run, installation: Installation) -> None:
        self.began = monotonic()
        self.diary, self.is_over = Diary(), threading.Event()
        self.watcher = Watcher(installation)
        self.visitors = [Visitor(installation, home) for home in range(run.homes)]
        self.people = [
            Person(
                installation,
                self.watcher,
                self.diary,
                node,
                index,
                self.visitors[index // run.hubs],
                run.seed,
                self.is_over,
                run.only_courses,
                run.planned,
            )
            for index, node in enumerate(installation.cloud.node_ids())
        ]

    @property
    def took_s(self) -> float:
        return monotonic() - self.began

    def begin(self) -> None:
        self.watcher.start()
        for visitor in self.visitors:
            visitor.get("/")
        for person in self.people:
            person.start()

    def end(self) -> None:
        self.is_over.set()
        for person in self.people:
            person.join(90)

    def troubles(self) -> Counter[str]:
        return sum((visitor.troubles for visitor in self.visitors), Counter())


def _attack(run: Run, installation: Installation, result: Result) -> None:
    life = Life(run, installation)
    life.begin()
    enemy = Enemy(installation, run.seed, run.pause_s, run.only_harms)
    enemy.start()
    while life.took_s < run.limit_s:
        sleep(1)
        is_enough = len(life.diary.accepted) >= run.installs
        is_enough &= enemy.kills.total() >= run.kills and enemy.done.total() >= run.harms
        if is_enough and (enemy.has_done_all or not installation.is_shared):
            break
    else:
        result.violations.append(
            f"{len(life.diary.accepted)} installs, {enemy.kills.total()} kills and "
            f"{enemy.done.total()} harms in {run.limit_s:.0f} s"
        )
    attacked_s = life.took_s
    life.is_over.set()
    enemy.is_over.set()
    enemy.join(120)
    installation.start_again()
    installation.cloud.clear_faults()
    life.end()
    result.violations += [f"the machine itself: {words}" for words in enemy.problems]
    result.violations += enemy.waits.violations()
    books, trail = settle(installation, life, result)
    kills = f"{enemy.kills.total()} kills, {enemy.faults.total()} faults "
    result.lines = [
        *head(run, books, life, attacked_s, kills),
        f"kills: {_list(enemy.kills)}",
        f"faults: {_list(enemy.faults)}",
        f"harms: {_list(enemy.done)}",
        *(f"  {what}: {often}" for what, often in sorted(enemy.waits.report().items())),
        *tail(books, life, trail),
    ]


def settle(installation: Installation, life: Life, result: Result) -> tuple[Books, str]:
    """Let everything come to rest, and hold the books against the laws; return them and what the
    verification of the trail says.
    """
    result.violations += [f"the machine itself: {words}" for words in life.diary.problems]
    _rest(installation, result)
    life.watcher.is_over.set()
    life.watcher.join(90)
    books = Books.read(installation, life.diary)
    result.violations += books.violations()
    try:
        trail = installation.hosts[-1].manage("verify_audit").strip().splitlines()[-1]
    except AssertionError as problem:
        result.violations.append(f"the audit trail does not verify: {problem}")
        trail = "not verified"
    return books, trail


def _rest(installation: Installation, result: Result) -> None:
    """Wait without acting until everything has its verdict."""
    states = ", ".join(f"'{state}'" for state in LIVE)
    sql = f"SELECT count(*) FROM devices_otajob WHERE state IN ({states})"
    until = monotonic() + REST_S
    while installation.tables.rows(sql)[0][0]:
        if monotonic() > until:
            break  # the books name them
        sleep(1)
    installation.tables.read_lists_now()
    until = monotonic() + READ_S
    while _is_unread(installation) and monotonic() < until:
        sleep(1)
    for host in installation.hosts:
        if not host.wait_until_ready(180):
            result.violations.append(f"/readyz of {host.name or 'the host'}: {host.readiness()}")


def _is_unread(installation: Installation) -> bool:
    """Does a hub run another version than the product shows?"""
    shown = dict(installation.tables.rows(SHOWN))
    return any(shown[hub["node_id"]] != hub["fw_version"] for hub in installation.cloud.hubs())


def head(run: Run, books: Books, life: Life, attacked_s: float, harms: str) -> list[str]:
    """Return the first lines of a report."""
    where = "PostgreSQL" if run.database_url else "SQLite"
    hosts = f", {run.hosts} hosts" if run.hosts > 1 else ""
    broken = f", broken on purpose: {run.broken}" if run.broken else ""
    return [
        f"{where}{hosts}{broken}: {len(books.jobs)} installs of {run.homes * run.hubs} hubs, "
        f"{harms}in {attacked_s:.0f} s; at rest after {life.took_s - attacked_s:.0f} s more.",
        f"verdicts: {_list(books.by_verdict())}",
    ]


def tail(books: Books, life: Life, trail: str) -> list[str]:
    """Return the last lines of a report."""
    arrived = sum(one["accepted"] + one["ignored_busy"] for one in books.sent.values())
    again = sum(job.pushes > 1 for job in books.jobs.values())
    diary = life.diary
    return [
        f"people: {len(diary.accepted)} confirms shown as accepted, {_list(diary.counts)}",
        f"pages that failed: {_list(life.troubles())}",
        f"cloud: {arrived} pushes reached a hub; {again} installs were claimed more than once",
        *(f"  {course}: {_list(found)}" for course, found in sorted(books.by_course().items())),
        f"trail: {trail}",
    ]


def _list(counts: "dict[str, int]") -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
