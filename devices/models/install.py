"""OTA jobs: one confirmed attempt to install one offer on one hub, and the state machine.

`installs.lifecycle.move_to` is the only writer of a job's state. Everything the cloud reported is
kept in `Report`.
"""

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Case, CharField, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User
from devices.models.node import Node, Offer
from devices.models.outcome import InstallOutcome
from devices.models.version_text import is_same_version


class IllegalTransition(Exception):
    """The move is not in TRANSITIONS: a fault in our code."""


class StaleJob(Exception):
    """Another worker moved the job first; reload it and decide again."""


class State(models.TextChoices):
    REQUESTED = "requested", gettext_lazy("Confirmed, not sent yet")
    PUSHING = "pushing", gettext_lazy("Sending")
    RUNNING = "running", gettext_lazy("Installing")
    RETRYING = "retrying", gettext_lazy("Attempt failed, the hub may try again")
    VERIFYING = "verifying", gettext_lazy("Checking the new version")
    VERIFIED = "verified", gettext_lazy("Verified")
    UNVERIFIED = "unverified", gettext_lazy("Not verified")
    REJECTED = "rejected", gettext_lazy("Refused by the hub")
    FAILED = "failed", gettext_lazy("Failed")
    LOST = "lost", gettext_lazy("No report from the hub")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")
    EXPIRED = "expired", gettext_lazy("Expired, not sent")
    REFUSED = "refused", gettext_lazy("Not sent")


# LOST still listens: a late report may resolve it. PUSHING goes back to REQUESTED only when the
# answer to the push itself says that nothing was sent. REFUSED is an end before anything was sent:
# the offer had changed, or the cloud refused the push.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset(
        {State.PUSHING, State.RUNNING, State.CANCELLED, State.EXPIRED, State.REFUSED}
    ),
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
    State.LOST: frozenset({State.VERIFIED, State.UNVERIFIED, State.REJECTED, State.FAILED}),
    State.VERIFIED: frozenset(),
    State.UNVERIFIED: frozenset(),
    State.REJECTED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
    State.REFUSED: frozenset(),
}
# With which outcomes an install may come to each verdict.
OUTCOMES: dict[State, frozenset[InstallOutcome]] = {
    State.VERIFIED: frozenset({InstallOutcome.VERIFIED, InstallOutcome.VERIFIED_LATE}),
    State.UNVERIFIED: frozenset(
        {
            InstallOutcome.CLAIMED_SUCCESS_SAME_VERSION,
            InstallOutcome.CLAIMED_SUCCESS_OTHER_VERSION,
            InstallOutcome.VERSION_WITHOUT_SUCCESS,
            InstallOutcome.VERSION_DESPITE_REJECTED,
            InstallOutcome.VERSION_DESPITE_FAILED,
            InstallOutcome.NOT_SEEN_ONLINE,
            InstallOutcome.VERSION_NOT_REPORTED,
            InstallOutcome.VERSION_STATUS_NOT_READ,
            InstallOutcome.STEP_VERSION,
            InstallOutcome.NEWER_VERSION,
            InstallOutcome.OTHER_VERSION,
        }
    ),
    State.REJECTED: frozenset(
        {
            InstallOutcome.REJECTED,
            InstallOutcome.ROLLED_BACK,
            InstallOutcome.PROJECT_NAME,
            InstallOutcome.SAME_VERSION,
            InstallOutcome.SECURE_VERSION,
            InstallOutcome.CHIP_REVISION,
        }
    ),
    State.FAILED: frozenset(
        {
            InstallOutcome.FAILED,
            InstallOutcome.ATTEMPTS_FAILED,
            InstallOutcome.WINDOW_LAPSED,
            InstallOutcome.BAD_WINDOW,
            InstallOutcome.BAD_PAYLOAD,
        }
    ),
    State.LOST: frozenset(
        {
            InstallOutcome.SILENT,
            InstallOutcome.STUCK,
            InstallOutcome.WENT_OFFLINE,
            InstallOutcome.NEVER_ENDED,
            InstallOutcome.NO_ANSWER_FROM_CLOUD,
            InstallOutcome.PUSH_UNKNOWN,
            InstallOutcome.SIGNED_OUT,
            InstallOutcome.STATUS_NOT_READ,
            InstallOutcome.VERSION_NOT_READ,
            InstallOutcome.HUB_LEFT,
            InstallOutcome.STILL_DELAYED,
        }
    ),
    State.CANCELLED: frozenset({InstallOutcome.CANCELLED}),
    State.EXPIRED: frozenset({InstallOutcome.NOT_SENT_IN_TIME, InstallOutcome.RESTORED_UNSENT}),
    State.REFUSED: frozenset(
        {
            InstallOutcome.OFFER_SWAPPED,
            InstallOutcome.OFFER_WITHDRAWN,
            InstallOutcome.ALREADY_INSTALLED,
            InstallOutcome.HUB_OFFLINE,
            InstallOutcome.HUB_IN_USE,
            InstallOutcome.NOT_CURRENT,
            InstallOutcome.NOT_FOR_HUB,
            InstallOutcome.NOT_MINE,
            InstallOutcome.REFUSED_BY_CLOUD,
            InstallOutcome.ACCOUNT_UNLINKED,
        }
    ),
}
LIVE = frozenset({State.REQUESTED, State.PUSHING, State.RUNNING, State.RETRYING, State.VERIFYING})
VERDICTS = frozenset(State) - LIVE
UNSENT = frozenset({State.CANCELLED, State.EXPIRED, State.REFUSED})
# Of these the page says that there is nothing to do: the hub may go on by itself, or the next
# check finds a new offer.
NEEDS_NOBODY = frozenset({InstallOutcome.WINDOW_LAPSED, InstallOutcome.STILL_DELAYED})
# The hub refuses this firmware each time: it is for others.
NOT_AGAIN = frozenset(
    {InstallOutcome.PROJECT_NAME, InstallOutcome.SECURE_VERSION, InstallOutcome.CHIP_REVISION}
)
TROUBLED = [State.FAILED, State.LOST, State.REJECTED, State.UNVERIFIED]
FOLLOWED = LIVE - {State.REQUESTED}
# The ways in which the planner starts an install when its moment has come. No person waits for it.
BY_PLANNER = ("queue", "plan", "policy", "proposal")
_LIVE_VALUES = sorted(state.value for state in LIVE)


def went_wrong(path: str = "") -> Q:
    """Return the condition that `OtaJob.went_wrong` is for one install; path leads to it."""
    is_troubled = Q((f"{path}state__in", TROUBLED), (f"{path}arrived_late_at", None))
    return is_troubled | Q((f"{path}fell_back_at__isnull", False))


def needs_person(path: str = "") -> Q:
    """Return the condition that `OtaJob.needs_person` is for one install; path leads to it."""
    is_left_alone = Q((f"{path}outcome__in", NEEDS_NOBODY), (f"{path}fell_back_at", None))
    return went_wrong(path) & ~is_left_alone & Q((f"{path}seen_at", None))


FELL_BACK, ARRIVED_LATE = "fell_back", "arrived_late"


def result() -> Case:
    """Return how an install stands, as one word: how it ended and what became of that later, else
    its state.
    """
    return Case(
        When(fell_back_at__isnull=False, then=Value(FELL_BACK)),
        When(arrived_late_at__isnull=False, then=Value(ARRIVED_LATE)),
        When(~Q(outcome=""), then=F("outcome")),
        default=F("state"),
        output_field=CharField(),
    )


class OtaJobQuerySet(models.QuerySet["OtaJob"]):
    def live(self) -> "OtaJobQuerySet":
        """Return jobs that have no verdict yet."""
        return self.filter(state__in=_LIVE_VALUES)

    def due(self, now: datetime, per_account: int, limit: int) -> "list[OtaJob]":
        """Return jobs to be pushed or asked about now, and LOST ones that still listen, with all
        that is needed to ask. Accounts take turns, so that none waits behind a large one. Within
        an account a person's install that is not sent yet comes first, then what has waited longest
        since it was last asked about.
        """
        # ordered here: to have the database count the turns takes Django several times as long
        names = ("state", "requested_via", "asked_at", "requested_at", "next_poll_at")
        rows = list(self.filter(next_poll_at__lte=now).values("pk", "node__account_id", *names))
        rows.sort(key=_by_wait)
        turns: Counter[int] = Counter()
        places: list[tuple[int, datetime, int]] = []
        for row in rows:
            account = row["node__account_id"]
            turns[account] += 1
            if turns[account] <= per_account:
                places.append((turns[account], row["next_poll_at"], row["pk"]))
        keys = [pk for *_, pk in sorted(places)[:limit]]
        if not keys:
            return []
        found = OtaJob.objects.select_related("node__account__household", "household").in_bulk(keys)
        return [found[key] for key in keys if key in found]

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
                | Q(node__name__icontains=word)
                | Q(node__serial__icontains=word)
                | Q(node__node_id__icontains=word)
            )
        return found

    def for_list(self) -> "OtaJobQuerySet":
        """Return jobs with all that a row of History shows, newest first, in one query."""
        return self.select_related("node__account", "household").order_by("-requested_at", "-pk")


def _by_wait(row: dict[str, Any]) -> tuple[bool, datetime, int]:
    """Return what orders due installs of one account: a person's that is not sent yet comes first,
    then what has waited longest.
    """
    is_of_person = row["state"] == State.REQUESTED and row["requested_via"] not in BY_PLANNER
    return not is_of_person, row["asked_at"] or row["requested_at"], row["pk"]


class OtaJob(models.Model):
    """One confirmed attempt. A retry is a new row; history is never written over."""

    household = models.ForeignKey(Household, on_delete=models.CASCADE, related_name="jobs")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="jobs")
    offer = models.ForeignKey(Offer, null=True, on_delete=models.SET_NULL, related_name="jobs")
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL)
    is_latest = models.BooleanField(default=True)
    # One physical hub, in all accounts that reach it.
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

    # The push, and what the cloud reported before it: that never counts for this attempt.
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

    # The three witnesses: the status of the cloud's job, the version the hub reports, back online.
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
    # The offer's validity: the hub does not start before and not after these times.
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_until = models.DateTimeField(null=True, blank=True)
    # When the hub was found on its earlier version again after the install had been verified.
    fell_back_at = models.DateTimeField(null=True, blank=True)
    # When the hub first reported the new version after the install had ended without that.
    arrived_late_at = models.DateTimeField(null=True, blank=True)
    # What the hub was set to at the last reading before the push, and at the first one after the
    # end that showed it online.
    settings_before = models.JSONField(null=True, blank=True)
    settings_before_at = models.DateTimeField(null=True, blank=True)
    settings_after = models.JSONField(null=True, blank=True)
    settings_after_at = models.DateTimeField(null=True, blank=True)
    # A person's wish to put them back, until it is carried out; when it was; why it was not.
    put_back_asked_at = models.DateTimeField(null=True, blank=True)
    put_back_by_name = models.CharField(max_length=254, blank=True, db_default="")
    put_back_at = models.DateTimeField(null=True, blank=True)
    put_back_trouble = models.CharField(max_length=48, blank=True, db_default="")
    # When and by whom it was marked as seen: no one has to look any more, unless it ends otherwise.
    seen_at = models.DateTimeField(null=True, blank=True)
    seen_by_name = models.CharField(max_length=254, blank=True, db_default="")
    # Why each witness could not be read the last time it was asked; empty: it answered.
    status_trouble = models.CharField(max_length=48, blank=True, default="", db_default="")
    version_trouble = models.CharField(max_length=48, blank=True, default="", db_default="")
    online_trouble = models.CharField(max_length=48, blank=True, default="", db_default="")

    # Kept by the poll loop. All seconds here count only time in which the cloud was really asked:
    # a clock that jumps, or a machine that slept, adds next to nothing. Since the last news; in
    # all; since the push whose answer was lost; since the first failed attempt; since success was
    # claimed or the version changed; since the status last answered; since the cloud first
    # answered that the hub is not in the account.
    next_poll_at = models.DateTimeField(null=True, default=timezone.now)
    asked_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    last_news_at = models.DateTimeField(null=True, blank=True)
    # The last report's digest, and how often the same came again since its row was written.
    report_digest = models.CharField(max_length=64, blank=True, db_default="")
    report_repeats = models.PositiveIntegerField(default=0, db_default=0)
    quiet_s = models.FloatField(default=0)
    watched_s = models.FloatField(default=0)
    settled_s = models.FloatField(default=0)
    failing_s = models.FloatField(default=0)
    proving_s = models.FloatField(default=0)
    unanswered_s = models.FloatField(default=0)
    not_mine_s = models.FloatField(default=0, db_default=0)
    # Rounds in a row in which a call about this hub failed: its own back-off grows with them.
    failed_rounds = models.PositiveSmallIntegerField(default=0, db_default=0)
    listen_until = models.DateTimeField(null=True, blank=True)
    trouble = models.CharField(max_length=48, blank=True)
    trouble_text = models.CharField(max_length=300, blank=True)

    objects = OtaJobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(State.values)), name="job_state_known"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["", *sorted(InstallOutcome.values)]),
                name="job_outcome_known",
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
            models.Index(
                fields=["put_back_asked_at"],
                condition=Q(put_back_asked_at__isnull=False),
                name="job_put_back_asked",
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
    def is_restarting(self) -> bool:
        """Did the hub report that it restarts, and has it not been seen back since?"""
        return self.is_live and self.restarting_at is not None and self.back_online_at is None

    @property
    def was_sent(self) -> bool:
        """May the update have been sent to the hub?"""
        return self.claimed_at is not None and self.state not in UNSENT

    @property
    def is_by_planner(self) -> bool:
        """Did the planner start it, and no person press a button?"""
        return self.requested_via in BY_PLANNER

    @property
    def went_wrong(self) -> bool:
        """Did this job end without a proof that the hub runs the new version?"""
        is_troubled = self.state in TROUBLED and self.arrived_late_at is None
        return is_troubled or self.fell_back_at is not None

    @property
    def needs_person(self) -> bool:
        """Did this job end in a way that a person should look at?

        Whether its hub needs one now, `models.attention` decides.
        """
        is_left_alone = self.outcome in NEEDS_NOBODY and self.fell_back_at is None
        return self.went_wrong and not is_left_alone and self.seen_at is None

    @property
    def is_other_version(self) -> bool:
        """Does the hub report a version that is neither the one before nor the confirmed one?"""
        return bool(self.version_seen and self.from_version) and not any(
            is_same_version(self.version_seen, known)
            for known in (self.from_version, self.to_version)
        )

    @property
    def outcome_title(self) -> str:
        """Return the name of how it ended, in the reader's language; "" before it ended."""
        return InstallOutcome(self.outcome).title_of(self) if self.outcome else ""

    @property
    def duration(self) -> timedelta | None:
        """Return how long from the push to the verdict, or None while unknown."""
        if self.pushed_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.pushed_at

    @property
    def percent(self) -> int | None:
        """Return the percentage the hub itself reported last, or None: it is never estimated."""
        return percent_in(self.cloud_info) if self.state == State.RUNNING else None

    def note(self, now: datetime, **changes: Any) -> None:
        """Store the changes without moving; open pages show it. Raises StaleJob when the
        job has moved meanwhile. Two queries.
        """
        with transaction.atomic():
            self._write(now, changes)

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


def percent_in(info: str) -> int | None:
    """Return the whole percent a hub's own words name, such as `Downloaded 40% Firmware Image`."""
    found = re.search(r"(?<!\d)(100|\d{1,2})\s?%", info)
    return int(found.group(1)) if found else None
