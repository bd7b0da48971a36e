"""The pages of firmware versions: what they say, to whom, and that their numbers are their rows."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.fleet import holds
from devices.fleet.versions import record_version
from devices.models import (
    Actor,
    Dismissal,
    InstallOutcome,
    Node,
    Role,
    StaffRole,
    State,
    User,
    VersionHold,
)
from devices.models.install import OUTCOMES
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
    sign_in,
)
from tests.support.markup import tight

pytestmark = pytest.mark.django_db
REAL = "https://cloud.example.org"
MODEL = "thermacell-hub"


@pytest.fixture
def member() -> User:
    return make_user(role=Role.MEMBER, household=make_household("Garden house"))


def hub_of(user: User, **fields: Any) -> Node:
    return make_node(make_account(user.households.get(), base_url=REAL), **fields)


def stranger_hub(**fields: Any) -> Node:
    return make_node(make_account(base_url=REAL), **fields)


def end(node: Node, outcome: InstallOutcome, version: str = "5.4.0", minutes: float = 4) -> Any:
    now = timezone.now()
    state = next(state for state, outcomes in OUTCOMES.items() if outcome in outcomes)
    took = {"pushed_at": now - timedelta(minutes=minutes), "ended_at": now}
    return make_job(node, state=state, outcome=outcome, to_version=version, **took)


def page_of(client: Client, version: str, model: str = MODEL, **query: str) -> Any:
    asked = urlencode({"version": version, "model": model} | query)
    return client.get(f"/versions/one/?{asked}")


def enter(user: User) -> Client:
    return sign_in(Client(), user)


def rows_at(client: Client, link: str) -> int:
    """Return how many rows the list at this address has, on all of its pages."""
    answer = client.get(link)
    assert answer.status_code == 200, link
    return int(answer.context["listed"].paginator.count)


def test_a_version_says_what_is_new_in_full_also_when_it_was_dismissed_or_skipped(
    member: User,
) -> None:
    node = hub_of(member)
    long = "First line\nSecond line " + "word " * 300 + "the very end"
    dismissal = Dismissal.objects.create(
        household=node.account.household, version="5.4.0", dismissed_by_name="x"
    )
    make_offer(
        node, fw_version="5.4.0", description=long, dismissal=dismissal, ended_at=timezone.now()
    )
    make_offer(node, fw_version="5.5.0", description="Skipped soon")
    client = enter(member)
    text = page_of(client, "5.4.0").content.decode()
    assert "First line<br>Second line" in text
    assert "the very end" in text
    assert "Skipped soon" in page_of(client, "5.5.0").content.decode()
    listed = client.get("/versions/").content.decode()
    assert all(f">{version}</a>" in listed for version in ("5.4.0", "5.5.0", "5.3.2"))


def test_notes_of_an_install_stay_when_its_offer_is_deleted(member: User) -> None:
    make_job(hub_of(member), state=State.VERIFIED, to_version="5.4.0", description="Kept here")
    assert "Kept here" in page_of(enter(member), "5.4.0").content.decode()


def test_notes_for_one_other_household_stay_there_and_those_for_several_are_known(
    member: User,
) -> None:
    hub_of(member, fw_version="5.4.0")
    make_offer(stranger_hub(), fw_version="5.4.0", description="For the Millers alone")
    for _ in range(2):
        make_offer(stranger_hub(), fw_version="5.4.0", description="Fixes the lamp")
    boss = make_user(staff_role=StaffRole.ADMINISTRATOR)
    for user in (member, boss):
        text = page_of(enter(user), "5.4.0").content.decode()
        assert "Fixes the lamp" in text
        assert "Millers" not in text


def test_every_number_of_a_version_is_the_number_of_rows_it_leads_to(member: User) -> None:
    account = make_account(member.households.get(), base_url=REAL)
    for n, outcome in enumerate(one for outcomes in OUTCOMES.values() for one in sorted(outcomes)):
        node = make_node(account, fw_version=("5.4.0", "v5.4", "5.3.2", "5.4.0+b7")[n % 4])
        for _ in range(1 + n % 3):
            end(node, outcome, ("5.4.0", "V5.4.0")[n % 2])
    fell = end(make_node(account), InstallOutcome.VERIFIED)
    late = end(make_node(account), InstallOutcome.SILENT)
    type(fell).objects.filter(pk=fell.pk).update(fell_back_at=timezone.now())
    type(late).objects.filter(pk=late.pk).update(arrived_late_at=timezone.now())
    make_job(make_node(account), state=State.RUNNING, to_version="5.4.0")
    # neither another model, nor a simulated hub, nor another household is counted
    end(make_node(account, model="lantern"), InstallOutcome.VERIFIED)
    end(make_node(make_account(member.households.get())), InstallOutcome.VERIFIED)
    end(stranger_hub(fw_version="5.4.0"), InstallOutcome.VERIFIED)
    client = enter(member)
    facts = page_of(client, "v5.4.0").context["facts"]
    assert facts.known.spelled >= {"5.4.0", "V5.4.0"}
    assert facts.known.hubs == rows_at(client, facts.hubs_link) > 5
    assert sum(one.count for one in facts.totals) == facts.known.installs
    assert sum(one.count for one in facts.results) == facts.known.installs
    assert {one.key for one in facts.results} == {
        *InstallOutcome.values, "fell_back", "arrived_late", "running",
    }  # fmt: skip
    for one in (*facts.totals, *facts.results):
        assert one.count == rows_at(client, one.link), one
    for row in client.get("/versions/").context["rows"]:
        assert row["known"].hubs == rows_at(client, row["hubs_link"])


def test_known_trouble_names_each_reason_with_its_code_and_its_installs(member: User) -> None:
    for outcome in (InstallOutcome.ROLLED_BACK, InstallOutcome.ROLLED_BACK, InstallOutcome.SILENT):
        end(hub_of(member), outcome)
    end(hub_of(member), InstallOutcome.VERIFIED)
    answer = page_of(enter(member), "5.4.0")
    trouble = [(one.words, one.count) for one in answer.context["facts"].trouble]
    assert trouble == [("Rolled back to …", 2), ("No report from the hub", 1)]
    assert "What TW-R" in answer.content.decode()


def test_times_are_the_middle_and_the_longest(member: User) -> None:
    for minutes in (2, 3, 10, 30):
        end(hub_of(member), InstallOutcome.VERIFIED, minutes=minutes)
    end(hub_of(member), InstallOutcome.SILENT, minutes=600)
    end(hub_of(member), InstallOutcome.VERIFIED_LATE, minutes=600)
    text = page_of(enter(member), "5.4.0").content.decode()
    assert "Verified after 6 minutes as a rule; the longest took 30 minutes." in text


def test_two_versions_stand_side_by_side(member: User) -> None:
    end(hub_of(member), InstallOutcome.ROLLED_BACK, "5.4.0")
    end(hub_of(member), InstallOutcome.VERIFIED, "5.5.0")
    make_offer(hub_of(member), fw_version="5.4.0", description="Old words")
    make_offer(hub_of(member), fw_version="5.5.0", description="New words")
    client = enter(member)
    answer = page_of(client, "5.4.0", **{"with": "5.5.0"})
    text = answer.content.decode()
    assert "Old words" in text
    assert "New words" in text
    compared = dict(answer.context["compared"])
    assert [count for count, _ in compared["Rolled back to …"]] == [1, 0]
    assert [count for count, _ in compared["Verified"]] == [0, 1]
    for cells in compared.values():
        for count, link in cells:
            assert not count or count == rows_at(client, link)
    alone = page_of(client, "5.4.0", **{"with": "9.9.9"})
    assert alone.context["beside"] is None


def test_a_stranger_reads_nothing_of_a_single_failure(member: User) -> None:
    hub_of(member, fw_version="5.4.0")
    client = enter(member)
    for _ in range(2):
        end(stranger_hub(), InstallOutcome.VERIFIED)
    assert page_of(client, "5.4.0").context["facts"].others is None, "two are too few"
    end(stranger_hub(name="Their porch"), InstallOutcome.FAILED)
    answer = page_of(client, "5.4.0")
    others = answer.context["facts"].others
    assert (others.installs, others.troubled) == (3, None)
    assert "Too few of them had trouble with it to say how many." in answer.content.decode()
    assert "Install failed" not in answer.content.decode()
    assert "Their porch" not in answer.content.decode()
    for _ in range(2):
        end(stranger_hub(), InstallOutcome.FAILED)
    assert page_of(client, "5.4.0").context["facts"].others.troubled == 3


def test_many_failures_of_one_other_household_are_theirs_alone(member: User) -> None:
    hub_of(member, fw_version="5.4.0")
    one = make_account(base_url=REAL)
    for _ in range(5):
        end(make_node(one), InstallOutcome.FAILED)
    client = enter(member)
    assert page_of(client, "5.4.0").context["facts"].others is None
    end(stranger_hub(), InstallOutcome.VERIFIED)
    others = page_of(client, "5.4.0").context["facts"].others
    assert (others.installs, others.troubled) == (6, None)


def test_a_household_of_mine_that_the_lists_leave_out_is_no_other(member: User) -> None:
    """Else the number of the others less my own would be one household's."""
    mine = make_household("Lake house")
    mine.memberships.create(user=member, role=Role.OWNER)
    for _ in range(3):
        end(make_node(make_account(mine, base_url=REAL)), InstallOutcome.VERIFIED)
    end(stranger_hub(), InstallOutcome.FAILED)
    garden = member.households.get(name="Garden house")
    make_node(make_account(garden, base_url=REAL), fw_version="5.4.0")
    client = enter(member)
    client.post("/households/choose/", {"household": garden.pk})
    facts = page_of(client, "5.4.0").context["facts"]
    assert (facts.known.installs, facts.others) == (0, None)


def test_a_link_to_a_version_of_a_household_that_is_left_out_opens(member: User) -> None:
    mine = make_household("Lake house")
    mine.memberships.create(user=member, role=Role.OWNER)
    make_node(make_account(mine, base_url=REAL), fw_version="7.7.7")
    client = enter(member)
    assert page_of(client, "7.7.7").context["facts"].known.hubs == 1
    garden = member.households.get(name="Garden house")
    client.post("/households/choose/", {"household": garden.pk})
    assert page_of(client, "7.7.7").context["facts"].known.hubs == 0


def test_a_version_that_only_others_have_does_not_exist_for_a_household(member: User) -> None:
    end(stranger_hub(fw_version="6.6.6"), InstallOutcome.VERIFIED, "6.6.7")
    client = enter(member)
    for version in ("6.6.6", "6.6.7", "", "nonsense"):
        assert page_of(client, version).status_code == 404
    assert "6.6." not in client.get("/versions/").content.decode()


@pytest.mark.parametrize("role", [StaffRole.SUPPORT, StaffRole.AUDITOR, StaffRole.ADMINISTRATOR])
def test_staff_read_the_numbers_of_all_and_no_way_into_a_household(role: StaffRole) -> None:
    for _ in range(2):
        end(stranger_hub(name="Secret porch"), InstallOutcome.ROLLED_BACK)
    answer = page_of(enter(make_user(staff_role=role)), "5.4.0")
    facts, text = answer.context["facts"], answer.content.decode()
    assert facts.known.installs == 2
    assert not facts.hubs_link
    assert not any(one.link for one in (*facts.totals, *facts.results))
    assert "Secret porch" not in text
    assert ("name=&quot;reason" in text or 'name="reason"' in text) is (role != StaffRole.AUDITOR)


def test_support_that_sees_all_households_opens_every_row(settings: Any) -> None:
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    for _ in range(2):
        end(stranger_hub(), InstallOutcome.ROLLED_BACK)
    client = enter(make_user(staff_role=StaffRole.SUPPORT))
    facts = page_of(client, "5.4.0").context["facts"]
    assert [one.count for one in facts.results] == [2]
    assert rows_at(client, facts.results[0].link) == 2


def test_who_held_it_is_for_staff_and_why_is_for_all(member: User) -> None:
    hub_of(member, fw_version="5.4.0")
    boss = make_user("boss@example.com", staff_role=StaffRole.ADMINISTRATOR)
    holds.decide(
        holds.standing_of(MODEL, "5.4.0", is_simulated=False),
        is_held=True,
        reason="The vendor withdrew it",
        user=boss,
        actor=Actor.person(boss, role="administrator", via="web"),
    )
    mine = page_of(enter(member), "5.4.0").content.decode()
    theirs = page_of(enter(boss), "5.4.0").content.decode()
    assert "The vendor withdrew it" in mine
    assert "The vendor withdrew it" in theirs
    assert "boss@example.com" not in tight(mine).split("<main")[1]
    assert "Decided by" in theirs
    assert 'value="release"' in theirs
    assert 'value="release"' not in mine


def test_a_wrong_form_says_what_is_missing_and_holds_nothing(member: User) -> None:
    hub_of(member, fw_version="5.4.0")
    client = enter(make_user(staff_role=StaffRole.SUPPORT))
    given = {"hub_model": MODEL, "version": "5.4.0", "act": "hold", "reason": ""}
    answer = client.post("/server/versions/", given)
    assert answer.status_code == 409
    assert "Give a reason" in answer.content.decode()
    assert not VersionHold.objects.exists()
    answer = client.post("/server/versions/", given | {"reason": "It smells"})
    assert "It smells" in client.get(answer["Location"]).content.decode()


def test_real_and_simulated_hubs_are_kept_apart(member: User) -> None:
    household = member.households.get()
    end(make_node(make_account(household, base_url=REAL)), InstallOutcome.VERIFIED)
    for _ in range(2):
        end(make_node(make_account(household)), InstallOutcome.ROLLED_BACK)
    client = enter(member)
    for query, counts in (({}, [1]), ({"simulated": "1"}, [2])):
        results = page_of(client, "5.4.0", **query).context["facts"].results
        assert [one.count for one in results] == counts
        assert [rows_at(client, one.link) for one in results] == counts


@pytest.mark.parametrize("place", ["hub", "form", "install", "receipt", "history"])
def test_a_version_leads_to_its_page_wherever_it_stands(member: User, place: str) -> None:
    node = hub_of(member, fw_version="5.3.2")
    job = end(node, InstallOutcome.ROLLED_BACK)
    make_offer(node, fw_version="5.4.0")
    client = enter(member)
    where = {
        "hub": f"/hubs/{node.pk}/",
        "form": f"/hubs/{node.pk}/install/",
        "install": f"/installs/{job.pk}/",
        "receipt": f"/installs/{job.pk}/receipt/",
        "history": "/history/",
    }[place]
    text = client.get(where).content.decode()
    link = f"/versions/one/?version=5.4.0&amp;model={MODEL}"
    assert f'href="{link}"' in text
    assert client.get(link.replace("&amp;", "&")).status_code == 200


def test_every_version_of_every_link_opens_for_who_sees_it(member: User) -> None:
    node = hub_of(member, fw_version="", model="")
    record_version(node, "1.0 (build 7) & <more>", timezone.now())
    make_offer(node, fw_version="2.0")
    job = end(node, InstallOutcome.ROLLED_BACK, "2.0")
    client = enter(member)
    for where in ("/", f"/hubs/{node.pk}/", "/history/", f"/installs/{job.pk}/receipt/"):
        text = client.get(where).content.decode()
        links = [part.split('"')[0] for part in text.split('href="') if "/versions/one/" in part]
        for link in {link.replace("&amp;", "&") for link in links if "versions/one" in link}:
            assert client.get(link).status_code == 200, link


def test_queries_do_not_grow_with_versions_and_hubs(member: User) -> None:
    account, client = make_account(member.households.get(), base_url=REAL), enter(member)

    def cost(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        return len(queries)

    def add(n: int) -> None:
        node = make_node(account, fw_version=f"6.{n}")
        make_offer(node, fw_version="5.5.0", description=f"Text {n}")
        end(node, InstallOutcome.ROLLED_BACK)
        end(node, InstallOutcome.VERIFIED, f"7.{n}")
        end(stranger_hub(), InstallOutcome.VERIFIED)

    paths = ["/versions/", f"/versions/one/?version=5.4.0&model={MODEL}&with=5.5.0"]
    for n in range(4):
        add(n)
    for path in paths:
        cost(path)  # notes that somebody looks
    before = [cost(path) for path in paths]
    for n in range(4, 40):
        add(n)
    assert [cost(path) for path in paths] == before
