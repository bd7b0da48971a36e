"""Notices: who is told what, when, once; through real SMTP and real HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from devices.accounts import sign_out
from devices.cloud.errors import SignInAgain
from devices.cloud.types import FirmwareOffer
from devices.models import (
    TOPICS,
    AuditEvent,
    Beat,
    Channel,
    Delivery,
    Node,
    Notice,
    Offer,
    OtaJob,
    Pace,
    Role,
    StaffRole,
    State,
    Topic,
    User,
    hear_version,
    tell,
)
from devices.models.beat import NOTICES
from devices.notices import KEEP, MOST_TRIES, off_token, send_due, sentence
from devices.sync import keep_offer
from devices.tasks import send_notices
from tests.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_job,
    make_node,
    make_owner,
    make_user,
    person,
    sign_in,
)
from tests.hostile_server import HostileServer, reply
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.django_db

ALL = [topic.value for topic in TOPICS]
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def smtp(settings: Any) -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.HAS_MAIL_SERVER = True
        settings.PUBLIC_URL = "https://hubs.example.org"
        yield server


@pytest.fixture
def hook(settings: Any) -> Iterator[HostileServer]:
    """Yield a host that whoever runs the server allowed, and that takes messages."""
    with HostileServer() as server:
        host = server.url.removeprefix("http://")
        settings.NOTIFY_HOSTS = (host,)
        settings.PUBLIC_URL = "https://hubs.example.org"
        server.on("POST /notify", reply(200))
        yield server


class Home:
    """A household with a hub, its owner and a mail channel of theirs."""

    def __init__(self, **channel: Any) -> None:
        self.household = make_household("Garden house", time_zone="Europe/Berlin")
        self.account = make_account(self.household)
        self.node = make_node(self.account, name="Back porch", fw_version="5.3.2")
        self.owner = make_owner(self.household)
        values = {"topics": ALL} | channel
        self.channel = Channel.objects.create(household=self.household, user=self.owner, **values)

    def service(self, url: str, **fields: Any) -> Channel:
        channel = Channel(household=self.household, name="Chat", topics=ALL, **fields)
        channel.keep_url(url)
        channel.save()
        return channel

    def say(self, topic: Topic = Topic.NEEDS_YOU, now: datetime = NOW, **facts: Any) -> None:
        facts.setdefault("words", "Look here.")
        tell(topic, household=self.household, path="/queues/7/", now=now, **facts)


@pytest.fixture
def home() -> Home:
    return Home()


def service_url(hook: HostileServer) -> str:
    return hook.url.replace("http://", "json://") + "/notify"


# What is told


def test_the_end_of_an_install_is_told_with_its_verdict_and_a_link(
    home: Home, smtp: SmtpServer
) -> None:
    job = make_job(home.node, state=State.VERIFYING, to_version="5.4.0")
    job.move_to(State.VERIFIED, actor=person(home.owner), note="It runs it.", now=NOW)
    assert send_due(NOW) is False
    (mail,) = smtp.messages
    assert mail["To"] == home.owner.email
    assert mail["Subject"] == "Back porch: An install is verified"
    text = mail.get_content()
    assert "Back porch (Garden house, simulated)" in text
    assert "5.4.0" in text
    assert f"https://hubs.example.org/installs/{job.pk}/" in text


@pytest.mark.parametrize(
    ("end", "topic"),
    [
        (State.FAILED, Topic.FAILED),
        (State.REJECTED, Topic.FAILED),
        (State.UNVERIFIED, Topic.FAILED),
        (State.LOST, Topic.FAILED),
        (State.VERIFIED, Topic.FINISHED),
    ],
)
def test_every_end_is_told_under_its_topic(home: Home, end: State, topic: Topic) -> None:
    make_job(home.node, state=State.VERIFYING).move_to(end, actor=person(home.owner), note="x")
    assert Notice.objects.get().topic == topic
    assert sentence(Notice.objects.get()).startswith("Back porch (Garden house, simulated): ")


def test_what_a_person_cancelled_is_no_news(home: Home) -> None:
    job = make_job(home.node, state=State.REQUESTED)
    job.move_to(State.CANCELLED, actor=person(home.owner), note="x")
    assert not Notice.objects.exists()


def test_a_late_word_that_resolves_a_lost_install_is_told_too(home: Home) -> None:
    job = make_job(home.node, state=State.VERIFYING)
    job.move_to(State.LOST, actor=person(home.owner), note="x")
    job.move_to(State.VERIFIED, actor=person(home.owner), note="x")
    assert [one.topic for one in Notice.objects.order_by("pk")] == [Topic.FAILED, Topic.FINISHED]


def test_a_move_that_is_undone_tells_nobody(home: Home) -> None:
    job = make_job(home.node, state=State.VERIFYING)
    with transaction.atomic():
        job.move_to(State.VERIFIED, actor=person(home.owner), note="x")
        assert Notice.objects.exists()
        transaction.set_rollback(True)
    assert not Notice.objects.exists()
    assert OtaJob.objects.get().state == State.VERIFYING


def test_new_firmware_is_told_once_and_not_what_the_hub_runs_already(home: Home) -> None:
    offer = FirmwareOffer(True, "job-1", "5.4.0", "", 1, "", "")
    for _ in range(3):
        keep_offer(home.node, offer, NOW)
    assert Notice.objects.count() == 1
    assert "new firmware 5.4.0; it runs 5.3.2." in sentence(Notice.objects.get())
    other = make_node(home.account, fw_version="5.4.0")
    keep_offer(other, offer, NOW)
    assert Notice.objects.count() == 1
    assert other.offer is None


def test_what_a_hub_reports_while_it_is_checked_is_no_new_firmware(home: Home) -> None:
    offer = FirmwareOffer(True, "job-1", "5.4.0", "", 1, "", "")
    keep_offer(home.node, offer, NOW)
    asked = Node.objects.get(pk=home.node.pk)
    hear_version(home.node, "5.4.0", NOW)
    keep_offer(asked, offer, NOW)  # the cloud has not taken note of the install yet
    assert not Offer.objects.filter(ended_at__isnull=True).exists()
    asked.refresh_from_db()
    assert asked.next_check_at <= NOW + timedelta(minutes=20)
    keep_offer(asked, FirmwareOffer(True, "job-2", "5.5.0", "", 1, "", ""), NOW)
    assert Offer.objects.get(ended_at__isnull=True).fw_version == "5.5.0"


def test_a_session_that_ended_is_told_unless_it_mends_itself(home: Home) -> None:
    sign_out(home.account, SignInAgain("no", was_sent=False), NOW)
    notice = Notice.objects.get()
    assert notice.path == reverse("account_reconnect", args=[home.account.pk])
    assert "asks to sign in again" in sentence(notice)
    assert home.account.email not in sentence(notice) + str(notice.facts)
    kept = make_account(home.household, email="kept@example.com", sealed_password="x")
    sign_out(kept, SignInAgain("no", was_sent=False), NOW)
    assert Notice.objects.count() == 1


def test_nobody_is_told_of_what_they_did_not_choose_or_of_another_household() -> None:
    home = Home(topics=[Topic.FAILED])
    home.say(Topic.NEW_FIRMWARE)
    Home().say(Topic.FAILED)
    assert not Delivery.objects.filter(channel=home.channel).exists()


def test_where_nobody_asked_it_costs_one_query(django_assert_num_queries: Any) -> None:
    household = make_household()
    with django_assert_num_queries(1):
        assert tell(Topic.FAILED, household=household, path="/", now=NOW) == 0
    assert not Notice.objects.exists()


# When


@pytest.mark.parametrize(
    ("channel", "at", "due"),
    [
        ({}, NOW, NOW),
        # 23:30 in Berlin: quiet until seven there
        (
            {"quiet_from": time(22), "quiet_until": time(7)},
            datetime(2026, 6, 1, 21, 30, tzinfo=UTC),
            datetime(2026, 6, 2, 5, 0, tzinfo=UTC),
        ),
        (
            {"quiet_from": time(22), "quiet_until": time(7)},
            datetime(2026, 6, 2, 4, 59, tzinfo=UTC),
            datetime(2026, 6, 2, 5, 0, tzinfo=UTC),
        ),
        ({"quiet_from": time(22), "quiet_until": time(7)}, NOW, NOW),
        (
            {"quiet_from": time(13), "quiet_until": time(15)},
            NOW,
            datetime(2026, 6, 1, 13, 0, tzinfo=UTC),
        ),
        ({"quiet_from": time(7), "quiet_until": time(7)}, NOW, NOW),
        (
            {"pace": Pace.DAILY, "digest_at": time(8)},
            NOW,
            datetime(2026, 6, 2, 6, 0, tzinfo=UTC),
        ),
        (
            {"pace": Pace.DAILY, "digest_at": time(18)},
            NOW,
            datetime(2026, 6, 1, 16, 0, tzinfo=UTC),
        ),
        # the night in which the clock goes back: eight o'clock is an hour later in UTC
        (
            {"pace": Pace.DAILY, "digest_at": time(8)},
            datetime(2026, 10, 24, 12, 0, tzinfo=UTC),
            datetime(2026, 10, 25, 7, 0, tzinfo=UTC),
        ),
    ],
)
def test_it_is_due_by_the_households_clock(
    channel: dict[str, Any], at: datetime, due: datetime
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert Channel(**channel).due_at(at, zone) == due


def test_a_digest_is_one_mail_and_says_how_much(smtp: SmtpServer) -> None:
    home = Home(pace=Pace.DAILY, digest_at=time(8))
    for number in range(23):
        home.say(words=f"Thing {number}.")
    home.say(Topic.NEW_FIRMWARE, hub="Back porch", to_version="6")
    send_due(NOW + timedelta(hours=1))
    assert smtp.messages == []
    send_due(NOW + timedelta(days=1))
    (mail,) = smtp.messages
    assert str(mail["Subject"]).strip() == (
        "Garden house: 23 × Something waits for you, 1 × New firmware for a hub"
    )
    text = mail.get_content()
    assert "Thing 0." in text
    assert "And 4 more: https://hubs.example.org/" in text
    send_due(NOW + timedelta(days=2))
    assert len(smtp.messages) == 1


# Sending


def test_what_happened_together_goes_out_together_and_only_once(
    home: Home, smtp: SmtpServer
) -> None:
    home.say(words="First.")
    home.say(words="Second.")
    send_due(NOW)
    send_due(NOW)
    (mail,) = smtp.messages
    assert mail.get_content().index("First.") < mail.get_content().index("Second.")
    assert Delivery.objects.filter(sent_at=NOW).count() == 2


@pytest.mark.parametrize("pace", Pace.values)
def test_a_mail_server_that_refuses_is_tried_again_for_a_day_shown_and_given_up(
    smtp: SmtpServer, pace: str
) -> None:
    home = Home(pace=pace)
    smtp.is_refusing = True
    home.say()
    first = at = Delivery.waiting().get().due_at
    tries = 0
    while Delivery.waiting().exists():
        at = Delivery.waiting().get().due_at
        send_due(at)
        tries += 1
        assert tries < 50
    home.channel.refresh_from_db()
    assert "did not take it" in home.channel.trouble
    assert timedelta(hours=20) < at - first < timedelta(hours=28)
    assert tries == MOST_TRIES
    smtp.is_refusing = False
    home.say(now=at)
    send_due(Delivery.waiting().get().due_at)
    home.channel.refresh_from_db()
    assert (home.channel.trouble, len(smtp.messages)) == ("", 1)


def test_a_message_that_cannot_be_made_holds_no_other_household_up(smtp: SmtpServer) -> None:
    poisoned, other = Home(), Home()
    poisoned.say()
    Notice.objects.update(topic="nonsense")  # as a later release may leave it to an older one
    other.say(words="Look.")
    send_due(NOW)
    assert [mail["To"] for mail in smtp.messages] == [other.owner.email]
    poisoned.channel.refresh_from_db()
    assert "a fault of ours" in poisoned.channel.trouble
    assert Delivery.waiting().get().channel == poisoned.channel


def test_without_a_mail_server_the_page_says_so(home: Home, client: Client) -> None:
    home.say()
    send_due(NOW)
    home.channel.refresh_from_db()
    assert "EMAIL_URL" in home.channel.trouble
    sign_in(client, home.owner)
    page = client.get(reverse("notifications", args=[home.household.pk])).content.decode()
    assert "This server has no mail server yet" in page


def test_one_that_was_cut_off_goes_out_again_under_the_same_message_id(
    home: Home, smtp: SmtpServer
) -> None:
    home.say()
    send_due(NOW)
    Delivery.objects.update(sent_at=None)  # the death came before it was written down
    send_due(NOW)
    first, second = smtp.messages
    assert first["Message-ID"] == second["Message-ID"]


def test_two_senders_do_not_send_at_once(home: Home, smtp: SmtpServer) -> None:
    home.say()
    assert Beat.take(NOTICES, "another", NOW, timedelta(minutes=5))
    assert send_due(NOW) is False
    assert smtp.messages == []
    send_due(NOW + timedelta(minutes=6))  # the other one died
    assert len(smtp.messages) == 1


@pytest.mark.parametrize("how", ["left", "left, and is of the staff", "switched off", "closed"])
def test_who_left_or_switched_off_hears_no_more(
    home: Home, smtp: SmtpServer, settings: Any, how: str
) -> None:
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    home.say()
    if how.startswith("left"):
        home.household.memberships.all().delete()
    if "staff" in how:
        User.objects.filter(pk=home.owner.pk).update(staff_role=StaffRole.SUPPORT)
    if how == "switched off":
        Channel.objects.update(is_on=False)
    if how == "closed":
        User.objects.update(is_active=False)
    send_due(NOW)
    assert smtp.messages == []
    assert not Delivery.waiting().exists()


def test_names_that_would_inject_a_header_do_not(home: Home, smtp: SmtpServer) -> None:
    home.say(Topic.NEW_FIRMWARE, hub="x\r\nBcc: everybody@example.com\r\n\r\nHi", to_version="6")
    send_due(NOW)
    (mail,) = smtp.messages
    assert mail["Bcc"] is None
    assert len(smtp.recipients) == 1


def test_what_was_sent_long_ago_is_forgotten(home: Home, smtp: SmtpServer) -> None:
    home.say()
    send_due(NOW)
    send_due(NOW + KEEP - timedelta(minutes=1))
    assert Notice.objects.count() == 1
    send_due(NOW + KEEP + timedelta(minutes=1))
    assert not Notice.objects.exists()


def test_a_queue_that_runs_out_of_time_asks_to_go_on(
    home: Home, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.say(now=timezone.now())
    monkeypatch.setattr("devices.tasks.notices.send_due", lambda now: send_due(now, limit_s=-1))
    send_notices()
    assert OrmQ.objects.count() == 1
    assert smtp.messages == []


# Services


def test_a_service_gets_the_sentence_and_the_link(home: Home, hook: HostileServer) -> None:
    home.channel.delete()
    channel = home.service(service_url(hook))
    home.say(words="Two hubs wait.")
    send_due(NOW)
    (seen,) = hook.seen("POST /notify")
    assert "Two hubs wait." in seen.json["message"]
    assert "https://hubs.example.org/queues/7/" in seen.json["message"]
    channel.refresh_from_db()
    assert channel.sent_at == NOW


@pytest.mark.parametrize("answer", [reply(500), reply(302, headers={"Location": "/elsewhere"})])
def test_a_service_that_does_not_take_it_is_tried_again_and_followed_nowhere(
    home: Home, hook: HostileServer, answer: Any
) -> None:
    hook.on("POST /notify", answer)
    home.channel.delete()
    channel = home.service(service_url(hook))
    home.say()
    send_due(NOW)
    assert Delivery.waiting().get().tries == 1
    channel.refresh_from_db()
    assert "did not take" in channel.trouble
    assert not hook.seen("GET /elsewhere")
    assert not hook.seen("POST /elsewhere")


def test_a_host_that_is_allowed_no_more_is_not_called(
    home: Home, hook: HostileServer, settings: Any
) -> None:
    home.channel.delete()
    channel = home.service(service_url(hook))
    settings.NOTIFY_HOSTS = ()
    home.say()
    send_due(NOW)
    assert not hook.seen("POST /notify")
    channel.refresh_from_db()
    assert "NOTIFY_HOSTS" in channel.trouble


def test_one_channel_in_trouble_holds_no_other_up(
    home: Home, hook: HostileServer, smtp: SmtpServer
) -> None:
    hook.on("POST /notify", reply(500))
    home.service(service_url(hook))
    home.say()
    send_due(NOW)
    assert len(smtp.messages) == 1
    assert Delivery.waiting().count() == 1


# The pages


def wishes(**changes: Any) -> dict[str, Any]:
    return {"is_on": "on", "topics": ALL, "pace": "at_once", "digest_at": "08:00"} | changes


def test_a_member_chooses_and_tries_it_out(client: Client, smtp: SmtpServer) -> None:
    household = make_household("Garden house")
    viewer = make_user(role=Role.VIEWER, household=household)
    sign_in(client, viewer)
    path = reverse("notifications", args=[household.pk])
    assert "By a service" not in client.get(path).content.decode()
    told = wishes(topics=["failed"], quiet_from="22:00", quiet_until="07:00")
    assert client.post(path, told).status_code == 302
    channel = Channel.objects.get(user=viewer)
    assert (channel.topics, channel.quiet_from, channel.is_on) == (["failed"], time(22), True)
    client.post(reverse("notification_test", args=[household.pk, channel.pk]))
    send_due(timezone.now())
    (mail,) = smtp.messages
    assert "the test message you asked for" in mail.get_content()
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
        ({"topics": []}, "Choose at least one thing"),
        ({"topics": ["nonsense"]}, "nonsense"),
        ({"quiet_from": "22:00"}, "Quiet hours need both times"),
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
    assert channel.url() == url
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
    assert (channel.name, channel.url()) == ("Family", url)
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
    assert "There are 10 services" in answer.content.decode()


def test_staff_who_look_are_not_told(client: Client) -> None:
    household = make_household(support_until=timezone.now() + timedelta(days=1))
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    path = reverse("notifications", args=[household.pk])
    assert "Only people who belong" in client.get(path).content.decode()
    assert client.post(path, wishes()).status_code == 404
    assert not Channel.objects.exists()


# One press


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
    assert "No more messages about Garden house?" in browser.get(path).content.decode()
    home.channel.refresh_from_db()
    assert home.channel.is_on
    answer = browser.post(path, {"List-Unsubscribe": "One-Click"})
    assert "You get no more of these" in answer.content.decode()
    home.channel.refresh_from_db()
    assert not home.channel.is_on
    event = AuditEvent.objects.get(action="notifications.off")
    assert (event.actor_name, event.via) == (home.owner.email, "link")
    assert browser.post(path).status_code == 200  # safe on repeat
    assert AuditEvent.objects.filter(action="notifications.off").count() == 1
    home.say()
    assert Delivery.objects.count() == 1


def test_a_link_that_was_changed_ends_nothing(home: Home, client: Client) -> None:
    token = off_token(home.channel)
    for wrong in (token[:-2], token + "x", "1", "nonsense"):
        assert client.post(reverse("notification_off", args=[wrong])).status_code == 410
    home.channel.refresh_from_db()
    assert home.channel.is_on


def test_someone_elses_channel_is_not_there(client: Client, home: Home) -> None:
    other = Home()
    sign_in(client, home.owner)
    for name in ("notification_test", "notification_service_remove"):
        path = reverse(name, args=[home.household.pk, other.channel.pk])
        assert client.post(path).status_code == 404
    mine = reverse("notification_service", args=[home.household.pk, home.channel.pk])
    assert client.get(mine).status_code == 404  # a mail channel is no service


def test_a_service_has_no_link_that_would_end_it_for_everybody(home: Home, client: Client) -> None:
    service = home.service("ntfys://ntfy.sh/x")
    assert client.post(reverse("notification_off", args=[off_token(service)])).status_code == 410
    service.refresh_from_db()
    assert service.is_on


def test_no_secret_is_in_any_message(home: Home, smtp: SmtpServer, hook: HostileServer) -> None:
    secrets = {"canary-access", "canary-refresh", "canary-signature", "canary-path", PASSWORD}
    home.service(f"{service_url(hook)}?+X-Key=canary-path")
    account = home.account
    account.keep_tokens(
        access="canary-access", refresh="canary-refresh", expires_at=None, cloud_user_id="u"
    )
    account.save()
    link = "https://files.example/liv.bin?X-Amz-Signature=canary-signature"
    keep_offer(home.node, FirmwareOffer(True, "job-1", "5.4.0", "", 1, "", link), NOW)
    job = make_job(home.node, state=State.VERIFYING, requested_by_name=home.owner.email)
    job.move_to(State.FAILED, actor=person(home.owner), note="x", now=NOW)
    home.say()
    refused = SignInAgain("the cloud says no", was_sent=True)
    sign_out(account, refused, NOW)
    send_due(NOW)
    (seen,) = hook.seen("POST /notify")
    told = smtp.messages[0].get_content() + smtp.messages[0].as_string() + seen.body.decode()
    assert Notice.objects.count() == 4
    assert "asks to sign in again" in told
    for secret in secrets | {account.email, account.sealed_access_token}:
        assert secret not in told
