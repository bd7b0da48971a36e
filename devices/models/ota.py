"""OTA jobs: one confirmed attempt to install one offer on one hub, and the state machine.

`OtaJob.move_to` is the only writer of a job's state. Everything the cloud said stays in `Report`.
"""

import re
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models import audit
from devices.models.audit import Actor
from devices.models.household import Household, User
from devices.models.node import Node, Offer


class IllegalTransition(Exception):
    """The move is not in TRANSITIONS: a fault in our code."""


class StaleJob(Exception):
    """Someone else moved the job first; reload it and decide again."""


class State(models.TextChoices):
    REQUESTED = "requested", gettext_lazy("Confirmed, not sent yet")
    PUSHING = "pushing", gettext_lazy("Being sent")
    RUNNING = "running", gettext_lazy("Installing")
    RETRYING = "retrying", gettext_lazy("Attempt failed, the hub may try again")
    VERIFYING = "verifying", gettext_lazy("Checking the new version")
    VERIFIED = "verified", gettext_lazy("Verified")
    UNVERIFIED = "unverified", gettext_lazy("Not proven")
    REJECTED = "rejected", gettext_lazy("Refused by the hub")
    FAILED = "failed", gettext_lazy("Failed")
    LOST = "lost", gettext_lazy("No word from the hub")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")
    EXPIRED = "expired", gettext_lazy("Expired unsent")
    REFUSED = "refused", gettext_lazy("Not sent")


# LOST is a verdict that still listens: a late word may resolve it. PUSHING goes back to REQUESTED
# only when the cloud itself said that nothing had been sent. REFUSED is an end before anything was
# sent: the offer had changed, or the cloud turned the push down.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.PUSHING, State.CANCELLED, State.EXPIRED, State.REFUSED}),
    State.PUSHING: frozenset(
        {State.RUNNING, State.REQUESTED, State.REFUSED, State.RETRYING, State.VERIFYING}
        | {State.REJECTED, State.FAILED, State.UNVERIFIED, State.LOST}
    ),
    State.RUNNING: frozenset(
        {State.RETRYING, State.VERIFYING, State.REJECTED, State.FAILED, State.UNVERIFIED}
        | {State.LOST}
    ),
    State.RETRYING: frozenset(
        {State.RUNNING, State.VERIFYING, State.REJECTED, State.FAILED, State.UNVERIFIED}
        | {State.LOST}
    ),
    State.VERIFYING: frozenset(
        {State.VERIFIED, State.UNVERIFIED, State.REJECTED, State.FAILED, State.RETRYING}
        | {State.RUNNING, State.LOST}
    ),
    State.LOST: frozenset(
        {State.VERIFIED, State.UNVERIFIED, State.REJECTED, State.FAILED},
    ),
    State.VERIFIED: frozenset(),
    State.UNVERIFIED: frozenset(),
    State.REJECTED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
    State.REFUSED: frozenset(),
}
LIVE = frozenset({State.REQUESTED, State.PUSHING, State.RUNNING, State.RETRYING, State.VERIFYING})
VERDICTS = frozenset(State) - LIVE
UNSENT = frozenset({State.CANCELLED, State.EXPIRED, State.REFUSED})
FOLLOWED = LIVE - {State.REQUESTED}
_LIVE_VALUES = sorted(state.value for state in LIVE)


class OtaJobQuerySet(models.QuerySet["OtaJob"]):
    def live(self) -> "OtaJobQuerySet":
        """Return jobs that have no verdict yet."""
        return self.filter(state__in=_LIVE_VALUES)

    def due(self, now: datetime, per_account: int) -> "OtaJobQuerySet":
        """Return jobs to be pushed or asked about now, and those still listened to, with all
        that is needed to ask. Accounts take turns, so that none waits behind a large one.
        """
        turn = Window(
            RowNumber(), partition_by=[F("node__account_id")], order_by=["next_poll_at", "pk"]
        )
        return (
            self.filter(next_poll_at__lte=now)
            .annotate(turn=turn)
            .filter(turn__lte=per_account)
            .select_related("node__account__household", "household")
            .order_by("turn", "next_poll_at")
        )

    def matching(self, search: str) -> "OtaJobQuerySet":
        """Return jobs in which each of these words is found."""
        found = self
        for word in search.split():
            found = found.filter(
                Q(hub_name__icontains=word)
                | Q(from_version__icontains=word)
                | Q(to_version__icontains=word)
                | Q(requested_by_name__icontains=word)
                | Q(ota_job_id__icontains=word)
                | Q(cloud_node_id__icontains=word)
            )
        return found

    def for_list(self) -> "OtaJobQuerySet":
        """Return jobs with all that a row of History shows, newest first, in one query."""
        return self.select_related("node__account", "household").order_by("-requested_at", "-pk")


class OtaJob(models.Model):
    """One confirmed attempt. A retry is a new row; history is never written over."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="jobs")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="jobs")
    offer = models.ForeignKey(Offer, null=True, on_delete=models.SET_NULL, related_name="jobs")
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL)
    is_latest = models.BooleanField(default=True)
    # One physical hub, whichever account reaches it.
    cloud_host = models.CharField(max_length=200)
    cloud_node_id = models.CharField(max_length=128)
    hub_name = models.CharField(max_length=200)
    hub_model = models.CharField(max_length=120, blank=True)

    # What the person read and agreed to.
    ota_job_id = models.CharField(max_length=128)
    from_version = models.CharField(max_length=64, blank=True)
    to_version = models.CharField(max_length=64)
    description = models.TextField(blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    md5 = models.CharField(max_length=64, blank=True)
    requested_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="requested_jobs"
    )
    requested_by_name = models.CharField(max_length=254)
    requested_via = models.CharField(max_length=24, default="web")
    requested_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    state = models.CharField(max_length=12, choices=State.choices, default=State.REQUESTED)
    state_at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=48, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)

    # The push, and what the cloud said before it: an old word is never read as this attempt's.
    claimed_at = models.DateTimeField(null=True, blank=True)
    pushes = models.PositiveSmallIntegerField(default=0)
    pushed_at = models.DateTimeField(null=True, blank=True)
    push_answer = models.CharField(max_length=300, blank=True)
    push_unknown = models.BooleanField(default=False)
    unsent_answers = models.PositiveSmallIntegerField(default=0)
    baseline_word = models.CharField(max_length=64, blank=True)
    baseline_timestamp = models.CharField(max_length=64, blank=True)
    baseline_info = models.TextField(blank=True)
    baseline_online_timestamp = models.CharField(max_length=64, blank=True)

    # Set when a backup was restored while this install was live: what happened to it since the
    # backup was made is only known to the cloud, and it is never sent again.
    restored_at = models.DateTimeField(null=True, blank=True)

    # The three witnesses: what the cloud's job says, the version the hub reports, back online.
    cloud_word = models.CharField(max_length=64, blank=True)
    cloud_meaning = models.CharField(max_length=16, blank=True)
    cloud_info = models.TextField(blank=True)
    cloud_said_at = models.DateTimeField(null=True, blank=True)
    success_at = models.DateTimeField(null=True, blank=True)
    version_seen = models.CharField(max_length=64, blank=True)
    version_seen_at = models.DateTimeField(null=True, blank=True)
    version_agreed_at = models.DateTimeField(null=True, blank=True)
    is_online = models.BooleanField(null=True)
    online_seen_at = models.DateTimeField(null=True, blank=True)
    offline_seen_at = models.DateTimeField(null=True, blank=True)
    back_online_at = models.DateTimeField(null=True, blank=True)
    restarting_at = models.DateTimeField(null=True, blank=True)
    failed_attempts = models.PositiveSmallIntegerField(default=0)
    first_failed_at = models.DateTimeField(null=True, blank=True)
    delayed_since = models.DateTimeField(null=True, blank=True)

    # The follow loop's own books. All seconds here count only time in which the cloud was really
    # asked: a clock that jumps, or a machine that slept, adds next to nothing. Since the last
    # news; in all; since the push whose answer was lost; since the first failed attempt; since
    # success was claimed or the version changed; since the cloud last answered.
    next_poll_at = models.DateTimeField(null=True, default=timezone.now)
    asked_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    last_news_at = models.DateTimeField(null=True, blank=True)
    quiet_s = models.FloatField(default=0)
    watched_s = models.FloatField(default=0)
    settled_s = models.FloatField(default=0)
    failing_s = models.FloatField(default=0)
    proving_s = models.FloatField(default=0)
    unanswered_s = models.FloatField(default=0)
    listen_until = models.DateTimeField(null=True, blank=True)
    trouble = models.CharField(max_length=48, blank=True)
    trouble_text = models.CharField(max_length=300, blank=True)

    objects = OtaJobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(State.values)), name="job_state_known"
            ),
            models.UniqueConstraint(
                fields=["cloud_host", "cloud_node_id"],
                condition=Q(state__in=_LIVE_VALUES),
                name="one_live_job_per_physical_hub",
            ),
            models.UniqueConstraint(
                fields=["node"], condition=Q(is_latest=True), name="one_latest_job_per_hub"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_poll_at"],
                condition=Q(next_poll_at__isnull=False),
                name="job_next_poll",
            ),
            models.Index(fields=["household", "-requested_at"], name="job_by_household"),
            models.Index(fields=["hub_model", "to_version", "state"], name="job_by_model"),
        ]

    def __str__(self) -> str:
        return f"{self.hub_name}: {self.from_version} to {self.to_version}"

    @property
    def is_live(self) -> bool:
        """Has this job no verdict yet?"""
        return self.state in LIVE

    @property
    def is_listening(self) -> bool:
        """Is the cloud still asked about this job?"""
        return self.next_poll_at is not None

    @property
    def was_sent(self) -> bool:
        """May the hub have been told to install?"""
        return self.claimed_at is not None and self.state not in UNSENT

    @property
    def needs_person(self) -> bool:
        """Did this job end so that somebody should look?"""
        return self.state in {State.UNVERIFIED, State.REJECTED, State.FAILED, State.LOST}

    @property
    def duration(self) -> timedelta | None:
        """Return how long from the push to the verdict, or None while unknown."""
        if self.pushed_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.pushed_at

    @property
    def percent(self) -> int | None:
        """Return the percent the hub itself gave last, or None: it is never made up."""
        return percent_in(self.cloud_info) if self.state == State.RUNNING else None

    def note(self, now: datetime, **changes: Any) -> None:
        """Write what was learned without moving; open pages show it. Raises StaleJob when the
        job has moved meanwhile. Two queries.
        """
        with transaction.atomic():
            self._write(now, changes)

    def move_to(
        self,
        new: State,
        *,
        actor: Actor,
        note: str,
        now: datetime | None = None,
        outcome: str = "",
        why: str = "",
        **changes: Any,
    ) -> None:
        """Move to the new state with the changes, and record who and why, in one transaction.

        Raises IllegalTransition when the table does not know the move, StaleJob when the job is
        no longer in the state this object was loaded with; then nothing is written.
        """
        now = now or timezone.now()
        old = State(self.state)
        if new not in TRANSITIONS[old]:
            raise IllegalTransition(f"job {self.pk}: {old} to {new}")
        changes |= {"state": new, "state_at": now, "outcome": outcome}
        if new in VERDICTS:
            changes["ended_at"] = now
            if new != State.LOST:
                changes |= {"next_poll_at": None, "listen_until": None}
        with transaction.atomic():
            audit.lock()
            self._write(now, changes)
            audit.record(
                actor,
                f"install.{new.value}",
                note,
                job=self,
                at=now,
                why=why,
                outcome=_audit_outcome(new),
                detail={
                    "from_state": old.value,
                    "to_state": new.value,
                    "from_version": self.from_version,
                    "to_version": self.to_version,
                    "ota_job_id": self.ota_job_id,
                    "outcome": outcome,
                    "pushes": self.pushes,
                },
            )
            self._tell(new, now)

    def _tell(self, new: State, now: datetime) -> None:
        """Tell whoever asked to be told of such an end. One query when nobody did."""
        from devices.models.notice import Topic, tell

        if new in VERDICTS and new != State.CANCELLED:
            tell(
                Topic.FINISHED if new == State.VERIFIED else Topic.FAILED,
                household=self.household,
                path=reverse("install", args=[self.pk]),
                now=now,
                job=self,
                hub=self.hub_name,
                to_version=self.to_version,
            )

    @property
    def marked_name(self) -> str:
        """Return the hub's name, marked when it is simulated: for where there are no badges."""
        return self.node.account.marked(self.hub_name)

    def as_loaded(self) -> "OtaJobQuerySet":
        """Return this row, unless it was moved since this object was loaded: it may even have come
        back to the same state by another claim, whose push is not ours to judge.
        """
        return OtaJob.objects.filter(pk=self.pk, state=self.state, pushes=self.pushes)

    def _write(self, now: datetime, changes: dict[str, Any]) -> None:
        if not self.as_loaded().update(revision=F("revision") + 1, **changes):
            raise StaleJob(f"job {self.pk} is no longer {self.state}")
        self.revision += 1
        for name, value in changes.items():
            setattr(self, name, value)
        self.node.touch(now)


def _audit_outcome(state: State) -> str:
    if state in {State.REFUSED, State.EXPIRED, State.REJECTED}:
        return audit.Outcome.REFUSED
    if state in {State.FAILED, State.UNVERIFIED, State.LOST}:
        return audit.Outcome.FAILED
    return audit.Outcome.DONE


def percent_in(info: str) -> int | None:
    """Return the whole percent a hub's own words name, such as `Downloaded 40% Firmware Image`."""
    found = re.search(r"(?<!\d)(100|\d{1,2})\s?%", info)
    return int(found.group(1)) if found else None
