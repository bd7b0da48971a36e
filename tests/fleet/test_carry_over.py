"""A hub that was reset and added again: its earlier history, and letting it go on."""

from typing import Any

import pytest
from django.utils import timezone

from devices.models import AuditEvent, Household, Node, Role, State, UpdatePolicy
from devices.planning.policies import modes_of
from devices.planning.policy_rules import hub_of
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
)

pytestmark = pytest.mark.django_db


class Reset:
    """A hub that left under one node id and came back under another."""

    def __init__(self, **old: Any) -> None:
        self.household: Household = make_household()
        self.account = make_account(self.household)
        values = {"node_id": "OLD", "name": "Porch", "serial": "N03HA7", "gone_at": timezone.now()}
        self.old = make_node(self.account, **values | old)
        self.job = make_job(self.old, state=State.VERIFIED, from_version="5.3.2")
        self.old.version_changes.create(
            from_version="5.3.2", to_version="5.3.3", cause="install", job=self.job
        )
        self.new = make_node(
            self.account, node_id="NEW", name="Porch", serial="N03HA7", fw_version="5.3.3"
        )
        self.offer = make_offer(self.new, fw_version="5.4.0")

    def press(self, client: Client) -> str:
        answer = client.post(f"/hubs/{self.new.pk}/carry-over/", {"from": self.old.pk}, follow=True)
        return str(answer.content.decode())


def test_both_pages_lead_to_each_other_and_history_is_shown(client: Client) -> None:
    reset = Reset()
    client.force_login(make_user(role=Role.VIEWER, household=reset.household))
    text = client.get(f"/hubs/{reset.new.pk}/").content.decode()
    assert f'Earlier known as <a href="/hubs/{reset.old.pk}/">OLD</a>' in text
    assert f"/installs/{reset.job.pk}/" in text
    assert "Now reports 5.3.3 (before: 5.3.2)" in text
    assert "Known as OLD until then" in text
    assert "Continue as this hub" not in text
    text = client.get(f"/hubs/{reset.old.pk}/").content.decode()
    assert "with the node ID NEW" in text
    assert f"/hubs/{reset.new.pk}/" in text


def test_an_owner_lets_it_continue_and_the_trail_says_so(client: Client) -> None:
    reset = Reset()
    owner = make_owner(reset.household)
    client.force_login(owner)
    assert "Continue as this hub" in client.get(f"/hubs/{reset.new.pk}/").content.decode()
    text = reset.press(client)
    assert "History and settings continue here." in text
    kept, left = Node.objects.get(pk=reset.old.pk), Node.objects.get(pk=reset.new.pk)
    assert (kept.node_id, kept.gone_at, kept.fw_version) == ("NEW", None, "5.3.3")
    assert (left.node_id, left.continued_in_id) == ("OLD", kept.pk)
    assert left.gone_at is not None
    reset.job.refresh_from_db()
    reset.offer.refresh_from_db()
    assert (reset.job.node_id, reset.job.cloud_node_id) == (kept.pk, "OLD")
    assert reset.offer.node_id == kept.pk
    event = AuditEvent.objects.get(action="hub.carried_over")
    assert (event.node_id, event.actor_user_id) == (kept.pk, owner.pk)
    assert event.detail["from_node_id"] == "OLD"
    assert Node.objects.present_once().get().pk == kept.pk
    # pressed twice
    assert "Nothing was changed." in reset.press(client)
    assert AuditEvent.objects.filter(action="hub.carried_over").count() == 1


def test_what_was_installed_under_the_new_id_goes_along(client: Client) -> None:
    reset = Reset()
    newer = make_job(reset.new, state=State.VERIFIED, to_version="5.3.4")
    client.force_login(make_owner(reset.household))
    reset.press(client)
    kept = Node.objects.get(pk=reset.old.pk)
    assert kept.latest_job == newer
    assert kept.jobs.count() == 2


@pytest.mark.parametrize(
    ("old", "new", "mode"),
    [
        ("", "ask", "ask"),
        ("", "install", "install"),
        ("ask", "", "ask"),
        ("install", "ask", "ask"),
        ("", "", None),
    ],
)
def test_whether_it_updates_itself_goes_along(
    client: Client, old: str, new: str, mode: str | None
) -> None:
    """What was chosen under the new node id is the newer choice; without one, the old one stays."""
    reset = Reset()
    policy = UpdatePolicy.objects.create(household=reset.household, mode="install")
    for node, chosen in ((reset.old, old), (reset.new, new)):
        if chosen:
            policy.hubs.create(node=node, mode=chosen)
    client.force_login(make_owner(reset.household))
    reset.press(client)
    kept = Node.objects.get(pk=reset.old.pk)
    expected = {hub_of(kept): mode} if mode is not None else {}
    assert modes_of(policy) == expected
    assert kept.node_id == "NEW"


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_an_owner_may(client: Client, role: str) -> None:
    reset = Reset()
    client.force_login(make_user(role=role, household=reset.household))
    assert client.post(f"/hubs/{reset.new.pk}/carry-over/").status_code == 403
    assert Node.objects.get(pk=reset.old.pk).node_id == "OLD"


def test_it_waits_until_the_old_one_is_gone_and_nothing_runs(client: Client) -> None:
    reset = Reset(gone_at=None, missed_at=timezone.now())
    client.force_login(make_owner(reset.household))
    assert "Earlier known as" in client.get(f"/hubs/{reset.new.pk}/").content.decode()
    assert "Nothing was changed." in reset.press(client)
    Node.objects.filter(pk=reset.old.pk).update(gone_at=timezone.now())
    make_job(reset.new, state=State.RUNNING)
    assert "Nothing was changed." in reset.press(client)
    assert not AuditEvent.objects.filter(action="hub.carried_over").exists()


def test_two_hubs_listed_side_by_side_with_one_serial_are_two_hubs(client: Client) -> None:
    reset = Reset(gone_at=None)
    client.force_login(make_owner(reset.household))
    assert "Earlier known as" not in client.get(f"/hubs/{reset.new.pk}/").content.decode()


@pytest.mark.parametrize("serial", ["", "N03HA8"])
def test_another_or_no_serial_is_another_hub(client: Client, serial: str) -> None:
    reset = Reset()
    Node.objects.filter(pk=reset.new.pk).update(serial=serial)
    client.force_login(make_owner(reset.household))
    assert "Earlier known as" not in client.get(f"/hubs/{reset.new.pk}/").content.decode()
    assert "Nothing was changed." in reset.press(client)


def test_another_households_hub_is_never_named(client: Client) -> None:
    reset = Reset()
    stranger = make_node(serial="N03HA7", node_id="THEIRS", gone_at=timezone.now())
    client.force_login(make_owner(reset.household))
    text = client.get(f"/hubs/{reset.new.pk}/").content.decode()
    assert "THEIRS" not in text
    path = f"/hubs/{reset.new.pk}/carry-over/"
    assert "Nothing was changed." in (
        client.post(path, {"from": stranger.pk}, follow=True).content.decode()
    )
