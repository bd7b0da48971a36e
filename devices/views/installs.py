"""Confirm, follow, cancel and resume an install."""

from dataclasses import replace

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.explanations.explain import Stage, explain_job, explain_report, is_unasked
from devices.explanations.reasons import ReasonCode
from devices.fleet.attention import attention_of
from devices.installs import requests as install_requests
from devices.installs import restoring, statistics
from devices.installs.confirmation import (
    OfferSnapshot,
    SnapshotError,
    read_snapshot,
    sign,
    snapshot_offer,
)
from devices.installs.eligibility import (
    OfferSince,
    against_plan,
    can_retry,
    offer_since,
    why_not_cancel,
    why_not_install,
)
from devices.installs.reports import all_reports
from devices.models import InstallOutcome, Node, OtaJob, Plan, Proposal, State, database_clock
from devices.models.attention import Attention
from devices.models.version_text import is_same_version
from devices.permissions import Right, may, may_answer
from devices.planning import plans
from devices.planning.plans import PlanError, read_timing
from devices.presentation.badges import of_job
from devices.presentation.hold_text import why_held
from devices.presentation.install_story import steps_of, witnesses_of
from devices.presentation.offer_limits import limits_of
from devices.presentation.settings_text import changed_settings
from devices.presentation.usual_duration import usual_duration
from devices.views.access import (
    current_user,
    get_hub_or_404,
    get_job_or_404,
    login_required_here,
    request_actor,
)
from devices.views.moments import choices_of, chosen_in, posted_when, time_in
from devices.views.partials import layout_etag, live

# A page shows so many of the cloud's messages; a real install has some dozen.
REPORTS_SHOWN = 100


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the offer; a POST confirms it."""
    node = get_hub_or_404(request, pk, Right.INSTALL)
    if request.method != "POST":
        return _form(request, node)
    try:
        binding = read_snapshot(request.POST.get("agreed", ""))
    except SnapshotError as problem:
        return _form(request, node, problem=str(problem))
    user, household = current_user(request), node.account.household
    actor = request_actor(request, household)
    try:
        timing = read_timing(posted_when(request), household, database_clock.now())
        made = plans.confirm(node, binding, timing, user=user, actor=actor)
    except PlanError as wrong:
        return _form(request, node, problem=str(wrong))
    except install_requests.Refused as refused:
        return _form(request, node, shown=binding, refused=refused)
    return redirect("hub", node.pk) if isinstance(made, Plan) else redirect("install", made.pk)


def _form(
    request: HttpRequest,
    node: Node,
    *,
    shown: OfferSnapshot | None = None,
    refused: install_requests.Refused | None = None,
    problem: str = "",
) -> HttpResponse:
    """Return the form for the current offer, with the changes since it was shown."""
    offer = node.offer
    now_bound = snapshot_offer(node, offer) if offer is not None else None
    differences = shown.differences(now_bound) if shown is not None and now_bound else []
    reasons = why_not_install(current_user(request), node, offer)
    can_agree = offer is not None and not against_plan(reasons)
    choices = choices_of(node.account.household, is_online=not reasons)
    values = {
        "node": node,
        "offer": offer,
        "agreed": sign(now_bound) if now_bound is not None and can_agree else "",
        "choices": choices,
        "chosen": chosen_in(request, choices),
        "at": time_in(request),
        "plan": node.plan,
        "reasons": reasons,
        "is_known": all(reason.code != ReasonCode.OFFER_UNKNOWN for reason in reasons),
        "limits": limits_of(offer, timezone.now()) if offer is not None else [],
        "is_at_work": offer is not None and offer.is_being_installed(timezone.now()),
        "is_older": offer is not None and offer.is_older_than(node.fw_version),
        "refused": [] if refused is None else refused.reasons,
        "differences": differences,
        "held": why_held(node, offer.fw_version) if offer is not None else "",
        "tried": node.tried_job,
        "tried_standing": of_job(node.tried_job) if node.tried_job else None,
        "problem": problem,
        "usual_duration": usual_duration(
            statistics.typical(node.model, offer.fw_version, node.account.household)
        )
        if offer is not None
        else "",
        "proposal": _proposed(node),
        "may_answer": may_answer(current_user(request), node.account.household),
    }
    return render(
        request, "devices/installs/confirm.html", values, status=409 if refused or problem else 200
    )


def _differences(job: OtaJob) -> list[tuple[str, str, str]]:
    """Return (what, confirmed, offered right before sending) where that ended the install."""
    if job.outcome != InstallOutcome.OFFER_SWAPPED or job.ended_at is None:
        return []
    offers = job.node.offers.filter(first_seen_at__lte=job.ended_at)
    offer = offers.exclude(ended_at__lte=job.ended_at).order_by("-first_seen_at").first()
    if offer is None:
        return []
    found = snapshot_offer(job.node, offer)
    if job.version_seen and not is_same_version(job.version_seen, job.from_version):
        found = replace(found, from_version=job.version_seen)
    else:
        found = replace(found, from_version=job.from_version)
    confirmed = replace(
        found,
        ota_job_id=job.ota_job_id,
        from_version=job.from_version,
        to_version=job.to_version,
        size_bytes=job.size_bytes,
        md5=job.md5,
    )
    return confirmed.differences(found)


def _proposed(node: Node) -> Proposal | None:
    """Return the open proposal of the current offer, if there is one."""
    if node.offer is None:
        return None
    return node.proposals.undecided(timezone.now()).of_version(node.offer.fw_version).first()


@require_safe
@login_required_here
def install(request: HttpRequest, pk: int) -> HttpResponse:
    """The steps of one install, its witnesses, verdict and evidence."""
    return render(
        request, "devices/installs/install.html", _install(request, get_job_or_404(request, pk))
    )


@require_safe
@login_required_here
def install_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    job = get_job_or_404(request, pk)
    mark = _mark(request, job, statistics.typical(job.hub_model, job.to_version, job.household))
    return live(
        request,
        mark,
        "devices/installs/partials/install.fragment.html",
        lambda: _install(request, job),
    )


def _mark(request: HttpRequest, job: OtaJob, usual: statistics.Typical) -> str:
    """Return a text that differs when the page does, also once an install takes long."""
    is_long = usual.is_unusual(job, timezone.now())
    # the page says when the cloud was last asked: ten seconds late at most
    asked = f"-{job.asked_at:%d%H%M%S}"[:-1] if job.asked_at and job.is_listening else ""
    since, at = offer_since(job), job.node.checked_at
    offered = f"-{since}{at:%j%H%M%S}" if since and at is not None else str(since)
    states = f"{'-long' if is_long else ''}{'-unasked' if is_unasked(job) else ''}{asked}{offered}"
    return f"{job.revision}{states}.{layout_etag(request)}"


@require_POST
@login_required_here
def install_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel an install that was not sent yet."""
    job = get_job_or_404(request, pk, Right.INSTALL)
    try:
        install_requests.cancel(
            job, user=current_user(request), actor=request_actor(request, job.household)
        )
        messages.success(
            request,
            (gettext("Cancelled. Nothing was sent to %(hub_name)s.") % {"hub_name": job.hub_name}),
        )
    except install_requests.Refused as refused:
        messages.warning(request, str(refused))
    return redirect("install", job.pk)


@require_POST
@login_required_here
def install_resume(request: HttpRequest, pk: int) -> HttpResponse:
    """Resume an install from quarantine."""
    job = get_job_or_404(request, pk, Right.INSTALL)
    install_requests.resume_polling(job, actor=request_actor(request, job.household))
    messages.success(request, gettext("Resumed. The worker will ask the cloud as soon as it can."))
    return redirect("install", job.pk)


def _install(request: HttpRequest, job: OtaJob) -> dict[str, object]:
    reports, node, offered = all_reports(job), job.node, offer_since(job)
    shown = reports[-REPORTS_SHOWN:]
    user, now = current_user(request), timezone.now()
    usual = statistics.typical(job.hub_model, job.to_version, job.household)
    newest = OtaJob.objects.filter(node=job.node_id, is_latest=True).only("pk").first()
    may_install = may(user, Right.INSTALL, job.household)
    is_putting_back = restoring.is_asked(job, now)
    return {
        "job": job,
        "node": node,
        "offer": node.new_offer,
        "offered": offered,
        "differences": _differences(job),
        "standing": of_job(job),
        "explained": explain_job(job),
        "steps": steps_of(job, [report for report in shown if not report.is_before_push]),
        "witnesses": witnesses_of(job),
        "reports": shown,
        "reports_left_out": len(reports) - len(shown),
        "changed_settings": changed_settings(job),
        "usual_duration": usual_duration(usual),
        "is_long": usual.is_unusual(job, now),
        "mark": _mark(request, job, usual),
        "gives_no_percent": job.state == State.RUNNING
        and job.percent is None
        and explain_report(job.cloud_word, job.cloud_info).stage == Stage.DOWNLOADING,
        "aside_until": install_requests.quarantined_until(job),
        "may_install": may_install,
        "may_cancel": not why_not_cancel(user, job),
        "may_retry": may_install and can_retry(job),
        "queue": Plan.objects.filter(job=job, batch__isnull=False).only("batch_id").first(),
        "may_put_back": may_install and not restoring.why_not(job, now),
        "is_putting_back": is_putting_back,
        "needs_person": job.is_latest and attention_of([node])[node.pk] == Attention.TROUBLE,
        "newer": newest if newest is not None and newest.pk != job.pk else None,
        "poll_s": 2
        if job.is_live or is_putting_back or offered == OfferSince.CHECKING
        else 30
        if job.is_listening
        else 0,
    }
