"""Take the pictures of the README: `make screenshots` writes docs/screenshots/.

That of Home Assistant is var/homeassistant/pictures/device.png, made by `make homeassistant`.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.browser.story import browser, person, picture, review
from tests.support.product import ROOT, Product

FOLDER = ROOT / "docs" / "screenshots"
LOOKS: dict[str, dict[str, Any]] = {
    "light-desk": {"color_scheme": "light", "viewport": {"width": 1180, "height": 860}},
    "dark-phone": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}
PAGES = {"history": "/history/", "audit": "/audit/", "accounts": "/accounts/", "you": "/profile/"}


def take(page: Page, name: str) -> None:
    page.wait_for_timeout(300)
    picture(page, FOLDER / f"{name}.png")


def main() -> None:
    """Run a demo of its own, click through it once in each look, and keep what it showed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Product(Path(folder) / "demo") as product,
        sync_playwright() as playwright,
        browser(playwright, os.environ["CHROMIUM"]) as opened,
    ):
        for look, context in LOOKS.items():
            with person(opened, product.url, "owner@example.com", **context) as page:
                page.wait_for_timeout(3500)
                review(page)
                take(page, f"confirm-{look}")
                page.get_by_role("button", name="now").first.click()
                page.wait_for_selector("#install")
                page.wait_for_timeout(9000)
                take(page, f"install-{look}")
                install = page.url
                page.goto("/")
                take(page, f"hubs-{look}")
                page.goto(page.locator("a.name").first.get_attribute("href") or "/")
                take(page, f"hub-{look}")
                page.goto(install)
                page.wait_for_selector('#install[data-state="verified"]', timeout=150_000)
                take(page, f"verified-{look}")
                for name, path in PAGES.items():
                    page.goto(path)
                    take(page, f"{name}-{look}")


if __name__ == "__main__":
    main()
