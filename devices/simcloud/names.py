"""Who the virtual hubs are: believable identities, each a pure function of (seed, index).

Node ids are 22 characters and serials look like N03HA31924B9062, as seen in the public
Thermacell LIV clients (pythermacell, joyfulhouse/thermacell_liv).
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

# The short-UUID alphabet: no 0, 1, I, O or l.
_ID_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

SPOTS = (
    "Back porch",
    "Fire pit",
    "Pool deck",
    "Front porch",
    "Boathouse",
    "Vegetable garden",
    "Hot tub",
    "Pergola",
    "Grill station",
    "Dock",
    "Side yard",
    "Treehouse",
    "Sun room steps",
    "Horseshoe pit",
    "Outdoor kitchen",
    "Garden gate",
    "Screened porch",
    "Lower patio",
    "Rose garden",
    "Camper pad",
    "Swing set",
    "Orchard bench",
    "Greenhouse path",
    "Kennel run",
)
PLACES = (
    "Maple Lodge",
    "Cedar Cabin",
    "Heron Point",
    "Willow Court",
    "Stonebridge",
    "Harbor House",
    "Juniper Hill",
    "Lakeview",
    "Fox Hollow",
    "Birch Landing",
)
# (hours from UTC in winter, the zone's name, the zone as the hub's Time service spells it)
ZONES = (
    (-5, "America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    (-6, "America/Chicago", "CST6CDT,M3.2.0,M11.1.0"),
    (-7, "America/Denver", "MST7MDT,M3.2.0,M11.1.0"),
)


def unit(*parts: object) -> float:
    """A number in [0, 1) that is always the same for the same parts. Cheap and even enough."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) / 2**32


def short_id(*parts: object) -> str:
    """A 22-character id that is always the same for the same parts."""
    dice = random.Random("/".join(map(str, parts)))
    return "".join(dice.choices(_ID_LETTERS, k=22))


@dataclass(frozen=True, slots=True)
class Identity:
    """What never changes about one hub."""

    seed: int
    index: int
    node_id: str
    serial: str
    name: str
    fw_version: str  # what it left the factory with
    utc_offset_h: int
    time_zone: str
    posix_zone: str
    mapped_days_ago: int

    def unit(self, salt: str) -> float:
        """This hub's own number in [0, 1) for a purpose."""
        return unit(self.seed, self.index, salt)


def hub_name(index: int) -> str:
    spot = SPOTS[index % len(SPOTS)]
    if index < len(SPOTS):
        return spot
    lap, place = divmod(index // len(SPOTS) - 1, len(PLACES))
    house = PLACES[place] if lap == 0 else f"{PLACES[place]} {lap + 1}"
    return f"{house} {spot.lower()}"


def identity(seed: int, index: int) -> Identity:
    dice = random.Random(f"hub/{seed}/{index}")
    offset, zone, posix_zone = ZONES[index % len(ZONES)]
    return Identity(
        seed=seed,
        index=index,
        node_id="".join(dice.choices(_ID_LETTERS, k=22)),
        serial=f"N03HA{dice.randrange(30000, 35999)}B{dice.randrange(1000, 9999)}",
        name=hub_name(index),
        fw_version=dice.choice(("5.3.2", "5.3.2", "5.4.1")),
        utc_offset_h=offset,
        time_zone=zone,
        posix_zone=posix_zone,
        mapped_days_ago=dice.randrange(40, 900),
    )
