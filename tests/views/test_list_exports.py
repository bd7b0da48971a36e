"""The lists as files: the same rows in the same order, safe in a spreadsheet, and in the trail."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import StreamingHttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import AuditEvent, Household, Node, Role, StaffRole, State, User, When
from devices.views import list_exports
from tests.support.client import Client, hang_up
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_plan,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def household() -> Household:
    household = make_household("Garden house")
    account = make_account(household)
    for name, version in (("A", "5.2"), ("B", "5.1"), ("C", "5.1")):
        model = "lantern" if name == "C" else "thermacell-hub"
        node = make_node(account, name=name, fw_version=version, model=model)
        make_offer(node)
        make_job(node, state=State.FAILED if name == "B" else State.CANCELLED)
    return household


@pytest.fixture
def owner(household: Household) -> User:
    return make_owner(household)


def text_of(user: User, path: str) -> str:
    answer = sign_in(Client(), user).get(path)
    assert isinstance(answer, StreamingHttpResponse)
    assert answer["Cache-Control"] == "no-store"
    return answer.getvalue().decode()


def table_of(user: User, path: str) -> list[dict[str, str]]:
    text = text_of(user, path)
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


def lines_of(user: User, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(user, path).splitlines()]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "B A C"),  # what needs attention first
        ("?sort=name", "A B C"),
        ("?sort=-name", "C B A"),
        ("?version=5.1&sort=name", "B C"),
        ("?model=lantern", "C"),
        ("?model=thermacell-hub&sort=-name", "B A"),
        ("?show=attention", "B"),
        ("?q=nowhere", ""),
    ],
)
def test_hubs_are_those_of_the_page_in_its_order(owner: User, query: str, names: str) -> None:
    assert [row["name"] for row in table_of(owner, f"/hubs/export.csv{query}")] == names.split()
    assert [row["name"] for row in lines_of(owner, f"/hubs/export.jsonl{query}")] == names.split()


@pytest.mark.parametrize(
    ("query", "names"), [("", "C B A"), ("?show=attention", "B"), ("?q=5.2", "A"), ("?q=zzz", "")]
)
def test_installs_are_those_of_history_in_its_order(owner: User, query: str, names: str) -> None:
    rows = table_of(owner, f"/history/export.csv{query}")
    assert [row["hub_name"] for row in rows] == names.split()
    lines = lines_of(owner, f"/history/export.jsonl{query}")
    assert [row["hub_name"] for row in lines] == names.split()


def test_every_page_of_the_list_is_in_the_file(
    owner: User, household: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_exports, "CHUNK", 10)
    account = household.accounts.get()
    for n in range(30):
        make_node(account, name=f"Porch {n:02}")
    expected = [f"Porch {n:02}" for n in range(30)]
    rows = table_of(owner, "/hubs/export.csv?q=porch&sort=name&page=2")
    assert [row["name"] for row in rows] == expected


def test_a_file_costs_the_same_queries_a_chunk_however_many_hubs(
    owner: User, household: Household
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            text_of(owner, "/hubs/export.jsonl")
            text_of(owner, "/history/export.jsonl")
        return len(asked)

    queries()  # what a first visit of the day writes
    few = queries()
    account = household.accounts.get()
    for _ in range(6):
        node = make_node(account)
        make_offer(node)
        make_job(node)
    assert queries() == few


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", " =1"])
def test_no_cell_is_a_formula(owner: User, household: Household, name: str) -> None:
    make_job(make_node(household.accounts.get(), name=name, fw_version=name))
    for path in ("/hubs/export.csv", "/history/export.csv"):
        for row in table_of(owner, path):
            assert not any(
                value.lstrip().startswith(("=", "+", "-", "@")) for value in row.values()
            )
    assert name in [row["name"] for row in lines_of(owner, "/hubs/export.jsonl")]


def test_facts_are_those_of_the_api_in_english_and_utc(owner: User, household: Household) -> None:
    owner.language = "de"
    owner.save()
    row = next(row for row in table_of(owner, "/hubs/export.csv") if row["name"] == "B")
    assert row["household"] == "Garden house"
    assert row["available_version"] == "5.3.3"
    assert row["is_online"] == "True"
    assert row["install_state"] == "failed"
    assert row["install_badge"] == "Install failed"
    assert row["checked_at"].endswith("+00:00")
    line = next(one for one in lines_of(owner, "/hubs/export.jsonl") if one["name"] == "B")
    assert line["install"]["support_code"] == row["install_support_code"]
    assert line["offer"]["fw_version"] == "5.3.3"


def test_a_planned_hub_says_when_and_why(owner: User, household: Household) -> None:
    node = Node.objects.get(name="C")
    at = timezone.now() + timedelta(hours=5)
    make_plan(node, when=When.AT, not_before=at, expires_at=at + timedelta(hours=3))
    rows = table_of(owner, "/hubs/export.csv?sort=planned")
    assert [row["name"] for row in rows] == ["C", "A", "B"]
    assert rows[0]["plan_when"] == "at"
    assert rows[0]["plan_not_before"] == at.isoformat(timespec="milliseconds")
    assert rows[0]["plan_planned_by"] == "owner@example.com"
    assert (rows[1]["plan_when"], rows[1]["plan_starts"]) == ("", "")
    line = lines_of(owner, "/hubs/export.jsonl?sort=planned")[0]
    assert line["plan"]["when"] == "at"
    assert line["plan"]["hub"] == node.pk
    viewer = make_user(role=Role.VIEWER, household=household)
    assert "owner@example.com" not in text_of(viewer, "/hubs/export.jsonl")


def test_an_export_is_in_the_trail_of_each_household_it_shows(
    owner: User, household: Household
) -> None:
    text_of(owner, "/hubs/export.csv?version=5.1")
    event = AuditEvent.objects.get(action="access.exported")
    assert event.household_id == household.pk
    assert "exported the list of hubs (Garden house)" in event.sentence
    assert event.detail == {"asked": "version=5.1"}
    sign_in(Client(), owner).head("/hubs/export.csv")
    assert AuditEvent.objects.filter(action="access.exported").count() == 1
    other = make_household("Elsewhere")
    other.memberships.create(user=owner, role=Role.OWNER)
    text_of(owner, "/history/export.jsonl?q=A")
    events = AuditEvent.objects.filter(action="access.exported").order_by("-pk")[:2]
    assert {one.household_id for one in events} == {household.pk, other.pk}
    # neither learns what was searched for in the other
    assert [one.detail for one in events] == [{}, {}]


def test_a_viewer_reads_no_addresses_of_others(owner: User, household: Household) -> None:
    job = household.jobs.first()
    assert job is not None
    job.requested_by_name = "somebody@example.com"
    job.save()
    viewer = make_user(role=Role.VIEWER, household=household)
    for path in ("/hubs/export.jsonl", "/history/export.jsonl", "/history/export.csv"):
        assert "somebody@example.com" in text_of(owner, path)
        assert "somebody@example.com" not in text_of(viewer, path)


def test_staff_without_a_household_get_an_empty_file(household: Household) -> None:
    assert table_of(make_user(staff_role=StaffRole.SUPPORT), "/hubs/export.csv") == []


def test_two_files_at_a_time_are_enough(owner: User) -> None:
    client = sign_in(Client(), owner)
    open_ones = [client.get("/hubs/export.csv") for _ in range(2)]
    assert client.get("/history/export.csv").status_code == 429
    for one in open_ones:
        hang_up(one)
    assert client.get("/history/export.csv").status_code == 200
