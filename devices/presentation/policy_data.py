"""A household's update policy as values for programs: the JSON API and the terminal's `--json`."""

from dataclasses import dataclass
from datetime import datetime

from devices.models import PolicyMode, UpdatePolicy
from devices.planning.policies import modes_of
from devices.planning.policy_rules import HubForecast, forecast, hub_of
from devices.presentation.serializers import Data, page_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRuleData(Data):
    """What the rule would do with one hub in the next night."""

    hub: int
    """Our own key of the hub."""
    hub_name: str
    node_id: str
    """The hub as its cloud names it."""
    mode: PolicyMode
    """What counts for this hub."""
    differs: bool
    """Is that its own choice, and not the household's?"""
    would_install: bool
    reason: str | None
    """Why it would not."""
    reason_codes: list[str]

    @classmethod
    def of(cls, one: HubForecast, *, differs: bool, is_stopped: bool) -> "HubRuleData":
        node, reasons = one.node, one.reasons
        return cls(
            hub=node.pk,
            hub_name=str(node),
            node_id=node.node_id,
            mode=one.mode,
            differs=differs,
            would_install=one.starts and not is_stopped,
            reason=" ".join(reason.sentence for reason in reasons) or None,
            reason_codes=[str(reason.code) for reason in reasons],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePolicyData(Data):
    """The rule by which new firmware may install itself in a household."""

    household: str
    mode: PolicyMode
    window_start: str
    """From this time of day on the household's clock."""
    window_end: str
    """Until this time of day, on the next day when it is the earlier time."""
    waiting_days: int
    """So long after a version was first offered in the household."""
    others_after_days: int
    """So long after the first hub is verified; 0: all in one night."""
    idle_minutes: int
    """So long the repellent must have been off."""
    set_by: str | None
    set_at: datetime | None
    stopped: list[str]
    """Why nothing at all starts now."""
    opens_at: datetime
    """When the window opens that is announced next."""
    hubs: list[HubRuleData]
    page: str

    @classmethod
    def of(cls, policy: UpdatePolicy, now: datetime) -> "UpdatePolicyData":
        """Read it as it stands. About fifteen queries, however many hubs."""
        found, modes = forecast(policy, now), modes_of(policy)
        return cls.read(
            policy,
            household=policy.household.name,
            mode=PolicyMode(policy.mode),
            window_start=f"{policy.window_start:%H:%M}",
            window_end=f"{policy.window_end:%H:%M}",
            idle_minutes=policy.idle_minutes if policy.pk else 0,
            set_by=policy.set_by_name or None,
            set_at=policy.set_at if policy.pk else None,
            stopped=[reason.sentence for reason in found.against],
            opens_at=found.opens_at,
            hubs=[
                HubRuleData.of(
                    one, differs=hub_of(one.node) in modes, is_stopped=bool(found.against)
                )
                for one in found.hubs
            ],
            page=page_of("update_policy", policy.household_id),
        )
