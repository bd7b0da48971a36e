"""The kept list of hubs outlives a server that errs, and ends with a sign-in page or a refusal.

A real Chromium runs the product's service worker; the server before it answers as the test says.
"""

from collections.abc import Iterator

import pytest
from django.conf import settings
from playwright.sync_api import Page, sync_playwright

from tests.browser.story import browser
from tests.support.hostile_server import Behaviour, HostileServer, cut, raw, reply

pytestmark = pytest.mark.browser
ASK = """async (act) => {
  const registration = await navigator.serviceWorker.ready;
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((resolve) => { port1.onmessage = ({ data }) => resolve(data); });
  registration.active.postMessage({ act }, [port2]);
  return answer;
}"""
LIST = "GET /offline/list/"
OURS = reply(200, body="<p>Back porch</p>", headers={"Kept-For": "a" * 32})


def file(text: str, kind: str) -> Behaviour:
    """Answer with this text as this kind of file."""
    data = text.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return raw(head.encode() + data)


@pytest.fixture(scope="module")
def served() -> Iterator[HostileServer]:
    script = (settings.BASE_DIR / "static" / "sw.js").read_text()
    with HostileServer() as server:
        server.on("GET /", file("<!doctype html><title>Hubs</title>", "text/html"))
        server.on("GET /offline/", file("<!doctype html><title>Offline</title>", "text/html"))
        server.on("GET /sw.js", file(script, "text/javascript"))
        yield server


@pytest.fixture(scope="module")
def page(served: HostileServer, chromium: str) -> Iterator[Page]:
    with sync_playwright() as playwright, browser(playwright, chromium) as opened:
        room = opened.new_context(base_url=served.url)
        page = room.new_page()
        page.goto("/")
        page.evaluate("navigator.serviceWorker.register('/sw.js')")
        yield page
        room.close()


@pytest.fixture
def kept(served: HostileServer, page: Page) -> Page:
    """Return a page of a device that keeps the list."""
    served.on(LIST, OURS)
    assert page.evaluate(ASK, "keep") is True
    return page


@pytest.mark.parametrize(
    "answer",
    [
        *(reply(status) for status in (400, 404, 405, 408, 410, 421, 425, 429, 451)),
        *(reply(status) for status in (500, 502, 503)),
        reply(200, body="<p>Welcome to the guest network</p>"),  # not the list
        cut(),
    ],
)
def test_what_says_nothing_about_the_person_deletes_nothing(
    served: HostileServer, kept: Page, answer: Behaviour
) -> None:
    served.on(LIST, answer)
    assert kept.evaluate(ASK, "keep") is False
    assert kept.evaluate(ASK, "state") is True


@pytest.mark.parametrize(
    "answer", [reply(401), reply(403), reply(302, headers={"Location": "/account/login/"})]
)
def test_a_sign_in_page_or_a_refusal_deletes_it(
    served: HostileServer, kept: Page, answer: Behaviour
) -> None:
    served.on(LIST, answer)
    assert kept.evaluate(ASK, "keep") is False
    assert kept.evaluate(ASK, "state") is False
