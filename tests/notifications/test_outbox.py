"""Notifications: what is one, for whom, and how often."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.urls import reverse

from devices.accounts.sessions import sign_out
from devices.fleet.checks import keep_offer
from devices.fleet.versions import record_version
from devices.installs.lifecycle import move_to
from devices.models import Delivery, Node, Notice, Offer, OtaJob, State, Topic
from devices.notifications.delivery import send_due
from devices.notifications.messages import sentence
from devices.notifications.outbox import notify
from devices.rainmaker.errors import SignInAgain
from devices.rainmaker.schemas import FirmwareOffer
from tests.support.factories import make_account, make_household, make_job, make_node, person
from tests.support.notifications import NOW, Home
from tests.support.smtp_server import SmtpServer

pytestmark = pytest.mark.django_db


def test_the_end_of_an_install_is_notified_with_its_verdict_and_a_link(
    home: Home, smtp: SmtpServer
) -> None:
    job = make_job(home.node, state=State.VERIFYING, to_version="5.4.0")
    move_to(job, State.VERIFIED, actor=person(home.owner), note="It runs it.", now=NOW)
    assert send_due(NOW) is False
    (mail,) = smtp.messages
    assert mail["To"] == home.owner.email
    assert mail["Subject"] == "Back porch: An install was verified"
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
def test_every_end_is_notified_under_its_topic(home: Home, end: State, topic: Topic) -> None:
    move_to(make_job(home.node, state=State.VERIFYING), end, actor=person(home.owner), note="x")
    assert Notice.objects.get().topic == topic
    assert sentence(Notice.objects.get()).startswith("Back porch (Garden house, simulated): ")


def test_what_a_person_cancelled_is_no_news(home: Home) -> None:
    job = make_job(home.node, state=State.REQUESTED)
    move_to(job, State.CANCELLED, actor=person(home.owner), note="x")
    assert not Notice.objects.exists()


def test_a_late_report_that_resolves_a_lost_install_is_notified_too(home: Home) -> None:
    job = make_job(home.node, state=State.VERIFYING)
    move_to(job, State.LOST, actor=person(home.owner), note="x")
    move_to(job, State.VERIFIED, actor=person(home.owner), note="x")
    assert [one.topic for one in Notice.objects.order_by("pk")] == [Topic.FAILED, Topic.FINISHED]


def test_a_move_that_is_undone_notifies_no_one(home: Home) -> None:
    job = make_job(home.node, state=State.VERIFYING)
    with transaction.atomic():
        move_to(job, State.VERIFIED, actor=person(home.owner), note="x")
        assert Notice.objects.exists()
        transaction.set_rollback(True)
    assert not Notice.objects.exists()
    assert OtaJob.objects.get().state == State.VERIFYING


def test_new_firmware_is_notified_once_and_not_what_the_hub_runs_already(home: Home) -> None:
    offer = FirmwareOffer(True, "job-1", "5.4.0", "", 1, "", "")
    for _ in range(3):
        keep_offer(home.node, offer, NOW)
    assert Notice.objects.count() == 1
    assert "new firmware 5.4.0 (installed: 5.3.2)." in sentence(Notice.objects.get())
    other = make_node(home.account, fw_version="5.4.0")
    keep_offer(other, offer, NOW)
    assert Notice.objects.count() == 1
    assert other.offer is None


def offered(_node: Node, version: str = "5.4.0", job: str = "job-1") -> FirmwareOffer:
    return FirmwareOffer(True, job, version, "", 1, "", "")


NONE = FirmwareOffer(is_available=False)


def test_an_offer_pulled_and_given_back_is_one_mail(home: Home, smtp: SmtpServer) -> None:
    for hour in range(6):
        now = NOW + timedelta(hours=hour)
        keep_offer(home.node, offered(home.node, job=f"job-{hour}"), now)
        send_due(now)
        keep_offer(home.node, NONE, now)
    send_due(NOW + timedelta(days=3))
    assert len(smtp.messages) == 1


def test_a_release_to_many_hubs_is_two_mails_with_all_of_them(home: Home, smtp: SmtpServer) -> None:
    nodes = [home.node, *(make_node(home.account) for _ in range(40))]
    for minute, node in enumerate(nodes):
        now = NOW + timedelta(minutes=30 * minute)
        keep_offer(node, offered(node), now)
        send_due(now)
    send_due(NOW + timedelta(days=2))
    assert len(smtp.messages) == 2
    first, rest = (mail.get_content() for mail in smtp.messages)
    assert "Back porch (Garden house, simulated): new firmware 5.4.0" in first
    assert "firmware 5.4.0 is offered to 40 more hubs." in rest


def test_hubs_that_are_offered_it_before_the_mail_goes_out_are_in_it(
    home: Home, smtp: SmtpServer
) -> None:
    for node in (home.node, *(make_node(home.account) for _ in range(9))):
        keep_offer(node, offered(node), NOW)
    send_due(NOW)
    (mail,) = smtp.messages
    assert "firmware 5.4.0 is offered to 10 hubs." in mail.get_content()
    assert mail["Subject"] == "Garden house: Firmware for several hubs"


def test_another_version_is_another_mail(home: Home, smtp: SmtpServer) -> None:
    for version in ("5.4.0", "5.5.0"):
        keep_offer(home.node, offered(home.node, version, version), NOW)
        send_due(NOW)
    assert len(smtp.messages) == 2


def test_a_shared_hub_is_announced_once(home: Home, smtp: SmtpServer) -> None:
    twin = make_node(make_account(home.household), node_id=home.node.node_id)
    for node in (home.node, twin):
        keep_offer(node, offered(node), NOW)
    send_due(NOW + timedelta(days=2))
    (mail,) = smtp.messages
    assert "hubs" not in str(mail["Subject"])


def test_a_new_channel_is_notified_too(home: Home) -> None:
    keep_offer(home.node, offered(home.node), NOW)
    home.service("json://example.org/x")
    keep_offer(home.node, NONE, NOW)
    keep_offer(home.node, offered(home.node, job="job-2"), NOW)
    assert Delivery.objects.count() == 2
    assert Notice.objects.count() == 2


def test_failures_are_never_merged_or_left_out(home: Home) -> None:
    for _ in range(5):
        move_to(
            make_job(home.node, state=State.VERIFYING),
            State.FAILED,
            actor=person(home.owner),
            note="x",
            now=NOW,
        )
    assert Delivery.waiting().filter(notice__topic=Topic.FAILED).count() == 5


def test_an_older_offer_is_not_called_new(home: Home, smtp: SmtpServer) -> None:
    keep_offer(home.node, offered(home.node, "5.3.0"), NOW)
    send_due(NOW)
    (mail,) = smtp.messages
    assert mail["Subject"] == "Back porch: Older firmware offered"
    assert "which is older than the installed 5.3.2" in mail.get_content()


def test_what_a_hub_reports_while_it_is_checked_is_no_new_firmware(home: Home) -> None:
    offer = FirmwareOffer(True, "job-1", "5.4.0", "", 1, "", "")
    keep_offer(home.node, offer, NOW)
    asked = Node.objects.get(pk=home.node.pk)
    record_version(home.node, "5.4.0", NOW)
    keep_offer(asked, offer, NOW)  # the cloud has not taken note of the install yet
    assert not Offer.objects.filter(ended_at__isnull=True).exists()
    asked.refresh_from_db()
    assert asked.next_check_at <= NOW + timedelta(minutes=20)
    keep_offer(asked, FirmwareOffer(True, "job-2", "5.5.0", "", 1, "", ""), NOW)
    assert Offer.objects.get(ended_at__isnull=True).fw_version == "5.5.0"


def test_a_session_that_ended_is_notified_unless_it_recovers(home: Home) -> None:
    sign_out(home.account, SignInAgain("no", was_sent=False), NOW)
    notice = Notice.objects.get()
    assert notice.path == reverse("account_reconnect", args=[home.account.pk])
    assert "Please sign in to the cloud account" in sentence(notice)
    assert home.account.email not in sentence(notice) + str(notice.facts)
    kept = make_account(home.household, email="kept@example.com", sealed_password="x")
    sign_out(kept, SignInAgain("no", was_sent=False), NOW)
    assert Notice.objects.count() == 1


def test_no_one_is_notified_of_topics_they_did_not_choose_or_of_another_household() -> None:
    home = Home(topics=[Topic.FAILED])
    home.say(Topic.NEW_FIRMWARE)
    Home().say(Topic.FAILED)
    assert not Delivery.objects.filter(channel=home.channel).exists()


def test_without_channels_it_costs_one_query(django_assert_num_queries: Any) -> None:
    household = make_household()
    with django_assert_num_queries(1):
        assert notify(Topic.FAILED, household=household, path="/", now=NOW) == 0
    assert not Notice.objects.exists()
