"""Follow one install in a terminal: its news, then the verdict."""

from datetime import datetime, tzinfo
from typing import NoReturn

from django.utils import timezone

from devices.cli.console import Console
from devices.cli.errors import VERDICT_EXITS, CommandEnd, Exit
from devices.cli.waiting import Work
from devices.explanations.explain import explain_job, explain_report
from devices.installs import statistics
from devices.models import AuditAction, AuditEvent, AuditGroup, OtaJob, Report, State
from devices.models.text import one_line
from devices.presentation.badges import of_job
from devices.presentation.formatting import roughly, span
from devices.presentation.install_story import witnesses_of
from devices.presentation.serializers import InstallData, ReportData, page_of, values_of

BAR_COLUMNS = 20
HOW = "manage.py firmware watch"


class Following:
    """One install, what was already shown of it, and the console to show it on."""

    def __init__(self, job: OtaJob, console: Console) -> None:
        self.job = job
        self.console = console
        self.zone: tzinfo = job.household.zone
        self.usual = statistics.typical(job.hub_model, job.to_version, job.household).typical
        self.revision = 0
        self.event_sequence = 0
        self.report_sequence = 0

    def to_verdict(self, work: Work, limit_s: float | None) -> int:
        """Print news until the verdict and return its exit status.

        Raises CommandEnd when the time is up, on Ctrl-C, or when the output was closed.
        """
        try:
            work.until(
                lambda: not self.job.is_live, loop="installs", limit_s=limit_s, news=self.news
            )
        except KeyboardInterrupt:
            self._goes_on(Exit.INTERRUPTED, "interrupted", "Interrupted.", work)
        if self.console.is_unheard:
            self._goes_on(Exit.UNHEARD, "unheard", "The output was closed.", work)
        if self.job.is_live:
            self._goes_on(Exit.GOES_ON, "timeout", "There is no verdict yet.", work)
        status = VERDICT_EXITS[self.job.state]
        self._say_verdict()
        self.console.tell("verdict", **values_of(InstallData.of(self.job)), exit_status=status)
        return status

    def news(self) -> None:
        """Print what happened since the last call. One query when nothing did."""
        revisions = OtaJob.objects.filter(pk=self.job.pk).values_list("revision", flat=True)
        revision = revisions.first()
        if revision is not None and revision != self.revision:
            self.job.refresh_from_db()
            self.revision = self.job.revision
            for _, item in sorted(self._fresh(), key=lambda pair: pair[0]):
                if isinstance(item, Report):
                    self._say_report(item)
                else:
                    self._say_event(item)
        if self.job.is_live:
            self.console.live(self._line())

    def _fresh(self) -> list[tuple[datetime, AuditEvent | Report]]:
        """Return what was not shown yet; reports from before the push are left out."""
        events = list(
            AuditEvent.objects.filter(
                job_id=self.job.pk,
                action__startswith=AuditGroup.INSTALL.prefix,
                sequence__gt=self.event_sequence,
            ).order_by("sequence")
        )
        reports = list(self.job.reports.filter(sequence__gt=self.report_sequence))
        if events:
            self.event_sequence = events[-1].sequence
        if reports:
            self.report_sequence = reports[-1].sequence
        items: list[tuple[datetime, AuditEvent | Report]] = []
        items += [(report.heard_at, report) for report in reports if not report.is_before_push]
        items += [(event.at, event) for event in events]
        return items

    def _say_event(self, event: AuditEvent) -> None:
        moved_to = event.detail.get("to_state")
        if event.action == AuditAction.INSTALL_REQUESTED:
            moved_to = State.REQUESTED.value
        self.console.tell(
            "state" if moved_to else "note",
            install=self.job.pk,
            state=moved_to or self.job.state,
            outcome=event.detail.get("outcome", ""),
            sentence=event.sentence,
            at=event.at,
        )
        self._say_step(event.at, event.sentence)

    def _say_report(self, report: Report) -> None:
        self.console.tell("report", install=self.job.pk, **values_of(ReportData.of(report)))
        title = explain_report(report.word, report.info).title
        self._say_step(report.heard_at, f"{title}: “{one_line(report.info or report.word)}”")

    def _say_step(self, at: datetime, words: str) -> None:
        if not self.console.is_live:
            self.console.say(f"{at.astimezone(self.zone):%H:%M:%S}  {one_line(words)}")

    def _line(self) -> str:
        """Return the live status line."""
        percent = self.job.percent
        parts = [of_job(self.job).words]
        if percent is not None:
            full = BAR_COLUMNS * percent // 100
            parts[0] += f" [{'#' * full}{'.' * (BAR_COLUMNS - full)}] {percent} %"
        parts.append(span(timezone.now() - (self.job.pushed_at or self.job.requested_at)))
        if self.usual is not None:
            parts.append(f"usually {roughly(self.usual)}")
        if self.job.trouble_text:
            parts.append(one_line(self.job.trouble_text))
        return f"{one_line(self.job.marked_name)}: {', '.join(parts)}"

    def _say_verdict(self) -> None:
        job, explained = self.job, explain_job(self.job)
        say = self.console.say
        say()
        if job.outcome:
            say(f"{job.outcome_title}.")
        say(explained.headline)
        say(explained.what)
        say(f"Is the hub safe? {explained.is_safe}")
        say(f"What to do now? {explained.todo}")
        for line in self._witness_lines():
            say(f"  {line}")
        say(f"Support code {explained.code}, install {job.pk}, {page_of('install', job.pk)}")

    def _witness_lines(self) -> list[str]:
        return [
            f"{witness.title}: {one_line(witness.words)}{self._at(witness.at)}"
            for witness in witnesses_of(self.job)
        ]

    def _at(self, at: datetime | None) -> str:
        return f"  ({at.astimezone(self.zone):%H:%M:%S})" if at is not None else ""

    def _goes_on(self, status: Exit, event: str, sentence: str, work: Work) -> NoReturn:
        self.job.refresh_from_db()
        if self.job.state == State.REQUESTED:
            by = self.job.expires_at.astimezone(self.zone)
            sentence += f" It is not sent yet; it will be when a worker runs, until {by:%H:%M}."
        elif self.job.is_live:
            sentence += " The install goes on."
        if self.job.is_live and work.stands_in:
            sentence += " No worker follows it until one runs."
        raise CommandEnd(
            status,
            f"{sentence} Watch it: {HOW} {self.job.pk}",
            event=event,
            **values_of(InstallData.of(self.job)),
        )
