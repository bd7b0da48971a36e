"""Reports: everything the cloud said about a job, verbatim, in the order heard."""

from datetime import datetime

from django.db import models

from devices.models.ota import OtaJob, percent_in


class Report(models.Model):
    """One thing the cloud said about a job, verbatim, in the order heard.

    Hearing the same again is not another report: `last_heard_at` and `times_heard` count it.
    """

    job = models.ForeignKey(OtaJob, on_delete=models.CASCADE, related_name="reports")
    sequence = models.PositiveIntegerField()
    heard_at = models.DateTimeField()
    last_heard_at = models.DateTimeField()
    times_heard = models.PositiveIntegerField(default=1)
    word = models.CharField(max_length=64)
    meaning = models.CharField(max_length=16)
    info = models.TextField(blank=True)
    cloud_at = models.DateTimeField(null=True, blank=True)
    raw_timestamp = models.CharField(max_length=64, blank=True)
    is_before_push = models.BooleanField(default=False)
    verbatim = models.TextField(blank=True)

    class Meta:
        ordering = ["sequence"]
        constraints = [
            models.UniqueConstraint(fields=["job", "sequence"], name="report_order_per_job")
        ]

    def __str__(self) -> str:
        return f"{self.word}: {self.info}"

    @property
    def percent(self) -> int | None:
        return percent_in(self.info)


def keep_report(
    job: OtaJob,
    now: datetime,
    *,
    word: str,
    meaning: str,
    info: str,
    cloud_at: datetime | None,
    raw_timestamp: str,
    verbatim: str,
    is_before_push: bool,
) -> bool:
    """Keep what the cloud said; True when it differs from the last thing kept. Two queries."""
    last = job.reports.order_by("-sequence").first()
    if last is not None and (last.word, last.info, last.raw_timestamp) == (
        word,
        info,
        raw_timestamp,
    ):
        Report.objects.filter(pk=last.pk).update(
            last_heard_at=now, times_heard=models.F("times_heard") + 1
        )
        return False
    Report.objects.create(
        job=job,
        sequence=last.sequence + 1 if last is not None else 1,
        heard_at=now,
        last_heard_at=now,
        word=word,
        meaning=meaning,
        info=info,
        cloud_at=cloud_at,
        raw_timestamp=raw_timestamp,
        is_before_push=is_before_push,
        verbatim=verbatim,
    )
    return True
