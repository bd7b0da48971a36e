"""Plans: an install that starts when its window is open and its conditions hold.

Only `planning.plans.move_to` writes a plan's state, and `planning.planner.wait_again`.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User
from devices.models.install import OtaJob, State, went_wrong
from devices.models.message import MessageField
from devices.models.node import Node
from devices.models.proposal import Proposal
from devices.models.queue import Batch
from devices.models.season import is_stored
from devices.models.windows import Window

VALID_FOR = timedelta(days=14)


class When(models.TextChoices):
    """The moment that the person chose."""

    NOW = "now", gettext_lazy("Now, in turn")
    TONIGHT = "tonight", gettext_lazy("Tonight")
    IDLE = "idle", gettext_lazy("When it is next not in use")
    ONLINE = "online", gettext_lazy("When it is back online")
    AT = "at", gettext_lazy("At a set time")
    POLICY = "policy", gettext_lazy("By the update policy")


class PlanState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Planned")
    STARTED = "started", gettext_lazy("Started")
    DONE = "done", gettext_lazy("Already installed")
    EXPIRED = "expired", gettext_lazy("Expired, not started")
    CANCELLED = "cancelled", gettext_lazy("Plan cancelled")
    DROPPED = "dropped", gettext_lazy("Skipped")


class DropReason(models.TextChoices):
    """Why a plan can never start as it was agreed."""

    OFFER_CHANGED = "offer_changed", gettext_lazy("The offer changed")
    RIGHT_LOST = "right_lost", gettext_lazy("The right to install was lost")
    HUB_LEFT = "hub_left", gettext_lazy("The hub left the cloud account")
    REFUSED = "refused", gettext_lazy("Not possible when its turn came")
    TRIED = "tried", gettext_lazy("Another install was started since")
    DISMISSED = "dismissed", gettext_lazy("The version is not wanted")
    REPLACED = "replaced", gettext_lazy("Replaced by a newer plan")
    HELD = "held", gettext_lazy("The version is held")
    TROUBLE = "trouble", gettext_lazy("Another hub had trouble with it")
    POLICY = "policy", gettext_lazy("Not for the update policy")
    RESTORED = "restored", gettext_lazy("Ended by a backup restore")


WAITING = Q(state=PlanState.WAITING)
# The code of the reason with which a plan waits for the end of other installs.
TURN = "turn"


class PlanQuerySet(models.QuerySet["Plan"]):
    def waiting(self) -> "PlanQuerySet":
        """Return plans that may still start."""
        return self.filter(WAITING)

    def due(self, now: datetime) -> "PlanQuerySet":
        """Return waiting plans to be looked at now, in their order."""
        return self.filter(WAITING, next_look_at__lte=now).order_by(
            "next_look_at", "position", "pk"
        )

    def failed(self) -> "PlanQuerySet":
        """Return hubs of queues whose install went wrong or was not sent in time, since the queue
        was last resumed. A queue that stops on failure stops for them.
        """
        return self.filter(
            went_wrong("job__") | Q(job__state=State.EXPIRED),
            Q(batch__resumed_at=None) | Q(job__ended_at__gt=F("batch__resumed_at")),
            batch__stops_on_failure=True,
        )

    def loaded(self) -> "PlanQuerySet":
        """Return plans with all that decides whether they may start. Four queries."""
        hubs = Node.objects.with_latest_jobs()
        return self.select_related(
            "household__update_policy", "batch", "proposal", "requested_by"
        ).prefetch_related(models.Prefetch("node", hubs))

    def for_list(self) -> "PlanQuerySet":
        """Return plans with all that a row of a list shows, in the order in which they start. Three
        queries, however many.
        """
        rows = self.select_related("household", "batch", "proposal", "job")
        return rows.prefetch_related("node__account").order_by("not_before", "position", "pk")

    def wake(self, now: datetime) -> int:
        """Have these plans looked at now, if they wait; return how many. One query.

        Also those that are due: a look that has begun does not know the news yet.
        """
        return self.filter(WAITING).update(next_look_at=now)

    def wake_after_install(self, job: OtaJob, now: datetime) -> int:
        """Have the plans looked at that may have waited for the end of this install."""
        return self.filter(
            Q(node=job.node_id) | Q(household=job.household_id, waits_for=TURN)
        ).wake(now)


class Plan(models.Model):
    """One hub, exactly what was agreed to for it, and when it may start."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="plans")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="plans")
    hub_name = models.CharField(max_length=200)
    # The fields of an OfferSnapshot: what the person read and agreed to for this hub.
    binding = models.JSONField()
    batch = models.ForeignKey(Batch, null=True, on_delete=models.CASCADE, related_name="items")
    position = models.PositiveIntegerField(default=1)
    proposal = models.OneToOneField(
        Proposal, null=True, on_delete=models.CASCADE, related_name="plan"
    )
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_by_name = models.CharField(max_length=254)
    requested_role = models.CharField(max_length=32, blank=True)
    requested_via = models.CharField(max_length=24, default="web")
    requested_at = models.DateTimeField(default=timezone.now)

    # When it may start: the household's wall-clock times, over midnight when the end is the
    # earlier one. None: at any time of day.
    when = models.CharField(max_length=8, choices=When.choices)
    window_start = models.TimeField(null=True)
    window_end = models.TimeField(null=True)
    not_before = models.DateTimeField()
    expires_at = models.DateTimeField()
    needs_idle = models.BooleanField(default=True)
    # How often another moment was chosen.
    changes = models.PositiveIntegerField(default=0, db_default=0)

    state = models.CharField(max_length=10, choices=PlanState.choices, default=PlanState.WAITING)
    drop_reason = models.CharField(max_length=16, blank=True, choices=DropReason.choices)
    ended_at = models.DateTimeField(null=True)
    # Why it waits, or why it ended without an install, as of the last look.
    reason = MessageField(blank=True)
    waits_for = models.CharField(max_length=24, blank=True)
    next_look_at = models.DateTimeField(null=True)
    # When people were notified that it may start in the coming night.
    announced_at = models.DateTimeField(null=True)
    job = models.OneToOneField(OtaJob, null=True, on_delete=models.SET_NULL, related_name="plan")

    objects = PlanQuerySet.as_manager()

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(PlanState.values)), name="plan_state_known"
            ),
            models.CheckConstraint(
                condition=Q(when__in=sorted(When.values)), name="plan_when_known"
            ),
            models.CheckConstraint(
                condition=Q(state=PlanState.DROPPED, drop_reason__in=sorted(DropReason.values))
                | ~Q(state=PlanState.DROPPED) & Q(drop_reason=""),
                name="plan_dropped_for_a_reason",
            ),
            models.CheckConstraint(
                condition=WAITING & Q(next_look_at__isnull=False, ended_at=None)
                | ~WAITING & Q(next_look_at=None, ended_at__isnull=False),
                name="plan_waits_or_ended",
            ),
            models.CheckConstraint(
                condition=Q(window_start=None, window_end=None)
                | Q(window_start__isnull=False, window_end__isnull=False)
                & ~Q(window_start=F("window_end")),
                name="plan_window_whole",
            ),
            models.CheckConstraint(
                condition=~Q(when=When.POLICY)
                | Q(announced_at__isnull=False, announced_at__lt=F("not_before")),
                name="plan_of_policy_announced",
            ),
            models.UniqueConstraint(
                fields=["node"], condition=WAITING, name="one_waiting_plan_per_hub"
            ),
            models.UniqueConstraint(fields=["batch", "node"], name="hub_once_per_queue"),
        ]
        indexes = [
            models.Index(fields=["next_look_at"], condition=WAITING, name="plan_due"),
            models.Index(fields=["household"], condition=WAITING, name="plan_waiting"),
            models.Index(fields=["batch"], condition=WAITING, name="plan_queued"),
            models.Index(fields=["node", "-requested_at"], name="plan_by_hub"),
        ]

    def __str__(self) -> str:
        return f"{self.to_version} for {self.hub_name}"

    @property
    def to_version(self) -> str:
        return str(self.binding.get("to_version", ""))

    @property
    def from_version(self) -> str:
        return str(self.binding.get("from_version", ""))

    @property
    def may_change(self) -> bool:
        """May it start at another moment? The answer to a proposal stays as it was given, and what
        an update policy planned as it was announced.
        """
        return self.proposal_id is None and not self.is_by_policy

    @property
    def is_by_policy(self) -> bool:
        """Did the household's update policy make it?"""
        return self.when == When.POLICY

    def is_put_aside(self, household: Household) -> bool:
        """Does it wait until this household of it is no longer stored for winter? Not what a person
        wants now, in turn: a press would start it too.
        """
        return self.when != When.NOW and is_stored(household)

    @property
    def is_waiting(self) -> bool:
        """May it still start?"""
        return self.state == PlanState.WAITING

    @property
    def marked_name(self) -> str:
        """Return the hub's name, marked when it is simulated: for where there are no badges."""
        return self.node.account.marked(self.hub_name)

    @property
    def window(self) -> Window | None:
        """Return the times of day at which it may start; None: at any. Reads the household."""
        return self.window_in(self.household)

    def window_in(self, household: Household) -> Window | None:
        """Return the same, by the clock of its household, which is given."""
        if self.window_start is None or self.window_end is None:
            return None
        return Window(self.window_start, self.window_end, household.zone)

    def write_times(self, **changes: Any) -> bool:
        """Write when it may start, as `write` does, and count it as a change: calendars take the
        new times over. Two queries.
        """
        if not self.write(**changes):
            return False
        Plan.objects.filter(pk=self.pk).update(changes=F("changes") + 1)
        self.changes += 1
        return True

    def write(self, **changes: Any) -> bool:
        """Write the changes if the plan still waits; True when it did. One query."""
        if not Plan.objects.filter(WAITING, pk=self.pk).update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True


def wake_hubs(nodes: Iterable[int], now: datetime) -> int:
    """Have the plans of these hubs looked at now: what they wait for may have come."""
    return Plan.objects.filter(node__in=list(nodes)).wake(now)
