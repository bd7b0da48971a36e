"""What people ask for: confirm an install, cancel it; and how long installs take here."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from devices import policies
from devices.confirm import Binding, bind
from devices.models import (
    Actor,
    Node,
    Offer,
    OtaJob,
    Outcome,
    StaleJob,
    State,
    Suspect,
    User,
    audit,
)
from devices.poison import label
from devices.policies import Reason, told_together
from devices.timing import seconds, timings
from devices.wake import wake_installs


class Refused(Exception):
    """What was asked for cannot be done now, for these reasons; nothing was changed or sent."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.reasons = list(reasons)
        super().__init__(told_together(self.reasons))


def request(
    *,
    user: User | None,
    node: Node,
    binding: Binding,
    actor: Actor,
    now: datetime | None = None,
    retry_of: OtaJob | None = None,
    why: str = "",
) -> OtaJob:
    """Accept one confirmation and wake the worker: when this returns, the intent is kept.

    Raises Refused with every reason; the refusal is in the trail. The offer must be the very one
    the form showed and be offered still. user None: the right was decided by a proposal.
    """
    now = now or timezone.now()
    offer = node.offer
    if user is None:
        reasons = policies.why_unfit(node, offer, now)
    else:
        reasons = policies.why_not_install(user, node, offer, now)
    if offer is None or not _is_bound_to(binding, node, offer):
        reasons.append(
            Reason(
                "offer_swapped",
                "What the cloud offers is no longer what the form showed.",
            )
        )
    if reasons or offer is None:
        raise _refuse(node, reasons, actor, now)
    try:
        with transaction.atomic():
            audit.lock()
            OtaJob.objects.filter(node=node, is_latest=True).update(is_latest=False)
            job = OtaJob.objects.create(
                household=node.account.household,
                node=node,
                offer=offer,
                retry_of=retry_of,
                cloud_host=node.account.cloud_host,
                cloud_node_id=node.node_id,
                hub_name=str(node),
                hub_model=node.model,
                ota_job_id=binding.ota_job_id,
                from_version=binding.from_version,
                to_version=binding.to_version,
                description=offer.description,
                size_bytes=binding.size_bytes,
                md5=binding.md5,
                requested_by=user,
                requested_by_name=actor.name,
                requested_via=actor.via,
                requested_at=now,
                state_at=now,
                expires_at=now + seconds(timings().confirm_valid_s),
                next_poll_at=now,
            )
            node.touch(now)
            audit.record(
                actor,
                "install.requested",
                f"{actor.name} confirmed installing {job.to_version} on {node} "
                f"(from {job.from_version or 'an unknown version'}).",
                job=job,
                at=now,
                why=why or f"role {actor.role}",
                detail={
                    "ota_job_id": job.ota_job_id,
                    "from_version": job.from_version,
                    "to_version": job.to_version,
                    "size_bytes": job.size_bytes,
                    "md5": job.md5,
                    "retry_of": retry_of.pk if retry_of else None,
                },
            )
            wake_installs()
    except IntegrityError as problem:
        running = Reason("job_running", "An install is already running on this hub.")
        raise _refuse(node, [running], actor, now) from problem
    return job


def _is_bound_to(binding: Binding, node: Node, offer: Offer) -> bool:
    """Is this what the form showed? A row of our own that was made anew is no difference."""
    return not binding.differences(bind(node, offer)) and binding.node_id == node.pk


def _refuse(node: Node, reasons: list[Reason], actor: Actor, now: datetime) -> Refused:
    audit.record(
        actor,
        "install.request_refused",
        f"An install on {node} was refused: {' '.join(r.sentence for r in reasons)}",
        node=node,
        outcome=Outcome.REFUSED,
        at=now,
        detail={"reasons": [reason.code for reason in reasons]},
    )
    return Refused(reasons)


def cancel(job: OtaJob, *, user: User, actor: Actor, now: datetime | None = None) -> None:
    """Cancel an install that was not sent yet. Raises Refused when it is too late."""
    reasons = policies.why_not_cancel(user, job)
    if not reasons:
        try:
            job.move_to(
                State.CANCELLED,
                actor=actor,
                note=f"{actor.name} cancelled the install on {job.hub_name} before it was sent.",
                now=now,
                outcome="cancelled",
                why=f"role {actor.role}",
            )
            return
        except StaleJob:
            job.refresh_from_db()
            reasons = [Reason("already_sent", "It was sent while you pressed; see what it does.")]
    audit.record(
        actor,
        "install.cancel_refused",
        f"Cancelling the install on {job.hub_name} was refused: "
        f"{' '.join(r.sentence for r in reasons)}",
        job=job,
        outcome=Outcome.REFUSED,
    )
    raise Refused(reasons)


def aside_until(job: OtaJob, now: datetime | None = None) -> datetime | None:
    """Return until when an install is left alone because the worker died over it, or None."""
    key = label(("job", job.pk))
    return Suspect.parked([key], now or timezone.now()).get(key) if job.is_listening else None


def ask_again(job: OtaJob, *, actor: Actor, now: datetime | None = None) -> None:
    """Take up an install that was set aside after the worker died over it. Safe to repeat."""
    now = now or timezone.now()
    with transaction.atomic():
        audit.lock()
        if not Suspect.release([label(("job", job.pk))]):
            return
        OtaJob.objects.filter(pk=job.pk, next_poll_at__isnull=False).update(next_poll_at=now)
        audit.record(
            actor,
            "install.taken_up",
            f"{actor.name} had the install on {job.hub_name} taken up again.",
            job=job,
            at=now,
            why=f"role {actor.role}",
        )
        wake_installs()


# From so few on the slowest says little: it may have been the lucky ones.
FEWEST_TO_COMPARE = 3


@dataclass(frozen=True, slots=True)
class Typical:
    """What finished installs of one model and version took on this server."""

    count: int
    verified: int
    typical: timedelta | None
    slowest: timedelta | None
    unusual_after: timedelta | None
    """Longer than this is unusual; None while too few are known to say so."""

    def is_unusual(self, job: OtaJob, now: datetime) -> bool:
        """Is this install under way for longer than those like it took?"""
        if not job.is_live or job.pushed_at is None or self.unusual_after is None:
            return False
        return now - job.pushed_at > self.unusual_after


def typical(model: str, to_version: str) -> Typical:
    """Return how installs like this one went here: the last 200 that were sent. One query."""
    ended = (
        OtaJob.objects.filter(
            hub_model=model,
            to_version=to_version,
            pushed_at__isnull=False,
            ended_at__isnull=False,
            restored_at=None,  # its times are not what it took
        )
        .order_by("-ended_at")
        .values_list("outcome", "pushed_at", "ended_at")[:200]
    )
    rows = list(ended)
    took = sorted(
        ended_at - pushed_at
        for outcome, pushed_at, ended_at in rows
        # one that was verified late tells when we heard of it, not how long it took
        if outcome == "verified" and pushed_at is not None and ended_at is not None
    )
    return Typical(
        count=len(rows),
        verified=sum(outcome in {"verified", "verified_late"} for outcome, *_ in rows),
        typical=_middle(took) if took else None,
        slowest=took[-1] if took else None,
        unusual_after=_unusual_after(took),
    )


def _middle(took: list[timedelta]) -> timedelta:
    """Return the median of these, in order: between two, what is half-way."""
    half = len(took) // 2
    return (took[half] + took[-1 - half]) / 2


def _unusual_after(took: list[timedelta]) -> timedelta | None:
    """Return what nearly all of these, in order, stayed under: 95 of 100, so that one hub that once
    took a night does not hide all others; never less than half as long again as the middle one.
    """
    if len(took) < FEWEST_TO_COMPARE:
        return None
    nearly_all = took[math.ceil(len(took) * 0.95) - 1]
    return max(nearly_all, _middle(took) * 1.5)
