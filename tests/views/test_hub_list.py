"""The list of hubs: its order, remembered and by household, and how often it asks."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.fleet.attention import hubs_of
from devices.models import Batch, Role, StaffRole, State, User, When
from devices.models.homeassistant import VIA
from devices.views.hub_filters import HubFilter, find
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_plan,
    make_proposal,
    make_user,
    sign_in,
)
from tests.support.markup import tight

pytestmark = pytest.mark.django_db


def names(client: Client, path: str = "/") -> list[str]:
    """Return the hubs and the headings between them, in the order of the page."""
    text = client.get(path).content.decode()
    found = re.findall(r'class="name"[^>]*>([^<]+)<|scope="rowgroup"[^>]*>([^<]+)<', text)
    return [hub or f"# {household}" for hub, household in found]


def test_the_order_that_was_chosen_is_remembered(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    make_node(account, name="A", fw_version="5.9")
    make_node(account, name="B", fw_version="5.1")
    sign_in(client, make_owner(household))
    assert names(client) == ["A", "B"]
    assert names(client, "/?sort=version") == ["B", "A"]
    assert names(client) == ["B", "A"]
    assert names(client, "/?sort=nonsense") == ["A", "B"]
    assert names(client) == ["B", "A"]  # nonsense is not kept
    assert names(client, "/?sort=") == ["A", "B"]
    assert names(client) == ["A", "B"]


def test_staff_see_what_needs_attention_first_in_a_table(client: Client, settings: Any) -> None:
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    for house, hubs in (("West", ["C"]), ("East", ["B", "A"])):
        account = make_account(make_household(house))
        for hub in hubs:
            make_node(account, name=hub)
    make_offer(make_node(account, name="Z"))
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    assert names(client) == ["Z", "A", "B", "C"]
    assert names(client, "/?sort=household") == ["A", "B", "Z", "C"]
    assert names(client, "/?sort=household&view=cards") == ["# East", "A", "B", "Z", "# West", "C"]
    assert names(client) == ["# East", "A", "B", "Z", "# West", "C"]  # both are remembered


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", "A B C"),
        ("-name", "C B A"),
        ("version", "B C A"),
        ("-version", "A C B"),
        ("online", "C A B"),
        ("checked", "B A C"),
        ("-checked", "C A B"),
        ("model", "A C B"),
    ],
)
def test_a_press_on_a_column_sorts_by_it_and_another_turns_it_round(
    client: Client, sort: str, order: str
) -> None:
    household, now = make_household(), timezone.now()
    account = make_account(household)
    for name, version, model, hours in (("A", "5.9", "a", 2), ("B", "5.1", "b", 3)):
        at = now - timedelta(hours=hours)
        make_node(
            account,
            name=name,
            fw_version=version,
            model=model,
            checked_at=at,
            is_online=name == "A",
            online_changed_at=at,
        )
    long_ago = now - timedelta(days=9)
    make_node(account, name="C", fw_version="5.5", model="a", online_changed_at=long_ago)
    sign_in(client, make_owner(household))
    assert names(client, f"/?view=table&sort={sort}") == order.split()
    text = client.get("/").content.decode()
    key = sort.removeprefix("-")
    direction = "descending" if sort.startswith("-") else "ascending"
    assert text.count("aria-sort") == 1
    assert f'aria-sort="{direction}"' in text
    turned = key if sort.startswith("-") else f"-{key}"
    assert f'href="/?sort={turned}"' in text


def test_every_filter_says_how_many_it_finds_among_those_found(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    for version in ("5.1", "5.1", "5.2"):
        make_offer(make_node(account, fw_version=version))
    make_node(account, fw_version="5.1", is_online=False)
    sign_in(client, make_owner(household))

    def chips(path: str) -> dict[str, str]:
        text = client.get(path).content.decode()
        return dict(re.findall(r'id="chip-(\w*)".*?>[^<]*<span>(\d+)</span>', text, re.DOTALL))

    assert chips("/") == {"": "4", "new": "3", "offline": "1"}
    assert chips("/?version=5.1") == {"": "3", "new": "2", "offline": "1", "version": "3"}
    assert chips("/?version=5.1&show=new") == {"": "3", "new": "2", "offline": "1", "version": "2"}


def test_all_that_match_are_chosen_and_not_only_those_of_the_page(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    for n in range(30):
        make_offer(make_node(account, name=f"Old {n}", fw_version="5.1"))
    make_offer(make_node(account, name="Other", fw_version="5.2"))
    sign_in(client, make_owner(household))
    text = client.get("/?version=5.1&page=2").content.decode()
    assert "Review 30 updates" in text
    found = re.search(r'id="choose-all" href="([^"]+)"', text)
    assert found is not None
    review = client.get(found[1].replace("&amp;", "&")).content.decode()
    assert review.count(">Old ") == 30
    assert ">Other<" not in review


def test_the_one_act_is_what_the_person_may_do(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    broken = make_node(account)
    make_job(broken, state=State.FAILED)
    viewer = make_user(role=Role.VIEWER, household=household)

    def act(user: User) -> str:
        found = re.search(
            r'id="choose-all" href="([^"]+)"', sign_in(Client(), user).get("/").content.decode()
        )
        return found[1].replace("&amp;", "&") if found else ""

    owner = make_owner(household)
    assert act(owner) == act(viewer) == "/?sort=&show=attention"
    one = make_node(account)
    make_offer(one)
    assert act(owner) == f"/hubs/{one.pk}/install/"
    assert act(viewer) == "/?sort=&show=attention"
    make_offer(make_node(account))
    assert act(owner) == "/queues/new/?all=1&sort="
    account.state = "signed_out"
    account.save()
    assert act(owner) == "/accounts/"


def test_a_person_in_two_households_reviews_all_without_a_wrong_number(client: Client) -> None:
    user = make_user()
    for role in (Role.OWNER, Role.VIEWER):
        household = make_household()
        household.memberships.create(user=user, role=role)
        for _ in range(2):
            make_offer(make_node(make_account(household)))
    text = sign_in(client, user).get("/").content.decode()
    assert "Review all updates" in text
    assert "Review four updates" not in text


def test_staff_who_see_one_household_see_what_needs_attention_first(client: Client) -> None:
    account = make_account(make_household(support_until=timezone.now() + timedelta(days=1)))
    make_node(account, name="A")
    make_offer(make_node(account, name="B"))
    sign_in(client, make_user(staff_role=StaffRole.SUPPORT))
    assert names(client) == ["B", "A"]


def test_two_households_of_the_same_name_stay_two(client: Client) -> None:
    user = make_user()
    for hub in ("A", "B", "C"):
        household = make_household("House")
        household.memberships.create(user=user, role=Role.OWNER)
        make_node(make_account(household), name=hub)
    sign_in(client, user)
    assert names(client, "/?sort=household") == ["# House", "A", "# House", "B", "# House", "C"]


def test_one_household_needs_no_order_by_household(client: Client) -> None:
    household = make_household()
    make_node(make_account(household))
    sign_in(client, make_owner(household))
    assert "By household" not in client.get("/").content.decode()


@pytest.mark.parametrize(("what", "every_s"), [("nothing", 30), ("an install", 3), ("a check", 3)])
def test_it_asks_often_only_while_something_runs(client: Client, what: str, every_s: int) -> None:
    household = make_household()
    node = make_node(make_account(household))
    if what == "an install":
        make_job(node, state=State.RUNNING)
    if what == "a check":
        node.touch(timezone.now(), check_asked_at=timezone.now())
    sign_in(client, make_owner(household))
    for path in ("/", f"/hubs/{node.pk}/"):
        text = client.get(path).content.decode()
        assert f'data-hx-trigger="every {every_s}s, seen"' in text, path


def test_the_way_to_the_first_update_says_where_one_stands(client: Client) -> None:
    household = make_household()
    sign_in(client, make_owner(household))

    def step(path: str) -> str:
        found = re.findall(
            r'aria-current="step">([^<]+)<', tight(client.get(path).content.decode())
        )
        return found[0] if found else ""

    assert [step("/"), step("/accounts/link/")] == ["Your cloud account"] * 2
    account = make_account(household)
    assert [step("/"), step("/accounts/link/")] == ["Your hubs", ""]
    node = make_node(account)
    assert step("/") == "The first update"
    make_job(node)
    assert step("/") == ""


def test_a_hub_that_restarts_for_its_update_needs_nothing(client: Client) -> None:
    node = make_node(name="A", is_online=False)
    make_offer(node)
    sign_in(client, make_owner(node.account.household))
    assert "can be updated once it is online" in client.get("/").content.decode()
    make_job(node, state=State.VERIFYING)
    assert "can be updated once it is online" not in client.get("/").content.decode()


def plans_at(client: Client) -> User:
    """Let three of four hubs be planned: C first, then A, B last."""
    household, now = make_household(), timezone.now()
    account = make_account(household)
    for name, hours in (("A", 2), ("B", 3), ("C", 1), ("D", 0)):
        node = make_node(account, name=name)
        if hours:
            at = now + timedelta(hours=hours)
            make_plan(node, when=When.AT, not_before=at, expires_at=at + timedelta(hours=3))
    owner = make_owner(household)
    sign_in(client, owner)
    return owner


@pytest.mark.parametrize(("sort", "order"), [("planned", "CABD"), ("-planned", "BACD")])
def test_the_table_says_when_and_why_and_sorts_by_it(client: Client, sort: str, order: str) -> None:
    plans_at(client)
    assert names(client, f"/?view=table&sort={sort}") == list(order), "those without come last"
    text = client.get("/").content.decode()
    assert text.count(" · person</span>") == 3
    assert text.count("aria-sort") == 1
    assert re.search(r'aria-sort="\w+">\s*<a href="[^"]*sort=-?planned', text)


def test_a_plan_says_by_what_it_came_about(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    now = timezone.now()
    night = {"window_start": "22:00", "window_end": "05:00"}
    policy = {"announced_at": now - timedelta(days=1), **night}
    make_plan(make_node(account), when=When.POLICY, not_before=now, **policy)
    make_plan(make_node(account), when=When.TONIGHT, requested_via=VIA, **night)
    batch = Batch.objects.create(household=household, requested_by_name="x")
    make_plan(make_node(account), batch=batch)
    offered = make_offer(make_node(account)).node
    make_plan(offered, proposal=make_proposal(offered), when=When.IDLE)
    sign_in(client, make_owner(household))
    text = client.get("/?view=table").content.decode()
    for cause in ("policy", "Home Assistant", "queue", "proposal"):
        assert text.count(f" · {cause}</span>") == 1, cause


def test_without_a_plan_the_table_keeps_the_room(client: Client) -> None:
    household = make_household()
    node = make_node(make_account(household))
    sign_in(client, make_owner(household))
    assert "sort=planned" not in client.get("/?view=table").content.decode()
    assert "sort=planned" in client.get("/?sort=planned").content.decode()
    client.get("/?sort=")
    make_plan(node)
    assert "sort=planned" in client.get("/").content.decode()
    assert " · person" not in client.get("/?view=cards").content.decode()


def test_the_column_asks_nothing_more(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    make_plan(make_node(account))
    sign_in(client, make_owner(household))

    def queries(path: str) -> int:
        client.get(path)
        with CaptureQueriesContext(connection) as asked:
            client.get(path)
        return len(asked)

    few = queries("/?view=table")
    for _ in range(6):
        make_plan(make_node(account), when=When.IDLE)
    assert queries("/?view=table") == few
    assert queries("/?sort=planned") == few
    assert queries("/?view=cards&sort=") == few


def test_the_time_of_a_plan_is_found_by_an_index(client: Client) -> None:
    plans_at(client)
    found = find(hubs_of(User.objects.get()), HubFilter(sort="planned"))
    steps = found.explain() if connection.vendor == "sqlite" else "one_waiting_plan_per_hub"
    assert "one_waiting_plan_per_hub" in steps
