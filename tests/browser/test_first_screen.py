"""What fits on the first screen of a phone and of a desk, how large things are, and its keys."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from devices.models import Beat, Household, Proposal, Report, Role, StaffRole, State, User
from devices.models.lease import LOOPS
from tests.browser.story import browser
from tests.support.factories import make_account, make_household, make_job, make_node, make_offer
from tests.support.factories import make_user as new_user
from tests.test_access_table import signed_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
Open = Callable[[User, dict[str, Any]], Any]
# Where the visible part of the page ends: above what stays at the bottom of the screen.
FLOOR = """() => Math.min(innerHeight, ...[...document.querySelectorAll("header nav")]
  .filter((one) => getComputedStyle(one).position === "fixed")
  .map((one) => one.getBoundingClientRect().top))"""
ROWS_SEEN = f"""() => {{
  const floor = ({FLOOR})();
  return [...document.querySelectorAll(".rows tbody tr")]
    .filter((row) => row.getBoundingClientRect().bottom <= floor + 0.5).length;
}}"""
# A card answers a press anywhere on it, with one address.
CARDS_WITH_GAPS = f"""() => {{
  const floor = ({FLOOR})();
  return [...document.querySelectorAll(".rows tbody tr")].filter((row) => {{
    const box = row.getBoundingClientRect();
    if (box.bottom > floor) return false;
    const at = (x, y) => document.elementFromPoint(x, y)?.closest("a")?.href;
    const found = [box.left + 8, box.left + box.width / 2, box.right - 8].flatMap((x) =>
      [box.top + 8, box.top + box.height / 2, box.bottom - 8].map((y) => at(x, y)));
    return box.height < 44 || found.some((one) => !one || one !== found[0]);
  }}).map((row) => row.textContent.trim().slice(0, 40));
}}"""
# Links within a sentence are as high as their line (WCAG 2.5.8, "Inline").
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, summary, input, select")]
  .filter((one) => {
    const box = one.getBoundingClientRect();
    if (box.top >= innerHeight || !one.checkVisibility({visibilityProperty: true})) return false;
    if (one.matches(".skip, .name, p:not(.acts) a, .hidden-visually *")) return false;
    const held = one.closest("label.pick")?.getBoundingClientRect() ?? box;
    return held.height < 44 || held.width < 44;
  }).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture
def enter(live_server: LiveServer, chromium: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that opens a browser as this person, in this look."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs beside us

    @contextmanager
    def opened(user: User, look: dict[str, Any]) -> Iterator[Page]:
        cookies = signed_in(user)
        with sync_playwright() as playwright, browser(playwright, chromium) as chrome:
            room = chrome.new_context(base_url=live_server.url, reduced_motion="reduce", **look)
            room.add_cookies(
                [{"name": name, "value": cookies[name], "url": live_server.url} for name in cookies]
            )
            yield room.new_page()

    return opened


@pytest.fixture
def household() -> Household:
    """A household whose worker is alive, with hubs in every state that a list shows."""
    now = timezone.now()
    for loop in LOOPS:
        beat = now + timedelta(hours=1)
        Beat.objects.update_or_create(name=loop, defaults={"beat_at": beat, "held_until": beat})
    household = make_household("Garden house", support_until=now + timedelta(days=1))
    account = make_account(household)
    for name in ("Fire pit", "Pool deck", "Vegetable garden"):
        make_offer(make_node(account, name=name))
    make_job(make_node(account, name="Back porch"), state=State.RUNNING, pushed_at=now)
    make_job(make_node(account, name="Lake side"), state=State.UNVERIFIED, ended_at=now)
    make_offer(make_node(account, name="Boathouse", is_online=False))
    for name in ("Front porch", "Hot tub", "Gazebo", "Terrace"):
        make_node(account, name=name, fw_version="5.3.3")
    return household


@pytest.fixture
def owner(household: Household) -> User:
    return new_user(role=Role.OWNER, household=household)


@pytest.mark.parametrize("locale", ["en-US", "de-DE", "es-ES"])
def test_a_phone_shows_five_hubs_at_once_each_to_be_pressed_anywhere(
    enter: Any, owner: User, locale: str
) -> None:
    with enter(owner, PHONE | {"locale": locale}) as page:
        page.goto("/")
        assert page.evaluate(ROWS_SEEN) >= 5
        assert page.evaluate(CARDS_WITH_GAPS) == []
        assert page.evaluate(SMALL_TARGETS) == []
        act = page.locator("#act a").bounding_box()
        assert act is not None
        assert act["y"] + act["height"] < 400
        page.locator("#finding > summary").click()
        assert page.evaluate(SMALL_TARGETS) == []
        expect(page.locator("#q")).to_be_in_viewport()
        page.locator("details.me summary").click()
        assert page.evaluate(SMALL_TARGETS) == []
        expect(page.locator(".languages button").first).to_be_in_viewport()


@pytest.mark.parametrize("locale", ["en-US", "de-DE"])
def test_a_phone_of_support_shows_five_hubs_of_all_households_at_once(
    enter: Any, household: Household, locale: str
) -> None:
    until = timezone.now() + timedelta(days=1)
    other = make_account(make_household("Birch Landing", support_until=until))
    for n in range(10):
        make_offer(make_node(other, name=f"Gazebo {n}"))
    support = new_user(staff_role=StaffRole.SUPPORT)
    with enter(support, PHONE | {"locale": locale}) as page:
        page.goto("/")
        assert page.evaluate(ROWS_SEEN) >= 5
        assert page.evaluate(CARDS_WITH_GAPS) == []


def test_support_proposes_to_several_households_on_a_desk(enter: Any, household: Household) -> None:
    until = timezone.now() + timedelta(days=1)
    other = make_account(make_household("Birch Landing", support_until=until))
    make_offer(make_node(other, name="Gazebo"))
    support = new_user(staff_role=StaffRole.SUPPORT)
    with enter(support, DESK) as page:
        page.goto("/")
        page.get_by_label("Select all on this page").check()
        page.get_by_role("button", name="Review 4 selected").click()
        page.get_by_label("Select Fire pit").uncheck()
        page.get_by_role("button", name="Propose to the households").click()
        page.wait_for_url("**/proposals/")
        expect(page.get_by_text("Proposed for three hubs.")).to_be_visible()
    made = Proposal.objects.order_by("hub_name").values_list("hub_name", "household__name")
    assert list(made) == [
        ("Gazebo", "Birch Landing"),
        ("Pool deck", "Garden house"),
        ("Vegetable garden", "Garden house"),
    ]


def test_what_is_chosen_on_a_phone_is_reviewed_together(enter: Any, owner: User) -> None:
    with enter(owner, PHONE) as page:
        page.goto("/")
        expect(page.locator(".hubs .pick").first).to_be_hidden()
        page.locator("#finding > summary").click()
        page.get_by_label("Select Fire pit").check()
        page.get_by_label("Select Pool deck").check()
        page.get_by_role("button", name="Review 2 selected").click()
        expect(page.locator("main table tbody tr")).to_have_count(2)


@pytest.mark.parametrize("locale", ["en-US", "de-DE"])
def test_a_desk_of_staff_shows_twenty_hubs_at_once(
    enter: Any, household: Household, locale: str
) -> None:
    for house in ("Ortega", "Birch Landing"):
        until = timezone.now() + timedelta(days=1)
        account = make_account(make_household(house, support_until=until))
        for n in range(30):
            model = "lantern" if n % 2 else "thermacell-hub"
            make_offer(make_node(account, name=f"Gazebo {n}", model=model))
    support = new_user(staff_role=StaffRole.SUPPORT)
    with enter(support, DESK | {"locale": locale}) as page:
        page.goto("/")
        assert page.evaluate(ROWS_SEEN) >= 20
        page.locator("#model").select_option("lantern")
        page.wait_for_url("**/?*model=lantern*")
        expect(page.locator("#chip-model")).to_contain_text("30")
        expect(page.locator(".hubs tbody .model").first).to_have_text("lantern")
        assert page.evaluate(ROWS_SEEN) >= 20
        page.locator("#chip-model").click()
        expect(page.locator("#chip-model")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.mouse.wheel(0, 600)
        head = page.locator(".hubs thead th").nth(1)
        page.wait_for_function("() => scrollY > 170")
        box = head.bounding_box()
        assert box is not None
        assert abs(box["y"]) < 1
        page.locator(".jump input[type=number]").fill("2")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?*page=2*")
        page.locator(".hubs thead a").first.click()
        page.wait_for_url("**/?*sort=name*")
        expect(page.locator(".hubs thead [aria-sort=ascending]")).to_have_count(1)


LONG_NOTES = "Repellers warm up a minute sooner; the refill estimate follows cool evenings. " * 12


@pytest.mark.parametrize("locale", ["en-US", "de-DE", "es-ES"])
@pytest.mark.parametrize("case", ["plain", "tried before", "in use, long notes"])
def test_a_phone_shows_the_button_of_an_install_at_once(
    enter: Any, owner: User, household: Household, locale: str, case: str
) -> None:
    hub = make_node(household.accounts.get(), name="Arbour")
    offer = make_offer(hub, description=LONG_NOTES if "notes" in case else "Less heat.")
    if case == "tried before":
        make_job(hub, state=State.REJECTED, ended_at=timezone.now(), ota_job_id=offer.ota_job_id)
    if "use" in case:
        hub.touch(timezone.now(), repellent="protected")
    with enter(owner, PHONE | {"locale": locale}) as page:
        page.goto(f"/hubs/{hub.pk}/install/")
        button = page.locator("main form button.main").bounding_box()
        assert button is not None
        assert button["y"] + button["height"] <= page.evaluate(FLOOR)
        for fact in (offer.md5, offer.ota_job_id, hub.serial):
            expect(page.get_by_text(fact)).to_be_hidden()
        page.locator("details.details summary").click()
        for fact in (offer.md5, offer.ota_job_id, hub.serial):
            expect(page.get_by_text(fact)).to_be_visible()
        page.locator("main form button.main").click()
        page.wait_for_url("**/installs/*/")


def test_long_pages_are_folded_on_a_phone_and_stay_complete(
    enter: Any, owner: User, household: Household
) -> None:
    job = household.jobs.get(state=State.UNVERIFIED)
    now = timezone.now()
    for n in range(30):
        Report.objects.create(
            job=job,
            sequence=n,
            word="in-progress",
            info=f"Downloaded {n} KB",
            heard_at=now,
            last_heard_at=now,
        )
    with enter(owner, PHONE) as page:
        page.goto("/codes/")
        assert page.evaluate("document.documentElement.scrollHeight") < 1500
        page.goto("/codes/?q=TW-V01")
        expect(page.locator("#TW-V01")).to_be_visible()
        page.goto("/audit/")
        expect(page.locator("#id_person")).to_be_hidden()
        assert page.evaluate(ROWS_SEEN) >= 1
        page.locator(".fold summary").click()
        expect(page.locator("#id_person")).to_be_visible()
        page.goto(f"/installs/{job.pk}/")
        last = page.locator("#reports tbody tr").last
        expect(last).to_be_hidden()
        page.locator("#all-reports summary").click()
        expect(page.locator("#reports tbody tr")).to_have_count(30)
        expect(last).to_be_visible()
        expect(last).to_contain_text("Downloaded 29 KB")


def test_without_scripts_a_desk_has_nothing_folded(enter: Any, owner: User) -> None:
    with enter(owner, DESK | {"java_script_enabled": False}) as page:
        page.goto("/")
        expect(page.locator("#q")).to_be_visible()
        expect(page.locator("#chips")).to_be_visible()
        expect(page.locator("#finding > summary")).to_be_hidden()


def test_keys_walk_through_a_list_and_can_be_switched_off(enter: Any, owner: User) -> None:
    with enter(owner, DESK) as page:
        page.goto("/?sort=name")
        names = page.locator(".hubs .name")
        page.keyboard.press("j")
        expect(names.nth(0)).to_be_focused()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        expect(names.nth(1)).to_be_focused()
        page.goto("/?sort=name&show=new")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(page.locator("input[form=choose]:checked")).to_have_count(1)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.keyboard.press("Enter")
        page.wait_for_url("**/hubs/*/")
        User.objects.filter(pk=owner.pk).update(search_key=False)
        page.goto("/?sort=name")
        page.keyboard.press("j")
        expect(names.nth(0)).not_to_be_focused()


def test_all_of_a_page_are_chosen_with_one_press(enter: Any, owner: User) -> None:
    with enter(owner, DESK) as page:
        page.goto("/")
        page.get_by_label("Select all on this page").check()
        expect(page.locator("#chosen")).to_have_text("Review 3 selected")
        page.get_by_label("Select all on this page").uncheck()
        expect(page.locator("#chosen")).to_be_hidden()


def test_a_password_is_shown_while_it_is_typed(enter: Any, owner: User) -> None:
    with enter(owner, PHONE) as page:
        page.context.clear_cookies()
        page.goto("/account/login/")
        field, button = page.locator("#id_password"), page.locator(".reveal")
        field.fill("quiet-evening")
        expect(field).to_have_attribute("type", "password")
        button.click()
        expect(field).to_have_attribute("type", "text")
        expect(button).to_have_text("Hide the password")
        button.click()
        expect(field).to_have_attribute("type", "password")
        expect(field).to_have_value("quiet-evening")


def test_a_receipt_is_copied_and_shared(enter: Any, owner: User, household: Household) -> None:
    job = household.jobs.get(state=State.UNVERIFIED)
    shares = "navigator.share = async (what) => { window.shared = what; };"
    with enter(owner, PHONE | {"permissions": ["clipboard-read", "clipboard-write"]}) as page:
        page.add_init_script(shares)
        page.goto(f"/installs/{job.pk}/receipt/")
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == page.url
        page.get_by_role("button", name="Share").click()
        assert page.evaluate("window.shared") == {"url": page.url}
    with enter(owner, PHONE | {"java_script_enabled": False}) as page:
        page.goto(f"/installs/{job.pk}/receipt/")
        expect(page.get_by_role("button", name="Copy")).to_have_count(0)
