"""Every page and state: accessible on a phone, valid, and of use without scripts."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import checks
from tests.browser.every_page import World, rooms, walk
from tests.browser.story import browser
from tests.conftest import leave_out
from tests.support.client import Client

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_every_page_on_a_phone_is_accessible_quiet_and_fits(world: World, chromium: str) -> None:
    walk(world, chromium, "phone")


def test_every_page_is_valid_html(world: World) -> None:
    if shutil.which("java") is None:
        leave_out("No Java was found: the HTML validator needs one.")
    visits, cookies, _ = world
    documents = {}
    for visit in visits:
        client = Client()
        client.cookies.load(cookies[visit.who])
        documents[visit.name] = client.get(visit.path).content.decode()
    assert len(documents) > 90
    found = checks.invalid(documents)
    assert not found, "\n".join(found)


def test_every_page_can_be_used_without_scripts(world: World, chromium: str) -> None:
    visits, cookies, url = world
    troubles: list[str] = []
    with sync_playwright() as playwright, browser(playwright, chromium) as opened:
        people = rooms(opened, url, cookies, {"java_script_enabled": False})
        tabs = {who: room.new_page() for who, room in people.items()}
        for visit in visits:
            page = tabs[visit.who]
            page.goto(visit.path, wait_until="domcontentloaded")
            assert page.locator("h1").count() == 1, visit.name
            troubles += [f"{visit.name}: {one}" for one in checks.without_scripts(page)]
    assert not troubles, "\n".join(sorted(set(troubles)))
