"""Reports: everything the cloud reported about a job, verbatim, in order."""

from django.db import models

from devices.models.install import OtaJob, percent_in


class Report(models.Model):
    """One report of the cloud about a job, verbatim.

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
