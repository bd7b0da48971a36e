"""A version that did badly here is held: by shown numbers, or by staff with a reason."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.fleet.holds import HeldVersions, is_held, standing_of, standings_of
from devices.fleet.versions import record_version
from devices.installs.lifecycle import move_to
from devices.models import (
    Actor,
    AuditEvent,
    InstallOutcome,
    Node,
    OtaJob,
    StaffRole,
    State,
    VersionHold,
)
from devices.models.install import OUTCOMES
from devices.models.version_text import parse_version
from devices.presentation.hold_text import why_held
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db
REAL = "https://cloud.example.org"
BAD = InstallOutcome.ROLLED_BACK


def real_node(**fields: Any) -> Node:
    return make_node(make_account(base_url=REAL), **fields)


def end(node: Node, outcome: InstallOutcome = BAD, version: str = "5.4.0") -> OtaJob:
    """Let an install on this hub come to this end, as the engine does."""
    state = next(state for state, outcomes in OUTCOMES.items() if outcome in outcomes)
    job = make_job(node, state=State.VERIFYING, to_version=version)
    job = OtaJob.objects.select_related("node__account").get(pk=job.pk)
    move_to(job, state, actor=Actor.worker(), note="It ended.", outcome=outcome)
    return job


def test_two_hubs_in_trouble_hold_a_version_and_one_does_not() -> None:
    end(real_node())
    watched = real_node()
    assert not is_held(watched, "5.4.0")
    end(real_node(), version="v5.4.0.0")
    assert is_held(watched, "5.4.0")
    assert is_held(watched, "V5.4")
    assert not is_held(watched, "5.4.1")
    assert not is_held(real_node(model="other"), "5.4.0")
    assert not is_held(make_node(), "5.4.0"), "simulated hubs are another world"
    event = AuditEvent.objects.get(action="version.held")
    assert "2 of 2 hubs had trouble with it here, 0 were verified" in event.sentence


def test_a_hub_counts_once_by_its_newest_attempt() -> None:
    node = real_node()
    end(node)
    end(node)
    assert not is_held(node, "5.4.0")
    end(real_node())
    assert is_held(node, "5.4.0")
    end(node, InstallOutcome.VERIFIED)
    assert not is_held(node, "5.4.0"), "only one hub is in trouble now"
    assert standing_of(node.model, "5.4.0", is_simulated=False).numbers.verified == 1


def test_a_hub_that_tried_it_in_two_spellings_counts_once_by_the_newest(
    django_assert_num_queries: Any,
) -> None:
    node = real_node()
    end(node, version="5.4.0")
    end(node, InstallOutcome.VERIFIED, version="v5.4")
    end(node, InstallOutcome.SIGNED_OUT)
    end(real_node(), InstallOutcome.VERIFIED, version="5.4")
    with django_assert_num_queries(3):
        numbers = standing_of(node.model, "5.4.0", is_simulated=False).numbers
    assert (numbers.tried, numbers.verified, numbers.bad) == (2, 2, ())


def test_few_among_many_do_not_hold_it_and_many_good_ends_release_it() -> None:
    for _ in range(9):
        end(real_node(), InstallOutcome.VERIFIED)
    for _ in range(2):
        end(real_node())
    node = real_node()
    assert not is_held(node, "5.4.0"), "two of eleven are fewer than one in five"
    end(real_node())
    assert is_held(node, "5.4.0"), "three of twelve are more"
    for _ in range(4):
        end(real_node(), InstallOutcome.VERIFIED)
    assert not is_held(node, "5.4.0"), "three of sixteen are fewer again"
    actions = AuditEvent.objects.filter(action__startswith="version.").order_by("sequence")
    assert [one.action for one in actions] == ["version.held", "version.released"]


@pytest.mark.parametrize(
    "outcome",
    [InstallOutcome.NO_ANSWER_FROM_CLOUD, InstallOutcome.SIGNED_OUT, InstallOutcome.HUB_LEFT],
)
def test_what_is_not_the_firmwares_doing_does_not_count(outcome: InstallOutcome) -> None:
    for _ in range(3):
        end(real_node(), outcome)
    assert not VersionHold.objects.exists()


def test_a_verified_hub_that_falls_back_counts() -> None:
    now = timezone.now()
    for _ in range(2):
        node = real_node(fw_version="5.4.0")
        make_job(node, state=State.VERIFIED, to_version="5.4.0", from_version="5.3.2")
        OtaJob.objects.update(outcome="verified")
        record_version(node, "5.3.2", now + timedelta(hours=1))
    assert is_held(node, "5.4.0")
    numbers = standing_of(node.model, "5.4.0", is_simulated=False).numbers
    assert numbers.bad == (("rolled_back", 2),)


def hold_by_hand(client: Client, act: str, reason: str, version: str = "5.4.0") -> Any:
    given = {"hub_model": "thermacell-hub", "version": version, "act": act, "reason": reason}
    return client.post("/server/versions/", given)


@pytest.mark.parametrize("role", [StaffRole.SUPPORT, StaffRole.ADMINISTRATOR])
def test_staff_hold_and_release_with_a_reason(role: StaffRole) -> None:
    client, node = sign_in(Client(), make_user(staff_role=role)), real_node()
    assert hold_by_hand(client, "hold", "").status_code == 409
    assert not is_held(node, "5.4.0")
    hold_by_hand(client, "hold", "The vendor withdrew it")
    assert why_held(node, "5.4.0").endswith("The vendor withdrew it")
    end(real_node(), InstallOutcome.VERIFIED)
    assert is_held(node, "5.4.0"), "numbers do not overrule staff"
    page = client.get(f"/versions/one/?version=5.4.0&model={node.model}").content.decode()
    assert "The vendor withdrew it" in page
    hold_by_hand(client, "release", "It is fixed")
    assert not is_held(node, "5.4.0")
    whys = AuditEvent.objects.filter(action__startswith="version.").order_by("sequence")
    assert [one.why for one in whys] == ["The vendor withdrew it", "It is fixed"]


def test_after_a_release_only_what_comes_later_counts() -> None:
    client = sign_in(Client(), make_user(staff_role=StaffRole.SUPPORT))
    for _ in range(2):
        end(real_node())
    node = real_node()
    assert is_held(node, "5.4.0")
    hold_by_hand(client, "release", "Weak Wi-Fi in one house")
    end(real_node())
    assert not is_held(node, "5.4.0")
    end(real_node())
    assert is_held(node, "5.4.0")


def test_a_person_reads_why_and_can_still_install() -> None:
    for _ in range(2):
        end(real_node())
    end(real_node(), InstallOutcome.VERIFIED)
    node = real_node(name="Back porch")
    make_offer(node, fw_version="5.4.0")
    client = Client()
    client.force_login(make_owner(node.account.household))
    for address in (f"/hubs/{node.pk}/", f"/hubs/{node.pk}/install/"):
        text = client.get(address).content.decode()
        assert "Of three hubs that tried it: two rolled back, one verified." in text
        assert "You can still install it." in text
    agreed = text.split('name="agreed" value="')[1].split('"')[0]
    assert client.post(f"/hubs/{node.pk}/install/", {"agreed": agreed}).status_code == 302
    assert AuditEvent.objects.get(action="install.requested").detail["held"] is True


def test_many_hubs_are_asked_about_with_one_query(django_assert_num_queries: Any) -> None:
    for _ in range(2):
        end(real_node())
    with django_assert_num_queries(1):
        held = HeldVersions()
        found = [held.of("thermacell-hub", "5.4.0", is_simulated=False) for _ in range(100)]
    assert all(found)


def test_many_versions_cost_as_many_queries_as_one(django_assert_num_queries: Any) -> None:
    for n in range(5):
        end(real_node(), version=f"6.{n}")
    versions = [f"6.{n}" for n in range(5)]
    with django_assert_num_queries(3):
        found = standings_of("thermacell-hub", versions, is_simulated=False)
    assert [(one.version, one.numbers.tried) for one in found] == [(one, 1) for one in versions]


def test_a_long_history_of_versions_is_not_compared_each_with_each() -> None:
    """Each bad end compared all versions ever tried with each other: with 1,000 that took ten
    seconds, in the transaction of the end.
    """
    node, many = real_node(), 60
    for n in range(many):
        make_job(node, state=State.FAILED, to_version=f"7.{n}")
    before = parse_version.cache_info()
    end(real_node(), version="7.1")
    after = parse_version.cache_info()
    assert after.hits + after.misses - before.hits - before.misses < 10 * many


def test_others_do_not_hold_or_release() -> None:
    client = Client()
    client.force_login(make_owner(make_account().household))
    assert client.get("/server/versions/").status_code == 403
    assert hold_by_hand(client, "hold", "Because").status_code == 403
    assert not VersionHold.objects.exists()
