"""What a check of a hub keeps: the offer as it was sent, and what it means for the hub."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.fleet.checks import check_failed, keep_offer
from devices.fleet.versions import record_version
from devices.models import Node, Offer, State
from devices.models.node import LONGEST_NOTES
from devices.rainmaker.errors import AnswerUnreadable
from devices.rainmaker.parsers import read_offer
from devices.rainmaker.schemas import OtaStatus, OtaWord
from tests.support.client import Client
from tests.support.factories import make_account, make_job, make_node, make_owner

pytestmark = pytest.mark.django_db


def answer(version: str = "5.4.0", **fields: object) -> dict[str, object]:
    return {"ota_available": True, "ota_job_id": "job-1", "fw_version": version} | fields


def check(node: Node, **fields: object) -> Offer:
    keep_offer(node, read_offer(answer(**fields)), timezone.now())  # type: ignore[arg-type]
    return Offer.objects.get(ended_at=None)


@pytest.mark.parametrize("length", [1, 599, 601, 1990, 2000, 4000, 4100, 19_950])
def test_release_notes_are_kept_and_shown_in_full(client: Client, length: int) -> None:
    node = make_node()
    notes = "A" * length + "\nIMPORTANT: install 5.3.3 first."
    offer = check(node, description=notes)
    assert offer.notes == notes
    client.force_login(make_owner(node.account.household))
    for path in (f"/hubs/{node.pk}/", f"/hubs/{node.pk}/install/"):
        text = client.get(path).content.decode()
        assert "IMPORTANT: install 5.3.3 first." in text
        assert "characters: the cloud" not in text


def test_longer_release_notes_are_cut_and_the_page_says_so(client: Client) -> None:
    node = make_node()
    offer = check(node, description="A" * LONGEST_NOTES + "B" * 500)
    assert offer.is_cut
    assert offer.notes == "A" * LONGEST_NOTES
    client.force_login(make_owner(node.account.household))
    text = client.get(f"/hubs/{node.pk}/install/").content.decode()
    assert "Cut after 20000 characters: the cloud's text is longer." in " ".join(text.split())


@pytest.mark.parametrize(
    ("runs", "offered", "is_step_back"),
    [("5.4.7", "5.4.1", True), ("5.4.1", "5.4.7", False), ("", "5.4.1", False)],
)
def test_an_older_offer_is_marked(runs: str, offered: str, is_step_back: bool) -> None:
    assert check(make_node(fw_version=runs), version=offered).is_step_back is is_step_back


def test_an_offer_becomes_a_step_back_when_the_hub_moves_on() -> None:
    node = make_node(fw_version="5.4.0")
    assert not check(node, version="5.4.1").is_step_back
    record_version(node, "5.4.7", timezone.now())
    assert Offer.objects.get(ended_at=None).is_step_back


def test_an_unreadable_answer_is_not_called_never_checked(client: Client) -> None:
    account = make_account()
    node = make_node(account, checked_at=None)
    problem = AnswerUnreadable("The cloud's answer does not list it.")
    check_failed(Node.objects.select_related("account").get(pk=node.pk), problem, timezone.now())
    client.force_login(make_owner(account.household))
    text = client.get("/").content.decode()
    assert "Could not be checked" in text
    assert "Not checked yet" not in text
    text = client.get(f"/hubs/{node.pk}/").content.decode()
    assert "The last check failed: The answer was not what the cloud normally sends." in text
    assert "Not checked yet" not in text


def test_a_next_check_that_is_over_is_not_announced(client: Client) -> None:
    now = timezone.now()
    node = make_node(checked_at=now, next_check_at=now - timedelta(minutes=8))
    client.force_login(make_owner(node.account.household))
    for path in ("/", f"/hubs/{node.pk}/"):
        text = client.get(path).content.decode()
        assert "Checked for new firmware <time" in text
        assert "next check" not in text


def said(word: OtaWord, minutes_ago: int | None = 0) -> OtaStatus:
    at = None if minutes_ago is None else timezone.now() - timedelta(minutes=minutes_ago)
    return OtaStatus(word, word, "", at, "", "CLOUD", "{}")


@pytest.mark.parametrize(
    ("word", "minutes_ago", "is_at_work"),
    [
        (OtaWord.STARTED, 0, True),
        (OtaWord.IN_PROGRESS, 2, True),
        (OtaWord.IN_PROGRESS, None, False),
        (OtaWord.IN_PROGRESS, 60, False),  # the apps give such a status up, too
        (OtaWord.TRIGGERED, 0, False),
        (OtaWord.FAILED, 0, False),
        (OtaWord.UNKNOWN, 0, False),
        (None, 0, False),
    ],
)
def test_a_hub_that_was_updated_from_elsewhere_is_seen_and_checked_again_soon(
    word: OtaWord | None, minutes_ago: int | None, is_at_work: bool
) -> None:
    node, now = make_node(), timezone.now()
    status = said(word, minutes_ago) if word is not None else None
    keep_offer(node, read_offer(answer()), now, status)
    offer = Offer.objects.get()
    assert offer.is_being_installed(now) is is_at_work
    assert not offer.is_being_installed(now + timedelta(minutes=11))
    assert (node.next_check_at - now < timedelta(minutes=5)) is is_at_work
    keep_offer(node, read_offer(answer()), now)
    assert not Offer.objects.get().is_being_installed(now)


@pytest.mark.parametrize("state", [State.RUNNING, State.LOST])
def test_our_own_install_is_not_taken_for_the_vendors(state: State) -> None:
    node, now = make_node(), timezone.now()
    make_job(node, state=state, next_poll_at=now)
    keep_offer(node, read_offer(answer()), now, said(OtaWord.IN_PROGRESS))
    assert not Offer.objects.get().is_being_installed(now)


def test_a_check_that_finds_what_is_known_locks_nothing_and_changes_no_page() -> None:
    node = make_node(fw_version="5.3.2")
    for found, updates in ((answer(), 2), ({"ota_available": False}, 1)):
        keep_offer(node, read_offer(found), timezone.now())
        node.refresh_from_db()
        before = node.revision
        with CaptureQueriesContext(connection) as queries:
            keep_offer(node, read_offer(found), timezone.now())
        assert [query["sql"].partition(" ")[0] for query in queries] == [
            "SELECT",
            *["UPDATE"] * updates,
        ]
        earlier = Node.objects.filter(pk=node.pk, checked_at=node.checked_at)
        assert not earlier.exists()
        node.refresh_from_db()
        assert node.revision == before


@pytest.mark.parametrize(
    "news",
    [
        {"description": "Read this first."},
        {"file_md5": "0" * 32},
        {"file_size": 99},
        {"ota_job_id": "job-2"},
        {"fw_version": "5.4.1"},
        {"url": "https://files.example.com/1.bin"},
    ],
)
def test_everything_else_the_cloud_says_of_an_offer_is_kept(news: dict[str, object]) -> None:
    node = make_node(fw_version="5.3.2")
    keep_offer(node, read_offer(answer()), timezone.now())
    node.refresh_from_db()
    found = read_offer(answer() | news)
    keep_offer(node, found, timezone.now())
    kept = Offer.objects.get(ended_at=None)
    assert (kept.ota_job_id, kept.fw_version, kept.md5, kept.size_bytes, kept.description) == (
        found.ota_job_id,
        found.fw_version,
        found.md5,
        found.size_bytes,
        found.description,
    )
    assert kept.has_link is bool(found.url)


def test_a_check_of_a_hub_that_moved_on_meanwhile_is_judged_by_what_it_runs_now() -> None:
    node = make_node(fw_version="5.3.2")
    keep_offer(node, read_offer(answer("5.4.0")), timezone.now())
    loaded = Node.objects.get(pk=node.pk)
    # between the question and its answer the other loop hears that it is installed
    record_version(Node.objects.get(pk=node.pk), "5.4.0", timezone.now())
    keep_offer(loaded, read_offer(answer("5.4.0")), timezone.now())
    assert not Offer.objects.filter(ended_at=None).exists()
