"""Store what the cloud reports about an install."""

from datetime import datetime
from hashlib import sha256

from django.db import models

from devices.explanations.explain import explain_report
from devices.explanations.unknown_messages import count_unknown
from devices.models import Source
from devices.models.install import OtaJob
from devices.models.install_report import Report
from devices.models.text import clip
from devices.rainmaker.schemas import OtaStatus

# A cloud that says something new at every poll fills no disk: beyond this, the newest report takes
# the place of the last. A real install has some dozen.
MOST_REPORTS = 1000


def is_baseline(job: OtaJob, status: OtaStatus) -> bool:
    """Is this what the cloud already reported before the push, so not about this attempt?"""
    return bool(job.baseline_word) and (
        clip(status.word, 64),
        clip(status.raw_timestamp, 64),
        clip(status.info, 4000),
    ) == (job.baseline_word, job.baseline_timestamp, job.baseline_info)


def digest(status: OtaStatus) -> str:
    """Return a short text that is the same for the same report."""
    words = (clip(status.word, 64), clip(status.raw_timestamp, 64), clip(status.info, 4000))
    return sha256("\n".join(words).encode()).hexdigest()


def keep_status(job: OtaJob, status: OtaStatus, now: datetime, *, is_before_push: bool) -> bool:
    """Store the cloud's status verbatim; True when it differs from the last one. Two queries.

    The caller stores the job's `report_digest` and resets its `report_repeats`.
    """
    last = job.reports.order_by("-sequence").first()
    word, info = clip(status.word, 64), clip(status.info, 4000)
    raw_timestamp = clip(status.raw_timestamp, 64)
    is_new = last is None or (last.word, last.info, last.raw_timestamp) != (
        word,
        info,
        raw_timestamp,
    )
    if last is not None and (not is_new or job.report_repeats):
        Report.objects.filter(pk=last.pk).update(
            last_heard_at=(job.answered_at or now) if is_new else now,
            times_heard=models.F("times_heard") + job.report_repeats + int(not is_new),
        )
    if not is_new:
        return False
    sequence = last.sequence + 1 if last is not None else 1
    if sequence > MOST_REPORTS:
        sequence = MOST_REPORTS
        job.reports.filter(sequence=sequence).delete()
    Report.objects.create(
        job=job,
        sequence=sequence,
        heard_at=now,
        last_heard_at=now,
        word=word,
        meaning=status.state.value,
        info=info,
        cloud_at=status.at,
        raw_timestamp=raw_timestamp,
        is_before_push=is_before_push,
        verbatim=clip(status.verbatim, 4096),
    )
    if not explain_report(status.word, status.info).is_known:
        count_unknown(Source.HUB, status.word, status.info, now, hub_model=job.hub_model)
    return True


def all_reports(job: OtaJob) -> list[Report]:
    """Return the install's reports in order, each with how often it came. One query."""
    found = list(job.reports.all())
    if found and job.report_repeats and job.answered_at is not None:
        found[-1].times_heard += job.report_repeats
        found[-1].last_heard_at = job.answered_at
    return found
