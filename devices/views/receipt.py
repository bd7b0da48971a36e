"""The receipt of one install: everything that is known of it on one page to print and to keep."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.catalogue import PLAIN
from devices.explain import explain_job
from devices.models import AuditCheckpoint, AuditHead, OtaJob, State
from devices.policies import Right
from devices.review import visible_of_job
from devices.views.access import job_for, person, signed_in
from devices.views.installs import witnesses_of
from devices.views.standing import of_job


@require_safe
@signed_in
def receipt(request: HttpRequest, pk: int) -> HttpResponse:
    """Who confirmed what, every word of the cloud, the witnesses, and the rows of the trail that
    prove it, with their place in the chain.
    """
    job = job_for(request, pk, Right.REVIEW)
    values = {
        "job": job,
        "told": explain_job(job),
        "standing": of_job(job),
        "outcome": _outcome(job),
        "witnesses": witnesses_of(job),
        "reports": job.reports.all(),
        "events": list(visible_of_job(person(request), job.pk)),
        "head": AuditHead.objects.get(pk=1),
        "checkpoint": AuditCheckpoint.latest(),
        "server": settings.PUBLIC_URL,
        "now": timezone.now(),
    }
    return render(request, "devices/receipt.html", values)


def _outcome(job: OtaJob) -> str:
    """Return the code of the outcome, or "" where the state's own word says all of it."""
    return "" if PLAIN.get(State(job.state)) == job.outcome else job.outcome
