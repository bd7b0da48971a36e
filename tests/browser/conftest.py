"""The product as it is started, once for each runner, and its owner's page."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.browser.every_page import World, furnished
from tests.browser.story import browser, person
from tests.support.product import Product

# What the console says of answers that a test asks for, or refuses.
EXPECTED = (
    "Failed to load resource",
    "Response Status Error Code 404",
    "Response Status Error Code 503",
    "htmx:sendError",
    "htmx:afterRequest",  # logged only for failed requests
)


def control(product: Product, path: str, body: dict[str, object], method: str) -> None:
    """Tell the simulated cloud how its hubs are from now on."""
    answer = requests.request(method, f"{product.cloud_url}/control/{path}", json=body, timeout=10)
    answer.raise_for_status()


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The demo, with all of one household's hubs online and offered 6.1.0."""
    with Product(tmp_path_factory.mktemp("product")) as running:
        for hub in range(7):
            control(running, f"hubs/{hub}/online", {"online": True}, "PUT")
            control(running, f"hubs/{hub}/offer", {"fw_version": "6.1.0"}, "PUT")
        yield running


@pytest.fixture
def page(product: Product, chromium: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An owner's Hubs page, whose console stays quiet; a parameter says more of the browser, or
    who it is.
    """
    context: dict[str, Any] = {"locale": "en-US"} | getattr(request, "param", {})
    email = context.pop("email", "owner@example.com")
    complaints: list[str] = []
    with (
        sync_playwright() as playwright,
        browser(playwright, chromium) as opened,
        person(opened, product.url, email, complaints=complaints, **context) as opened_page,
    ):
        yield opened_page
    assert [one for one in complaints if not any(words in one for words in EXPECTED)] == []


@pytest.fixture
def world(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return the pages to visit and everybody's cookies, beside a server that shows them."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs beside us
    return furnished(live_server.url)
