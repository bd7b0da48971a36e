"""Draw docs/architecture.svg from the real imports of devices/; --check only compares.

Every room or top-level module is a box. An arrow means "imports". An arrow that follows from two
others is left out, so that the picture stays readable.
"""

import ast
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "devices"
PICTURE = ROOT / "docs" / "architecture.svg"
# Low to high. A room may import from its own line and from every line before it.
LINES: tuple[tuple[str, ...], ...] = (
    ("rainmaker", "simcloud"),
    ("models",),
    ("security", "permissions", "taskqueue", "explanations", "audit"),
    ("notifications", "accounts", "households", "backup"),
    ("fleet",),
    ("installs",),
    ("planning",),
    ("presentation",),
    ("templatetags",),
    ("homeassistant", "worker", "request_scope"),
    ("tasks", "middleware", "context_processors", "forms"),
    ("views", "api", "cli"),
    ("server", "management", "signals", "urls"),
    ("apps",),
)
LINE_OF = {room: number for number, line in enumerate(LINES) for room in line}
ALONE = {"rainmaker", "simcloud"}
DJANGO = {"models", "permissions", "templatetags", "tasks", "middleware", "context_processors"}
DJANGO |= {"forms", "views", "management", "signals", "urls", "apps"}
MARGIN, HEIGHT, STEP, GAP, BEND = 28, 32, 74, 20, 8

Arrow = tuple[str, str]
Spot = tuple[str, int]
"""A box in its row, or the bend of a long arrow, named by the arrow, in a row it passes."""


def rooms() -> set[str]:
    """Return the packages and modules directly in devices/."""
    found = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in PACKAGE.glob("*/*.py")}
    return found - {"migrations", "locale"}


def imports() -> set[Arrow]:
    """Return (room, room it imports), wherever in a file the import stands."""
    known = rooms()
    arrows = set()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room not in known:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                first, _, rest = name.partition(".")
                target = rest.partition(".")[0]
                if first == "devices" and target in known - {room}:
                    arrows.add((room, target))
    return arrows


def reachable(start: str, arrows: Iterable[Arrow]) -> set[str]:
    """Return the rooms that can be reached from this one by at least one arrow."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        for source, target in arrows:
            if source == here and target not in found:
                found.add(target)
                waiting.append(target)
    return found


def needed(arrows: set[Arrow]) -> list[Arrow]:
    """Return the arrows that do not follow from others."""
    return sorted(
        (source, target)
        for source, target in arrows
        if not any(
            other != target and target in reachable(other, arrows)
            for start, other in arrows
            if start == source
        )
    )


def depths(arrows: set[Arrow]) -> dict[str, int]:
    """Return the row of each room: one above the highest it imports; 0 imports nothing."""
    depth: dict[str, int] = {}

    def of(room: str, path: tuple[str, ...] = ()) -> int:
        if room in path:
            sys.exit(f"These rooms import each other: {', '.join(path)}.")
        if room not in depth:
            below = [of(target, (*path, room)) for source, target in arrows if source == room]
            depth[room] = 1 + max(below, default=-1)
        return depth[room]

    for room in sorted(rooms()):
        of(room)
    return depth


def width(spot: Spot) -> int:
    return BEND if ">" in spot[0] else 9 * len(spot[0]) + 22


def placed(rows: list[list[Spot]], links: list[tuple[Spot, Spot]]) -> dict[Spot, float]:
    """Return the middle of each spot: near those it is linked to, none over another."""
    near: dict[Spot, list[Spot]] = {}
    for one, other in links:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    middle = {spot: 70.0 * place for row in rows for place, spot in enumerate(row)}
    for turn in range(60):
        for row in rows if turn % 2 else reversed(rows):
            wish = {
                spot: sum(middle[other] for other in near[spot]) / len(near[spot])
                if spot in near
                else middle[spot]
                for spot in row
            }
            if turn < 40:
                row.sort(key=lambda spot: (wish[spot], spot))
            _spread(row, wish, middle)
    left = min(middle[spot] - width(spot) / 2 for row in rows for spot in row)
    return {spot: at - left + MARGIN for spot, at in middle.items()}


def _spread(row: list[Spot], wish: dict[Spot, float], middle: dict[Spot, float]) -> None:
    """Place a row at its wishes; spots that would overlap share the shift."""
    groups: list[tuple[list[Spot], float]] = []
    for spot in row:
        group, start = [spot], wish[spot] - width(spot) / 2
        while groups and groups[-1][1] + _length(groups[-1][0]) + GAP > start:
            group = groups.pop()[0] + group
            offset, starts = 0.0, []
            for one in group:
                starts.append(wish[one] - width(one) / 2 - offset)
                offset += width(one) + GAP
            start = sum(starts) / len(starts)
        groups.append((group, start))
    for group, start in groups:
        for one in group:
            middle[one] = start + width(one) / 2
            start += width(one) + GAP


def _length(group: list[Spot]) -> float:
    return sum(width(spot) for spot in group) + GAP * (len(group) - 1)


def picture() -> str:
    """Return the SVG."""
    if homeless := rooms() - LINE_OF.keys():
        sys.exit(f"Give {', '.join(sorted(homeless))} a line in LINES of {Path(__file__).name}.")
    arrows = imports()
    wrong = {(a, b) for a, b in arrows if LINE_OF[a] < LINE_OF[b]}
    right = arrows - wrong
    depth = depths(right)
    rows: list[list[Spot]] = [[] for _ in range(max(depth.values()) + 1)]
    for room in sorted(depth):
        rows[depth[room]].append((room, depth[room]))
    lines: dict[Arrow, list[Spot]] = {}
    for source, target in needed(right):
        bends = range(depth[source] - 1, depth[target], -1)
        passed: list[Spot] = [(f"{source}>{target}", row) for row in bends]
        for spot in passed:
            rows[spot[1]].append(spot)
        lines[source, target] = [(source, depth[source]), *passed, (target, depth[target])]
    links = [pair for line in lines.values() for pair in pairwise(line)]
    middle = placed(rows, links)
    wide = max(at + width(spot) / 2 for spot, at in middle.items()) + MARGIN
    top = {room: MARGIN + (len(rows) - 1 - row) * STEP for room, row in depth.items()}
    high = MARGIN * 2 + len(rows) * STEP
    drawn = [_line(line, middle, len(rows)) for line in lines.values()]
    drawn += [
        _against(middle[a, depth[a]], top[a], middle[b, depth[b]], top[b]) for a, b in sorted(wrong)
    ]
    drawn += [_box(room, middle[room, row], top[room]) for room, row in sorted(depth.items())]
    text = "An arrow means: imports. Arrows that follow from others are left out."
    if wrong:
        text += " Dashed: against the direction."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" role="img">\n'
        "<title>The rooms of devices/ and what they import</title>\n"
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>\n'
        f'<rect class="paper" width="{wide:.0f}" height="{high}"/>\n'
        + "\n".join(drawn)
        + f'\n<text class="note" x="{MARGIN}" y="{high - MARGIN / 2}">{text}</text>\n</svg>\n'
    )


def _line(line: list[Spot], middle: dict[Spot, float], rows: int) -> str:
    x, y = middle[line[0]], MARGIN + (rows - 1 - line[0][1]) * STEP + HEIGHT
    path = f"M{x:.0f} {y}"
    for spot in line[1:]:
        before, x = x, middle[spot]
        top = MARGIN + (rows - 1 - spot[1]) * STEP
        half = (y + top) / 2
        path += f" C{before:.0f} {half:.0f} {x:.0f} {half:.0f} {x:.0f} {top}"
        y = top + HEIGHT
        if spot != line[-1]:
            path += f" V{y}"
    return f'<path class="arrow" marker-end="url(#tip)" d="{path}"/>'


def _against(x1: float, y1: float, x2: float, y2: float) -> str:
    y1, y2 = y1 + (HEIGHT if y2 > y1 else 0), y2 + (0 if y2 > y1 else HEIGHT)
    return (
        f'<path class="against" marker-end="url(#tip)" d="M{x1 - 12:.0f} {y1} '
        f'Q{min(x1, x2) - 30:.0f} {(y1 + y2) / 2:.0f} {x2 - 12:.0f} {y2}"/>'
    )


def _box(room: str, middle: float, top: int) -> str:
    kind = "alone" if room in ALONE else "django" if room in DJANGO else "room"
    wide = width((room, 0))
    return (
        f'<rect class="{kind}" x="{middle - wide / 2:.0f}" y="{top}" width="{wide}" '
        f'height="{HEIGHT}" rx="6"/>'
        f'<text class="name" x="{middle:.0f}" y="{top + HEIGHT / 2 + 5:.0f}">{room}</text>'
    )


STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1b2430}.name{text-anchor:middle}.note{fill:#4d5a6a}"
    ".paper{fill:#fff}rect{stroke-width:1.5}.room{fill:#dcebfa;stroke:#3573b1}"
    ".django{fill:#eef0f3;stroke:#77818e}.alone{fill:#e0f2e3;stroke:#3b8a4e}"
    "path{fill:none}.arrow{stroke:#8b96a4;stroke-width:1.3}.tip{fill:#6b7684}"
    ".against{stroke:#c2410c;stroke-width:1.5;stroke-dasharray:5 4}"
    "@media(prefers-color-scheme:dark){text{fill:#e6ebf2}.note{fill:#a7b2c0}.paper{fill:#12171e}"
    ".room{fill:#17324d;stroke:#6ea8e0}.django{fill:#262d36;stroke:#8b96a4}"
    ".alone{fill:#173522;stroke:#6cc083}.arrow{stroke:#6b7684}.tip{fill:#98a3b1}"
    ".against{stroke:#fb923c}}"
)


def main(arguments: list[str]) -> None:
    """Write the picture; with --check end with 1 when the one that is kept is another."""
    drawn = picture()
    if "--check" not in arguments:
        PICTURE.write_text(drawn, encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != drawn:
        sys.exit("docs/architecture.svg is out of date: run python docs/tools/draw_rooms.py")


if __name__ == "__main__":
    main(sys.argv[1:])
