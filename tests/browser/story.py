"""The story of one install, as a person clicks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright

PASSWORD = "mosquito-free-evening"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def person(
    opened: Browser, url: str, email: str, *, complaints: list[str] | None = None, **context: Any
) -> Iterator[Page]:
    """A signed-in person's page; what the console complains of is collected."""
    room = opened.new_context(base_url=url, **context)
    page = room.new_page()
    if complaints is not None:
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text) if message.type in {"error", "warning"} else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    page.locator("#id_login").fill(email)
    page.locator("#id_password").fill(PASSWORD)
    page.locator("form:has(#id_password) button[type=submit]").click()
    page.wait_for_url(f"{url}/")
    try:
        yield page
    finally:
        room.close()


def review(page: Page) -> str:
    """Open the form of the first hub with new firmware; return the hub's name."""
    page.locator("#hub-list").get_by_role("link", name="Review update").first.click()
    return page.locator(".crumbs a").last.inner_text()


def picture(page: Page, path: Path) -> None:
    """Take a picture of the whole page. The window is as high as the page meanwhile, so that what
    stands at the window's end is not in the middle.
    """
    size = page.viewport_size
    assert size is not None
    height = max(size["height"], page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": size["width"], "height": height})
    page.screenshot(path=path, animations="disabled")
    page.set_viewport_size(size)
