"""The page Notifications: what people choose, and how they end it."""

from datetime import time, timedelta
from typing import Any

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone

from devices.models import AuditEvent, Channel, Delivery, Role, StaffRole
from devices.notifications.channels import provider_url
from devices.notifications.delivery import send_due, unsubscribe_token
from tests.support.client import Client
from tests.support.factories import make_household, make_user, sign_in
from tests.support.hostile_server import HostileServer
from tests.support.notifications import ALL, NOW, Home, service_url
from tests.support.smtp_server import SmtpServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Home:
    return Home()


def test_without_a_mail_server_the_page_says_so(home: Home, client: Client) -> None:
    home.say()
    send_due(NOW)
    home.channel.refresh_from_db()
    assert "EMAIL_URL" in home.channel.trouble.english
    sign_in(client, home.owner)
    page = client.get(reverse("notifications", args=[home.household.pk])).content.decode()
    assert "This server has no mail server yet" in page


def wishes(**changes: Any) -> dict[str, Any]:
    return {"is_on": "on", "topics": ALL, "pace": "at_once", "digest_at": "08:00"} | changes


def test_a_member_chooses_and_tries_it_out(client: Client, smtp: SmtpServer) -> None:
    household = make_household("Garden house")
    viewer = make_user(role=Role.VIEWER, household=household)
    sign_in(client, viewer)
    path = reverse("notifications", args=[household.pk])
    assert "Services" not in client.get(path).content.decode()
    fields = wishes(topics=["failed"], quiet_from="22:00", quiet_until="07:00")
    assert client.post(path, fields).status_code == 302
    channel = Channel.objects.get(user=viewer)
    assert (channel.topics, channel.quiet_from, channel.is_on) == (["failed"], time(22), True)
    client.post(reverse("notification_test", args=[household.pk, channel.pk]))
    send_due(timezone.now())
    (mail,) = smtp.messages
    assert "the test message you requested" in mail.get_content()
    assert AuditEvent.objects.filter(action="notifications.changed").count() == 1


@pytest.mark.parametrize("role", Role.values)
def test_everybody_who_belongs_finds_the_page(client: Client, role: str) -> None:
    household = make_household()
    sign_in(client, make_user(role=role, household=household))
    path = reverse("notifications", args=[household.pk])
    for page in (reverse("people", args=[household.pk]), reverse("profile")):
        assert f'href="{path}"' in client.get(page).content.decode(), page


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"topics": []}, "Select at least one topic"),
        ({"topics": ["nonsense"]}, "nonsense"),
        ({"quiet_from": "22:00"}, "Enter both times for quiet hours"),
        ({"quiet_from": "25:00", "quiet_until": "7"}, "Enter a valid time"),
        ({"pace": "hourly"}, "hourly"),
    ],
)
def test_what_makes_no_sense_is_said_and_nothing_kept(
    client: Client, home: Home, changes: dict[str, Any], error: str
) -> None:
    sign_in(client, home.owner)
    answer = client.post(reverse("notifications", args=[home.household.pk]), wishes(**changes))
    assert answer.status_code == 200
    assert error in answer.content.decode()
    home.channel.refresh_from_db()
    assert home.channel.topics == ALL


def test_an_owner_names_a_service_whose_address_is_never_shown_again(
    client: Client, home: Home, hook: HostileServer
) -> None:
    sign_in(client, home.owner)
    url = service_url(hook) + "/zaunkoenig-secret"
    path = reverse("notification_service_new", args=[home.household.pk])
    assert client.post(path, wishes(name="Chat", url=url)).status_code == 302
    channel = Channel.objects.get(user=None)
    assert provider_url(channel) == url
    pages = [
        client.get(reverse("notifications", args=[home.household.pk])),
        client.get(reverse("notification_service", args=[home.household.pk, channel.pk])),
        client.get(reverse("audit")),
    ]
    assert not any("zaunkoenig" in page.content.decode() for page in pages)
    assert "zaunkoenig" not in str(list(AuditEvent.objects.values()))
    kept = reverse("notification_service", args=[home.household.pk, channel.pk])
    assert client.post(kept, wishes(name="Family", url="")).status_code == 302
    channel.refresh_from_db()
    assert (channel.name, provider_url(channel)) == ("Family", url)
    client.post(reverse("notification_service_remove", args=[home.household.pk, channel.pk]))
    assert not Channel.objects.filter(user=None).exists()
    assert AuditEvent.objects.filter(action="notifications.removed").count() == 1


@pytest.mark.parametrize(
    "url",
    [
        "json://10.0.0.1/x",
        "jsons://169.254.169.254/latest",
        "mailto://user:pass@example.com",
        "syslog://",
        "windows://",
        "file:///etc/passwd",
        "ntfy://my-topic",
        "zulip://bot@evil.example/token",
        "nonsense",
        "discord://",
        "json://127.0.0.1:1@evil.example",
    ],
)
def test_an_address_this_server_may_not_call_is_refused_with_a_sentence(
    client: Client, home: Home, url: str
) -> None:
    sign_in(client, home.owner)
    path = reverse("notification_service_new", args=[home.household.pk])
    answer = client.post(path, wishes(name="Chat", url=url))
    assert answer.status_code == 200
    page = answer.content.decode()
    assert 'id="id_url_error"' in page
    assert not Channel.objects.filter(user=None).exists()


def test_a_household_has_only_so_many_services(client: Client, home: Home) -> None:
    for _ in range(10):
        home.service("ntfys://ntfy.sh/x")
    sign_in(client, home.owner)
    path = reverse("notification_service_new", args=[home.household.pk])
    answer = client.post(path, wishes(name="One more", url="ntfys://ntfy.sh/y"))
    assert "up to 10 services" in answer.content.decode()


def test_staff_who_look_are_not_notified(client: Client) -> None:
    household = make_household(support_until=timezone.now() + timedelta(days=1))
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    path = reverse("notifications", args=[household.pk])
    assert "Only members of the household" in client.get(path).content.decode()
    assert client.post(path, wishes()).status_code == 404
    assert not Channel.objects.exists()


def test_the_link_in_a_mail_ends_it_by_a_press_and_not_by_a_look(
    home: Home, smtp: SmtpServer
) -> None:
    home.say()
    send_due(NOW)
    (mail,) = smtp.messages
    address = str(mail["List-Unsubscribe"]).strip(" <>")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert address in mail.get_content()
    path = address.removeprefix("https://hubs.example.org")
    browser = Client(enforce_csrf_checks=True)  # a mail program has no form of ours
    assert "Unsubscribe from messages about Garden house?" in browser.get(path).content.decode()
    home.channel.refresh_from_db()
    assert home.channel.is_on
    answer = browser.post(path, {"List-Unsubscribe": "One-Click"})
    assert "You are unsubscribed" in answer.content.decode()
    home.channel.refresh_from_db()
    assert not home.channel.is_on
    event = AuditEvent.objects.get(action="notifications.off")
    assert (event.actor_name, event.via) == (home.owner.email, "link")
    assert browser.post(path).status_code == 200  # safe on repeat
    assert AuditEvent.objects.filter(action="notifications.off").count() == 1
    home.say()
    assert Delivery.objects.count() == 1


def test_a_link_that_was_changed_ends_nothing(home: Home, client: Client) -> None:
    token = unsubscribe_token(home.channel)
    for wrong in (token[:-2], token + "x", "1", "nonsense"):
        assert client.post(reverse("unsubscribe", args=[wrong])).status_code == 410
    home.channel.refresh_from_db()
    assert home.channel.is_on


def test_a_link_works_for_three_months(home: Home, client: Client) -> None:
    path = reverse("unsubscribe", args=[unsubscribe_token(home.channel)])
    for days, status in ((89, 200), (91, 410)):
        with time_machine.travel(timezone.now() + timedelta(days=days), tick=False):
            assert client.get(path).status_code == status


def test_someone_elses_channel_is_not_there(client: Client, home: Home) -> None:
    other = Home()
    sign_in(client, home.owner)
    for name in ("notification_test", "notification_service_remove"):
        path = reverse(name, args=[home.household.pk, other.channel.pk])
        assert client.post(path).status_code == 404
    mine = reverse("notification_service", args=[home.household.pk, home.channel.pk])
    assert client.get(mine).status_code == 404  # a mail channel is no service


def test_a_service_has_no_link_that_would_end_it_for_everyone(home: Home, client: Client) -> None:
    service = home.service("ntfys://ntfy.sh/x")
    assert client.post(reverse("unsubscribe", args=[unsubscribe_token(service)])).status_code == 410
    service.refresh_from_db()
    assert service.is_on
