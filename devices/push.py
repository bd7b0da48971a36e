"""From confirmed to sent: ask the cloud again, claim the job, POST once, write what became of it.

`look_before_push` and `send` talk to the cloud and touch no table; the others write and never
talk, so that no transaction ever waits for a network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from django.db import transaction
from django.utils import timezone

from devices.accounts import account_failed, count_unknown_code, trouble_code
from devices.cloud.client import RainmakerClient
from devices.cloud.errors import (
    Busy,
    CloudError,
    HubOffline,
    NoOtaStatus,
    NotYourHub,
    OfferGone,
    OurBug,
    TellPerson,
    TryLater,
)
from devices.cloud.types import Connectivity, FirmwareOffer, NodeConfig, OtaStatus
from devices.explain import explain_report
from devices.models import Actor, OtaJob, Outcome, Source, State, audit, count_unknown, keep_report
from devices.sync import clip
from devices.timing import seconds, timings

WORKER = Actor.worker()


@dataclass(frozen=True, slots=True)
class Look:
    """The cloud's word right before a push: the offer, and what must not be taken for news."""

    offer: FirmwareOffer
    config: NodeConfig
    connectivity: Connectivity
    status: OtaStatus | None


def look_before_push(client: RainmakerClient, job: OtaJob) -> Look:
    """Ask the cloud what it offers now and what it says of this job so far. Talks; no table."""
    offer = client.check_firmware_update(job.cloud_node_id)
    config = client.get_node_config(job.cloud_node_id)
    connectivity = client.get_node_status(job.cloud_node_id)
    try:
        status = client.get_ota_status(node_id=job.cloud_node_id, ota_job_id=job.ota_job_id)
    except NoOtaStatus:
        status = None
    return Look(offer, config, connectivity, status)


def prepared(job: OtaJob, look: Look, now: datetime) -> bool:
    """Claim the job for one push if all is still as confirmed, else end it unsent.

    True: this caller, and nobody else, may now POST. Raises StaleJob when somebody was faster.
    """
    problem = _why_not_push(job, look)
    if now >= job.expires_at:
        expire(job, now)
        return False
    if problem is not None:
        outcome, words = problem
        job.move_to(State.REFUSED, actor=WORKER, note=words, now=now, outcome=outcome)
        return False
    status = look.status
    with transaction.atomic():
        audit.lock()
        _stop_listening(job)
        job.move_to(
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
            baseline_online_timestamp=clip(look.connectivity.raw_timestamp, 64),
            version_seen=clip(look.config.fw_version, 64),
            version_seen_at=now,
            is_online=look.connectivity.is_connected,
            online_seen_at=now,
            trouble="",
            trouble_text="",
            next_poll_at=now + seconds(timings().push_by_s * 2),
        )
        if status is not None:
            keep_status(job, status, now, is_before_push=True)
    return True


def _stop_listening(job: OtaJob) -> None:
    """This attempt uses the cloud's same job: from now on its words are not about an older one."""
    OtaJob.objects.filter(
        cloud_host=job.cloud_host,
        cloud_node_id=job.cloud_node_id,
        state=State.LOST,
        next_poll_at__isnull=False,
    ).update(next_poll_at=None, listen_until=None)


def _why_not_push(job: OtaJob, look: Look) -> tuple[str, str] | None:
    offer = look.offer
    if not job.node.account.is_linked:
        return "account_unlinked", "Nothing was sent: the cloud account is no longer linked."
    if look.config.fw_version == job.to_version:
        return (
            "already_installed",
            f"Nothing was sent: {job.hub_name} already runs {job.to_version}.",
        )
    if not offer.is_available:
        return (
            "offer_withdrawn",
            f"Nothing was sent: the cloud no longer offers {job.to_version} for {job.hub_name}.",
        )
    shown = (job.ota_job_id, job.to_version, job.size_bytes, job.md5, job.from_version)
    found = (
        offer.ota_job_id,
        clip(offer.fw_version, 64),
        offer.size_bytes,
        clip(offer.md5, 64),
        clip(look.config.fw_version, 64),
    )
    if shown != found:
        return (
            "offer_swapped",
            f"Nothing was sent: the cloud now offers {offer.fw_version} (job {offer.ota_job_id}, "
            f"{offer.size_bytes} bytes, MD5 {offer.md5 or 'not given'}) to {job.hub_name}, which "
            f"runs {look.config.fw_version}; that is not what was confirmed.",
        )
    if look.connectivity.is_connected is False:
        return "hub_offline", f"Nothing was sent: {job.hub_name} is offline."
    return None


def look_failed(job: OtaJob, problem: CloudError, now: datetime) -> None:
    """Note that the cloud could not be asked before the push; it is tried again or ended."""
    if isinstance(problem, NotYourHub):
        job.move_to(
            State.REFUSED,
            actor=WORKER,
            note=f"Nothing was sent: the account no longer has {job.hub_name}.",
            now=now,
            outcome="not_mine",
        )
        return
    rests = account_failed(job.node.account, problem, now)
    wait_s = problem.retry_after_s if isinstance(problem, TryLater) else None
    job.note(
        now,
        trouble=trouble_code(problem),
        trouble_text=str(problem)[:300],
        next_poll_at=min(now + seconds(1 if rests else wait_s or timings().poll_s), job.expires_at),
    )


def send(
    client: RainmakerClient, job: OtaJob, by: float, clock: Callable[[], float] = monotonic
) -> str:
    """POST the push, once, unless the claim has grown old meanwhile (a machine that slept).

    by is on the given monotonic clock. Raises PushTooLate, having sent nothing, or CloudError.
    """
    if clock() > by or timezone.now() > _wall_deadline(job):
        raise PushTooLate
    return client.push_firmware_update(node_id=job.cloud_node_id, ota_job_id=job.ota_job_id)


class PushTooLate(Exception):
    """The claim was too old to be used; nothing was sent."""


def _wall_deadline(job: OtaJob) -> datetime:
    assert job.claimed_at is not None  # noqa: S101 - set with the claim
    return job.claimed_at + seconds(timings().push_by_s)


def push_answered(job: OtaJob, answer: str, now: datetime) -> None:
    """Write that the cloud accepted the push."""
    job.move_to(
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
    """Write what became of the push. Only a certain "nothing was sent" leads back to REQUESTED."""
    if isinstance(problem, PushTooLate):
        back_to_requested(job, "The push came too late and was not sent.", now, 0)
        return
    if isinstance(problem, TellPerson | OurBug) and problem.nothing_happened:
        said = problem.description or str(problem)
        count_unknown_code(problem, now)
        job.move_to(
            State.REFUSED,
            actor=WORKER,
            note=f"The cloud refused the push to {job.hub_name}: {said}",
            now=now,
            outcome=_refusal(problem),
            push_answer=clip(said, 300),
            trouble_text=str(problem)[:300],
        )
        return
    rests = account_failed(job.node.account, problem, now)
    if problem.nothing_happened:
        wait_s = problem.retry_after_s if isinstance(problem, Busy) else None
        back_to_requested(
            job, f"Nothing was sent yet: {problem}", now, 0 if rests else wait_s or 1, problem
        )
        return
    with transaction.atomic():
        audit.lock()
        job.note(
            now,
            push_unknown=True,
            trouble=trouble_code(problem),
            trouble_text=str(problem)[:300],
            next_poll_at=now + seconds(min(2, timings().poll_s)),
        )
        audit.record(
            WORKER,
            "install.push_unknown",
            f"Whether {job.hub_name} was told to install is not known yet; the cloud is asked, "
            "and nothing is sent again until it says that nothing was.",
            job=job,
            outcome=Outcome.FAILED,
            at=now,
            detail={"trouble": trouble_code(problem)},
        )


def _refusal(problem: CloudError) -> str:
    if isinstance(problem, HubOffline):
        return "hub_offline"
    if isinstance(problem, NotYourHub):
        return "not_mine"
    if isinstance(problem, OfferGone):
        return "not_for_hub" if problem.code == 105036 else "not_current"
    return "refused_by_cloud"


def back_to_requested(
    job: OtaJob, words: str, now: datetime, wait_s: float, problem: CloudError | None = None
) -> None:
    job.move_to(
        State.REQUESTED,
        actor=WORKER,
        note=f"{job.hub_name}: {words}",
        now=now,
        claimed_at=None,
        push_unknown=False,
        unsent_answers=0,
        trouble=trouble_code(problem) if problem else "",
        trouble_text=str(problem)[:300] if problem else "",
        next_poll_at=min(now + seconds(wait_s), max(job.expires_at, now)),
    )


def expire(job: OtaJob, now: datetime) -> None:
    """End a confirmation that could not be sent in time: it is about then, not about now."""
    if job.restored_at is not None:
        job.move_to(
            State.EXPIRED,
            actor=WORKER,
            note=f"{job.hub_name}: the cloud says that nothing was sent, and a confirmation from "
            "before the restore of this server is not sent any more.",
            now=now,
            outcome="restored_unsent",
        )
        return
    job.move_to(
        State.EXPIRED,
        actor=WORKER,
        note=f"The confirmation for {job.hub_name} expired before it could be sent. "
        f"{job.trouble_text}".strip(),
        now=now,
        outcome="not_sent_in_time",
    )


def keep_status(job: OtaJob, status: OtaStatus, now: datetime, *, is_before_push: bool) -> bool:
    """Keep the cloud's word verbatim; True when it differs from the last one kept."""
    is_new = keep_report(
        job,
        now,
        word=clip(status.word, 64),
        meaning=status.state.value,
        info=clip(status.info, 4000),
        cloud_at=status.at,
        raw_timestamp=clip(status.raw_timestamp, 64),
        verbatim=clip(status.verbatim, 4096),
        is_before_push=is_before_push,
    )
    if is_new and not explain_report(status.word, status.info).is_known:
        count_unknown(Source.HUB, status.word, status.info, now, hub_model=job.hub_model)
    return is_new
