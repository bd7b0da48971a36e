"""The first use, from the link that the start prints to a verified install, without reading.

A new owner holds a phone and presses only what the screen offers. What counts is how often.
"""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.browser.story import PASSWORD, browser
from tests.support.product import Product

pytestmark = [pytest.mark.browser, pytest.mark.processes]
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "locale": "en-US",
}
TYPED = {
    "Your name": "Robin Garden",
    "Your e-mail address": "robin@example.com",
    "Password": PASSWORD,
    "Name of the household": "Garden house",
}
# Set up, try with simulated hubs, review an update, install it.
MOST_PRESSES = 4
# At the pace of a real hub.
VERIFIED_WITHIN_MS = 300_000


class Thumb:
    """Counts what a person presses and types into."""

    def __init__(self, page: Page) -> None:
        self.page, self.presses, self.fields = page, 0, 0

    def press(self, what: Locator) -> None:
        expect(what).to_be_visible(timeout=60_000)
        what.tap()
        self.presses += 1

    def fill(self, label: str, text: str) -> None:
        field = self.page.get_by_label(label, exact=False).first
        field.tap()
        self.page.keyboard.type(text)
        self.fields += 1


def test_a_new_owner_gets_from_the_link_to_a_verified_install_in_few_presses(
    tmp_path: Path, chromium: str
) -> None:
    with (
        Product(tmp_path / "home", demo=False) as product,
        sync_playwright() as playwright,
        browser(playwright, chromium) as opened,
    ):
        link = re.search(rf"{product.url}/welcome/\S+/", "".join(product.lines))
        assert link
        room = opened.new_context(**PHONE)
        page = room.new_page()
        thumb = Thumb(page)
        began = time.monotonic()
        page.goto(link[0])
        for label, text in TYPED.items():
            thumb.fill(label, text)
        thumb.press(page.get_by_role("button", name="Set up"))
        thumb.press(page.get_by_role("button", name="Try with simulated hubs"))
        thumb.press(page.locator("#hub-list").get_by_role("link", name="Review update").first)
        thumb.press(page.get_by_role("button", name=re.compile("Install .* now")))
        confirmed = time.monotonic()
        expect(page.locator("#install")).to_have_attribute(
            "data-state", "verified", timeout=VERIFIED_WITHIN_MS
        )
        ended = time.monotonic()
        room.close()
    print(
        f"first use: {thumb.presses} presses and {thumb.fields} fields; "
        f"{confirmed - began:.0f} s to the confirmed install, {ended - began:.0f} s to verified"
    )
    assert thumb.presses <= MOST_PRESSES
    assert thumb.fields <= len(TYPED)
