"""Right before a push: the offer is as confirmed by what it means, else nothing is sent."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devices.installs.push import PrePushCheck, claim_for_push, pre_push_check_failed, push_failed
from devices.models import AuditEvent, Membership, OtaJob, Role, State, User
from devices.rainmaker.errors import AnswerLost, CloudError, ServerTrouble, TryLater
from devices.rainmaker.schemas import FirmwareOffer
from tests.support.factories import make_account, make_job, make_node, make_user
from tests.support.story import config, online

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 20, 0, tzinfo=UTC)


def confirmed(**fields: Any) -> OtaJob:
    node = make_node(make_account(answered_at=NOW), fw_version="5.3.2")
    return make_job(node, now=NOW, ota_job_id="J", size_bytes=1, md5="", **fields)


def check(offered: str, runs: str, **fields: object) -> PrePushCheck:
    offer = FirmwareOffer(
        is_available=True,
        ota_job_id="J",
        fw_version=offered,
        size_bytes=1,
        **fields,  # type: ignore[arg-type]
    )
    return PrePushCheck(offer, config(runs), online(True), None)


@pytest.mark.parametrize(
    ("offered", "runs"), [("5.3.3", "5.3.2"), ("v5.3.3", "v5.3.2"), ("5.3.3.0", "5.3.2+build7")]
)
def test_another_spelling_is_still_what_was_confirmed(offered: str, runs: str) -> None:
    job = confirmed()
    assert claim_for_push(job, check(offered, runs), NOW)
    assert (job.state, job.to_version, job.version_seen) == (State.PUSHING, "5.3.3", runs)


@pytest.mark.parametrize(
    ("offered", "runs", "outcome"),
    [
        ("5.3.4", "5.3.2", "offer_swapped"),
        ("5.3.3", "5.3.1", "offer_swapped"),
        ("5.3.3", "v5.3.3", "already_installed"),
        ("5.3.3", "5.3.3+build7", "already_installed"),
    ],
)
def test_another_version_is_not(offered: str, runs: str, outcome: str) -> None:
    job = confirmed()
    assert not claim_for_push(job, check(offered, runs), NOW)
    assert (job.state, job.outcome) == (State.REFUSED, outcome)


def test_the_dates_of_the_offer_are_kept_with_the_install() -> None:
    job, until = confirmed(), NOW + timedelta(days=9)
    assert claim_for_push(job, check("5.3.3", "5.3.2", valid_until=until), NOW)
    assert OtaJob.objects.get(pk=job.pk).valid_until == until


@pytest.mark.parametrize(
    "problem", [AnswerLost("Lost."), ServerTrouble("HTTP 502.", status=502)], ids=["lost", "502"]
)
def test_an_answer_that_leaves_it_open_keeps_the_claim(problem: CloudError) -> None:
    job = confirmed()
    assert claim_for_push(job, check("5.3.3", "5.3.2"), NOW)
    push_failed(job, problem, NOW)
    assert (job.state, job.push_unknown, job.pushes) == (State.PUSHING, True, 1)
    assert not job.node.account.is_resting(NOW)


def test_a_refused_call_is_repeated_with_longer_and_longer_pauses() -> None:
    job, now, pauses = confirmed(expires_at=NOW + timedelta(hours=1)), NOW, []
    for _ in range(4):
        assert claim_for_push(job, check("5.3.3", "5.3.2"), now)
        push_failed(job, TryLater("401 to one call.", status=401, refused=True), now)
        assert job.next_poll_at is not None
        pauses.append((job.next_poll_at - now).total_seconds())
        now = job.next_poll_at
    assert pauses == [6, 12, 24, 48]


def test_a_hub_that_cannot_be_asked_before_the_push_waits_longer_each_time() -> None:
    job, pauses = confirmed(), []
    for _ in range(5):
        pre_push_check_failed(job, ServerTrouble("HTTP 500.", status=500), NOW)
        assert job.next_poll_at is not None
        pauses.append((job.next_poll_at - NOW).total_seconds())
    assert pauses == [6, 12, 24, 48, 60]
    assert not job.node.account.is_resting(NOW)


@pytest.mark.parametrize("ends", ["removed", "made a viewer", "closed"])
def test_what_a_person_confirmed_is_not_sent_once_they_may_not_install(ends: str) -> None:
    node = make_node(make_account(answered_at=NOW), fw_version="5.3.2")
    member = make_user(role=Role.MEMBER, household=node.account.household)
    job = make_job(
        node,
        now=NOW,
        ota_job_id="J",
        size_bytes=1,
        md5="",
        requested_by=member,
        requested_by_name=member.email,
    )
    if ends == "removed":
        Membership.objects.filter(user=member).delete()
    elif ends == "made a viewer":
        Membership.objects.filter(user=member).update(role=Role.VIEWER)
    else:
        User.objects.filter(pk=member.pk).update(is_active=False)
    job = OtaJob.objects.select_related("node__account__household", "household").get(pk=job.pk)
    assert not claim_for_push(job, check("5.3.3", "5.3.2"), NOW)
    assert (job.state, job.outcome, job.pushes) == (State.CANCELLED, "cancelled", 0)
    sentence = AuditEvent.objects.get(action="install.cancelled").sentence
    assert f"{member.email} may no longer install here" in sentence
