"""The page of one household for those who help it: what happened, what was told, what to do."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    AuditAction,
    AuditEvent,
    Channel,
    Delivery,
    Household,
    Notice,
    Role,
    StaffRole,
    State,
    Topic,
    User,
    VersionChange,
)
from devices.models.message import Message, MessageCode
from devices.notifications.outbox import notify
from devices.presentation.support_summary import summary_of
from devices.presentation.timeline import PER_PAGE, household_timeline
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

pytestmark = pytest.mark.django_db


class Home:
    """A household that lets support in, with a hub whose install ended badly and another."""

    def __init__(self, **fields: Any) -> None:
        until = timezone.now() + timedelta(days=2)
        self.household = make_household("Garden house", support_until=until, **fields)
        self.owner = make_owner(self.household)
        self.account = make_account(self.household)
        self.porch = make_node(self.account, name="Back porch")
        self.gazebo = make_node(self.account, name="Gazebo")
        self.job = make_job(self.porch, state=State.LOST, outcome="silent")

    @property
    def page(self) -> str:
        return f"/households/{self.household.pk}/"

    def support(self) -> Client:
        user = User.objects.filter(email="sam@support.example").first()
        return sign_in(
            Client(), user or make_user("sam@support.example", staff_role=StaffRole.SUPPORT)
        )

    def notify(self) -> Notice:
        Channel.objects.create(
            household=self.household, user=self.owner, topics=[Topic.NEEDS_YOU], is_on=True
        )
        notify(
            Topic.NEEDS_YOU,
            household=self.household,
            path="/proposals/",
            now=timezone.now(),
            message=Message.of(MessageCode.PROPOSED_SEVERAL, name="ann@support.example", n="2"),
        )
        return Notice.objects.get()


@pytest.fixture
def home() -> Home:
    return Home()


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).split())


def summary_in(page: str) -> str:
    found = re.search(r'<textarea[^>]*id="summary"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    assert found is not None
    return found[1]


def test_support_reads_what_happened_what_was_told_and_what_is_open(home: Home) -> None:
    offer = make_offer(home.gazebo)
    proposal = make_proposal(home.gazebo)
    plan = make_plan(home.porch)
    home.notify()
    page = home.support().get(home.page).content.decode()
    text = text_of(page)
    assert f'href="/installs/{home.job.pk}/"' in page
    assert f'href="/proposals/{proposal.pk}/"' in page
    assert f"{offer.fw_version} offered" in text
    assert f"Plan of {plan.to_version}" in text
    assert "ann@support.example proposes new firmware for 2 hubs." in text
    assert "(Messages sent: 0, waiting: 1, not sent: 0)" in text
    assert "Staff looked into this household" in text, "the look is in its own history"
    for name in ("Back porch", "Gazebo"):
        assert f">{name}</a>" in page


def test_the_summary_says_what_happened_whether_it_is_safe_and_what_to_do(home: Home) -> None:
    page = home.support().get(home.page).content.decode()
    summary = summary_in(page)
    assert summary.startswith("Garden house: ")
    assert "Back porch (simulated): " in summary
    assert "Is the hub safe? " in summary
    assert "What to do: " in summary
    code = re.search(r"Support code: (TW-[A-Z]\d+)", summary)
    assert code is not None
    assert code[1] in text_of(Client().get("/codes/").content.decode()) or code[1] in text_of(
        home.support().get("/codes/").content.decode()
    )
    assert 'data-copy="summary"' in page


def test_the_summary_is_in_the_language_of_the_household() -> None:
    home = Home(language="de")
    page = home.support().get(home.page).content.decode()
    assert "Support-Code: TW-" in summary_in(page)
    assert 'lang="de"' in page
    assert "Summary for a mail" in page


def test_the_summary_says_no_more_than_is_known(home: Home) -> None:
    home.job.delete()
    summary = summary_of(home.household, timezone.now())
    assert "No install from here went wrong in the last 30 days." in summary
    assert "TW-" not in summary
    home.account.state = "signed_out"
    home.account.save()
    assert "sign in to the cloud account" in summary_of(home.household, timezone.now())


def test_the_last_contact_is_what_is_known(home: Home) -> None:
    client = home.support()
    assert "It is not known when someone was last here." in text_of(
        client.get(home.page).content.decode()
    )
    User.objects.filter(pk=home.owner.pk).update(last_login=timezone.now() - timedelta(hours=5))
    text = text_of(client.get(home.page).content.decode())
    assert "was last here 5 h ago" in text
    assert "The cloud last answered" in text


def test_that_support_looked_is_no_visit_of_the_household(home: Home) -> None:
    helper = make_user(role=Role.MEMBER, household=home.household, staff_role=StaffRole.SUPPORT)
    User.objects.filter(pk=helper.pk).update(last_login=timezone.now())
    text = text_of(home.support().get(home.page).content.decode())
    assert "It is not known when someone was last here." in text


@pytest.mark.parametrize("role", [Role.OWNER, Role.MEMBER, Role.VIEWER])
def test_its_own_people_see_it_and_viewers_no_addresses(home: Home, role: Role) -> None:
    home.notify()
    make_offer(home.gazebo)
    make_proposal(home.gazebo)
    user = make_user(role=role, household=home.household)
    page = sign_in(Client(), user).get(home.page).content.decode()
    is_shown = role != Role.VIEWER
    for address in ("ann@support.example", "sam@support.example", home.account.email):
        plain = page.replace("<wbr>", "")
        assert (address in plain) == is_shown, address
    assert (f"{home.page}settings/" in page) == (role == Role.OWNER)


@pytest.mark.parametrize("role", [StaffRole.AUDITOR, StaffRole.ADMINISTRATOR, StaffRole.SUPPORT])
def test_staff_without_leave_do_not_see_it(home: Home, role: StaffRole) -> None:
    Household.objects.update(support_until=None)
    client = sign_in(Client(), make_user(staff_role=role))
    assert client.get(home.page).status_code == 404
    stranger = sign_in(Client(), make_owner(make_household()))
    assert stranger.get(home.page).status_code == 404


def test_the_history_goes_back_page_by_page_and_shows_each_line_once(home: Home) -> None:
    now = timezone.now()
    for n in range(PER_PAGE + 20):
        at = now - timedelta(hours=n // 30)  # many of one moment, as bulk proposals are
        VersionChange.objects.create(
            node=home.gazebo, from_version="1", to_version=f"2.{n}.", cause="outside", at=at
        )
    seen: list[str] = []
    path, pages = home.page, 0
    client = sign_in(Client(), home.owner)
    while path:
        page = client.get(path).content.decode()
        seen += re.findall(r"Now reports (2\.\d+)\.", page)
        found = re.search(r'rel="next"\s+href="([^"]+)"', page)
        path, pages = (found[1] if found else ""), pages + 1
    assert pages == 2
    assert sorted(seen) == sorted(f"2.{n}" for n in range(PER_PAGE + 20))


@pytest.mark.parametrize(
    "before", ["", "x", "1-", "-1", "9" * 40, "1-9999999", "253402300799999999-1"]
)
def test_any_address_gets_a_page(home: Home, before: str) -> None:
    client = sign_in(Client(), home.owner)
    assert client.get(f"{home.page}?before={before}").status_code == 200


def test_the_page_costs_the_same_however_much_happened(home: Home) -> None:
    client = sign_in(Client(), home.owner)
    home.notify()

    def more() -> None:
        for name in ("Shed", "Dock"):
            node = make_node(home.account, name=name)
            make_job(node, state=State.FAILED, outcome="failed")
            make_offer(node)
            make_proposal(node, token_digest=f"{name}{node.pk}")
            make_plan(make_node(home.account))
            VersionChange.objects.create(
                node=node, from_version="1", to_version="2", cause="outside", at=timezone.now()
            )
        notice = Notice.objects.create(
            household=home.household, topic=Topic.NEEDS_YOU, path="/", at=timezone.now()
        )
        Delivery.objects.create(channel=Channel.objects.get(), notice=notice, due_at=timezone.now())
        audit_log.record(
            Actor.worker(), AuditAction.QUEUE_STOPPED, "Stopped.", household=home.household
        )

    def queries() -> int:
        client.get(home.page)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(home.page).status_code == 200
        return len(asked)

    more()
    few = queries()
    for _ in range(3):
        more()
    assert queries() == few
    assert AuditEvent.objects.filter(action="queue.stopped").count() == 4
    with CaptureQueriesContext(connection) as asked:
        household_timeline(home.household)
    assert len(asked) == 9


def test_the_list_of_households_leads_here(home: Home) -> None:
    assert f'href="{home.page}"' in home.support().get("/households/").content.decode()


def test_it_is_one_of_the_pages_of_the_household_which_lead_to_each_other(home: Home) -> None:
    pk = home.household.pk
    client = sign_in(Client(), make_owner(home.household))
    here = f'href="/households/{pk}/" aria-current="page"'
    assert here in client.get(f"/households/{pk}/").content.decode()
    people = client.get(f"/households/{pk}/people/").content.decode()
    assert f'href="/households/{pk}/">' in people
    assert f'href="/households/{pk}/people/" aria-current="page"' in people
