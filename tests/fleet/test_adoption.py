"""Which version each hub ran when: the numbers of the weeks are those of the hubs one by one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some

from devices.fleet.adoption import adoption, ran_at
from devices.fleet.versions import record_version
from devices.models import Node, VersionCause, VersionChange
from tests.support.factories import make_account, make_node

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
START = datetime(2026, 11, 2, tzinfo=UTC)
ENDS = [START + timedelta(weeks=n) for n in range(1, 5)]
VERSIONS = ("5.3.2", "5.4.0", "5.5.0")


def make_hub(account: Any, *story: tuple[float, str]) -> Node:
    """Make a hub that reported these versions so many days after the start."""
    node = make_node(account, fw_version="")
    for day, version in sorted(story):
        record_version(node, version, START + timedelta(days=day))
        node.refresh_from_db()
    return node


def weeks() -> list[dict[str, int]]:
    hubs = Node.objects.present_once()
    return [dict(week) for week in adoption(hubs, [START, *ENDS[:-1]])]


def one_by_one() -> list[dict[str, int]]:
    found = []
    for end in ENDS:
        versions = list(Node.objects.annotate(ran=ran_at(end)).values_list("ran", flat=True))
        found.append({one: versions.count(one) for one in versions if one})
    return found


def test_hubs_move_from_version_to_version() -> None:
    account = make_account()
    make_hub(account, (-30, "5.3.2"), (9, "5.4.0"))
    make_hub(account, (-30, "5.3.2"), (9, "5.4.0"), (10, "5.3.2"), (22, "5.5.0"))
    make_hub(account, (8, "5.4.0"))  # came in the second week
    make_node(account, fw_version="")
    expected = [
        {"5.3.2": 2},
        {"5.3.2": 1, "5.4.0": 2},
        {"5.3.2": 1, "5.4.0": 2},
        {"5.4.0": 2, "5.5.0": 1},
    ]
    assert weeks() == expected
    assert one_by_one() == expected


def test_a_week_ends_when_the_next_one_begins() -> None:
    make_hub(make_account(), (-30, "5.3.2"), (7, "5.4.0"))
    assert weeks()[:2] == [{"5.3.2": 1}, {"5.4.0": 1}]
    assert one_by_one()[:2] == [{"5.3.2": 1}, {"5.4.0": 1}]


def test_a_hub_that_came_back_under_another_id_is_one_all_along() -> None:
    """The other row's first reading was moved to this one."""
    node = make_hub(make_account(), (-30, "5.3.2"), (3, "5.4.0"))
    at = START + timedelta(days=10)
    VersionChange.objects.create(node=node, to_version="5.5.0", at=at, cause=VersionCause.FIRST)
    Node.objects.update(fw_version="5.5.0")
    expected = [{"5.4.0": 1}, {"5.5.0": 1}, {"5.5.0": 1}, {"5.5.0": 1}]
    assert weeks() == expected
    assert one_by_one() == expected


def test_hubs_that_are_gone_are_not_counted() -> None:
    node = make_hub(make_account(), (-30, "5.3.2"), (9, "5.4.0"))
    node.touch(NOW, gone_at=NOW)
    assert weeks() == [{}] * 4


STORY = some.lists(
    some.tuples(some.integers(-20, 23), some.sampled_from(VERSIONS)),
    max_size=6,
    unique_by=lambda told: told[0],
)


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stories=some.lists(STORY, max_size=5))
def test_the_numbers_of_each_week_are_those_of_its_hubs(
    stories: list[list[tuple[int, str]]],
) -> None:
    with transaction.atomic():
        account = make_account()
        for story in stories:
            make_hub(account, *story)
        assert weeks() == one_by_one()
        transaction.set_rollback(True)


def test_it_takes_three_queries(django_assert_num_queries: Any) -> None:
    account = make_account()
    for n in range(6):
        make_hub(account, (-30 + n, "5.3.2"), (n, f"5.4.{n}"))
    with django_assert_num_queries(3):  # one of them: has a household several accounts?
        weeks()
