"""From confirmed to sent: ask the cloud again, claim the job, POST once, store the result.

`check_before_push` and `send` call the cloud and touch no table; the others write and never call,
so that no transaction waits for the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from devices.accounts.failures import record_failure
from devices.audit import log as audit_log
from devices.explanations.cloud_messages import TroubleCode
from devices.explanations.error_codes import NO_ERROR, count_unknown_code, error_code, last_error
from devices.fleet.checks import check_soon, keep_offer
from devices.fleet.versions import record_online, record_version
from devices.installs.eligibility import why_in_use
from devices.installs.lifecycle import WORKER, expire, move_to, return_to_requested
from devices.installs.reports import digest, is_baseline, keep_status
from devices.installs.timings import seconds, timings
from devices.models import AuditAction, InstallOutcome, OtaJob, Outcome, Plan, State, database_clock
from devices.models.text import clip
from devices.models.version_text import is_same_version
from devices.permissions import Right, may
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import (
    CloudError,
    HubOffline,
    NoOtaStatus,
    NotYourHub,
    OfferGone,
    OurBug,
    TellPerson,
)
from devices.rainmaker.schemas import Connectivity, FirmwareOffer, NodeConfig, OtaStatus, OtaWord


@dataclass(frozen=True, slots=True)
class PrePushCheck:
    """The cloud's answers right before a push: the offer, and what must not count as news later."""

    offer: FirmwareOffer
    config: NodeConfig
    connectivity: Connectivity
    status: OtaStatus | None


def check_before_push(client: RainmakerClient, job: OtaJob) -> PrePushCheck:
    """Return what the cloud offers now and its status of this job. Calls the cloud; no table."""
    offer = client.check_firmware_update(job.cloud_node_id)
    config = client.get_node_config(job.cloud_node_id)
    connectivity = client.get_node_status(job.cloud_node_id)
    try:
        status = client.get_ota_status(node_id=job.cloud_node_id, ota_job_id=job.ota_job_id)
    except NoOtaStatus:
        status = None
    return PrePushCheck(offer, config, connectivity, status)


def claim_for_push(job: OtaJob, check: PrePushCheck, now: datetime) -> bool:
    """Claim the job for one push if all is still as confirmed, else end it unsent.

    True: only this caller may now POST. Raises StaleJob when another worker was faster.
    """
    if _has_arrived(job, check):
        move_to(
            job,
            State.RUNNING,
            actor=WORKER,
            note=f"{job.hub_name} has the update, although the answer to sending it was that "
            "nothing had been sent. It is not sent again.",
            now=now,
            claimed_at=job.state_at,
            pushed_at=job.state_at,
            last_news_at=now,
            answered_at=now,
            quiet_s=0,
            **NO_ERROR,
            next_poll_at=now,
        )
        return False
    if not _may_still(job):
        move_to(
            job,
            State.CANCELLED,
            actor=WORKER,
            note=f"Nothing was sent to {job.hub_name}: {job.requested_by_name} may no longer "
            "install here.",
            now=now,
            outcome=InstallOutcome.CANCELLED,
        )
        return False
    if now >= job.expires_at:
        expire(job, now)
        return False
    problem = _why_not_push(job, check) or _why_not_while_in_use(job, now)
    if problem is not None:
        outcome, words = problem
        # the answer that showed the change is the news: it is kept and shown at once
        record_version(job.node, clip(check.config.fw_version, 64), now)
        record_online(job.node, check.connectivity, now)
        keep_offer(job.node, check.offer, now)
        move_to(
            job,
            State.REFUSED,
            actor=WORKER,
            note=words,
            now=now,
            outcome=outcome,
            version_seen=clip(check.config.fw_version, 64),
            version_seen_at=now,
        )
        return False
    status = check.status
    with audit_log.locked():
        _stop_listening(job)
        if status is not None:
            keep_status(job, status, now, is_before_push=True)
        move_to(
            job,
            State.PUSHING,
            actor=WORKER,
            note=f"Sending {job.to_version} to {job.hub_name}: the offer is as confirmed.",
            now=now,
            claimed_at=now,
            pushes=job.pushes + 1,
            push_unknown=False,
            unsent_answers=0,
            settled_s=0,
            answered_at=None,
            baseline_word=clip(status.word, 64) if status else "",
            baseline_timestamp=clip(status.raw_timestamp, 64) if status else "",
            baseline_info=clip(status.info, 4000) if status else "",
            report_digest=digest(status) if status else "",
            report_repeats=0,
            baseline_online_timestamp=clip(check.connectivity.raw_timestamp, 64),
            version_seen=clip(check.config.fw_version, 64),
            version_seen_at=now,
            is_online=check.connectivity.is_connected,
            online_seen_at=now,
            settings_before=job.node.settings,
            settings_before_at=job.node.heard_at,
            valid_from=check.offer.valid_from,
            valid_until=check.offer.valid_until,
            failed_rounds=0,
            asked_at=now,
            **NO_ERROR,
            next_poll_at=now + seconds(timings().push_by_s * 2),
        )
    return True


def _stop_listening(job: OtaJob) -> None:
    """Stop polling older attempts: from now on the status of the cloud's job is about this one."""
    OtaJob.objects.filter(
        cloud_host=job.cloud_host,
        cloud_node_id=job.cloud_node_id,
        state=State.LOST,
        next_poll_at__isnull=False,
    ).update(next_poll_at=None, listen_until=None)


def _may_still(job: OtaJob) -> bool:
    """Does the person who confirmed the install still have the right to? Some name no person."""
    person = job.requested_by
    right = Right.AUTOMATE if job.requested_via == "policy" else Right.INSTALL
    return person is None or (person.is_active and may(person, right, job.household))


def _why_not_while_in_use(job: OtaJob, now: datetime) -> tuple[InstallOutcome, str] | None:
    """Return that the hub is in use again, of an install that the planner started for a time at
    which it is not. What a person starts does not wait for that. One query.
    """
    if not job.is_by_planner:
        return None
    waiting = Plan.objects.filter(job=job, needs_idle=True)
    plan = waiting.select_related("node", "household__update_policy").first()
    reason = why_in_use(plan.node, plan.household, now) if plan is not None else None
    if reason is None:
        return None
    return (
        InstallOutcome.HUB_IN_USE,
        f"Nothing was sent to {job.hub_name}, as it was planned: {reason.sentence}",
    )


def _has_arrived(job: OtaJob, check: PrePushCheck) -> bool:
    """Has a push reached the hub whose answer was that nothing had been sent?

    A gateway may answer 401, 423 or 429 to a request that it has passed on.
    """
    if not job.pushes or job.restored_at is not None:
        return False
    status = check.status
    is_reported = (
        status is not None and status.state != OtaWord.TRIGGERED and not is_baseline(job, status)
    )
    return is_reported or (
        is_same_version(check.config.fw_version, job.to_version)
        and not is_same_version(job.from_version, job.to_version)
    )


def _why_not_push(job: OtaJob, check: PrePushCheck) -> tuple[InstallOutcome, str] | None:
    offer = check.offer
    if not job.node.account.is_linked:
        return (
            InstallOutcome.ACCOUNT_UNLINKED,
            "Nothing was sent: the cloud account is no longer linked.",
        )
    if is_same_version(check.config.fw_version, job.to_version):
        return (
            InstallOutcome.ALREADY_INSTALLED,
            f"Nothing was sent: {job.hub_name} already runs {job.to_version}.",
        )
    if not offer.is_available:
        return (
            InstallOutcome.OFFER_WITHDRAWN,
            f"Nothing was sent: the cloud no longer offers {job.to_version} for {job.hub_name}.",
        )
    shown = (job.ota_job_id, job.size_bytes, job.md5)
    found = (offer.ota_job_id, offer.size_bytes, clip(offer.md5, 64))
    runs = check.config.fw_version
    is_from = is_same_version(job.from_version, runs) or job.from_version == runs
    if shown != found or not is_same_version(job.to_version, offer.fw_version) or not is_from:
        return (
            InstallOutcome.OFFER_SWAPPED,
            f"Nothing was sent: the cloud now offers {offer.fw_version} (job {offer.ota_job_id}, "
            f"{offer.size_bytes} bytes, MD5 {offer.md5 or 'not given'}) to {job.hub_name}, which "
            f"runs {check.config.fw_version}; that is not what was confirmed.",
        )
    if check.connectivity.is_connected is False:
        return InstallOutcome.HUB_OFFLINE, f"Nothing was sent: {job.hub_name} is offline."
    return None


def pre_push_check_failed(job: OtaJob, problem: CloudError, now: datetime) -> None:
    """Store that the cloud could not be asked before the push; it is tried again or ended."""
    if isinstance(problem, NotYourHub):
        move_to(
            job,
            State.REFUSED,
            actor=WORKER,
            note=f"Nothing was sent: the account no longer has {job.hub_name}.",
            now=now,
            outcome=InstallOutcome.NOT_MINE,
        )
        return
    rests = record_failure(job.node.account, problem, now, hub=job.node)
    asked_s = problem.retry_after_s
    failed = job.failed_rounds + 1
    wait_s = 1 if rests else asked_s or timings().hub_pause_s(failed)
    job.note(
        now,
        **last_error(problem),
        asked_at=now,
        failed_rounds=failed,
        next_poll_at=min(now + seconds(wait_s), job.expires_at),
    )


def send(
    client: RainmakerClient, job: OtaJob, by: float, clock: Callable[[], float] = monotonic
) -> str:
    """POST the push, once, unless the claim has grown old meanwhile (a machine that slept).

    by is on the given monotonic clock. Raises PushTooLate, having sent nothing, or CloudError.
    """
    if clock() > by or database_clock.last_known() > _wall_deadline(job):
        raise PushTooLate
    return client.push_firmware_update(node_id=job.cloud_node_id, ota_job_id=job.ota_job_id)


class PushTooLate(Exception):
    """The claim was too old to be used; nothing was sent."""


def _wall_deadline(job: OtaJob) -> datetime:
    assert job.claimed_at is not None  # noqa: S101 - set with the claim
    return job.claimed_at + seconds(timings().push_by_s)


def push_answered(job: OtaJob, answer: str, now: datetime) -> None:
    """Store that the cloud accepted the push."""
    move_to(
        job,
        State.RUNNING,
        actor=WORKER,
        note=f"The cloud accepted {job.to_version} for {job.hub_name}.",
        now=now,
        pushed_at=now,
        push_answer=clip(answer, 300),
        last_news_at=now,
        answered_at=now,
        quiet_s=0,
        next_poll_at=now + seconds(min(2, timings().poll_s)),
    )


def push_failed(job: OtaJob, problem: CloudError | PushTooLate, now: datetime) -> None:
    """Write what became of the push. Only a certain "nothing was sent" leads back to REQUESTED.

    After an answer that was lost the POST is never sent again: a cloud may need minutes to know of
    the first one, and only hubs with esp-rainmaker 1.16.1 or newer ignore a second.
    """
    if isinstance(problem, PushTooLate):
        return_to_requested(job, "The push came too late and was not sent.", now, 0)
        return
    if isinstance(problem, TellPerson | OurBug) and problem.nothing_happened:
        answer = problem.description or str(problem)
        count_unknown_code(problem, now)
        move_to(
            job,
            State.REFUSED,
            actor=WORKER,
            note=f"The cloud refused the push to {job.hub_name}: {answer}",
            now=now,
            outcome=_refusal(problem),
            push_answer=clip(answer, 300),
            trouble=_trouble_of_refusal(problem, job),
            trouble_text=clip(str(problem), 300),
        )
        if isinstance(problem, OfferGone):  # what it offers instead is shown soon
            check_soon(job.node, now)
        return
    rests = record_failure(job.node.account, problem, now, hub=job.node)
    if problem.nothing_happened:
        asked_s = problem.retry_after_s
        wait_s = 0 if rests else asked_s or timings().hub_pause_s(job.pushes)
        return_to_requested(job, f"Nothing was sent yet: {problem}", now, wait_s, problem)
        return
    with audit_log.locked():
        job.note(
            now,
            push_unknown=True,
            **last_error(problem),
            next_poll_at=now + seconds(min(2, timings().poll_s)),
        )
        audit_log.record(
            WORKER,
            AuditAction.INSTALL_PUSH_UNKNOWN,
            f"It is not known whether the update was sent to {job.hub_name}. The cloud is asked, "
            "and the update is not sent again without a new confirmation.",
            job=job,
            outcome=Outcome.FAILED,
            at=now,
            detail={"trouble": error_code(problem)},
        )


def _trouble_of_refusal(problem: CloudError, job: OtaJob) -> TroubleCode:
    """Return why the push was refused; on a shared hub an unknown reason may be a missing right."""
    code = error_code(problem)
    is_shared = job.node.role == "secondary"
    return TroubleCode.NOT_PERMITTED if code == TroubleCode.REFUSED and is_shared else code


def _refusal(problem: CloudError) -> InstallOutcome:
    if isinstance(problem, HubOffline):
        return InstallOutcome.HUB_OFFLINE
    if isinstance(problem, NotYourHub):
        return InstallOutcome.NOT_MINE
    if isinstance(problem, OfferGone):
        return InstallOutcome.NOT_FOR_HUB if problem.code == 105036 else InstallOutcome.NOT_CURRENT
    return InstallOutcome.REFUSED_BY_CLOUD
