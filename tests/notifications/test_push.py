"""Push messages leave through the outbox, over real https, to people who may still get them."""

import json
import socket
from datetime import timedelta
from typing import Any

import pytest
from django.utils.translation import override

from devices.backup.archive import Manifest
from devices.backup.reconcile import settle
from devices.models import (
    Actor,
    AuditEvent,
    Channel,
    Delivery,
    PushDevice,
    PushKey,
    Role,
    Topic,
    User,
)
from devices.models.push import MOST_DEVICES
from devices.notifications import push_devices, push_key
from devices.notifications.channels import ChannelError
from devices.notifications.delivery import BEING_SENT, ask_test, send_due
from devices.notifications.push_devices import PushMessage, read_subscription
from devices.notifications.push_encryption import MOST_BYTES
from devices.notifications.push_sending import read_address
from devices.rainmaker import address_guard
from devices.security.encryption import decrypt
from devices.security.key_rotation import sealed_fields
from tests.support.factories import make_user, person
from tests.support.hostile_server import cut, reply
from tests.support.notifications import NOW, Home
from tests.support.push_service import PLACE, Browser, PushService, read_signature

pytestmark = pytest.mark.django_db
CONTACT = "mailto:hubs@example.org"


@pytest.fixture
def home() -> Home:
    """Return a household whose owner gets no mails."""
    home = Home()
    home.channel.delete()
    return home


@pytest.fixture
def service(push_service: PushService, settings: Any) -> PushService:
    settings.PUSH_CONTACT = CONTACT
    return push_service


@pytest.fixture
def browser() -> Browser:
    return Browser()


def shown(service: PushService, browser: Browser) -> list[dict[str, Any]]:
    """Return what the browser reads of what the service got."""
    return [json.loads(browser.read(seen.body)) for seen in service.seen]


def test_a_message_is_signed_encrypted_and_says_what_the_mail_says(
    home: Home, service: PushService, browser: Browser
) -> None:
    device = service.subscribe(home.owner, browser)
    home.say(words="Two hubs wait.")
    send_due(NOW)
    (seen,) = service.seen
    service.check(seen, CONTACT)
    assert read_signature(seen.headers["authorization"])[1] == push_key.public_key()
    assert seen.headers["content-encoding"] == "aes128gcm"
    assert (seen.headers["urgency"], seen.headers["ttl"]) == ("high", "86400")
    assert len(seen.headers["topic"]) <= 32
    assert b"hubs" not in seen.body
    (said,) = shown(service, browser)
    assert said["title"] == "Garden house: Something needs your decision"
    assert said["body"] == "Garden house: Two hubs wait."
    assert said["path"] == "/queues/7/"
    assert said["tag"] == seen.headers["topic"]
    assert "off" not in said
    channel = device.channels.get()
    assert (channel.sent_at, bool(channel.trouble)) == (NOW, False)


def test_what_was_cut_off_takes_the_place_of_the_first(
    home: Home, service: PushService, browser: Browser
) -> None:
    service.subscribe(home.owner, browser)
    home.say()
    send_due(NOW)
    Delivery.objects.update(sent_at=None)
    send_due(NOW + BEING_SENT)
    first, second = shown(service, browser)
    assert first["tag"] == second["tag"]


def test_several_are_one_message_and_what_needs_a_person_comes_first(
    home: Home, service: PushService, browser: Browser
) -> None:
    service.subscribe(home.owner, browser)
    for number in range(5):
        home.say(Topic.FINISHED, words=f"Thing {number}.")
    home.say(words="Decide.")
    send_due(NOW)
    (said,) = shown(service, browser)
    lines = said["body"].split("\n")
    assert lines[0].endswith("Decide.")
    assert lines[-1] == "And 2 more."
    assert said["path"] == "/"


def test_it_speaks_the_persons_language(home: Home, service: PushService, browser: Browser) -> None:
    User.objects.update(language="de")
    service.subscribe(home.owner, browser)
    channel = home.owner.push_devices.get().channels.get()
    ask_test(channel, NOW)
    send_due(NOW)
    (said,) = shown(service, browser)
    assert said["lang"] == "de"
    assert "Testnachricht" in said["body"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_gone_is_removed(
    home: Home, service: PushService, browser: Browser, status: int
) -> None:
    service.subscribe(home.owner, browser)
    service.answers(status)
    home.say()
    send_due(NOW)
    assert not PushDevice.objects.exists()
    assert not Delivery.objects.filter(channel__device__isnull=False).exists()
    event = AuditEvent.objects.get(action="notifications.device_removed")
    assert event.why == "its push service no longer knows it"
    home.say()
    send_due(NOW)
    assert len(service.seen) == 1


@pytest.mark.parametrize("answer", [reply(429), reply(500), reply(403), reply(302), cut()])
def test_what_is_not_taken_is_tried_again_later_and_followed_nowhere(
    home: Home, service: PushService, browser: Browser, answer: Any
) -> None:
    device = service.subscribe(home.owner, browser)
    service.server.on(f"POST {PLACE}", answer, reply(201))
    home.say()
    send_due(NOW)
    channel = device.channels.get()
    assert channel.trouble
    waiting = Delivery.waiting().get(channel=channel)
    assert (waiting.tries, waiting.due_at > NOW) == (1, True)
    send_due(NOW)
    assert len(service.seen) == 1
    send_due(waiting.due_at)
    channel.refresh_from_db()
    assert (channel.sent_at, bool(channel.trouble)) == (waiting.due_at, False)


def test_an_address_that_was_renewed_meanwhile_is_not_gone(
    home: Home, service: PushService, browser: Browser
) -> None:
    """The service no longer knows the old one, to which a message was on its way."""
    as_sent_to = service.subscribe(home.owner, browser)
    given = read_subscription(*browser.fields(f"{service.endpoint}/renewed").values())
    device = push_devices.renew(PushDevice.objects.get(), given, actor=person(home.owner))
    push_devices.remove_gone(as_sent_to)
    assert PushDevice.objects.get() == device
    service.server.on(f"POST {PLACE}/renewed", reply(201))
    home.say()
    send_due(NOW)
    assert Delivery.objects.get().sent_at == NOW
    push_devices.remove_gone(device)
    assert not PushDevice.objects.exists()


@pytest.mark.parametrize("how", ["left", "closed", "switched off"])
def test_who_lost_the_right_gets_nothing(
    home: Home, service: PushService, browser: Browser, how: str
) -> None:
    service.subscribe(home.owner, browser)
    home.say()
    if how == "left":
        home.household.memberships.all().delete()
    if how == "closed":
        User.objects.update(is_active=False)
    if how == "switched off":
        Channel.objects.update(is_on=False)
    send_due(NOW)
    assert service.seen == []
    assert not Delivery.waiting().exists()


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example/x",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://192.168.1.20/x",
        "https://[::1]/x",
        "https://push.example:8443/x",
        "https://me@push.example/x",
        "https://me:word@push.example/x",
        "https://push.example@10.0.0.1/x",
        "https://push.example\\@10.0.0.1/x",
        "https://10.0.0.1\\.push.example/x",
        "https://push.example:0/x",
        "https://push.example:99999/x",
        "https://push.example:x/x",
        "https://p\u00fcsh.example/x",
        "https://push..example/x",
        "https://push.example%2f@10.0.0.1/x",
        "https://LOCALHOST./x",
        "https://[::ffff:10.0.0.1]/x",
        "https://[fe80::1%25eth0]/x",
        "https://[::1",
        "https://[not-an-address]/x",
        "https://push.example./x",
        "https://push.example/\u00e9",
        "https:///x",
        "https://push.example/" + "x" * 1000,
        "ftp://push.example/x",
        "",
    ],
)
def test_an_address_that_is_not_called_is_not_taken(home: Home, endpoint: str) -> None:
    with pytest.raises(ChannelError):
        read_subscription(*Browser().fields(endpoint).values())


@pytest.mark.parametrize(
    ("endpoint", "host", "origin"),
    [
        ("https://Push.Example/x?y=Z", "push.example", "https://push.example"),
        ("https://push.example:443/x", "push.example", "https://push.example"),
        ("https://push.example:/x", "push.example", "https://push.example"),
        ("https://xn--psh-hoa.example/x", "xn--psh-hoa.example", "https://xn--psh-hoa.example"),
        ("https://[2A00:1450::1]/x", "2a00:1450::1", "https://[2a00:1450::1]"),
        ("https://home.example:8443/x", "home.example", "https://home.example:8443"),
        ("https://any.example:9000/x", "any.example", "https://any.example:9000"),
        ("https://any.example/x", "any.example", "https://any.example"),
    ],
)
def test_an_address_is_called_as_it_was_given_and_signed_for_its_plain_origin(
    settings: Any, endpoint: str, host: str, origin: str
) -> None:
    settings.PUSH_HOSTS = ("home.example:8443", "any.example")
    found = read_address(endpoint)
    assert (found.url, found.host, found.origin) == (endpoint, host, origin)


@pytest.mark.parametrize("port", ["0", "8444", ""])
def test_a_named_host_is_called_at_its_named_port_and_never_at_none(
    settings: Any, port: str
) -> None:
    settings.PUSH_HOSTS = ("10.1.2.3:8443", "any.example")
    with pytest.raises(ValueError, match="not called"):
        read_address(f"https://10.1.2.3:{port}/x")
    with pytest.raises(ValueError, match="not called"):
        read_address("https://any.example:0/x")


@pytest.mark.parametrize(("part", "value"), [("p256dh", "AAAA"), ("auth", "AAAA"), ("auth", "é")])
def test_keys_that_are_none_are_not_taken(part: str, value: str) -> None:
    fields = Browser().fields("https://push.example/x") | {part: value}
    with pytest.raises(ChannelError):
        read_subscription(*fields.values())


@pytest.mark.parametrize("is_named", [False, True])
def test_a_name_that_leads_inside_is_called_only_where_the_administrator_named_it(
    home: Home,
    service: PushService,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    is_named: bool,
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["10.255.255.1"]

    tried: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> socket.socket:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(address_guard, "look_up", resolve)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    settings.PUSH_HOSTS = ("push.home.example",) if is_named else ()
    given = read_subscription(*browser.fields("https://push.home.example/x").values())
    device = push_devices.add(home.owner, given, name="X", browser="", actor=person(home.owner))
    home.say()
    send_due(NOW)
    assert asked == ["push.home.example"]
    assert tried == (["10.255.255.1"] if is_named else [])
    trouble = device.channels.get().trouble.english
    assert ("did not answer" if is_named else "inside a private network") in trouble


def test_a_host_that_is_named_no_more_is_not_called(
    home: Home, service: PushService, browser: Browser, settings: Any
) -> None:
    device = service.subscribe(home.owner, browser)
    settings.PUSH_HOSTS = ()
    home.say()
    send_due(NOW)
    assert service.server.connections == 0
    assert "is not called" in device.channels.get().trouble.english


def test_a_person_has_so_many_devices_and_no_more(
    home: Home, service: PushService, browser: Browser
) -> None:
    for number in range(MOST_DEVICES):
        service.subscribe(home.owner, browser, f"/{number}")
    with pytest.raises(ChannelError, match=str(MOST_DEVICES)):
        service.subscribe(home.owner, browser, "/more")
    service.subscribe(home.owner, browser, "/0")  # a known one is renewed
    service.subscribe(make_user(role=Role.MEMBER, household=home.household), browser, "/theirs")
    assert home.owner.push_devices.count() == MOST_DEVICES
    assert AuditEvent.objects.filter(action="notifications.device_added").count() == 11


def test_a_browser_that_another_person_uses_now_is_theirs_alone(
    home: Home, service: PushService, browser: Browser
) -> None:
    service.subscribe(home.owner, browser)
    other = make_user(role=Role.MEMBER, household=home.household)
    device = service.subscribe(other, browser)
    assert list(PushDevice.objects.values_list("user", flat=True)) == [other.pk]
    assert [one.user for one in device.channels.all()] == [other]


def test_the_key_is_made_once_kept_encrypted_and_encrypted_again_with_a_new_key() -> None:
    public = push_key.public_key()
    assert push_key.public_key() == public
    row = PushKey.objects.get()
    assert (PushKey, "sealed_private_key") in sealed_fields()
    assert {(PushDevice, "sealed_endpoint"), (PushDevice, "sealed_auth")} <= set(sealed_fields())
    assert decrypt(row.sealed_private_key) not in str(row.__dict__)
    number = push_key.private_key().private_numbers().private_value
    assert number == push_key.private_key().private_numbers().private_value


def test_a_device_whose_secrets_cannot_be_opened_says_so(
    home: Home, service: PushService, browser: Browser
) -> None:
    device = service.subscribe(home.owner, browser)
    PushDevice.objects.update(sealed_auth="gAAAAAB-not-ours")
    home.say()
    send_due(NOW)
    assert "cannot be decrypted" in device.channels.get().trouble.english
    assert Delivery.waiting().filter(channel__device=device, tries=1).exists()


@pytest.mark.parametrize("letter", ["x", "é", "本", '"'])
def test_however_long_its_words_are_a_message_can_be_sent(letter: str) -> None:
    lines = [letter * 700] * 4
    message = PushMessage(letter * 300, lines, "/", "n1x1", "en", not_tonight="/" + "t" * 500)
    with override("de"):
        content = message.content()
    assert len(content) <= MOST_BYTES
    said = json.loads(content)
    assert said["body"].startswith(letter * 100)
    assert said["off"]["words"] != "Not tonight"


def test_the_endpoint_is_in_no_trail_and_no_log(
    home: Home, service: PushService, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    service.subscribe(home.owner, browser)
    service.answers(500)
    home.say()
    with caplog.at_level("DEBUG"):
        send_due(NOW)
        send_due(NOW + timedelta(hours=1))
    trail = "".join(str(event.__dict__) for event in AuditEvent.objects.all())
    assert "one-browser" not in trail + caplog.text
    assert "127.0.0.1" in trail  # whose service it is


def test_a_restored_server_sends_to_no_device_of_before(
    home: Home, service: PushService, browser: Browser
) -> None:
    service.subscribe(home.owner, browser)
    public = push_key.public_key()
    settle(Manifest(NOW, "1", "sqlite", "", (), 1, "", 0, {}), Actor.worker(), {})
    home.say()
    send_due(NOW)
    assert service.seen == []
    service.subscribe(home.owner, browser)  # turned on again, for the same key
    assert push_key.public_key() == public
