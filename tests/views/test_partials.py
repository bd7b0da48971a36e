"""What travels to a page that is open: little, in order, and usable from there on."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from devices.models import Batch, Beat, CloudAccount, Role, State
from devices.models.message import Message, MessageCode
from devices.taskqueue.wakeups import wake_installs
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
)

pytestmark = pytest.mark.django_db
HTMX: Any = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def account() -> CloudAccount:
    return make_account(make_household("Garden house"))


@pytest.fixture
def owner(account: CloudAccount) -> Client:
    client = Client()
    client.force_login(make_user(role=Role.OWNER, household=account.household))
    return client


def poll_in(text: str) -> str:
    question = text.split('data-hx-get="/hubs/live/')[1].split('"')[0]
    return "/hubs/live/" + question.replace("&amp;", "&")


def test_links_to_other_pages_stay_on_the_list_after_a_live_change(
    account: CloudAccount, owner: Client
) -> None:
    nodes = [make_node(account) for _ in range(51)]
    poll = poll_in(owner.get("/?sort=name").content.decode())
    make_offer(nodes[0])
    make_node(account, name="A new one")
    text = owner.get(poll, **HTMX).content.decode()
    assert 'href="?sort=name&amp;page=2"' in text
    assert "/hubs/live/?sort=name&amp;page=2" not in text


def test_another_order_takes_the_place_of_the_whole_list(
    account: CloudAccount, owner: Client
) -> None:
    make_node(account, name="Alder")
    last = make_node(account, name="Willow")
    poll = poll_in(owner.get("/").content.decode())
    make_offer(last)
    last.touch(timezone.now())
    answer = owner.get(poll, **HTMX)
    text = answer.content.decode()
    assert answer["HX-Retarget"] == "#hub-list"
    assert text.index(">Willow</a>") < text.index(">Alder</a>")
    assert text.count('id="poll"') == 1


def test_a_worker_that_stops_is_said_on_open_pages_and_taken_back(owner: Client) -> None:
    beat = Beat.objects.create(name="installs", beat_at=timezone.now())
    poll = poll_in(owner.get("/").content.decode())
    assert owner.get(poll, **HTMX).status_code == 204
    Beat.objects.filter(pk=beat.pk).update(beat_at=timezone.now() - timedelta(minutes=5))
    text = owner.get(poll, **HTMX).content.decode()
    assert "The worker is not running" in text
    Beat.objects.filter(pk=beat.pk).update(beat_at=timezone.now())
    assert "The worker is not running" not in owner.get(poll_in(text), **HTMX).content.decode()


def test_a_worker_that_is_behind_or_was_restarted_is_said(owner: Client, settings: Any) -> None:
    now = timezone.now()
    Beat.objects.create(name="installs", beat_at=now)
    Beat.note_restart(now - timedelta(minutes=3), Message.of(MessageCode.WORKER_SILENT))
    text = owner.get("/").content.decode()
    assert "The worker was restarted" in text
    assert "because it had stopped responding. Nothing was lost" in text
    poll = poll_in(text)
    wake_installs()
    OrmQ.objects.update(lock=now - timedelta(minutes=4, seconds=5))
    text = owner.get(poll, **HTMX).content.decode()
    assert "The worker is running late: requests from 4 minutes ago" in text
    assert "Nothing is lost" in text
    OrmQ.objects.all().delete()
    Beat.objects.filter(name="worker").update(restarted_at=now - timedelta(hours=1))
    text = owner.get(poll_in(text), **HTMX).content.decode()
    assert "behind" not in text
    assert "restarted" not in text


def test_an_offline_hub_with_new_firmware_waits_behind_those_that_can_go(
    account: CloudAccount, owner: Client
) -> None:
    make_offer(make_node(account, name="Boathouse", is_online=False))
    make_offer(make_node(account, name="Pool"))
    make_node(account, name="Arbour", fw_version="5.3.3")
    text = owner.get("/").content.decode()
    names = sorted(("Arbour", "Boathouse", "Pool"), key=lambda name: text.index(f">{name}</a>"))
    assert names == ["Pool", "Boathouse", "Arbour"]
    assert "Two of three hubs have new firmware available." in text
    assert "Boathouse" in owner.get("/?show=new").content.decode()
    assert text.count("Review update") == 2  # of the page, and of the one row


def test_the_first_hubs_bring_what_finds_them(account: CloudAccount, owner: Client) -> None:
    page = owner.get("/").content.decode()
    assert 'id="q"' not in page
    make_node(account)
    assert 'id="q"' in owner.get(poll_in(page), **HTMX).content.decode()
    # text that a person is typing is left alone
    page = owner.get("/").content.decode()
    make_node(account)
    assert 'id="q"' not in owner.get(poll_in(page), **HTMX).content.decode()


def test_a_second_offer_brings_what_chooses_several(account: CloudAccount, owner: Client) -> None:
    one, other = make_node(account), make_node(account)
    make_offer(one)
    page = owner.get("/?sort=name").content.decode()
    assert 'id="choose"' in page
    assert 'form="choose"' not in page
    make_offer(other)
    other.touch(timezone.now())
    text = owner.get(poll_in(page), **HTMX).content.decode()
    assert text.count('form="choose"') == 2


def test_a_forgotten_tab_does_not_choose_the_order_of_the_next_page(
    account: CloudAccount, owner: Client
) -> None:
    node = make_node(account)
    old = poll_in(owner.get("/?sort=name").content.decode())
    owner.get("/?sort=version")
    node.touch(timezone.now())
    assert owner.get(old, **HTMX).status_code == 200
    assert '<option value="version" selected>' in owner.get("/").content.decode()


@pytest.mark.parametrize("kind", ["list", "hub", "install", "queue"])
def test_another_day_and_a_worker_that_stops_are_on_every_open_page(
    account: CloudAccount, owner: Client, time_machine: Any, kind: str
) -> None:
    time_machine.move_to(datetime(2026, 11, 27, 22, 30, tzinfo=UTC), tick=False)
    Beat.objects.update_or_create(name="installs", defaults={"beat_at": timezone.now()})
    node = make_node(account)
    job = make_job(node, state=State.RUNNING)
    batch = Batch.objects.create(household=account.household, requested_by_name="x")
    page = {
        "list": "/",
        "hub": f"/hubs/{node.pk}/",
        "install": f"/installs/{job.pk}/",
        "queue": f"/queues/{batch.pk}/",
    }[kind]

    def ask(*, wait: timedelta, silent: timedelta) -> tuple[int, str]:
        text = owner.get(page).content.decode()
        poll = re.findall(r'data-hx-get="([^"]+/live/[^"]+)"', text)[-1].replace("&amp;", "&")
        assert owner.get(poll, **HTMX).status_code == 204
        time_machine.shift(wait)
        Beat.objects.filter(name="installs").update(beat_at=timezone.now() - silent)
        answer = owner.get(poll, **HTMX)
        return answer.status_code, answer.content.decode()

    assert ask(wait=timedelta(days=1), silent=timedelta(0))[0] == 200, "another day"
    status, text = ask(wait=timedelta(0), silent=timedelta(hours=1))
    assert status == 200
    assert "The worker is not running" in text
