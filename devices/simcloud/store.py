"""The world on disk: written through before each answer, so a kill -9 forgets nothing answered.

SQLite, with one row per thing that differs from what its seed gives. `synchronous` is off: the
file survives the death of the process, which is what a simulation has to survive, at a few dozen
microseconds a write.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from devices.simcloud.accounts import Account
from devices.simcloud.clock import Clock
from devices.simcloud.world import Person, Setup, World

_SCHEMA = """
CREATE TABLE IF NOT EXISTS world (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hub (node_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS account (email TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
"""


class BadStateFile(Exception):
    """The file is not a state file, or another process is using it."""


class Store:
    """One open state file. Only one process may hold it."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise BadStateFile(f"{path}: {error}") from error

    def saved_setup(self) -> Setup | None:
        """What the saved world was made from, or None for a new file."""
        found = self._world_value("setup")
        if found is None:
            return None
        people = tuple(Person(**person) for person in found.pop("people"))
        return Setup(people=people, **found)

    def restore_clock(self, clock: Clock) -> None:
        saved = self._world_value("clock")
        if saved:
            speed = clock.speed
            clock.restore(saved)
            clock.set_speed(speed)

    def restore(self, world: World) -> None:
        """Bring a world just made from the saved setup to where the saved one was."""
        saved = self._world_value("rest")
        if saved is None:
            return
        world.sharing, world.counted_since = saved["sharing"], saved["counted_since"]
        for fault in saved["faults"]:
            hits = fault.pop("hits")
            del fault["id"]
            world.faults.set(fault).hits = hits
        for (state,) in self._db.execute("SELECT state FROM account"):
            world.admit(Account(**json.loads(state)))
        for node_id, state in self._db.execute("SELECT node_id, state FROM hub"):
            world.hubs[node_id].restore(json.loads(state))
        world.deal_again()
        world.counters.restore(self._db.execute("SELECT name, count FROM counter").fetchall())
        world.touched_accounts.clear()

    def write(self, world: World) -> None:
        """Write what changed since the last write, all of it or none."""
        counts = world.counters.take_dirty()
        if not (counts or world.touched_hubs or world.touched_accounts or world.is_touched):
            return
        with self._transaction():
            if world.is_touched:
                self._write_world(world)
            self._db.executemany(
                "INSERT OR REPLACE INTO hub VALUES (?, ?)",
                [(key, json.dumps(world.hubs[key].to_state())) for key in world.touched_hubs],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO account VALUES (?, ?)",
                [(k, json.dumps(world.accounts[k].to_state())) for k in world.touched_accounts],
            )
            self._db.executemany("INSERT OR REPLACE INTO counter VALUES (?, ?)", counts)
        world.touched_hubs.clear()
        world.touched_accounts.clear()
        world.is_touched = False

    def close(self) -> None:
        self._db.close()

    def _write_world(self, world: World) -> None:
        values: dict[str, Any] = {
            "setup": asdict(world.setup),
            "clock": world.clock.state(),
            "rest": {
                "sharing": world.sharing,
                "counted_since": world.counted_since,
                "faults": [fault.as_json() for fault in world.faults.active],
            },
        }
        self._db.executemany(
            "INSERT OR REPLACE INTO world VALUES (?, ?)",
            [(key, json.dumps(value)) for key, value in values.items()],
        )
        if world.counters.was_reset:
            self._db.execute("DELETE FROM counter")
            world.counters.was_reset = False

    def _world_value(self, key: str) -> Any:
        row = self._db.execute("SELECT value FROM world WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
