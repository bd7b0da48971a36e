"""Reading an account's hubs: what a list may change, and what it may not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devices.explanations.cloud_messages import TroubleCode
from devices.fleet import sync
from devices.fleet.sync import keep_page
from devices.installs.eligibility import why_unfit
from devices.models import AuditEvent, CloudAccount, Node
from devices.rainmaker.parsers import read_nodes_page
from tests.support.client import Client
from tests.support.factories import make_account, make_node, make_offer, make_owner

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Lists:
    """An account whose cloud answers as a test says, a reading every two minutes."""

    def __init__(self) -> None:
        self.account = make_account()
        self.now = NOW

    def read(self, *pages: dict[str, Any]) -> None:
        """Read these pages as one reading of the account."""
        self.now += timedelta(minutes=2)
        for answer in pages:
            self.account.refresh_from_db()
            keep_page(self.account, read_nodes_page(answer), self.now, asked_at=self.now)
        self.account.refresh_from_db()

    def present(self) -> list[str]:
        nodes = self.account.nodes.filter(gone_at=None)
        return sorted(nodes.values_list("node_id", flat=True))

    def events(self) -> list[str]:
        events = AuditEvent.objects.filter(action__startswith="hub.").order_by("sequence")
        return list(events.values_list("action", flat=True))


def page(*ids: str, next_id: str = "", status: Any = None, **fields: Any) -> dict[str, Any]:
    """Return one page of the cloud's list, `total` included only when given."""
    status = {"connectivity": {"connected": True, "timestamp": 1780000000000}} if not status else {}
    details = [{"id": node_id, "status": status} for node_id in ids]
    answer = {"nodes": list(ids), "node_details": details} | fields
    return answer | ({"next_id": next_id} if next_id else {})


@pytest.fixture
def lists() -> Lists:
    lists = Lists()
    lists.read(page("A", "B", "C", total=3))
    assert lists.present() == ["A", "B", "C"]
    return lists


CONTRADICTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "empty with a total of three": (page(total=3),),
    "two of three and no next page": (page("A", "B", total=3),),
    "one hub named twice": (page("A", "A", total=2),),
    "more than the total": (page("A", "B", total=1),),
    "the pages do not make up the total": (page("A", total=3, next_id="2"), page("B", total=3)),
    "an empty last page": (page("A", total=3, next_id="2"), page(total=3)),
    "a circle": (page("A", next_id="2"), page("A", next_id="2")),
    "a next page that is the same one": (page("A", next_id="2"), page("B", next_id="2")),
}


@pytest.mark.parametrize("pages", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_list_that_contradicts_itself_takes_no_hub_away(
    lists: Lists, pages: tuple[dict[str, Any], ...]
) -> None:
    for _ in range(3):
        lists.read(*pages)
        assert lists.present() == ["A", "B", "C"]
        assert lists.account.list_trouble == "list_contradicts"
    assert lists.events() == ["hub.found"]
    lists.read(page("A", "B", "C", total=3))
    assert lists.account.list_trouble == ""
    assert lists.events() == ["hub.found"]


def test_trouble_of_the_list_outlives_other_answers_of_the_cloud(lists: Lists) -> None:
    lists.read(page(total=3))
    lists.account.answered(lists.now)
    assert CloudAccount.objects.get().any_trouble == "list_contradicts"


@pytest.mark.parametrize("listed", [page("A", "B"), page("A", "B", total=2)])
def test_a_hub_is_gone_when_two_lists_agree(lists: Lists, listed: dict[str, Any]) -> None:
    lists.read(listed)
    assert lists.present() == ["A", "B", "C"]
    assert lists.account.next_sync_at - lists.now < timedelta(minutes=1)
    lists.read(listed)
    assert lists.present() == ["A", "B"]
    assert lists.events() == ["hub.found", "hub.left"]


@pytest.mark.parametrize("between", [page("A", "B", "C", total=3), page("C", total=5)])
def test_a_hub_that_is_listed_in_between_is_not_gone(lists: Lists, between: dict[str, Any]) -> None:
    lists.read(page("A", "B", total=2))
    lists.read(between)
    lists.read(page("A", "B", total=2))
    assert lists.present() == ["A", "B", "C"]


def test_an_empty_account_needs_two_readings_too(lists: Lists) -> None:
    lists.read(page(total=0))
    assert lists.present() == ["A", "B", "C"]
    lists.read(page(total=0))
    assert lists.present() == []


def test_a_hub_that_comes_back_is_recorded(lists: Lists) -> None:
    lists.read(page("A", "B"))
    lists.read(page("A", "B"))
    lists.read(page("A", "B", "C"))
    assert lists.present() == ["A", "B", "C"]
    assert lists.events() == ["hub.found", "hub.left", "hub.back"]
    event = AuditEvent.objects.get(action="hub.back")
    assert event.sentence.startswith("1 hub back at ")
    assert event.node_id == Node.objects.get(node_id="C").pk
    lists.read(page("A", "B"))
    assert lists.present() == ["A", "B", "C"]


def test_an_empty_page_in_the_middle_does_not_end_the_list(lists: Lists) -> None:
    for _ in range(2):
        lists.read(
            page("A", total=3, next_id="2"), page(total=3, next_id="3"), page("B", "C", total=3)
        )
        assert lists.present() == ["A", "B", "C"]
        assert lists.account.list_trouble == ""


def test_a_total_of_each_page_is_understood(lists: Lists) -> None:
    for _ in range(2):
        lists.read(page("A", total=1, next_id="2"), page("B", total=1))
    assert lists.present() == ["A", "B"]
    assert lists.account.list_trouble == ""


def test_a_list_without_an_end_is_bounded(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "MOST_HUBS", 50)
    for reading in range(3):
        pages = [
            page(*(f"{reading}-{n}-{i}" for i in range(10)), next_id=str(n + 2)) for n in range(20)
        ]
        lists.now += timedelta(minutes=2)
        for answer in pages:
            if not keep_page(lists.account, read_nodes_page(answer), lists.now):
                break
        lists.account.refresh_from_db()
        assert lists.account.sync_cursor == ""
    assert Node.objects.count() == 50
    assert set(lists.present()) >= {"A", "B", "C"}
    assert lists.account.list_trouble == "list_too_long"


def test_empty_pages_without_an_end_are_bounded(
    lists: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "MOST_PAGES", 5)
    lists.read(*(page(next_id=str(n)) for n in range(2, 7)))
    assert lists.account.sync_cursor == ""
    assert lists.account.list_trouble == "list_contradicts"


def test_the_limit_is_documented() -> None:
    from pathlib import Path

    from django.conf import settings

    written = (Path(settings.BASE_DIR) / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"{sync.MOST_HUBS:,} hubs" in written


@pytest.mark.parametrize("status", [{}, {"connectivity": {}}, "offline", None, [], 7])
def test_a_hub_whose_connection_is_not_given_keeps_what_was_known(
    lists: Lists, status: Any
) -> None:
    node = lists.account.nodes.get(node_id="A")
    node.touch(NOW, is_online=False, repellent="protected", role="primary")
    element = {"id": "A", "status": status}
    lists.read({"nodes": ["A", "B", "C"], "node_details": [element], "total": 3})
    node = Node.objects.select_related("account__household").get(pk=node.pk)
    assert (node.is_online, node.repellent, node.role) == (False, "protected", "primary")
    codes = [reason.code for reason in why_unfit(node, make_offer(node))]
    assert "hub_offline" in codes


@pytest.mark.parametrize(
    ("timestamp", "since"),
    [
        (1, None),
        (1000, None),
        (946684800000, None),  # 1 January 2000
        (1780000000000 + 10 * 365 * 86400000, None),
        (9999999999999, None),
        ("2036-11-27", None),
        (None, None),
        (1780000000000, datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)),
        (1780000000, datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("connected", [True, False])
def test_a_time_that_cannot_be_true_is_not_known(
    timestamp: Any, since: datetime | None, connected: bool
) -> None:
    lists = Lists()
    known = make_node(
        lists.account,
        node_id="A",
        is_online=connected,
        online_changed_at=datetime(2036, 1, 1, tzinfo=UTC),
    )
    status = {"connectivity": {"connected": connected, "timestamp": timestamp}}
    details = [{"id": "A", "status": status}, {"id": "B", "status": status}]
    lists.read({"nodes": ["A", "B"], "node_details": details})
    known.refresh_from_db()
    new = Node.objects.get(node_id="B")
    assert (known.online_changed_at, new.online_changed_at) == (since, since)


def test_a_clock_a_little_ahead_means_now() -> None:
    lists = Lists()
    ahead = int((NOW + timedelta(minutes=4)).timestamp() * 1000)
    status = {"connectivity": {"connected": True, "timestamp": ahead}}
    lists.read({"nodes": ["A"], "node_details": [{"id": "A", "status": status}]})
    assert Node.objects.get().online_changed_at == lists.now


def test_an_older_list_does_not_take_a_hub_offline(lists: Lists) -> None:
    lists.account.nodes.update(is_online=True, online_changed_at=NOW)
    old = {"connectivity": {"connected": False, "timestamp": (NOW.timestamp() - 86_400) * 1000}}
    new = {"connectivity": {"connected": False, "timestamp": (NOW.timestamp() + 60) * 1000}}
    for status, is_online in ((old, True), (new, False)):
        answer = page("A", "B", "C", total=3)
        for one in answer["node_details"]:
            one["status"] = status
        lists.read(answer)
        seen = set(lists.account.nodes.values_list("is_online", flat=True))
        assert seen == {is_online}, status


def test_entries_that_cannot_be_read_are_named(lists: Lists) -> None:
    answer = page("A", "B", "C", total=5)
    answer["nodes"] += ["", "\u202e evil"]
    answer["node_details"] += [{"id": ""}, {"id": None}]
    lists.read(answer)
    assert lists.present() == ["A", "B", "C"]
    assert lists.account.list_trouble == TroubleCode.LIST_UNREADABLE
    lists.read(page("A", "B", "C", total=3))
    assert lists.account.list_trouble == ""


def test_what_the_hubs_own_update_service_says_is_shown(lists: Lists, client: Client) -> None:
    """An update without a job has no ota_status: only the hub's parameters tell of it."""
    node = lists.account.nodes.get(node_id="A")
    client.force_login(make_owner(lists.account.household))

    def page_of_hub() -> str:
        answer = client.get(f"/hubs/{node.pk}/", headers={"accept-language": "en"})
        return answer.content.decode()

    assert "Its own update service" not in page_of_hub()
    answer = page("A", "B", "C", total=3)
    answer["node_details"][0] |= {
        "role": "secondary",
        "config": {"services": [{"name": "OTA", "type": "esp.service.ota"}]},
        "params": {
            "LIV Hub": {"Name": "Porch"},
            "OTA": {"Status": "in-progress", "Info": "Downloading <b>x</b>"},
        },
    }
    lists.read(answer)
    text = page_of_hub()
    assert "in-progress: Downloading &lt;b&gt;x&lt;/b&gt;" in text
    assert "Shared with this cloud account." in text
    answer["node_details"][0]["params"]["OTA"] = {"Status": "", "Info": ""}
    lists.read(answer)
    assert "Its own update service" not in page_of_hub()


def test_a_hub_that_a_list_names_twice_is_found_and_back_once(lists: Lists) -> None:
    lists.read(page("A", "B", "C", "D", "D", total=5))
    for _ in range(2):
        lists.read(page("A", "B", "C", total=3))
    assert lists.present() == ["A", "B", "C"]
    lists.read(page("A", "B", "C", "D", "D", total=5))
    sentences = AuditEvent.objects.filter(action__in=["hub.found", "hub.back"])
    assert [one.sentence.split(" at ")[0] for one in sentences.order_by("sequence")] == [
        "3 hubs found",
        "1 hub found",
        "1 hub back",
    ]


def test_since_when_the_repellent_is_off_is_kept(lists: Lists) -> None:
    """Plans wait for the household's idle time, from the reading that showed it off."""

    def read(status: int) -> Node:
        answer = page("A", "B", "C", total=3)
        answer["node_details"][0]["params"] = {"LIV Hub": {"System Status": status}}
        lists.read(answer)
        return lists.account.nodes.get(node_id="A")

    assert read(1).idle_since is None, "it was never seen on"
    assert read(3).is_in_use
    off = read(1)
    assert (off.is_in_use, off.idle_since) == (False, lists.now)
    assert read(1).idle_since == off.idle_since
    assert read(2).is_in_use
    assert read(1).idle_since == lists.now
