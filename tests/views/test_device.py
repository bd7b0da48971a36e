"""This device: turning push messages on and off there, the kept list, and the app."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.staticfiles import finders
from django.utils import timezone

from devices.models import AuditEvent, Channel, Delivery, PushDevice, Role, StaffRole, User
from devices.models.push import MOST_DEVICES
from devices.notifications import push_key
from devices.security.device_cookie import cookie_name
from devices.security.encryption import decrypt
from tests.support.client import Client
from tests.support.factories import PASSWORD, make_household, make_node, make_offer, make_user
from tests.support.notifications import ALL, Home
from tests.support.push_service import Browser

pytestmark = pytest.mark.django_db
ENDPOINT = "https://push.example/send/secret-of-this-browser"
PAGE = "/profile/device/"
ANDROID = "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0"


@pytest.fixture
def home() -> Home:
    return Home()


def come(user: User) -> Client:
    """Return the browser in which this person has just signed in."""
    client = Client(headers={"User-Agent": ANDROID})
    sign_in_at(client, user)
    return client


def sign_in_at(client: Client, user: User) -> None:
    answer = client.post("/account/login/", {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302


def turn_on(client: Client, endpoint: str = ENDPOINT) -> Any:
    return client.post(f"{PAGE}add/", Browser().fields(endpoint))


def text(client: Client, path: str = PAGE) -> str:
    return " ".join(client.get(path).content.decode().split())


def test_turning_it_on_adds_a_device_with_a_channel_for_each_household(home: Home) -> None:
    cabin = make_household("Cabin")
    cabin.memberships.create(user=home.owner, role=Role.VIEWER)
    make_household("Elsewhere")
    client = come(home.owner)
    assert push_key.public_key() in text(client)
    assert turn_on(client)["Location"] == PAGE
    device = PushDevice.objects.get()
    assert (device.user, device.service) == (home.owner, "push.example")
    assert {one.household.name for one in device.channels.all()} == {"Garden house", "Cabin"}
    assert [one.topics for one in device.channels.all()] == [ALL, ALL]
    page = text(client)
    assert "Firefox on Android" in page
    assert "This device</span>" in page
    assert "secret-of-this-browser" not in page
    event = AuditEvent.objects.get(action="notifications.device_added")
    assert event.sentence == f"{home.owner.email} turned push messages on for Firefox on Android."


@pytest.mark.parametrize("endpoint", ["", "http://push.example/x", "https://10.0.0.1/x"])
def test_what_is_no_subscription_changes_nothing_and_says_so(home: Home, endpoint: str) -> None:
    client = come(home.owner)
    turn_on(client, endpoint)
    assert "cannot be used" in text(client)
    assert not PushDevice.objects.exists()


def test_a_person_without_a_household_gets_nothing(client: Client) -> None:
    client.force_login(make_user())
    turn_on(client)
    assert "Only members of a household" in text(client)
    assert not PushDevice.objects.exists()


def test_one_device_too_many_is_refused_with_a_sentence(home: Home) -> None:
    client = come(home.owner)
    for number in range(MOST_DEVICES + 1):
        turn_on(client, f"{ENDPOINT}/{number}")
    assert f"You can have up to {MOST_DEVICES} devices" in text(client)
    assert PushDevice.objects.count() == MOST_DEVICES


def test_the_test_button_sends_through_this_device_alone(home: Home) -> None:
    client = come(home.owner)
    turn_on(client)
    device = PushDevice.objects.get()
    client.post(f"{PAGE}{device.pk}/test/")
    channel = Delivery.waiting().get().channel
    assert channel is not None
    assert channel.device == device


def test_each_household_has_its_own_topics_on_a_device(home: Home) -> None:
    client = come(home.owner)
    turn_on(client)
    device = PushDevice.objects.get()
    path = f"/households/{home.household.pk}/notifications/devices/{device.pk}/"
    assert "Firefox on Android" in text(client, path)
    client.post(path, {"is_on": "on", "topics": ["planned"], "pace": "at_once"})
    assert device.channels.get().topics == ["planned"]
    assert home.household.channels.get(device=None).topics == ALL  # the mails
    event = AuditEvent.objects.get(action="notifications.changed")
    assert "the push messages to Firefox on Android" in event.sentence
    joined = make_household("Later")
    joined.memberships.create(user=home.owner, role=Role.MEMBER)
    later = f"/households/{joined.pk}/notifications/devices/{device.pk}/"
    client.post(later, {"is_on": "on", "topics": ["failed"], "pace": "at_once"})
    assert device.channels.count() == 2


def test_only_the_person_themselves_changes_or_removes_a_device(home: Home) -> None:
    turn_on(come(home.owner))
    device = PushDevice.objects.get()
    other = come(make_user(role=Role.OWNER, household=home.household))
    place = f"/households/{home.household.pk}/notifications/devices/{device.pk}/"
    assert other.get(place).status_code == 404
    for act in ("remove", "test"):
        assert other.post(f"{PAGE}{device.pk}/{act}/").status_code == 404
    assert "Firefox" not in text(other)
    mine = come(home.owner)
    assert mine.post(f"{PAGE}{device.pk}/remove/").status_code == 302
    assert not PushDevice.objects.exists()
    assert AuditEvent.objects.filter(action="notifications.device_removed").count() == 1


def test_a_sign_out_ends_this_device_and_no_other(home: Home) -> None:
    here, there = come(home.owner), come(home.owner)
    turn_on(here)
    turn_on(there, f"{ENDPOINT}/2")
    here.post("/account/logout/")
    assert PushDevice.objects.count() == 1
    event = AuditEvent.objects.get(action="notifications.device_removed")
    assert event.why == "signed out there"
    assert "This device</span>" in text(there)


def test_a_session_that_is_over_ends_nothing(home: Home, time_machine: Any) -> None:
    client = come(home.owner)
    turn_on(client)
    time_machine.move_to(timezone.now() + django_settings.SESSION_LONGEST)
    assert client.get("/").status_code == 302
    assert PushDevice.objects.exists()
    sign_in_at(client, home.owner)
    assert "This device</span>" in text(client)


def test_another_person_who_signs_in_there_ends_it(home: Home, time_machine: Any) -> None:
    client = come(home.owner)
    turn_on(client)
    time_machine.move_to(timezone.now() + django_settings.SESSION_LONGEST)
    client.get("/")
    sign_in_at(client, make_user(role=Role.MEMBER, household=home.household))
    assert not PushDevice.objects.exists()


def sign_out_elsewhere(client: Client, user: User) -> None:
    there = come(user)
    turn_on(there, f"{ENDPOINT}/there")
    there.post("/account/sessions/")


def close(client: Client, user: User) -> None:
    from devices.households import staff
    from devices.models import Actor

    make_user(role=Role.OWNER, household=user.households.get())
    staff.close(user, actor=Actor.worker(), why="")


def change_password(client: Client, user: User) -> None:
    new = "an-even-quieter-evening"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    assert client.post("/account/password/change/", form).status_code == 302


def delete(client: Client, user: User) -> None:
    user.delete()


@pytest.mark.parametrize("event", [sign_out_elsewhere, close, change_password, delete])
def test_what_ends_a_persons_access_ends_their_devices(
    home: Home, event: Callable[[Client, User], None]
) -> None:
    client = come(home.owner)
    turn_on(client)
    device = PushDevice.objects.get()
    event(client, home.owner)
    assert not PushDevice.objects.filter(pk=device.pk).exists()
    assert PushDevice.objects.count() == (event is sign_out_elsewhere)
    if event is sign_out_elsewhere:
        event_row = AuditEvent.objects.get(action="notifications.device_removed")
        assert event_row.sentence.endswith("No more push messages go to: Firefox on Android.")


def test_who_leaves_a_household_gets_no_more_about_it_even_when_they_return(home: Home) -> None:
    make_user(role=Role.OWNER, household=home.household)
    client = come(home.owner)
    turn_on(client)
    client.post(f"/households/{home.household.pk}/leave/")
    assert not Channel.objects.filter(device__isnull=False).exists()
    assert PushDevice.objects.exists()


def test_a_cookie_that_was_changed_is_no_device(home: Home) -> None:
    client = come(home.owner)
    turn_on(client)
    value = client.cookies[cookie_name()].value
    for wrong in (value[:-2], "x", ""):
        client.cookies[cookie_name()] = wrong
        assert "This device</span>" not in text(client)


# --- an address that the browser changes by itself

RENEW = f"{PAGE}renew/"
NEW = f"{ENDPOINT}/renewed"


def renewed(client: Client, old: str = ENDPOINT, **changes: str) -> Any:
    """Answer as the service worker does, when the browser gave it another address."""
    return client.post(RENEW, Browser().fields(NEW) | {"old": old} | changes)


def end_session(client: Client, time_machine: Any) -> None:
    time_machine.move_to(timezone.now() + django_settings.SESSION_LONGEST)
    assert client.get("/").status_code == 302


def test_a_browser_that_renews_its_address_goes_on_getting_messages(
    home: Home, time_machine: Any
) -> None:
    client = come(home.owner)
    turn_on(client)
    device = PushDevice.objects.get()
    device.channels.update(topics=["planned"])
    before = client.cookies[cookie_name()].value
    end_session(client, time_machine)  # the old address, which only this browser has, is enough
    assert client.get(RENEW).json()["key"] == push_key.public_key()
    assert renewed(client).status_code == 204
    found = PushDevice.objects.get()
    assert (found.pk, found.user) == (device.pk, home.owner)
    assert decrypt(found.sealed_endpoint) == NEW
    assert (found.public_key, found.channels.get().topics) != (device.public_key, ALL)
    event = AuditEvent.objects.get(action="notifications.device_renewed")
    assert event.sentence == (
        f"The browser gave Firefox on Android of {home.owner.email} another push address."
    )
    assert "secret-of-this-browser" not in str(event.__dict__)
    sign_in_at(client, home.owner)
    assert "This device</span>" in text(client)
    client.cookies[cookie_name()] = before  # the cookie of the old address is no device
    assert renewed(client, NEW).status_code == 404


def test_a_browser_that_does_not_name_its_old_address_is_believed_with_a_session(
    home: Home, time_machine: Any
) -> None:
    client = come(home.owner)
    turn_on(client)
    assert renewed(client, old="").status_code == 204
    end_session(client, time_machine)
    assert renewed(client, old="", endpoint=f"{NEW}/2").status_code == 404
    assert decrypt(PushDevice.objects.get().sealed_endpoint) == NEW


def test_only_the_browser_of_the_device_gives_it_another_address(home: Home) -> None:
    client, other = come(home.owner), come(home.owner)
    turn_on(client)
    theirs = come(make_user(role=Role.OWNER, household=home.household))
    turn_on(theirs, f"{ENDPOINT}/theirs")
    for stranger in (Client(), other):  # even signed in, and with the address
        assert stranger.get(RENEW).status_code == 404
        assert renewed(stranger).status_code == 404
    assert renewed(theirs).status_code == 404  # a cookie, but of another device
    assert renewed(client, old=f"{ENDPOINT}/theirs").status_code == 404
    # an address of another device, or one that is never called
    for endpoint in (f"{ENDPOINT}/theirs", "https://10.0.0.1/x", ""):
        assert renewed(client, endpoint=endpoint).status_code == 409
    assert renewed(client, auth="AAAA").status_code == 409
    User.objects.filter(pk=home.owner.pk).update(is_active=False)
    assert renewed(client).status_code == 404
    kept = {decrypt(one.sealed_endpoint) for one in PushDevice.objects.all()}
    assert kept == {ENDPOINT, f"{ENDPOINT}/theirs"}
    assert not AuditEvent.objects.filter(action="notifications.device_renewed").exists()


def test_a_page_elsewhere_cannot_renew_it(home: Home) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(home.owner)
    client.cookies[cookie_name()] = turned_on_cookie(home.owner)
    assert renewed(client, old="").status_code == 403
    token = client.get(RENEW).json()["token"]
    fields = Browser().fields(NEW) | {"old": ENDPOINT}
    assert client.post(RENEW, fields, headers={"X-CSRFToken": token}).status_code == 204


def turned_on_cookie(user: User) -> str:
    there = come(user)
    turn_on(there)
    return str(there.cookies[cookie_name()].value)


# --- the kept list


def test_the_kept_list_says_when_it_was_and_for_whom(home: Home) -> None:
    make_offer(home.node)
    make_node(home.account, name="Jetty", is_online=False)
    make_node(name="Of others")
    client = come(home.owner)
    answer = client.get("/offline/list/")
    page = " ".join(answer.content.decode().split())
    assert "Back porch" in page
    assert "Online · New firmware" in page
    assert "Offline" in page
    assert "Of others" not in page
    assert "What has happened since is not known." in page
    assert " ago" not in page
    assert "today" not in page
    assert "csrf" not in page
    other = come(make_user(role=Role.MEMBER, household=home.household))
    marks = {one.get("/offline/list/")["Kept-For"] for one in (client, client, other)}
    assert len(marks) == 2
    User.objects.filter(pk=home.owner.pk).update(access_epoch=7)
    assert come(User.objects.get(pk=home.owner.pk)).get("/offline/list/")["Kept-For"] not in marks


def test_staff_and_strangers_keep_none(client: Client, enter: Callable[[User], Client]) -> None:
    support = enter(make_user(staff_role=StaffRole.SUPPORT))
    assert support.get("/offline/list/").status_code == 403
    assert "Staff keep no lists" in text(support)
    answer = client.get("/offline/list/")
    assert answer.status_code == 302
    assert not answer.has_header("Kept-For")


def test_a_long_list_is_cut_and_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.views.offline.MOST_KEPT", 2)
    for _ in range(3):
        make_node(home.account)
    assert "2 more hubs are not kept here." in text(come(home.owner), "/offline/list/")


# --- the app


@pytest.mark.parametrize(("language", "name"), [("en", "Hubs"), ("de", "Hubs"), ("es", "Hubs")])
def test_the_manifest_is_in_the_pages_language_and_its_icons_are_there(
    client: Client, language: str, name: str
) -> None:
    page = client.get("/account/login/", headers={"accept-language": language}).content.decode()
    assert f'rel="manifest" href="/app.{language}.webmanifest"' in page
    answer = client.get(f"/app.{language}.webmanifest")
    assert answer["Content-Type"] == "application/manifest+json"
    said = json.loads(answer.content)
    assert (said["lang"], said["short_name"], said["id"]) == (language, name, "/")
    assert said["start_url"] == said["scope"] == "/"
    icons = [*said["icons"], {"src": "/static/icons/apple-180.png", "sizes": "180x180"}]
    icons.append({"src": "/static/icons/badge-96.png", "sizes": "96x96"})
    for icon in icons:
        path = finders.find(icon["src"].removeprefix("/static/"))
        with open(str(path), "rb") as file:
            head = file.read(24)
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
        assert icon["sizes"] == f"{width}x{height}"
    assert {"any", "maskable"} == {icon["purpose"] for icon in said["icons"]}


def test_a_manifest_in_no_language_of_ours_is_not_there(client: Client) -> None:
    assert client.get("/app.xx.webmanifest").status_code == 404


def test_the_worker_is_for_every_page_and_always_asked_for_again(client: Client) -> None:
    answer = client.get("/sw.js")
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer["Cache-Control"] == "no-cache"
    policy = answer["Content-Security-Policy"]
    assert "connect-src 'self'" in policy
    assert "worker-src 'self'" in policy
    assert "/offline/list/" in answer.content.decode()
