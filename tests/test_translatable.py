"""No words stand in a template but those that can be translated."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.base import Lexer, TokenType

FOLDER = Path(settings.BASE_DIR) / "templates"
# Names, the same in every language, and what begins an outline of a drawing.
NAMES = ("Thermacell Web", "Python", "Django")
TEMPLATES = sorted(path for ending in ("html", "txt") for path in FOLDER.rglob(f"*.{ending}"))
# What people read or hear of an element besides its text.
SPOKEN = re.compile(r'\b(?:aria-label|placeholder|title|alt|data-tab|data-chosen)="([^"]*)"')
TAG = re.compile(r"<script[^>]*>.*?</script>|<[a-zA-Z/!][^>]*>", re.DOTALL)
HOLE = "\x00"


def bare(path: Path) -> list[str]:
    """Return the words that would stay English: those outside of translate and blocktranslate."""
    text, is_inside = "", False
    for token in Lexer(path.read_text()).tokenize():
        name = token.contents.split()[0] if token.contents.split() else ""
        if token.token_type == TokenType.BLOCK and name in {"blocktranslate", "endblocktranslate"}:
            is_inside = name == "blocktranslate"
        text += token.contents if token.token_type == TokenType.TEXT and not is_inside else HOLE
    spoken = SPOKEN.findall(text) if path.suffix == ".html" else []
    words = TAG.sub("", text) if path.suffix == ".html" else text
    for name in NAMES:
        words = words.replace(name, "")
    found = [*words.split(HOLE), *(part for one in spoken for part in one.split(HOLE))]
    return [one.strip() for one in found if re.search("[A-Za-z]", re.sub(r"&#?\w+;", "", one))]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_word_of_a_template_can_be_translated(path: Path) -> None:
    assert bare(path) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_word_hides_in_a_filter_or_an_argument(path: Path) -> None:
    texts = re.findall(
        r"""(?:default:|pluralize|firstof [\w. ]+|what=|of=|act=|other=)(["'][A-Za-z ]*["'])""",
        path.read_text(),
    )
    assert [one for one in texts if one not in {"'dusk'"}] == []
