"""Which hubs a person is shown, and how often: a hub is one hub, by how many accounts ever."""

import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from devices.fleet.attention import count, hubs_of
from devices.homeassistant.snapshot import nodes_of
from devices.models import CloudAccount, HomeAssistantLink, Household, Node, State, User
from devices.models.attention import Attention
from devices.presentation import headlines
from devices.presentation.charts import away_of, versions_of
from devices.views.hub_filters import SHOWS, HubFilter, page_of
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
)

pytestmark = pytest.mark.django_db


def shared(household: Household, *, of: str = "Hub-1", **fields: Any) -> list[Node]:
    """Return the rows of one hub in two accounts of the household."""
    values = {"node_id": of, "name": "Porch", "serial": "N03HA1"} | fields
    return [
        make_node(make_account(household), role=role, **values) for role in ("secondary", "primary")
    ]


def shown(user: User) -> list[int]:
    return sorted(hubs_of(user).values_list("pk", flat=True))


def test_a_hub_shared_by_two_accounts_is_one_hub(client: Client) -> None:
    household = make_household()
    owner = make_owner(household)
    for of in ("Hub-1", "Hub-2"):
        for node in shared(household, of=of, name=of):
            make_offer(node, fw_version="5.4.0")
    client.force_login(owner)
    text = client.get("/").content.decode()
    assert "Both hubs have new firmware available." in text
    assert text.count(">Hub-1</a>") == text.count(">Hub-2</a>") == 1
    assert len(client.get("/queues/new/?all=1").content.decode().split(">Hub-1<")) <= 2
    (bar,) = versions_of(owner)
    assert bar.words.startswith("2 hubs")
    assert nodes_of(HomeAssistantLink(household=household)).count() == 2


def test_the_row_shown_is_of_a_signed_in_account_then_of_the_primary_user() -> None:
    household = make_household()
    owner = make_owner(household)
    secondary, primary = shared(household)
    assert shown(owner) == [primary.pk]
    CloudAccount.objects.filter(pk=primary.account_id).update(state="signed_out")
    assert shown(owner) == [secondary.pk]
    CloudAccount.objects.filter(pk=secondary.account_id).update(state="signed_out")
    assert shown(owner) == [primary.pk]
    Node.objects.filter(pk=primary.pk).update(gone_at=timezone.now())
    assert shown(owner) == [secondary.pk]


def test_while_an_install_runs_its_row_is_shown() -> None:
    household = make_household()
    secondary, _ = shared(household)
    make_job(secondary, state=State.RUNNING)
    assert shown(make_owner(household)) == [secondary.pk]


def test_a_failed_install_is_not_hidden_behind_the_other_row() -> None:
    household = make_household()
    secondary, primary = shared(household)
    make_job(secondary, state=State.FAILED)
    owner = make_owner(household)
    assert shown(owner) == [secondary.pk]
    Node.objects.filter(pk=secondary.pk).update(fw_version="5.3.3")  # it arrived after all
    assert shown(owner) == [primary.pk]


def test_a_hub_that_fell_back_is_not_hidden_behind_the_other_row() -> None:
    household = make_household()
    secondary, _ = shared(household)
    make_job(secondary, state=State.VERIFIED, fell_back_at=timezone.now())
    assert shown(make_owner(household)) == [secondary.pk]


def test_home_assistant_keeps_knowing_a_shared_hub_by_the_same_row() -> None:
    household = make_household()
    oldest, primary = shared(household)
    link = HomeAssistantLink(household=household)
    for change in ({}, {"state": "signed_out"}):
        CloudAccount.objects.filter(pk=oldest.account_id).update(**{"failures": 0} | change)
        assert [node.pk for node in nodes_of(link)] == [oldest.pk]
    make_job(primary, state=State.RUNNING)
    assert [node.pk for node in nodes_of(link)] == [oldest.pk]


def test_other_clouds_and_other_households_are_other_hubs() -> None:
    household = make_household()
    make_node(make_account(household), node_id="Hub-1")
    make_node(make_account(household, base_url="https://cloud.example.org"), node_id="Hub-1")
    stranger = make_node(make_account(), node_id="Hub-1")
    assert len(shown(make_owner(household))) == 2
    assert shown(make_owner(stranger.account.household)) == [stranger.pk]


def test_the_page_of_a_shared_hub_names_the_other_account_and_its_installs(client: Client) -> None:
    household = make_household()
    secondary, primary = shared(household)
    job = make_job(secondary, state=State.VERIFIED)
    client.force_login(make_owner(household))
    text = client.get(f"/hubs/{primary.pk}/").content.decode()
    assert secondary.account.email in text
    assert f"/installs/{job.pk}/" in text


@pytest.mark.parametrize("seed", range(25))
def test_list_chips_headline_and_charts_count_the_same(seed: int) -> None:
    """Whatever the state of hubs and accounts: each list has as many rows as its chip says."""
    chance, now = random.Random(seed), timezone.now()
    household = make_household()
    owner = make_owner(household)
    accounts = [
        make_account(household, state=chance.choice(["linked", "linked", "signed_out", "unlinked"]))
        for _ in range(3)
    ]
    hubs = defaultdict(list)
    for number in range(12):
        for account in chance.sample(accounts, chance.choice([1, 1, 2, 3])):
            node = make_node(
                account,
                node_id=f"Hub-{number}",
                role=chance.choice(["", "primary", "secondary"]),
                is_online=chance.choice([True, False, None]),
                checked_at=chance.choice([None, now]),
                gone_at=chance.choice([None, None, now]),
            )
            hubs[node.node_id].append(node)
            kind = chance.choice(["", "new", "older", "failed"])
            if kind in {"new", "older"}:
                version = "5.3.1" if kind == "older" else "5.4.0"
                make_offer(node, fw_version=version, is_step_back=kind == "older")
            elif kind == "failed":
                make_job(node, state=State.FAILED)
    is_present = {
        node_id
        for node_id, rows in hubs.items()
        if any(row.gone_at is None and row.account.state != "unlinked" for row in rows)
    }
    rows = hubs_of(owner)
    counts = count(rows)
    assert {node.node_id for node in rows} == is_present
    assert counts.total == len(is_present)
    for show in SHOWS:
        page = page_of(rows, HubFilter(show=show), counts)
        assert page.paginator.count == counts.shown_by(show) == len(page.object_list), show
    everyone = [Attention(row["why"]) for row in rows.values(why=F("attention"))]
    assert counts.older == everyone.count(Attention.OLDER)
    assert counts.new == everyone.count(Attention.NEW) + everyone.count(Attention.WAITING)
    assert sum(round(bar.width * counts.total / 100) for bar in versions_of(owner)) == counts.total
    away = away_of(owner, now)
    assert bool(away) == bool(counts.offline)
    clouds: Any = type("Clouds", (), {"unread": 0})()
    headline = headlines.of_hubs(counts, clouds)
    if counts.total > 2 and not (counts.new or counts.running or counts.attention or counts.older):
        assert headline.startswith(("All", "None"))


def test_the_next_check_is_only_given_when_it_is_still_to_come() -> None:
    now = timezone.now()
    account = make_account()
    owner = make_owner(account.household)
    node = make_node(account, next_check_at=now + timedelta(hours=3))
    assert count(hubs_of(owner)).next_check_at == node.next_check_at
    due = make_node(account, next_check_at=now - timedelta(minutes=8))
    assert count(hubs_of(owner)).next_check_at is None
    assert (node.next_check, due.next_check) == (node.next_check_at, None)
    due.delete()
    CloudAccount.objects.update(resume_at=now + timedelta(minutes=5))
    assert count(hubs_of(owner)).next_check_at is None
    CloudAccount.objects.update(resume_at=None, state="signed_out")
    assert count(hubs_of(owner)).next_check_at is None
    fresh = Node.objects.select_related("account").get(pk=node.pk)
    assert fresh.next_check is None


def test_an_older_offer_is_called_a_step_back(client: Client) -> None:
    account = make_account()
    node = make_node(account, fw_version="5.4.7", name="Porch")
    make_offer(node, fw_version="5.4.1", is_step_back=True)
    client.force_login(make_owner(account.household))
    text = client.get("/").content.decode()
    assert "Your hub is offered an older version than it runs." in text
    assert "Older firmware offered" in text
    assert "can be set back to" in text
    assert "New firmware" not in text
    assert "Review step back" in text
    assert ">Porch</a>" in client.get("/?show=older").content.decode()
    assert ">Porch</a>" not in client.get("/?show=new").content.decode()
    text = client.get(f"/hubs/{node.pk}/").content.decode()
    assert "Older firmware offered: 5.4.1" in text
    assert "This is a step back: the hub runs 5.4.7, which is newer." in text
    assert "New firmware:" not in text
