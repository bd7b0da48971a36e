"""How often everything was asked, so that a test can prove what was sent and what was not.

Every push ends in exactly one outcome: `accepted` (the hub got it), `ignored_busy` (answered with
success, and the busy hub says nothing), `refused:<code>` or `lost` (cut before any effect).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

_SEPARATOR = "\t"  # never part of a path, an id or an outcome as stored


class Counters:
    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.dirty: set[str] = set()
        self.was_reset = False

    def add(self, *key: str) -> None:
        name = _SEPARATOR.join(part.replace(_SEPARATOR, " ") for part in key)
        name = name.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be stored
        self._counts[name] += 1
        self.dirty.add(name)

    def request(self, endpoint: str, node_id: str) -> None:
        self.add("requests", endpoint)
        if node_id:
            self.add("nodes", node_id, endpoint)

    def answer(self, endpoint: str, status: str) -> None:
        self.add("answers", endpoint, status)

    def push(self, node_id: str, job_id: str, outcome: str) -> None:
        self.add("pushes", node_id or "-", job_id or "-", outcome)

    def reset(self) -> None:
        self._counts.clear()
        self.dirty.clear()
        self.was_reset = True

    def total(self, *key: str) -> int:
        return self._counts[_SEPARATOR.join(key)]

    def tree(self) -> dict[str, Any]:
        """{"requests": {endpoint: n}, "answers": {endpoint: {status: n}},
        "nodes": {node: {endpoint: n}}, "pushes": {node: {job: {outcome: n}}}}"""
        root: dict[str, Any] = {"requests": {}, "answers": {}, "nodes": {}, "pushes": {}}
        for name, count in sorted(self._counts.items()):
            *branches, leaf = name.split(_SEPARATOR)
            place = root
            for branch in branches:
                place = place.setdefault(branch, {})
            place[leaf] = count
        return root

    def take_dirty(self) -> list[tuple[str, int]]:
        """What changed since the last call, for the state file."""
        changed = [(name, self._counts[name]) for name in self.dirty]
        self.dirty.clear()
        return changed

    def restore(self, rows: list[tuple[str, int]]) -> None:
        self._counts = Counter(dict(rows))
