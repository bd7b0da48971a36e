"""Every page and state on a desk, apart from the other walks: each takes one runner a long time."""

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import checks
from tests.browser.every_page import World, walk
from tests.browser.story import browser

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_every_page_on_a_desk_is_accessible_and_quiet(world: World, chromium: str) -> None:
    walk(world, chromium, "desk")


def test_the_walks_find_what_they_look_for(chromium: str) -> None:
    style = "<style>:focus { outline: 3px solid } #unseen { outline: 0 }"
    style += "#clip { overflow: clip } #clip b { display: block; width: 500px }</style>"
    hidden = style + "<a id=unseen href=#>a</a>"
    skipped = "<a id=seen href=#>b</a><a id=skipped href=# tabindex=-1>c</a>"
    dead = "<main><button id=dead type=button>d</button><form id=stuck></form>"
    dead += "<div id=clip><b>e</b></div></main>"
    with sync_playwright() as playwright, browser(playwright, chromium) as opened:
        page = opened.new_page()
        page.set_content(hidden + skipped + dead)
        found = checks.keyboard(page)
        assert {one.partition("<")[0] + one.split('"')[1] for one in found} == {
            "focus is not seen on unseen",
            "Tab does not reach skipped",
        }
        assert len(checks.without_scripts(page)) == 2
        assert checks.fits(page, 520) == []
        assert [one.split('"')[1] for one in checks.fits(page, 320)] == ["clip"]
