"""Compare firmware versions by what they mean, not by how they are spelled.

The normal form: outer spaces and a leading "v" or "version" are dropped, letter case does not
count, trailing ".0" parts are dropped, and a build suffix ("+build7", " build 7", "(build 7)") is a
fact of its own. Two versions are the same when their normal forms are and no two different builds
are named. What is stored and shown is always the original text.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_PREFIX = re.compile(r"^(?:version|ver|v)[. ]?\s*(?=\d)")
_BUILD = re.compile(r"\s*(?:\+|[\s._-]*\(?\s*build(?![a-z]))[\s._:-]*(?P<build>[^)]*?)[\s)]*$")
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
# What comes before the release of the same numbers (Semantic Versioning 2.0.0, 9 and 11).
_PRE_RELEASE = re.compile(r"[-._ ]?(?:alpha|beta|pre|preview|rc|dev|snapshot|a|b)(?![a-z])")


class Version(NamedTuple):
    """A version text in its parts."""

    numbers: tuple[int, ...]
    """Without trailing zeros; empty when the text does not begin with a number."""
    rest: str
    """What follows the numbers, such as "-rc1"."""
    build: str


@lru_cache(maxsize=4096)
def parse_version(text: str) -> Version:
    """Return the parts of a version text. Accepts any text. Kept, since lists compare many."""
    plain = _PREFIX.sub("", " ".join(text.casefold().split()), count=1)
    build = ""
    found = _BUILD.search(plain)
    if found and found.start():
        plain, build = plain[: found.start()], found["build"].removeprefix("build").strip(" ._-")
    start = _NUMBERS.match(plain) if plain.isascii() else None
    if start is None:
        return Version((), plain, build)
    numbers = [int(part[:18]) for part in start[0].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return Version(tuple(numbers), plain[start.end() :], build)


def is_same_version(one: str, other: str) -> bool:
    """Do both texts name the same version? An empty text names none."""
    if not one.strip() or not other.strip():
        return False
    mine, theirs = parse_version(one), parse_version(other)
    if mine[:2] != theirs[:2]:
        return False
    return not (mine.build and theirs.build) or mine.build == theirs.build


def spellings(texts: Iterable[str], version: str) -> list[str]:
    """Return those of these texts that spell exactly this version: one with a build suffix is
    another than one without.
    """
    wanted = parse_version(version)
    return [text for text in texts if parse_version(text) == wanted]


def is_older_version(one: str, other: str) -> bool:
    """Does the first text surely name an older version than the other?

    A pre-release is older than the release of its numbers. Texts without numbers, and variants of
    the same numbers whose order nothing tells ("5.3.3-eu"), are not called older.
    """
    mine, theirs = parse_version(one), parse_version(other)
    if not mine.numbers or not theirs.numbers:
        return False
    if mine.numbers != theirs.numbers:
        return mine.numbers < theirs.numbers
    if mine.rest == theirs.rest:
        return bool(mine.build and theirs.build) and _natural(mine.build) < _natural(theirs.build)
    is_before = [bool(_PRE_RELEASE.match(version.rest)) for version in (mine, theirs)]
    if all(is_before):
        return _natural(mine.rest) < _natural(theirs.rest)
    return is_before[0] and not theirs.rest


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """Return a sort key by which "rc2" comes before "rc10"."""
    return [
        (False, int(part[:18]), "") if part[0] in "0123456789" else (True, 0, part)
        for part in re.findall(r"[0-9]+|[^0-9]+", text)
    ]
