"""The receipt of one install: everything known about it on one page to print."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.audit.search import visible_of_job
from devices.explanations.explain import explain_job
from devices.explanations.install_messages import PLAIN
from devices.installs.reports import all_reports
from devices.models import AuditCheckpoint, AuditHead, OtaJob, State
from devices.permissions import Right
from devices.presentation.badges import of_job
from devices.presentation.install_story import witnesses_of
from devices.presentation.settings_text import changed_settings
from devices.views.access import current_user, get_job_or_404, login_required_here


@require_safe
@login_required_here
def receipt(request: HttpRequest, pk: int) -> HttpResponse:
    """Who confirmed what, every report of the cloud, the witnesses, and the rows of the audit
    trail with their place in the chain.
    """
    job = get_job_or_404(request, pk, Right.REVIEW)
    values = {
        "job": job,
        "explained": explain_job(job),
        "standing": of_job(job),
        "outcome": _outcome(job),
        "witnesses": witnesses_of(job),
        "reports": all_reports(job),
        "changed_settings": changed_settings(job),
        "events": visible_of_job(current_user(request), job.pk),
        "head": AuditHead.objects.get(pk=1),
        "checkpoint": AuditCheckpoint.latest(),
        "server": settings.PUBLIC_URL,
        "now": timezone.now(),
    }
    return render(request, "devices/installs/receipt.html", values)


def _outcome(job: OtaJob) -> str:
    """Return the code of the outcome, or "" where it repeats the state."""
    return "" if PLAIN.get(State(job.state)) == job.outcome else job.outcome
