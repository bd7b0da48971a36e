"""Confirm an install, cancel it, resume polling it."""

from collections.abc import Iterable
from datetime import datetime

from django.db import IntegrityError

from devices.audit import log as audit_log
from devices.explanations.reasons import Reason, ReasonCode
from devices.fleet.holds import is_held
from devices.installs import eligibility
from devices.installs.confirmation import OfferSnapshot, is_still_offered
from devices.installs.lifecycle import move_to
from devices.installs.timings import seconds, timings
from devices.models import (
    Actor,
    AuditAction,
    InstallOutcome,
    Node,
    OtaJob,
    Outcome,
    StaleJob,
    State,
    Suspect,
    User,
    database_clock,
)
from devices.models.message import MessageCode
from devices.permissions import all_of
from devices.taskqueue.quarantine import label
from devices.taskqueue.wakeups import wake_installs


class Refused(Exception):
    """The request cannot be carried out now, for these reasons; nothing was changed or sent."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.reasons = list(reasons)
        self.message = all_of(self.reasons)
        super().__init__(self.message)


def request(
    *,
    user: User | None,
    node: Node,
    binding: OfferSnapshot,
    actor: Actor,
    now: datetime | None = None,
    why: str = "",
    send_by: datetime | None = None,
) -> OtaJob:
    """Store one confirmation, wake the worker and return the install.

    Raises Refused with every reason; the refusal is in the trail. The offer must be the very one
    the form showed and be offered still. user None: the right was decided by a proposal.
    send_by: it is not sent later, though a confirmation is valid for longer.
    """
    now = now or database_clock.now()
    offer = node.offer
    if user is None:
        reasons = eligibility.why_unfit(node, offer)
    else:
        reasons = eligibility.why_not_install(user, node, offer)
    if offer is not None and not is_still_offered(binding, node, offer):
        reasons.append(Reason(ReasonCode.OFFER_SWAPPED, MessageCode.OFFER_SWAPPED))
    if reasons or offer is None:
        raise refuse(node, reasons, actor, now)
    valid_until = now + seconds(timings().confirm_valid_s)
    try:
        with audit_log.locked():
            # one that still runs makes the new row break a constraint
            before = OtaJob.objects.filter(node=node, is_latest=True).first()
            OtaJob.objects.filter(node=node, is_latest=True).update(is_latest=False)
            job = OtaJob.objects.create(
                household=node.account.household,
                node=node,
                offer=offer,
                retry_of=before,
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
                expires_at=min(valid_until, send_by) if send_by else valid_until,
                next_poll_at=now,
            )
            node.touch(now)
            audit_log.record(
                actor,
                AuditAction.INSTALL_REQUESTED,
                f"{_began(job)} (from {job.from_version or 'an unknown version'}).",
                job=job,
                at=now,
                why=why or f"role {actor.role}",
                detail={
                    "ota_job_id": job.ota_job_id,
                    "from_version": job.from_version,
                    "to_version": job.to_version,
                    "size_bytes": job.size_bytes,
                    "md5": job.md5,
                    "retry_of": before.pk if before else None,
                }
                | ({"held": True} if is_held(node, offer.fw_version) else {}),
            )
            wake_installs()
    except IntegrityError as problem:
        running = Reason(ReasonCode.JOB_RUNNING, MessageCode.JOB_RUNNING)
        raise refuse(node, [running], actor, now) from problem
    return job


def _began(job: OtaJob) -> str:
    what = f"installing {job.to_version} on {job.hub_name}"
    if job.is_by_planner:  # the person confirmed it before, and pressed nothing now
        return f"Started {what}, as planned by {job.requested_by_name}"
    return f"{job.requested_by_name} confirmed {what}"


def refuse(node: Node, reasons: list[Reason], actor: Actor, now: datetime) -> Refused:
    """Record that an install was refused, and return what to raise."""
    audit_log.record(
        actor,
        AuditAction.INSTALL_REQUEST_REFUSED,
        f"An install on {node} was refused: {all_of(reasons).english}",
        node=node,
        outcome=Outcome.REFUSED,
        at=now,
        detail={"reasons": [reason.code for reason in reasons]},
    )
    return Refused(reasons)


def cancel(job: OtaJob, *, user: User, actor: Actor, now: datetime | None = None) -> None:
    """Cancel an install that was not sent yet. Raises Refused when it is too late."""
    reasons = eligibility.why_not_cancel(user, job)
    if not reasons:
        try:
            move_to(
                job,
                State.CANCELLED,
                actor=actor,
                note=f"{actor.name} cancelled the install on {job.hub_name} before it was sent.",
                now=now,
                outcome=InstallOutcome.CANCELLED,
                why=f"role {actor.role}",
            )
            return
        except StaleJob:
            job.refresh_from_db()
            reasons = [Reason(ReasonCode.ALREADY_SENT, MessageCode.SENT_MEANWHILE)]
    audit_log.record(
        actor,
        AuditAction.INSTALL_CANCEL_REFUSED,
        f"Cancelling the install on {job.hub_name} was refused: {all_of(reasons).english}",
        job=job,
        outcome=Outcome.REFUSED,
    )
    raise Refused(reasons)


def quarantined_until(job: OtaJob, now: datetime | None = None) -> datetime | None:
    """Return until when an install is in quarantine because the worker crashed on it, or None."""
    key = label(("job", job.pk))
    return Suspect.parked([key], now or database_clock.now()).get(key) if job.is_listening else None


def resume_polling(job: OtaJob, *, actor: Actor, now: datetime | None = None) -> None:
    """End the quarantine of an install on which the worker crashed. Safe to repeat."""
    now = now or database_clock.now()
    with audit_log.locked():
        if not Suspect.release([label(("job", job.pk))]):
            return
        OtaJob.objects.filter(pk=job.pk, next_poll_at__isnull=False).update(next_poll_at=now)
        audit_log.record(
            actor,
            AuditAction.INSTALL_TAKEN_UP,
            f"{actor.name} had the install on {job.hub_name} taken up again.",
            job=job,
            at=now,
            why=f"role {actor.role}",
        )
        wake_installs()
