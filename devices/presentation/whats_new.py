"""The changelog, for the page What is new: its sections as text that a template can show."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from django.conf import settings

# `code`, **strong**, *emphasis*, and of [a link](to) its words.
_MARKED = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^]]+)\]\([^)]+\)")
_KINDS = ("code", "strong", "em", "")

Spans = list[tuple[str, str]]
"""Pieces of a text, each with the name of its element, "" for plain text."""


@dataclass(slots=True)
class Change:
    """One change: a sentence or a few, and a table where it has one."""

    spans: Spans
    rows: list[list[Spans]] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """The changes of one kind."""

    title: str
    changes: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class Release:
    """One version; "" is what is not released yet."""

    version: str
    sections: list[Section] = field(default_factory=list)


@cache
def releases() -> list[Release]:
    """Return the versions of the changelog, newest first; none where the file is not installed."""
    try:
        return parse((Path(settings.BASE_DIR) / "CHANGELOG.md").read_text(encoding="utf-8"))
    except OSError:
        return []


def parse(text: str) -> list[Release]:
    """Return the versions in a text of the format of Keep a Changelog."""
    found: list[Release] = []
    for block in _blocks(text):
        if block.startswith("## "):
            name = block.removeprefix("## ").strip()
            found.append(Release("" if name == "Unreleased" else name))
        elif not found:
            continue
        elif block.startswith("### "):
            found[-1].sections.append(Section(block.removeprefix("### ").strip()))
        else:
            sections = found[-1].sections or [Section("")]
            found[-1].sections = sections
            if block.startswith("|") and sections[-1].changes:
                sections[-1].changes[-1].rows = _rows(block)
            else:
                sections[-1].changes.append(
                    Change(_spans(" ".join(block.removeprefix("- ").split())))
                )
    return found


def _blocks(text: str) -> list[str]:
    """Return headings, items, tables and paragraphs, each with all its lines."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        bare = line.strip()
        is_row, in_table = bare.startswith("|"), bool(blocks[-1]) and blocks[-1][0][:1] == "|"
        if not bare:
            blocks.append([])
            continue
        if line.startswith(("#", "- ")) or is_row != in_table:
            blocks.append([])
        blocks[-1].append(bare)
    return ["\n".join(lines) for lines in blocks if lines]


def _rows(block: str) -> list[list[Spans]]:
    lines = [line.strip("|").split("|") for line in block.splitlines()]
    cells = [[_spans(cell.strip()) for cell in line] for line in lines]
    return [row for row, line in zip(cells, lines, strict=True) if set("".join(line)) - set("-: ")]


def _spans(text: str) -> Spans:
    spans: Spans = []
    at = 0
    for found in _MARKED.finditer(text):
        spans.append(("", text[at : found.start()]))
        kind, words = next(
            (kind, words) for kind, words in zip(_KINDS, found.groups(), strict=True) if words
        )
        spans.append((kind, words))
        at = found.end()
    spans.append(("", text[at:]))
    return [(kind, words) for kind, words in spans if words]
