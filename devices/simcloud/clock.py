"""Virtual time: what the hubs live in, and what a client reads on the wire.

Hubs live in *virtual* time, which may run faster than the wall clock. A client compares the
timestamps it reads with its own clock (the phone apps give up on a status older than three
minutes), so everything on the wire is in *wire* time: speeding up never moves it. A jump moves
both, the way a wrong clock at the cloud would: an hour jumped is an hour older for everybody,
tokens included.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from operator import itemgetter
from typing import Any

# (virtual second, wire second, virtual seconds per wire second from there on)
Anchor = tuple[float, float, float]
_virtual_start = itemgetter(0)


class Clock:
    """Maps wall seconds to virtual and wire seconds. Never runs backwards.

    `wall` is injected, so tests move time themselves. All times are seconds since the epoch.
    """

    def __init__(self, speed: float = 1.0, wall: Callable[[], float] = time.time) -> None:
        if speed <= 0:
            raise ValueError("speed must be above 0")
        self._wall = wall
        start = wall()
        self._jumped_s = 0.0
        self._anchors: list[Anchor] = [(start, start, speed)]
        self._latest = start

    @property
    def speed(self) -> float:
        return self._anchors[-1][2]

    def wire_now(self) -> float:
        return self._wall() + self._jumped_s

    def now(self) -> float:
        """The virtual second it is."""
        virtual, wire, speed = self._anchors[-1]
        self._latest = max(self._latest, virtual + (self.wire_now() - wire) * speed)
        return self._latest

    def to_wire(self, virtual: float) -> float:
        """The wire second at which virtual second `virtual` happens; also before the start."""
        index = max(bisect_right(self._anchors, virtual, key=_virtual_start) - 1, 0)
        start, wire, speed = self._anchors[index]
        if virtual < start:  # before this world began: ordinary seconds
            return wire - (start - virtual)
        return wire + (virtual - start) / speed

    def to_virtual(self, wire: float) -> float:
        """The virtual second of a wire second still to come (or just gone)."""
        return self.now() + (wire - self.wire_now()) * self.speed

    def wire_ms(self, virtual: float) -> int:
        return int(self.to_wire(virtual) * 1000)

    def advance(self, seconds: float) -> None:
        """Jump `seconds` ahead, at once, in virtual and wire time alike."""
        if seconds < 0:
            raise ValueError("time cannot be turned back")
        now, wire, speed = self.now(), self.wire_now(), self.speed
        self._jumped_s += seconds
        self._anchors += [(now, wire, 1.0), (now + seconds, wire + seconds, speed)]

    def set_speed(self, speed: float) -> None:
        if speed <= 0:
            raise ValueError("speed must be above 0")
        if speed != self.speed:
            self._anchors.append((self.now(), self.wire_now(), speed))

    def state(self) -> dict[str, Any]:
        return {"jumped_s": self._jumped_s, "anchors": self._anchors}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved clock; the time spent switched off has passed for the hubs too."""
        self._jumped_s = float(state["jumped_s"])
        self._anchors = [(float(v), float(w), float(s)) for v, w, s in state["anchors"]]
        self._latest = self._anchors[-1][0]
