"""Following one install from a terminal: its news as they come, then the verdict."""

from datetime import datetime, tzinfo
from typing import NoReturn

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from devices import installs
from devices.explain import explain_job, explain_report
from devices.hubwords import one_line
from devices.models import AuditEvent, OtaJob, Report, State
from devices.templatetags.show import roughly, span
from devices.terminal.console import Console
from devices.terminal.ends import VERDICT_EXITS, Ended, Exit
from devices.terminal.facts import job_values, report_values
from devices.terminal.work import Work
from devices.views.standing import of_job

BAR_COLUMNS = 20
HOW = "manage.py firmware watch"


class Following:
    """One install, what was already said of it, and where that goes."""

    def __init__(self, job: OtaJob, console: Console) -> None:
        self.job = job
        self.console = console
        self.zone: tzinfo = job.household.zone
        self.usual = installs.typical(job.hub_model, job.to_version).typical
        self.revision = 0
        self.event_sequence = 0
        self.report_sequence = 0

    def to_verdict(self, work: Work, limit_s: float | None) -> int:
        """Say the news until the verdict and return its exit status.

        Raises Ended when the time is up, on Ctrl-C, or when nobody reads the output any more.
        """
        try:
            work.until(
                lambda: not self.job.is_live, loop="installs", limit_s=limit_s, news=self.news
            )
        except KeyboardInterrupt:
            self._goes_on(Exit.INTERRUPTED, "interrupted", "Interrupted.", work)
        if self.console.is_unheard:
            self._goes_on(Exit.UNHEARD, "unheard", "Nobody reads the output any more.", work)
        if self.job.is_live:
            self._goes_on(Exit.GOES_ON, "timeout", "There is no verdict yet.", work)
        status = VERDICT_EXITS[self.job.state]
        self._say_verdict()
        self.console.tell("verdict", **job_values(self.job), exit_status=status)
        return status

    def news(self) -> None:
        """Say what happened since the last time. One query while nothing did."""
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
        """Return what was not said yet. Old words from before the push are no news of it."""
        events = list(
            AuditEvent.objects.filter(
                job_id=self.job.pk,
                action__startswith="install.",
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
        if event.action == "install.requested":
            moved_to = State.REQUESTED.value
        self.console.tell(
            "state" if moved_to else "note",
            job=self.job.pk,
            state=moved_to or self.job.state,
            outcome=event.detail.get("outcome", ""),
            sentence=event.sentence,
            at=event.at,
        )
        self._say_step(event.at, event.sentence)

    def _say_report(self, report: Report) -> None:
        self.console.tell("report", job=self.job.pk, **report_values(report))
        title = explain_report(report.word, report.info).title
        self._say_step(report.heard_at, f"{title}: “{one_line(report.info or report.word)}”")

    def _say_step(self, at: datetime, words: str) -> None:
        if not self.console.is_live:
            self.console.say(f"{at.astimezone(self.zone):%H:%M:%S}  {one_line(words)}")

    def _line(self) -> str:
        """Return the one line that a person watches."""
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
        job, told = self.job, explain_job(self.job)
        say = self.console.say
        say()
        say(told.headline)
        say(told.what)
        say(f"Is the hub safe? {told.is_safe}")
        say(f"What to do now? {told.todo}")
        for line in self._witness_lines():
            say(f"  {line}")
        say(f"Support code {told.code}, install {job.pk}, {page_of(job)}")

    def _witness_lines(self) -> list[str]:
        job = self.job
        cloud = f"“{one_line(job.cloud_word)}”" if job.cloud_word else "nothing about this attempt"
        if job.cloud_info:
            cloud += f", “{one_line(job.cloud_info)}”"
        online = {True: "yes", False: "no", None: "not known"}[job.is_online]
        return [
            f"The cloud says:   {cloud}{self._at(job.cloud_said_at)}",
            f"The hub reports:  {one_line(job.version_seen) or 'no version'}"
            f"{self._at(job.version_agreed_at or job.version_seen_at)}",
            f"Is it online:     {online}{self._at(job.back_online_at or job.online_seen_at)}",
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
        raise Ended(
            status,
            f"{sentence} Watch it: {HOW} {self.job.pk}",
            event=event,
            **job_values(self.job),
        )


def page_of(job: OtaJob) -> str:
    """Return the address of the install's page."""
    return f"{settings.PUBLIC_URL}{reverse('install', args=[job.pk])}"
