"""The pages of an install: confirm it, watch it, cancel it."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.fleet.checks import keep_offer
from devices.households import api_tokens
from devices.installs.confirmation import sign, snapshot_offer
from devices.installs.lifecycle import move_to
from devices.models import Actor, InstallOutcome, Node, OtaJob, Role, Scope, State
from devices.rainmaker.schemas import FirmwareOffer
from tests.support.client import Client
from tests.support.factories import make_job, make_node, make_offer, make_owner, sign_in
from tests.support.pages import HTMX, Home
from tests.views.test_pages import mark_in

pytestmark = pytest.mark.django_db


def test_confirming_needs_one_deliberate_act_and_keeps_what_was_read(
    home: Home, enter: Any
) -> None:
    client = enter(home.people[Role.MEMBER])
    text = client.get(f"/hubs/{home.new.pk}/install/").content.decode()
    for fact in ("5.3.2", "5.3.3", "240 KB", home.offer.md5, home.offer.description):
        assert fact in text
    agreed = text.split('name="agreed" value="')[1].split('"')[0]
    answer = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    job = OtaJob.objects.get(node=home.new)
    assert answer["Location"] == f"/installs/{job.pk}/"
    assert (job.ota_job_id, job.to_version, job.md5) == (
        home.offer.ota_job_id,
        "5.3.3",
        home.offer.md5,
    )
    again = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    assert again.status_code == 409
    assert "already running" in again.content.decode()
    assert OtaJob.objects.filter(node=home.new).count() == 1


def test_a_changed_offer_is_refused_and_the_difference_shown(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    agreed = sign(snapshot_offer(home.new, home.offer))
    home.offer.fw_version, home.offer.md5 = "5.3.4", "0" * 32
    home.offer.save()
    answer = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    text = answer.content.decode()
    assert answer.status_code == 409
    assert "<del>5.3.3</del>" in text
    assert "<ins>5.3.4</ins>" in text
    assert not OtaJob.objects.filter(node=home.new).exists()


@pytest.mark.parametrize("agreed", ["", "nonsense", "a:b:c"])
def test_a_form_that_was_tampered_with_sends_nothing(home: Home, enter: Any, agreed: str) -> None:
    answer = enter(home.people[Role.OWNER]).post(
        f"/hubs/{home.new.pk}/install/", {"agreed": agreed}
    )
    assert answer.status_code == 409
    assert "Nothing was sent" in answer.content.decode()
    assert not OtaJob.objects.filter(node=home.new).exists()


def test_a_form_bound_to_one_hub_does_not_serve_another(home: Home, enter: Any) -> None:
    make_offer(home.plain, fw_version="5.4.0")
    agreed = sign(snapshot_offer(home.new, home.offer))
    answer = enter(home.people[Role.OWNER]).post(
        f"/hubs/{home.plain.pk}/install/", {"agreed": agreed}
    )
    assert answer.status_code == 409
    assert not OtaJob.objects.filter(node__in=[home.new, home.plain]).exists()


def test_an_approval_expires(home: Home, enter: Any, time_machine: Any) -> None:
    agreed = sign(snapshot_offer(home.new, home.offer))
    client = enter(home.people[Role.OWNER])
    time_machine.move_to(timezone.now() + timedelta(minutes=31))
    answer = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    assert answer.status_code == 409
    assert "half an hour" in answer.content.decode()


@pytest.mark.parametrize(
    ("installed", "offered", "is_older"),
    [("5.4.7", "5.3.3", True), ("5.3.2", "5.3.10", False), ("5.3.2", "beta-1", False)],
)
def test_a_step_back_is_called_one(
    home: Home, enter: Any, installed: str, offered: str, is_older: bool
) -> None:
    Node.objects.filter(pk=home.new.pk).update(fw_version=installed)
    home.new.offers.update(fw_version=offered)
    text = enter(home.people[Role.OWNER]).get(f"/hubs/{home.new.pk}/install/").content.decode()
    assert ("older version than the one on the hub" in text) is is_older


def test_an_offline_hub_can_only_be_planned(home: Home, enter: Any) -> None:
    Node.objects.filter(pk=home.new.pk).update(is_online=False)
    client = enter(home.people[Role.OWNER])
    text = client.get(f"/hubs/{home.new.pk}/install/").content.decode()
    assert re.findall(r'name="when"\s+value="([a-z]+)"', text) == ["online"]
    agreed = re.findall('name="agreed" value="([^"]+)"', text)[0]
    answer = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed, "when": "now"})
    assert "The hub is offline" in answer.content.decode()
    assert not home.new.jobs.exists()


def test_what_is_unsent_can_be_cancelled_and_what_is_sent_cannot(home: Home, enter: Any) -> None:
    job = make_job(home.plain, state=State.REQUESTED)
    client = enter(home.people[Role.MEMBER])
    assert "Cancel (not sent yet)" in client.get(f"/installs/{job.pk}/").content.decode()
    client.post(f"/installs/{job.pk}/cancel/")
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    answer = client.post(f"/installs/{home.running.pk}/cancel/", follow=True)
    assert "Too late to cancel" in answer.content.decode()


def test_an_install_page_stops_asking_when_it_is_settled(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    text = client.get(f"/installs/{home.running.pk}/").content.decode()
    url = f"/installs/{home.running.pk}/live/" + mark_in(text, f"/installs/{home.running.pk}/live/")
    assert client.get(url, headers=HTMX).status_code == 204
    assert "hx-get" not in client.get(f"/installs/{home.job.pk}/").content.decode()
    assert '<meta http-equiv="refresh"' in text


def test_a_version_that_was_rolled_back_is_not_offered_as_if_nothing_had_been(
    client: Client,
) -> None:
    node = make_node(fw_version="5.3.2")
    sign_in(client, make_owner(node.account.household))
    make_offer(node, fw_version="v5.3.3", ota_job_id="again")
    job = make_job(
        node, state=State.REJECTED, outcome="rolled_back", from_version="5.3.2", ota_job_id="again"
    )
    words = "Rolled back to 5.3.2"
    for path in (f"/hubs/{node.pk}/", f"/hubs/{node.pk}/install/"):
        page = client.get(path).content.decode()
        assert words in page
        assert "tried on this hub" in page.lower()
        assert f"/installs/{job.pk}/" in page


def test_the_page_says_when_the_cloud_was_last_asked(client: Client) -> None:
    job = make_job(state=State.RUNNING, asked_at=timezone.now())
    sign_in(client, make_owner(job.household))
    page = client.get(f"/installs/{job.pk}/").content.decode()
    assert "The cloud was last asked" in page
    mark = mark_in(page, f"/installs/{job.pk}/live/")
    asked_at = timezone.now() + timedelta(seconds=10)
    OtaJob.objects.filter(pk=job.pk).update(asked_at=asked_at)
    fresh = client.get(f"/installs/{job.pk}/live/?v={mark}")
    assert fresh.status_code == 200, "an open page says it too, ten seconds late at most"
    OtaJob.objects.filter(pk=job.pk).update(asked_at=timezone.now() - timedelta(minutes=20))
    page = client.get(f"/installs/{job.pk}/").content.decode()
    assert "We cannot ask about" in page
    assert "has not reported" not in page
    assert mark_in(page, f"/installs/{job.pk}/live/") != mark


def test_a_name_from_right_to_left_does_not_turn_the_versions_round(client: Client) -> None:
    node = make_node(name="חצר")
    make_offer(node)
    job = make_job(node, state=State.RUNNING)
    client.force_login(make_owner(node.account.household))
    for address in (f"/installs/{job.pk}/", f"/installs/{job.pk}/receipt/"):
        page = client.get(address, headers={"accept-language": "en"}).content.decode()
        assert "\u2068חצר\u2069" in page, address


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"check_trouble": "busy", "checked_at": timezone.now()}, "the last check failed"),
        ({"check_trouble": "busy"}, "the last check failed"),
        ({"checked_at": None}, "has not been checked for firmware yet"),
        ({"checked_at": timezone.now()}, "There is currently no new firmware"),
    ],
)
def test_no_offer_is_only_what_the_cloud_said(
    client: Client, fields: dict[str, Any], sentence: str
) -> None:
    node = make_node(**fields)
    client.force_login(make_owner(node.account.household))
    page = client.get(f"/hubs/{node.pk}/install/", headers={"accept-language": "en"})
    text = page.content.decode()
    assert sentence in text
    is_known = "currently no new firmware" in sentence
    assert ("Nothing to install on" in text) is is_known
    code = client.get(f"/api/v1/hubs/{node.pk}/", headers=api_headers(node)).json()
    assert code["why_not_now"][0]["code"] == ("no_offer" if is_known else "offer_unknown")


def api_headers(node: Node) -> dict[str, str]:
    owner = node.account.household.memberships.get().user
    household = node.account.household
    _, token = api_tokens.create(owner, household, name="script", scope=Scope.READ)
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"window_start_min": 120, "window_end_min": 240}, "only between 2 a.m. and 4 a.m."),
        ({"valid_from": timezone.now() + timedelta(days=2)}, "does not install it before"),
        ({"valid_until": timezone.now() + timedelta(days=2)}, "installs it only until"),
        ({"valid_until": timezone.now() - timedelta(days=2)}, "Its deadline passed"),
        ({"has_other_limits": True}, "cannot be read here"),
    ],
)
def test_the_form_says_when_the_hub_may_install(
    client: Client, limits: dict[str, Any], sentence: str
) -> None:
    node = make_node()
    make_offer(node, **limits)
    client.force_login(make_owner(node.account.household))
    page = client.get(f"/hubs/{node.pk}/install/", headers={"accept-language": "en"})
    assert sentence in page.content.decode()


def rolled_back(node: Node, outcome: InstallOutcome = InstallOutcome.ROLLED_BACK) -> OtaJob:
    job = make_job(node, state=State.RUNNING)
    job = OtaJob.objects.select_related("node__account__household", "household").get(pk=job.pk)
    move_to(job, State.REJECTED, actor=Actor.worker(), note="It ended.", outcome=outcome)
    return job


@pytest.mark.parametrize(
    ("offered", "words", "may_retry"),
    [
        ("5.3.3", "The cloud still offers this update to the hub.", True),
        ("5.4.0", "The cloud now offers 5.4.0 to this hub.", True),
        ("", "The cloud offers this hub no update now.", False),
    ],
)
def test_after_a_rollback_the_offer_is_checked_again_and_shown(
    home: Home, enter: Any, offered: str, words: str, may_retry: bool
) -> None:
    client, job = enter(home.people[Role.OWNER]), rolled_back(home.new)
    node = Node.objects.due_for_check(timezone.now()).get()
    assert node.pk == home.new.pk
    text = client.get(f"/installs/{job.pk}/").content.decode()
    assert "The cloud is being asked what it offers this hub now." in text
    assert "every 2s" in text
    found = FirmwareOffer(is_available=bool(offered), fw_version=offered, ota_job_id="J")
    keep_offer(node, found, timezone.now())
    text = client.get(f"/installs/{job.pk}/").content.decode()
    assert words in text
    assert ('id="retry"' in text) == may_retry


def test_what_a_hub_refuses_each_time_is_not_to_be_tried_again(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    job = rolled_back(home.new, InstallOutcome.PROJECT_NAME)
    Node.objects.update(check_asked_at=None, checked_at=timezone.now())
    text = client.get(f"/installs/{job.pk}/").content.decode()
    assert "The cloud still offers this update to the hub." in text
    assert 'id="retry"' not in text


def test_receipt_and_form_name_serial_number_and_node_id(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    pages = {
        f"/installs/{home.job.pk}/receipt/": home.broken,
        f"/hubs/{home.new.pk}/install/": home.new,
        f"/hubs/{home.new.pk}/": home.new,
    }
    for path, node in pages.items():
        facts = dict(re.findall(r"<dt>([^<]+)</dt>\s*<dd[^>]*>([^<]+)</dd>", text(client, path)))
        assert facts["Serial number"].strip() == node.serial, path
        assert facts["Node ID"].strip() == node.node_id, path
    listed = " ".join(re.sub(r"<[^>]+>", " ", text(client, "/")).split())
    assert f"Serial number {home.new.serial}" in listed


def text(client: Client, path: str) -> str:
    return client.get(path).content.decode()
