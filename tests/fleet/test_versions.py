"""Why a hub's version changed: by meaning, not by spelling, and never more than is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devices.explanations.explain import explain_job, shown_with
from devices.explanations.install_messages import JOBS
from devices.fleet.attention import hubs_of
from devices.fleet.checks import keep_offer
from devices.fleet.versions import FALLBACK_WITHIN, record_version
from devices.models import AuditEvent, Channel, Node, Notice, OtaJob, State, User, VersionCause
from devices.models.attention import Attention
from devices.rainmaker.schemas import FirmwareOffer
from tests.support.client import Client
from tests.support.factories import make_job, make_node, make_offer, make_owner

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 20, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def attention_of(owner: User) -> Attention:
    return Attention(vars(hubs_of(owner).get())["attention"])


def cause_of(node: Node) -> str:
    return node.version_changes.latest("pk").cause


@pytest.mark.parametrize("offered", ["v5.3.3", "5.3.3.0", "5.3.3+build7", "5.3.3 "])
def test_our_own_install_explains_the_version_in_any_spelling(offered: str) -> None:
    node = make_node(fw_version="5.3.2")
    make_offer(node, fw_version=offered)
    job = make_job(node, state=State.RUNNING, to_version=offered, now=NOW)
    assert record_version(node, "5.3.3", NOW)
    assert (cause_of(node), node.version_changes.get().job) == (VersionCause.INSTALL, job)
    assert node.offer is None
    assert node.new_offer is None
    assert not AuditEvent.objects.filter(action="version.outside").exists()


def test_another_spelling_of_the_same_version_is_no_news() -> None:
    node = make_node(fw_version="5.3.3")
    for spelling in ("v5.3.3", "5.3.3.0", "5.3.3+build7", " 5.3.3 "):
        assert not record_version(node, spelling, NOW)
    assert not node.version_changes.exists()


def test_what_the_hub_runs_is_not_offered_in_another_spelling() -> None:
    node = make_node(fw_version="5.3.3")
    keep_offer(node, FirmwareOffer(is_available=True, ota_job_id="J", fw_version="v5.3.3"), NOW)
    assert node.offer is None


def test_another_version_during_an_install_is_not_put_down_to_outside() -> None:
    node = make_node(fw_version="5.3.2")
    make_job(node, state=State.RUNNING, to_version="5.4.0", now=NOW)
    assert record_version(node, "5.3.9", NOW)
    assert cause_of(node) == VersionCause.DURING
    sentence = AuditEvent.objects.get(action="version.during").sentence
    assert sentence.endswith("reports 5.3.9 instead of 5.3.2 while another version is installed.")


def test_a_hub_that_falls_back_after_a_verified_install_is_shown_and_notified() -> None:
    node = make_node(fw_version="5.3.3")
    household = node.account.household
    owner = make_owner(household)
    Channel.objects.create(household=household, user=owner, topics=["failed"])
    job = make_job(
        node, state=State.VERIFIED, outcome="verified", from_version="5.3.2", to_version="v5.3.3"
    )
    proof = {"version_seen": "5.3.3", "version_agreed_at": NOW, "ended_at": NOW}
    OtaJob.objects.filter(pk=job.pk).update(**proof)
    revision = job.revision
    assert record_version(node, "5.3.2", NOW + HOUR)
    job.refresh_from_db()
    assert (cause_of(node), job.fell_back_at) == (VersionCause.FALLBACK, NOW + HOUR)
    assert job.needs_person
    assert job.revision > revision
    assert Notice.objects.get(topic="failed").job == job
    assert attention_of(owner) == Attention.TROUBLE
    # it came to run the new version after all
    assert record_version(node, "5.3.3", NOW + 2 * HOUR)
    assert attention_of(owner) == Attention.NONE
    job.refresh_from_db()
    assert (cause_of(node), job.fell_back_at) == (VersionCause.INSTALL, None)
    assert not AuditEvent.objects.filter(action="version.outside").exists()


def test_a_list_alone_does_not_overturn_what_the_hub_itself_reported() -> None:
    """A cache of the list may be a day old; the hub's own config decides."""
    node = make_node(fw_version="5.3.2")
    job = make_job(node, state=State.RUNNING, to_version="5.3.3", now=NOW)
    record_version(node, "5.3.3", NOW)
    OtaJob.objects.filter(pk=job.pk).update(state="verified", outcome="verified", ended_at=NOW)
    assert not record_version(node, "5.3.2", NOW + HOUR, is_listed=True)
    node.refresh_from_db()
    assert (node.fw_version, node.doubted_version) == ("5.3.3", "5.3.2")
    assert node.next_check_at == NOW + HOUR
    # a version that is news is believed
    assert record_version(node, "5.4.0", NOW + HOUR, is_listed=True)


SENT = {"pushes": 1, "claimed_at": NOW}


@pytest.mark.parametrize(
    ("state", "outcome", "sent"),
    [
        (State.FAILED, "attempts_failed", {}),
        (State.REJECTED, "project_name", {}),
        (State.UNVERIFIED, "claimed_success_same_version", {}),
        (State.REFUSED, "hub_offline", SENT),
        (State.REFUSED, "not_current", SENT),
    ],
)
def test_an_ended_install_says_that_the_version_arrived_after_all(
    client: Client, state: State, outcome: str, sent: dict[str, Any]
) -> None:
    node = make_node(fw_version="5.3.2")
    owner = make_owner(node.account.household)
    job = make_job(node, state=state, outcome=outcome, version_seen="5.3.2", now=NOW, **sent)
    assert record_version(node, "5.3.3", NOW + HOUR)
    job.refresh_from_db()
    assert (cause_of(node), job.arrived_late_at) == (VersionCause.LATE, NOW + HOUR)
    assert (job.state, job.outcome) == (state, outcome)
    assert not job.needs_person
    assert attention_of(owner) == Attention.NONE
    explained = explain_job(job)
    assert explained.code == "TW-U13"
    assert explained.headline.endswith("runs 5.3.3 after all.")
    assert job.outcome_title in explained.what
    client.force_login(owner)
    page = client.get(f"/installs/{job.pk}/", headers={"accept-language": "en"}).content.decode()
    assert "Runs 5.3.3 after all" in page
    assert "as before" not in page
    assert ">Try again<" not in page
    assert list(OtaJob.objects.filter(shown_with("TW-U13"))) == [job]
    before = JOBS.get((state, outcome), JOBS[state, ""]).code
    assert not OtaJob.objects.filter(shown_with(before))


def test_an_install_that_was_never_sent_explains_no_version() -> None:
    node = make_node(fw_version="5.3.2")
    job = make_job(node, state=State.REFUSED, outcome="offer_withdrawn", now=NOW)
    assert record_version(node, "5.3.3", NOW + HOUR)
    job.refresh_from_db()
    assert (cause_of(node), job.arrived_late_at) == (VersionCause.OUTSIDE, None)


def test_an_earlier_version_long_after_is_an_update_from_outside() -> None:
    node = make_node(fw_version="5.3.3")
    job = make_job(node, state=State.VERIFIED, outcome="verified", from_version="5.3.2", now=NOW)
    assert record_version(node, "5.3.2", NOW + FALLBACK_WITHIN + HOUR)
    job.refresh_from_db()
    assert (cause_of(node), job.fell_back_at) == (VersionCause.OUTSIDE, None)


@pytest.mark.parametrize("state", [State.RUNNING, State.LOST])
def test_a_version_that_arrives_late_has_its_install_asked_about_again(state: State) -> None:
    node = make_node(fw_version="5.3.2")
    job = make_job(node, state=state, outcome="silent" if state == State.LOST else "", now=NOW)
    OtaJob.objects.filter(pk=job.pk).update(next_poll_at=None, listen_until=None)
    later = NOW + timedelta(days=3)
    assert record_version(node, "5.3.3", later)
    job.refresh_from_db()
    assert job.next_poll_at == later


@pytest.mark.parametrize(
    ("offered", "runs", "is_back"),
    [
        ("5.4.1", "5.4.7-rc1", True),
        ("5.4.1", "v5.4.7", True),
        ("5.4.7-rc1", "5.4.7", True),
        ("5.4.7", "5.4.1", False),
        ("v5.4.7", "5.4.7", False),
    ],
)
def test_a_step_back_is_seen(offered: str, runs: str, is_back: bool) -> None:
    assert make_offer(make_node(), fw_version=offered).is_older_than(runs) == is_back
