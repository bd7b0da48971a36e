"""Notifications are sent when they are due, through real SMTP and real HTTP."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone
from django_q.models import OrmQ

from devices.accounts import sessions as account_sessions
from devices.accounts.sessions import sign_out
from devices.fleet.checks import keep_offer
from devices.installs.lifecycle import move_to
from devices.models import (
    Beat,
    Channel,
    Delivery,
    Household,
    Notice,
    Pace,
    StaffRole,
    State,
    Topic,
    User,
)
from devices.models.lease import NOTICES
from devices.notifications.delivery import BEING_SENT, KEEP, MOST_TRIES, Words, send_due
from devices.rainmaker.errors import SignInAgain
from devices.rainmaker.schemas import FirmwareOffer, Tokens
from devices.taskqueue.leases import SHARED_LEASE, Lease
from devices.tasks import send_notices
from tests.support.factories import PASSWORD, make_job, person
from tests.support.hostile_server import HostileServer, reply
from tests.support.notifications import NOW, Home, service_url
from tests.support.smtp_server import SmtpServer

pytestmark = pytest.mark.django_db


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
        ({"pace": Pace.DAILY, "digest_at": time(8)}, NOW, datetime(2026, 6, 2, 6, 0, tzinfo=UTC)),
        ({"pace": Pace.DAILY, "digest_at": time(18)}, NOW, datetime(2026, 6, 1, 16, 0, tzinfo=UTC)),
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


@pytest.mark.parametrize(
    ("zone", "evening"),
    [
        ("Europe/Berlin", datetime(2026, 10, 24, 18, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 10, 31, 22, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 28, 18, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 7, 22, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 6, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("at", [time(0, 30), time(1, 30), time(2), time(2, 30), time(3)])
def test_a_digest_goes_out_once_in_the_night_of_the_clock_change(
    zone: str, evening: datetime, at: time, smtp: SmtpServer
) -> None:
    home = Home(pace=Pace.DAILY, digest_at=at)
    home.household.time_zone = zone
    home.household.save()
    sent = []
    for step in range(4 * 18):  # something happens every quarter of an hour
        now = evening + timedelta(minutes=15 * step)
        home.say(now=now)
        before = len(smtp.messages)
        send_due(now)
        sent += [now] * (len(smtp.messages) - before)
    assert len(sent) == 1
    # on time, or just after the hour that was left out
    shown = sent[0].astimezone(ZoneInfo(zone)).time()
    assert shown == at or (at.hour in (1, 2) and shown.hour == at.hour + 1)


@pytest.mark.parametrize("until", [time(2), time(2, 30), time(3)])
def test_quiet_hours_never_hold_a_message_for_a_second_night(until: time) -> None:
    zone, start = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 24, 18, tzinfo=UTC)
    channel = Channel(quiet_from=time(22), quiet_until=until)
    for step in range(4 * 12):
        now = start + timedelta(minutes=15 * step)
        due = channel.due_at(now, zone)
        assert now <= due <= datetime(2026, 10, 25, 2, tzinfo=UTC) or due == now


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
        "Garden house: 23 × Something needs your decision, 1 × New firmware for a hub"
    )
    text = mail.get_content()
    assert "Thing 0." in text
    assert "And 4 more: https://hubs.example.org/" in text
    send_due(NOW + timedelta(days=2))
    assert len(smtp.messages) == 1


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
    assert "did not accept it" in home.channel.trouble.english
    assert timedelta(hours=20) < at - first < timedelta(hours=28)
    assert tries == MOST_TRIES
    smtp.is_refusing = False
    home.say(now=at)
    send_due(Delivery.waiting().get().due_at)
    home.channel.refresh_from_db()
    assert (bool(home.channel.trouble), len(smtp.messages)) == (False, 1)


def test_a_message_that_cannot_be_made_holds_no_other_household_up(smtp: SmtpServer) -> None:
    poisoned, other = Home(), Home()
    poisoned.say()
    Notice.objects.update(topic="nonsense")  # as a later release may leave it to an older one
    other.say(words="Look.")
    send_due(NOW)
    assert [mail["To"] for mail in smtp.messages] == [other.owner.email]
    poisoned.channel.refresh_from_db()
    assert "an error on our side" in poisoned.channel.trouble.english
    assert Delivery.waiting().get().channel == poisoned.channel


def test_one_that_was_cut_off_goes_out_again_under_the_same_message_id(
    home: Home, smtp: SmtpServer
) -> None:
    home.say()
    send_due(NOW)
    Delivery.objects.update(sent_at=None)  # the death came before it was written down
    send_due(NOW + BEING_SENT - timedelta(seconds=1))
    assert len(smtp.messages) == 1
    send_due(NOW + BEING_SENT)
    first, second = smtp.messages
    assert first["Message-ID"] == second["Message-ID"]


def test_two_senders_do_not_send_at_once(home: Home, smtp: SmtpServer) -> None:
    home.say()
    assert Lease(NOTICES, SHARED_LEASE, "another").acquire(timezone.now())
    assert send_due(NOW) is False
    assert smtp.messages == []
    with time_machine.travel(timezone.now() + timedelta(seconds=30)):  # the other one died
        send_due(NOW)
    assert len(smtp.messages) == 1


def test_a_sender_that_takes_over_does_not_send_what_is_being_sent(
    home: Home, smtp: SmtpServer
) -> None:
    home.say(now=timezone.now())

    def while_it_is_being_sent(household: Household) -> str:
        held = Beat.objects.get(name=NOTICES)
        assert held.held_until is not None
        assert held.held_until - timezone.now() <= timedelta(seconds=30), "the others wait for it"
        with time_machine.travel(held.held_until + timedelta(seconds=1)):
            assert send_due(timezone.now()) is False  # it has the lease now
        return ""

    send_due(timezone.now(), words=Words(standing=while_it_is_being_sent))
    assert len(smtp.messages) == 1
    assert not Delivery.waiting().exists()


def test_what_was_being_sent_when_a_machine_vanished_is_sent_by_another(
    home: Home, smtp: SmtpServer
) -> None:
    home.say(now=timezone.now())

    class Vanished(BaseException):
        pass

    def vanish(household: Household) -> str:
        raise Vanished

    with pytest.raises(Vanished):
        send_due(timezone.now(), words=Words(standing=vanish))
    with time_machine.travel(timezone.now() + BEING_SENT + timedelta(seconds=1)):
        send_due(timezone.now())
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
    monkeypatch.setattr(
        "devices.tasks.delivery.send_due", lambda now, **given: send_due(now, limit_s=-1, **given)
    )
    send_notices()
    assert OrmQ.objects.count() == 1
    assert smtp.messages == []


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
    assert "did not accept" in channel.trouble.english
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
    assert "NOTIFY_HOSTS" in channel.trouble.english


def test_one_channel_in_trouble_holds_no_other_up(
    home: Home, hook: HostileServer, smtp: SmtpServer
) -> None:
    hook.on("POST /notify", reply(500))
    home.service(service_url(hook))
    home.say()
    send_due(NOW)
    assert len(smtp.messages) == 1
    assert Delivery.waiting().count() == 1


def test_no_secret_is_in_any_message(home: Home, smtp: SmtpServer, hook: HostileServer) -> None:
    secrets = {"canary-access", "canary-refresh", "canary-signature", "canary-path", PASSWORD}
    home.service(f"{service_url(hook)}?+X-Key=canary-path")
    account = home.account
    account_sessions.keep_tokens(account, Tokens("canary-access", "canary-refresh", None, "u", ""))
    account.save()
    link = "https://files.example/liv.bin?X-Amz-Signature=canary-signature"
    keep_offer(home.node, FirmwareOffer(True, "job-1", "5.4.0", "", 1, "", link), NOW)
    job = make_job(home.node, state=State.VERIFYING, requested_by_name=home.owner.email)
    move_to(job, State.FAILED, actor=person(home.owner), note="x", now=NOW)
    home.say()
    refused = SignInAgain("the cloud says no", was_sent=True)
    sign_out(account, refused, NOW)
    send_due(NOW)
    (seen,) = hook.seen("POST /notify")
    found = smtp.messages[0].get_content() + smtp.messages[0].as_string() + seen.body.decode()
    assert Notice.objects.count() == 4
    assert "Please sign in to the cloud account" in found
    for secret in secrets | {account.email, account.sealed_access_token}:
        assert secret not in found
