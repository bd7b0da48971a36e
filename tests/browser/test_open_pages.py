"""Pages that stay open: they change in place, and what a person does there stays."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.checks import fits

pytestmark = [pytest.mark.browser, pytest.mark.processes]
# Ask at once, as when a person comes back to the tab.
ASK = "() => htmx.trigger(document.querySelector('[data-poll]'), 'seen')"
SELECTED = "() => window.getSelection().toString()"
ABOVE = """() => document.activeElement.getBoundingClientRect().bottom
  <= document.getElementById('reconnecting').getBoundingClientRect().top"""
WIDTHS = (320, 390, 640)


def as_if_changed(page: Page) -> None:
    """Let every question of an open page be asked as by one that knows nothing yet."""

    def older(route: Route) -> None:
        route.continue_(url=re.sub(r"\bv=[^&]*", "v=0", route.request.url))

    page.route("**/live/**", older)


def ask(page: Page) -> int:
    """Let the page ask now; return the status."""
    with page.expect_response("**/live/**") as answered:
        page.evaluate(ASK)
    page.wait_for_timeout(100)  # htmx settles after 20 ms
    return answered.value.status


def first_hub(page: Page) -> None:
    page.goto("/")
    page.locator("#hub-list .name").first.click()
    page.wait_for_selector("#hub")
    page.wait_for_load_state()  # with its scripts


def test_what_has_the_focus_or_is_selected_stays_so(page: Page) -> None:
    first_hub(page)
    assert ask(page) == 204
    as_if_changed(page)
    link = page.locator("#hub .crumbs a")
    link.focus()
    page.evaluate(
        "() => window.getSelection().selectAllChildren(document.querySelector('dd.mono'))"
    )
    chosen = page.evaluate(SELECTED)
    page.evaluate("() => { document.querySelector('#hub .lead').textContent = 'old'; }")
    assert ask(page) == 200
    expect(page.locator("#hub .lead")).not_to_have_text("old")
    expect(link).to_be_focused()
    assert chosen
    assert page.evaluate(SELECTED) == chosen


def test_the_chips_of_the_list_and_what_chooses_all_keep_the_focus(page: Page) -> None:
    as_if_changed(page)
    for wanted in (page.locator("#chips a").nth(1), page.locator("#choose-all")):
        page.goto("/")
        wanted.focus()
        assert ask(page) == 200
        expect(wanted).to_be_focused()


def test_a_page_asks_as_often_after_a_change_as_before(page: Page) -> None:
    as_if_changed(page)
    first_hub(page)
    for _ in range(5):
        assert ask(page) == 200
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(ASK)
    page.wait_for_timeout(500)
    assert len([one for one in asked if "/live/" in one]) == 1


def test_a_person_who_may_no_longer_look_reads_so_instead_of_old_content(page: Page) -> None:
    first_hub(page)
    page.evaluate("() => { window.isOld = true; }")
    page.route("**/live/**", lambda route: route.fulfill(status=404, body="gone"))
    page.evaluate(ASK)
    page.wait_for_function("() => !window.isOld")


PORTAL = "<!doctype html><h1>SSO portal</h1><form><input type=password></form>"


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize("start", ["list", "hub"])
def test_a_proxys_sign_in_page_never_enters_ours(page: Page, status: int, start: str) -> None:
    page.goto("/") if start == "list" else first_hub(page)
    page.evaluate("() => { window.isOld = true; }")
    page.route(
        "**/live/**",
        lambda route: route.fulfill(status=status, body=PORTAL, content_type="text/html"),
    )
    page.evaluate(ASK)
    page.wait_for_function("() => !window.isOld && document.querySelector('[data-poll]')")
    page.wait_for_load_state()
    # the page is loaded again once, not for ever
    page.evaluate("() => { window.isOld = true; }")
    page.evaluate(ASK)
    expect(page.locator("#reconnecting")).to_be_visible()
    assert page.evaluate("() => window.isOld")
    assert page.locator("text=SSO portal").count() == 0
    page.unroute("**/live/**")
    assert ask(page) in {200, 204}
    expect(page.locator("#reconnecting")).to_be_hidden()


def test_a_proxy_without_its_server_leaves_the_page_as_it_is(page: Page) -> None:
    first_hub(page)
    page.evaluate("() => { window.isOld = true; }")
    page.route("**/live/**", lambda route: route.fulfill(status=502, body="Bad gateway"))
    page.evaluate(ASK)
    expect(page.locator("#reconnecting")).to_be_visible()
    assert page.evaluate("() => window.isOld")
    page.unroute("**/live/**")
    assert ask(page) == 204


def test_a_page_whose_database_is_away_stays_and_says_so_until_it_is_back(page: Page) -> None:
    first_hub(page)
    before = page.locator("main").inner_text()
    words = "The server cannot reach its data right now. This page may be out of date."
    page.route(
        "**/live/**",
        lambda route: route.fulfill(
            status=503, body=words, content_type="text/plain", headers={"HX-Thermacell": "1"}
        ),
    )
    page.evaluate(ASK)
    expect(page.locator("#reconnecting")).to_contain_text(words)
    assert page.locator("main").inner_text().split()[:20] == before.split()[:20]
    page.unroute("**/live/**")
    assert ask(page) in {200, 204}
    expect(page.locator("#reconnecting")).to_be_hidden()


@pytest.mark.parametrize("page", [{}, {"locale": "de-DE"}], ids=["en", "de"], indirect=True)
def test_a_lost_connection_is_said_in_full_and_hides_nothing(page: Page) -> None:
    page.route("**/live/**", lambda route: route.abort())
    page.evaluate(ASK)
    notice = page.locator("#reconnecting")
    expect(notice).to_be_visible()
    expect(page.locator("#said")).to_have_text(notice.inner_text())
    for width in WIDTHS:
        assert fits(page, width) == []
        page.set_viewport_size({"width": width, "height": 500})
        box = notice.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, width
        page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
        page.locator("footer a").last.focus()
        page.wait_for_function(ABOVE)  # what has the focus is not behind the notice
    page.unroute("**/live/**")
    page.evaluate(ASK)
    expect(notice).to_be_hidden()


def test_a_search_says_what_it_found(page: Page) -> None:
    name = page.locator("#hub-list .name").first.inner_text()
    page.locator("#q").fill(name)
    expect(page.locator("#said")).to_contain_text(f"“{name}”")
    page.locator("#q").fill("no such hub")
    expect(page.locator("#said")).to_have_text("0 hubs match “no such hub”.")


def test_back_after_a_search_whose_session_is_over_leads_to_the_sign_in(page: Page) -> None:
    page.locator("#q").fill("porch")
    page.wait_for_url("**/?*q=porch*")
    page.goto("/history/")
    page.context.clear_cookies()
    page.go_back()
    expect(page.get_by_label("Password")).to_be_visible()


def test_what_is_asked_after_a_search_comes_back_to_it(page: Page) -> None:
    page.locator("#q").fill("a")
    page.wait_for_url("**/?*q=a*")
    page.get_by_role("button", name="Check now").click()
    page.wait_for_url("**/?*q=a*")
    expect(page.locator(".notice").first).to_contain_text("Checking")


@pytest.mark.parametrize("page", [{"email": "cabin@example.com"}], ids=["cabin"], indirect=True)
def test_the_menu_of_households_opens_within_the_screen(page: Page) -> None:
    page.goto("/households/new/")
    page.get_by_label("Name").fill("A summer house with a rather long name, by the lake")
    page.get_by_label("Time zone").select_option("Europe/Berlin")
    page.locator("main form button").first.click()
    page.wait_for_load_state()
    page.goto("/")
    menu = page.locator("details.house")
    menu.locator("summary").click()
    for width in (*WIDTHS, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        for one in menu.locator("form, form button, form a").all():
            box = one.bounding_box()
            assert box is not None
            assert box["x"] >= 0, width
            assert box["x"] + box["width"] <= width, width
