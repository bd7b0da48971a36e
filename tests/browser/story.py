"""The story of one install, as a person clicks it."""

from collections.abc import Iterator
from contextlib import contextmanager
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
            lambda said: (
                complaints.append(said.text) if said.type in {"error", "warning"} else None
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
    page.get_by_role("link", name="Review update").first.click()
    return page.locator(".facts dd strong").first.inner_text()
