"""A household with an update policy, and evenings and nights that pass on the test's own clock."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from django.utils import timezone

from devices.fleet.holds import decide, standing_of
from devices.models import (
    TOPICS,
    Channel,
    InstallOutcome,
    Node,
    Notice,
    Offer,
    OtaJob,
    Plan,
    PolicyMode,
    State,
    UpdatePolicy,
    When,
)
from devices.planning import planner, policies
from devices.planning.policies import PolicyWishes, policy_of
from devices.planning.policy_rules import forecast, hub_of
from tests.support.factories import person
from tests.support.plans import NOON, Home, at

EVENING, OPENING = at("2026-06-01T18:00"), at("2026-06-02T22:00")
DAY = timedelta(days=1)


def wishes(**changes: Any) -> PolicyWishes:
    """Return a rule that installs all newer firmware in one night, without waiting days."""
    values: dict[str, Any] = {
        "mode": PolicyMode.INSTALL,
        "window_start": time(22),
        "window_end": time(5),
        "waiting_days": 0,
        "others_after_days": 0,
        "idle_minutes": 0,
    }
    return PolicyWishes(**values | changes)


class PolicyHome(Home):
    """A household whose hubs are offered firmware since May, with a chat that gets all notices."""

    def __init__(self, hubs: int = 1, zone: str = "Europe/Berlin") -> None:
        super().__init__(hubs, zone)
        Offer.objects.update(first_seen_at=NOON - 30 * DAY)
        self.channel = Channel.objects.create(
            household=self.household,
            name="Chat",
            sealed_url="sealed",
            topics=[topic.value for topic in TOPICS],
        )

    def rule(
        self, now: datetime = NOON, hubs: Mapping[int, PolicyMode] | None = None, **changes: Any
    ) -> UpdatePolicy:
        """Set the rule. hubs: those that differ, by the primary key of a row."""
        actor = person(self.owner)
        rows = Node.objects.select_related("account").in_bulk(hubs or {})
        changes["hubs"] = {hub_of(rows[pk]): mode for pk, mode in (hubs or {}).items()}
        wanted = wishes(**changes)
        shown = policies.shown_token(self.household, wanted)
        return policies.change(
            self.household, wanted, user=self.owner, actor=actor, shown=shown, now=now
        )

    @property
    def plans(self) -> list[Plan]:
        """Return what the policy has planned and still waits."""
        ours = Plan.objects.waiting().filter(household=self.household, when=When.POLICY)
        return list(ours.order_by("position", "pk"))

    @property
    def said(self) -> list[str]:
        """Return the notices so far, in English."""
        from django.utils.translation import override

        from devices.notifications.messages import sentence

        with override("en"):
            return [sentence(one) for one in Notice.objects.order_by("pk")]


def pass_time(now: datetime) -> None:
    """Let the worker look once at all that waits, and at all policies."""
    Plan.objects.waiting().update(next_look_at=now)
    planner.advance(now)


def evening(now: datetime) -> None:
    """Let the policies be looked at as their time has come."""
    UpdatePolicy.objects.wake(now)
    planner.advance(now)


def end(job: OtaJob, state: State, now: datetime) -> None:
    """Let an install end like this; a verified hub runs the version."""
    outcome = InstallOutcome.ROLLED_BACK if state == State.REJECTED else ""
    OtaJob.objects.filter(pk=job.pk).update(
        state=state, outcome=outcome, ended_at=now, pushes=1, next_poll_at=None
    )
    if state == State.VERIFIED:
        job.node.touch(timezone.now(), fw_version=job.to_version)


def hold(home: PolicyHome) -> None:
    """Hold the version that its hubs are offered."""
    standing = standing_of(home.node.model, "5.3.3", is_simulated=home.account.is_simulated)
    decide(standing, is_held=True, reason="test", user=home.owner, actor=person(home.owner))


def codes(home: PolicyHome, now: datetime = NOON) -> dict[str, list[str]]:
    """Return why each hub would not be planned; empty: it would."""
    found = forecast(policy_of(home.household), now)
    return {str(one.node): [str(reason.code) for reason in one.reasons] for one in found.hubs}
