"""Proposals: support prepares one install, the household decides, by a link or signed in."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Count, Q, Window
from django.db.models.fields.json import KT
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.account import AccountState
from devices.models.household import Household, User
from devices.models.install import OtaJob
from devices.models.message import NO_MESSAGE, Message
from devices.models.node import Node
from devices.models.notification import Notice
from devices.models.version_text import is_same_version

if TYPE_CHECKING:
    from devices.models.plan import Plan

VALID_FOR = timedelta(days=3)


class ProposalState(models.TextChoices):
    OPEN = "open", gettext_lazy("Waiting for an answer")
    TONIGHT = "tonight", gettext_lazy("Planned")
    ACCEPTED = "accepted", gettext_lazy("Accepted")
    DECLINED = "declined", gettext_lazy("Not this version")
    WITHDRAWN = "withdrawn", gettext_lazy("Withdrawn")
    EXPIRED = "expired", gettext_lazy("Not answered in time")
    MISSED = "missed", gettext_lazy("Not possible in time")
    OVERTAKEN = "overtaken", gettext_lazy("Installed another way")
    RESTORED = "restored", gettext_lazy("Ended by a backup restore")


# Does the hub run what is proposed already?
OVERTAKEN = Q(node__fw_version=KT("binding__to_version"))
UNDECIDED = sorted([ProposalState.OPEN.value, ProposalState.TONIGHT.value])


class ProposalQuerySet(models.QuerySet["Proposal"]):
    def due(self, now: datetime) -> "ProposalQuerySet":
        """Return those of which something has to be done now."""
        return self.filter(
            Q(state=ProposalState.OPEN, expires_at__lte=now)
            | Q(OVERTAKEN, state__in=UNDECIDED)
            | Q(state=ProposalState.TONIGHT) & ~Q(plan__ended_at=None, plan__isnull=False)
        )

    def undecided(self, now: datetime) -> "ProposalQuerySet":
        """Return those that can still come to an install."""
        is_open = Q(state=ProposalState.OPEN, expires_at__gt=now)
        return self.filter(is_open | Q(state=ProposalState.TONIGHT))

    def unanswered(self, now: datetime) -> "ProposalQuerySet":
        """Return those that wait for an answer."""
        return self.filter(state=ProposalState.OPEN, expires_at__gt=now)

    def of_version(self, version: str) -> "ProposalQuerySet":
        """Return those that propose exactly this version."""
        return self.filter(binding__to_version=version)

    def for_notices(self, now: datetime) -> "ProposalQuerySet":
        """Return the undecided ones of hubs on the list that do not run the version already, those
        that wait for an answer first; each says how `many` they are.
        """
        return (
            self.undecided(now)
            .filter(node__gone_at=None)
            .exclude(node__account__state=AccountState.UNLINKED)
            .exclude(OVERTAKEN)
            .select_related("household", "plan")
            .annotate(many=Window(Count("pk")))
            .order_by("state", "pk")
        )

    def for_list(self) -> "ProposalQuerySet":
        """Return what a list shows, newest first."""
        return self.select_related("household", "node__account", "job", "plan").order_by("-pk")


class Proposal(models.Model):
    """Bound to exactly what was proposed, as a confirmation is bound to what was read."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="proposals")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="proposals")
    hub_name = models.CharField(max_length=200)
    binding = models.JSONField()
    description = models.TextField(blank=True)
    words = models.CharField(max_length=300, blank=True)
    proposed_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="proposals_made"
    )
    proposed_by_name = models.CharField(max_length=254)
    mailed_to = models.CharField(max_length=300, blank=True)  # masked, as pages and trail say it
    # What the household was notified by: of all that were proposed to it at once.
    notice = models.ForeignKey(
        Notice, null=True, blank=True, on_delete=models.SET_NULL, related_name="proposals"
    )
    token_digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    state = models.CharField(
        max_length=10, choices=ProposalState.choices, default=ProposalState.OPEN
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="proposals_decided"
    )
    decided_by_name = models.CharField(max_length=254, blank=True)
    decided_role = models.CharField(max_length=32, blank=True)
    job = models.OneToOneField(
        OtaJob, null=True, blank=True, on_delete=models.SET_NULL, related_name="proposal"
    )

    objects = ProposalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(ProposalState.values)), name="proposal_state_known"
            ),
            models.UniqueConstraint(
                fields=["node"],
                condition=Q(state__in=UNDECIDED),
                name="one_undecided_proposal_per_hub",
            ),
        ]
        indexes = [
            models.Index(fields=["household", "-created_at"], name="proposal_by_household"),
            models.Index(
                fields=["state"], condition=Q(state__in=UNDECIDED), name="proposal_undecided"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.to_version} for {self.hub_name}"

    @property
    def to_version(self) -> str:
        return str(self.binding["to_version"])

    @property
    def from_version(self) -> str:
        return str(self.binding["from_version"])

    @property
    def size_bytes(self) -> int | None:
        size: int | None = self.binding["size_bytes"]
        return size

    @property
    def is_open(self) -> bool:
        """Does it wait for an answer?"""
        return self.state == ProposalState.OPEN

    @property
    def mark(self) -> str:
        """Return what links name it by: it differs after each `renew_link`."""
        return self.token_digest[:16]

    @property
    def is_undecided(self) -> bool:
        """Can it still come to an install?"""
        return self.state in UNDECIDED

    @property
    def is_overtaken(self) -> bool:
        """Does the hub run what is proposed already?"""
        return is_same_version(self.node.fw_version, self.to_version)

    @property
    def why_not(self) -> Message:
        """Return why what is planned for the night was not possible so far."""
        plan: Plan | None = getattr(self, "plan", None)
        return plan.reason if plan is not None else NO_MESSAGE

    @property
    def begins_at(self) -> datetime | None:
        """Return when the night begins for which it is planned; None once it may be tried."""
        plan: Plan | None = getattr(self, "plan", None)
        if plan is None or plan.waits_for not in {"", "too_early"}:
            return None
        return plan.not_before if plan.not_before > timezone.now() else None

    def change(self, *, was: str, **changes: Any) -> bool:
        """Write the changes if nothing else changed the state first; True when written."""
        if not Proposal.objects.filter(pk=self.pk, state=was).update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True
