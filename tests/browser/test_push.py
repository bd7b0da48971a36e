"""A real Chromium receives a push message, its button acts, and the kept list is shown offline.

What only a vendor's push service can do is done by the test: it gives the address, and hands the
message over by Chromium's DevTools.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone, translation
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from devices.models import Plan, PushDevice, Role, Topic, User, When
from devices.notifications import push_key
from devices.notifications.delivery import Words, send_due
from devices.planning import tonight
from devices.planning.announcements import announce
from devices.security.one_time_tokens import digest_of
from tests.browser.story import browser
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_node, make_plan, make_user
from tests.support.hostile_server import reply
from tests.support.push_service import PLACE, Browser, PushService

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# What a vendor's push service would give this browser.
SUBSCRIBE = """(fields) => {
  const { endpoint, ...keys } = fields;
  PushManager.prototype.subscribe = async (wish) => {
    window.asked = wish.applicationServerKey.length;
    return { toJSON: () => ({ endpoint, keys }) };
  };
}"""
SHOWN = """async () => {
  const registration = await navigator.serviceWorker.ready;
  return (await registration.getNotifications()).map(({ title, body, actions, tag }) =>
    ({ title, body, tag, actions: actions.map((one) => one.title) }));
}"""
# No tool presses a notification's button: the worker gets the event that a press makes.
PRESS = """async (action) => {
  const [notification] = await self.registration.getNotifications();
  const event = new NotificationEvent("notificationclick", { notification, action });
  let done;
  event.waitUntil = (work) => { done = work; };
  self.dispatchEvent(event);
  await done;
}"""
PAPER = "getComputedStyle(document.documentElement).backgroundColor"
SOON_MS = 20_000  # on a machine that does much else
KEPT = "() => caches.has('kept')"


def soon(page: Page, script: str, is_right: Callable[[Any], object] = bool) -> Any:
    """Return what a promise of the page gives, once that is right."""
    for _ in range(SOON_MS // 100):
        found = page.evaluate(script)
        if is_right(found):
            return found
        page.wait_for_timeout(100)
    raise AssertionError(f"still {found!r}")


def enter(room: BrowserContext, user: User, url: str) -> None:
    room.clear_cookies()
    sign_in(room, user, url)


def sign_in(room: BrowserContext, user: User, url: str) -> None:
    client = Client()
    client.force_login(user)
    room.add_cookies(
        [{"name": name, "value": one.value, "url": url} for name, one in client.cookies.items()]
    )


def deliver(page: Page, url: str, content: bytes) -> None:
    """Hand a message to the page's worker, as the browser does when one comes."""
    found: list[str] = []
    tools = page.context.new_cdp_session(page)
    tools.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(one["registrationId"] for one in event["registrations"]),
    )
    tools.send("ServiceWorker.enable")
    for _ in range(SOON_MS // 50):  # the answer to this comes as an event
        page.wait_for_timeout(50)
        if found:
            break
    assert found, "the browser names no service worker"
    message = {"origin": url, "registrationId": found[-1], "data": content.decode()}
    tools.send("ServiceWorker.deliverPushMessage", message)
    tools.detach()


def sent(service: PushService, keys: Browser, plan: Plan) -> bytes:
    """Let the worker send a notice about this plan to our push service; return its content."""
    now = timezone.now()
    ends = now + timedelta(hours=8)
    announce([plan], household=plan.household, now=now, not_after=ends, until=ends)
    send_due(now, words=Words(not_tonight=tonight.link_for))
    (seen,) = service.seen
    return keys.read(seen.body)


def test_a_push_message_is_shown_its_button_acts_and_the_kept_list_ends_with_the_session(
    live_server: LiveServer,
    chromium: str,
    push_service: PushService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs beside us
    url, keys = live_server.url, Browser()
    household = make_household("Garden house")
    owner = make_user(role=Role.OWNER, household=household, language="de")
    other = make_user(role=Role.OWNER, household=household)
    node = make_node(make_account(household), name="Back porch")
    plan = make_plan(node, when=When.TONIGHT, window_start="22:00", window_end="05:00")
    plan.refresh_from_db()  # its times as times
    with sync_playwright() as playwright, browser(playwright, chromium) as opened:
        room = opened.new_context(base_url=url, locale="de-DE", permissions=["notifications"])
        enter(room, owner, url)
        page = room.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))

        # a press turns it on
        page.goto("/profile/device/")
        page.evaluate(SUBSCRIBE, keys.fields(push_service.endpoint))
        page.locator("form[data-push=off] button").click()
        expect(page.locator(".lines")).to_contain_text("Chrome", timeout=SOON_MS)
        assert PushDevice.objects.get().user == owner

        # a message is shown, with its button
        deliver(page, url, sent(push_service, keys, plan))
        (shown,) = soon(page, SHOWN)
        with translation.override("de"):
            assert shown["title"] == f"Back porch: {Topic.PLANNED.label}"
            assert shown["actions"] == [translation.gettext("Not tonight")]
        assert "22:00" in shown["body"]

        # the button puts it off, without a page and without the cookie
        was = plan.not_before
        room.service_workers[0].evaluate(PRESS, "off")
        plan.refresh_from_db()
        assert plan.not_before > was
        soon(page, SHOWN, lambda found: [one["actions"] for one in found] == [[]])

        # the list is kept by a press, shown without a connection, with its age
        page.locator("[data-do=keep]").click()
        expect(page.locator("[data-do=forget]")).to_be_visible(timeout=SOON_MS)
        room.set_offline(True)
        page.goto("/")
        expect(page.locator("table")).to_contain_text("Back porch", timeout=SOON_MS)
        expect(page.locator("[data-age]")).to_contain_text("vor", timeout=SOON_MS)
        assert page.evaluate(PAPER) == "rgb(248, 245, 239)"  # with its style
        room.set_offline(False)  # then the page is loaded again by itself
        expect(page.locator("#hub-list")).to_contain_text("Back porch", timeout=SOON_MS)
        soon(page, KEPT)

        # another person who signs in there ends it
        enter(room, other, url)
        page.goto("/account/login/")
        soon(page, KEPT, lambda is_kept: not is_kept)
        room.set_offline(True)
        page.goto("/planned/")
        expect(page.locator("main")).not_to_contain_text("Back porch", timeout=SOON_MS)
        expect(page.locator("h1")).to_have_count(1, timeout=SOON_MS)
        room.set_offline(False)
        expect(page.locator("#planned")).to_be_visible(timeout=SOON_MS)

        # and so does a sign-out
        page.goto("/profile/device/")
        page.locator("[data-do=keep]").click()
        expect(page.locator("[data-do=forget]")).to_be_visible(timeout=SOON_MS)
        page.goto("/account/logout/")
        page.locator("main form button").first.click()
        page.wait_for_url("**/account/login/")
        soon(page, KEPT, lambda is_kept: not is_kept)
        assert complaints == []
        room.close()


# The browser's own event comes from a vendor's service: the worker gets one like it.
RENEW = """async ([old, fields]) => {
  const { endpoint, ...keys } = fields;
  PushManager.prototype.subscribe = async (wish) => {
    self.asked = wish.applicationServerKey;
    return { toJSON: () => ({ endpoint, keys }) };
  };
  const event = new ExtendableEvent("pushsubscriptionchange");
  event.oldSubscription = old && { endpoint: old };
  let done;
  event.waitUntil = (work) => { done = work; };
  self.dispatchEvent(event);
  await done;
  return self.asked;
}"""


def test_a_browser_that_changes_its_address_by_itself_goes_on_getting_messages(
    live_server: LiveServer,
    chromium: str,
    push_service: PushService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    url, first, second = live_server.url, push_service.endpoint, Browser()
    household = make_household("Garden house")
    owner = make_user(role=Role.OWNER, household=household)
    plan = make_plan(make_node(make_account(household)), when=When.TONIGHT)
    with sync_playwright() as playwright, browser(playwright, chromium) as opened:
        room = opened.new_context(base_url=url, permissions=["notifications"])
        enter(room, owner, url)
        page = room.new_page()
        page.goto("/profile/device/")
        page.evaluate(SUBSCRIBE, Browser().fields(first))
        page.locator("form[data-push=off] button").click()
        expect(page.locator(".lines")).to_contain_text("Chrome", timeout=SOON_MS)
        worker = room.service_workers[0]

        # one that names another address than ours changes nothing
        fields = second.fields(f"{first}/renewed")
        worker.evaluate(RENEW, [f"{first}/other", fields])
        assert PushDevice.objects.get().endpoint_digest == digest_of(first)
        # nor does one whose person is signed out, and that names none
        room.clear_cookies(name=django_settings.SESSION_COOKIE_NAME)
        worker.evaluate(RENEW, [None, fields])
        assert PushDevice.objects.get().endpoint_digest == digest_of(first)
        # its own old address is enough
        assert worker.evaluate(RENEW, [first, fields]) == push_key.public_key()
        assert PushDevice.objects.get().endpoint_digest == digest_of(f"{first}/renewed")
        push_service.server.on(f"POST {PLACE}/renewed", reply(201))
        deliver(page, url, sent(push_service, second, plan))
        (shown,) = soon(page, SHOWN)
        assert "planned for tonight" in shown["body"]
        # and the browser is known as that device
        sign_in(room, owner, url)
        page.goto("/profile/device/")
        expect(page.locator(".lines")).to_contain_text("This device", timeout=SOON_MS)
        room.close()
