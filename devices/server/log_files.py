"""The log files that the programs of a start write to: kept small, with a few older ones beside."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

LONGEST_BYTES, OLDER = 5_000_000, 3


def rotate(folder: Path, names: Iterable[str]) -> None:
    """Move what is in a log that has grown long to older files. Its program goes on writing to the
    same file: what it writes in that very moment may be lost.
    """
    for name in names:
        path = folder / f"{name}.log"
        with suppress(OSError):
            if path.stat().st_size > LONGEST_BYTES:
                _move_on(path)


def _move_on(path: Path) -> None:
    older = [path.with_name(f"{path.name}.{number}") for number in range(1, OLDER + 1)]
    for newer, oldest in reversed(list(pairwise(older))):
        if newer.exists():
            newer.replace(oldest)
    shutil.copyfile(path, older[0])
    with path.open("r+b") as file:
        file.truncate()
