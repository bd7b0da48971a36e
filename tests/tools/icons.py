"""Draw the app's icons from our own drawing, static/favicon.svg, with Chromium.

    python -m tests.tools.icons

A device cuts a maskable icon into its own shape: only its middle, four fifths wide, is always seen.
The badge is one colour on nothing, as Android's status line wants it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.story import browser
from tests.tools.find_browser import on_path

ROOT = Path(__file__).resolve().parents[2]
PAPER, LAMP, WHITE = "#f8f5ef", "#c46a0c", "#ffffff"


@dataclass(frozen=True, slots=True)
class Icon:
    """One picture: how much of its width the drawing takes, its colours, its corners."""

    name: str
    size: int
    share: float
    paper: str = PAPER
    ink: str = LAMP
    round_by: float = 0.0


ICONS = (
    Icon("app-192", 192, 0.78, round_by=0.2),
    Icon("app-512", 512, 0.78, round_by=0.2),
    Icon("app-maskable-512", 512, 0.68),
    Icon("apple-180", 180, 0.78),
    Icon("badge-96", 96, 0.92, paper="none", ink=WHITE),
)


def page_of(icon: Icon) -> str:
    """Return the icon as a page of its size."""
    drawn = re.search(r"<path[^>]*/>", (ROOT / "static" / "favicon.svg").read_text())
    assert drawn is not None
    scale, rest = icon.share * icon.size / 24, (1 - icon.share) * icon.size / 2
    return f"""<style>html, body {{ margin: 0; background: transparent }}</style>
<svg xmlns="http://www.w3.org/2000/svg" width="{icon.size}" height="{icon.size}" display="block">
<rect width="100%" height="100%" rx="{icon.round_by * icon.size}" fill="{icon.paper}"/>
<g transform="translate({rest} {rest}) scale({scale})" fill="none" stroke="{icon.ink}"
  stroke-width="2" stroke-linecap="round" stroke-linejoin="round">{drawn[0]}</g></svg>"""


def main() -> None:
    folder = ROOT / "static" / "icons"
    with sync_playwright() as playwright, browser(playwright, on_path()) as opened:
        for icon in ICONS:
            page = opened.new_page(viewport={"width": icon.size, "height": icon.size})
            page.set_content(page_of(icon))
            page.screenshot(path=folder / f"{icon.name}.png", omit_background=True)
            page.close()


if __name__ == "__main__":
    main()
