"""Confirming an install, watching it, and the history of all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices import installs
from devices.confirm import Binding, BindingError, bind, read_binding, sign
from devices.context import chosen
from devices.explain import Stage, explain_job, explain_report, read_code, shown_with
from devices.models import LIVE, UNSENT, BatchItem, Node, OtaJob, Proposal, Report, State
from devices.models.ota import OtaJobQuerySet
from devices.policies import Right, jobs_for, may, may_answer, why_not_cancel, why_not_install
from devices.views.access import actor_in, hub_for, job_for, person, signed_in
from devices.views.listing import TROUBLED
from devices.views.live import frame_mark, live
from devices.views.standing import of_job

PER_PAGE = 50
WEEK = timedelta(days=7)
VERDICT_SHOWS: dict[str, tuple[str | Promise, list[str]]] = {
    "": (gettext_lazy("All"), []),
    "running": (gettext_lazy("Running"), sorted(LIVE)),
    "verified": (gettext_lazy("Verified"), [State.VERIFIED]),
    "attention": (gettext_lazy("Needs you"), [str(state) for state in TROUBLED]),
    "unsent": (gettext_lazy("Not sent"), sorted(UNSENT)),
}


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """What is to be agreed to, and the one act that agrees."""
    node = hub_for(request, pk, Right.INSTALL)
    if request.method != "POST":
        return _form(request, node)
    try:
        binding = read_binding(request.POST.get("agreed", ""))
    except BindingError as problem:
        return _form(request, node, problem=str(problem))
    try:
        job = installs.request(
            user=person(request),
            node=node,
            binding=binding,
            actor=actor_in(request, node.account.household),
            retry_of=node.latest_job if node.latest_job and not node.latest_job.is_live else None,
        )
    except installs.Refused as refused:
        return _form(request, node, shown=binding, refused=refused)
    return redirect("install", job.pk)


def _form(
    request: HttpRequest,
    node: Node,
    *,
    shown: Binding | None = None,
    refused: installs.Refused | None = None,
    problem: str = "",
) -> HttpResponse:
    """Return the form for what is offered now, with what differs from what was shown."""
    offer = node.offer
    now_bound = bind(node, offer) if offer is not None else None
    differences = shown.differences(now_bound) if shown is not None and now_bound else []
    reasons = why_not_install(person(request), node, offer, timezone.now())
    values = {
        "node": node,
        "offer": offer,
        "agreed": sign(now_bound) if now_bound is not None and not reasons else "",
        "reasons": reasons,
        "is_older": offer is not None and offer.is_older_than(node.fw_version),
        "refused": [] if refused is None else refused.reasons,
        "differences": differences,
        "problem": problem,
        "typical": installs.typical(node.model, offer.fw_version) if offer is not None else None,
        "proposal": _proposed(node),
        "may_answer": may_answer(person(request), node.account.household),
    }
    return render(
        request, "devices/confirm.html", values, status=409 if refused or problem else 200
    )


def _proposed(node: Node) -> Proposal | None:
    """Return the undecided proposal of what is offered now, if there is one."""
    if node.offer is None:
        return None
    return node.proposals.undecided(timezone.now()).of_version(node.offer.fw_version).first()


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the way, with the hub's own words for it."""

    title: str
    tone: str
    """"done", "now", "bad" or "ahead"."""
    at: datetime | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """One of the three facts that end an install."""

    icon: str
    title: str
    words: str
    tone: str
    """"agrees", "speaking", "disagrees" or ""."""
    at: datetime | None = None
    """When it came to that, if it is an event: what is asked again and again has no age."""


@require_safe
@signed_in
def install(request: HttpRequest, pk: int) -> HttpResponse:
    """The way of one install, its witnesses, its verdict and the evidence."""
    return render(request, "devices/install.html", _install(request, job_for(request, pk)))


@require_safe
@signed_in
def install_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    job = job_for(request, pk)
    mark = _mark(request, job, installs.typical(job.hub_model, job.to_version))
    return live(request, mark, "devices/_install.html", lambda: _install(request, job))


def _mark(request: HttpRequest, job: OtaJob, usual: installs.Typical) -> str:
    """Return what differs when the page does: also when an install has come to take long."""
    is_long = usual.is_unusual(job, timezone.now())
    return f"{job.revision}{'-long' if is_long else ''}.{frame_mark(request)}"


@require_POST
@signed_in
def install_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel what was not sent yet."""
    job = job_for(request, pk, Right.INSTALL)
    try:
        installs.cancel(job, user=person(request), actor=actor_in(request, job.household))
        messages.success(
            request,
            (gettext("Cancelled. Nothing was sent to %(hub_name)s.") % {"hub_name": job.hub_name}),
        )
    except installs.Refused as refused:
        messages.warning(request, str(refused))
    return redirect("install", job.pk)


@require_POST
@signed_in
def install_ask_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Take up an install that was set aside."""
    job = job_for(request, pk, Right.INSTALL)
    installs.ask_again(job, actor=actor_in(request, job.household))
    messages.success(
        request, gettext("Taken up again. The cloud is asked as soon as the worker can.")
    )
    return redirect("install", job.pk)


def _install(request: HttpRequest, job: OtaJob) -> dict[str, object]:
    reports = list(job.reports.all())
    user = person(request)
    usual = installs.typical(job.hub_model, job.to_version)
    newest = OtaJob.objects.filter(node=job.node_id, is_latest=True).only("pk").first()
    return {
        "job": job,
        "node": job.node,
        "standing": of_job(job),
        "told": explain_job(job),
        "steps": _steps(job, [report for report in reports if not report.is_before_push]),
        "witnesses": witnesses_of(job),
        "reports": reports,
        "typical": usual,
        "is_long": usual.is_unusual(job, timezone.now()),
        "mark": _mark(request, job, usual),
        "gives_no_percent": job.state == State.RUNNING
        and job.percent is None
        and explain_report(job.cloud_word, job.cloud_info).stage == Stage.DOWNLOADING,
        "aside_until": installs.aside_until(job),
        "may_ask_again": may(user, Right.INSTALL, job.household),
        "may_cancel": not why_not_cancel(user, job),
        "may_retry": not job.is_live
        and job.state != State.VERIFIED
        and newest is not None
        and newest.pk == job.pk
        and may(user, Right.INSTALL, job.household),
        "queue": BatchItem.objects.filter(job=job).only("batch_id").first(),
        "newer": newest if newest is not None and newest.pk != job.pk else None,
        "poll_s": 2 if job.is_live else 30 if job.is_listening else 0,
    }


def _steps(job: OtaJob, reports: list[Report]) -> list[Step]:
    """Return what happened so far, then what is still ahead."""
    steps = [
        Step(
            gettext("Confirmed"),
            "done",
            job.requested_at,
            (gettext("by %(requested_by_name)s") % {"requested_by_name": job.requested_by_name}),
        )
    ]
    if job.state in UNSENT:
        return [*steps, Step(of_job(job).words, "bad", job.ended_at, job.push_answer)]
    if job.pushed_at is not None:
        said = f"“{job.push_answer}”" if job.push_answer else ""
        title = (
            gettext("Sent to the cloud, accepted")
            if said or not job.restored_at
            else gettext("Sent earlier")
        )
        steps.append(Step(title, "done", job.pushed_at, said))
    elif job.claimed_at is not None and job.restored_at is not None:
        words = gettext("Whether it was sent since the backup was made is being found out.")
        steps.append(Step(gettext("Restored from a backup"), "now", job.restored_at, words))
    elif job.claimed_at is not None:
        words = gettext("Whether it arrived is being found out.") if job.push_unknown else ""
        steps.append(Step(gettext("Being sent to the cloud"), "now", job.claimed_at, words))
    else:
        steps.append(
            Step(gettext("Waiting to be sent to the cloud"), "now", None, job.trouble_text)
        )
    reached = Stage.SENT if job.pushed_at is not None else Stage.CONFIRMED
    for report in _by_stage(reports):
        heard = explain_report(report.word, report.info)
        reached = max(reached, heard.stage or reached)
        is_bad = report.meaning in {"failed", "rejected"}
        info = report.info or report.word
        steps.append(
            Step(
                heard.title,
                "bad" if is_bad else "done",
                report.heard_at,
                f"“{info}”",
            )
        )
    if job.version_agreed_at is not None and job.is_online and reached < Stage.BACK_ONLINE:
        reached = Stage.BACK_ONLINE
        steps.append(
            Step(
                (gettext("Back online with %(to_version)s") % {"to_version": job.to_version}),
                "done",
                job.version_agreed_at,
            )
        )
    if not job.is_live:
        tone = "done" if job.state == State.VERIFIED else "bad"
        return [*steps, Step(of_job(job).words, tone, job.ended_at)]
    if steps[-1].tone == "done" and len(steps) > 1:
        last = steps[-1]
        steps[-1] = Step(last.title, "now", last.at, last.words)
    ahead = {
        Stage.STARTED: gettext("The hub starts"),
        Stage.DOWNLOADING: gettext("Downloading"),
        Stage.RESTARTING: gettext("Restarting into the new firmware"),
        Stage.BACK_ONLINE: (
            gettext("Back online with %(to_version)s") % {"to_version": job.to_version}
        ),
        Stage.VERIFIED: gettext("Verified"),
    }
    return steps + [Step(words, "ahead") for stage, words in ahead.items() if stage > reached]


def _by_stage(reports: list[Report]) -> list[Report]:
    """Return the reports without the steps between two of the same kind: the evidence has all."""
    kept: list[Report] = []
    for report in reports:
        if report.meaning == "started" and not report.info:
            continue  # the step before says so already
        if kept and report.percent is not None and kept[-1].percent is not None:
            kept[-1] = report
        else:
            kept.append(report)
    return kept


def witnesses_of(job: OtaJob) -> list[Witness]:
    return [_cloud_witness(job), _version_witness(job), _online_witness(job)]


def _cloud_witness(job: OtaJob) -> Witness:
    title = gettext("The cloud says")
    if not job.cloud_word:
        words = (
            gettext("Nothing about this attempt yet.")
            if job.is_live
            else gettext("It never spoke of it.")
        )
        return Witness("cloud", title, words, "")
    words = f"“{job.cloud_word}”"
    if job.cloud_meaning == "success":
        return Witness(
            "cloud",
            title,
            (gettext("%(words)s: it counts the install as done.") % {"words": words}),
            "agrees",
            job.cloud_said_at,
        )
    if job.cloud_meaning in {"failed", "rejected"}:
        return Witness("cloud", title, f"{words}. {job.cloud_info}", "disagrees", job.cloud_said_at)
    return Witness(
        "cloud",
        title,
        (gettext("%(words)s. Not a verdict yet.") % {"words": words}),
        "speaking",
    )


def _version_witness(job: OtaJob) -> Witness:
    title = gettext("The hub reports")
    if not job.version_seen:
        return Witness("hub", title, gettext("Its version was not read yet."), "")
    if job.version_agreed_at is not None:
        words = gettext("version %(version_seen)s, the new one.") % {
            "version_seen": job.version_seen
        }
        return Witness("hub", title, words, "agrees", job.version_agreed_at)
    if job.version_seen == job.from_version:
        words = gettext("version %(version_seen)s, as before.") % {"version_seen": job.version_seen}
        if job.is_live:
            words += gettext(" Waiting for %(to_version)s.") % {"to_version": job.to_version}
        tone = "disagrees" if job.success_at is not None else ""
        return Witness("hub", title, words, tone)
    words = gettext("version %(version_seen)s, not %(to_version)s.") % {
        "version_seen": job.version_seen,
        "to_version": job.to_version,
    }
    return Witness("hub", title, words, "disagrees")


def _online_witness(job: OtaJob) -> Witness:
    title = gettext("Back online")
    if job.is_online is False:
        words = (
            gettext("Offline right now.") if job.is_live else gettext("Offline when last asked.")
        )
        if job.restarting_at is not None and job.is_live:
            words = gettext("Offline: it said that it restarts.")
            return Witness("wifi", title, words, "speaking", job.restarting_at)
        return Witness("wifi", title, words, "speaking" if job.is_live else "disagrees")
    if job.back_online_at is not None or (job.is_online and job.version_agreed_at is not None):
        words = (
            gettext("It restarted and is connected again.")
            if job.back_online_at
            else gettext("Connected.")
        )
        agrees = "agrees" if job.version_agreed_at is not None else "speaking"
        since = job.back_online_at or job.version_agreed_at
        return Witness("wifi", title, words, agrees, since)
    if job.is_online and job.restarting_at is not None:
        words = gettext("Online; it said that it restarts, and has not been seen offline.")
        return Witness("wifi", title, words, "", job.restarting_at)
    if job.is_online:
        return Witness("wifi", title, gettext("Online; it has not restarted yet."), "")
    return Witness("wifi", title, gettext("Its connection is not known."), "")


@require_safe
@signed_in
def history(request: HttpRequest) -> HttpResponse:
    """Every install, newest first."""
    show = request.GET.get("show", "")
    show = show if show in VERDICT_SHOWS else ""
    search = request.GET.get("q", "").strip()[:100]
    narrowed = {
        name: value for name in NARROW if (value := request.GET.get(name, "").strip()[:120])
    }
    jobs = jobs_for(person(request), within=chosen(request)).for_list()
    if states := VERDICT_SHOWS[show][1]:
        jobs = jobs.filter(state__in=states)
    if code := read_code(search):
        jobs = jobs.filter(shown_with(code))
    elif search:
        jobs = jobs.matching(search)
    for name, value in narrowed.items():
        jobs = NARROW[name](jobs, value)
    listed = Paginator(jobs, PER_PAGE).get_page(request.GET.get("page"))
    values = {
        "listed": listed,
        "rows": [(job, of_job(job)) for job in listed],
        "shows": [(key, words) for key, (words, _) in VERDICT_SHOWS.items()],
        "show": show,
        "search": search,
        "narrowed": narrowed,
    }
    return render(request, "devices/history.html", values)


def _in_week(jobs: OtaJobQuerySet, monday: str) -> OtaJobQuerySet:
    """Return the jobs confirmed in the week that begins on this day; all when it is no day."""
    try:
        first = datetime.combine(date.fromisoformat(monday), time.min)
        start = timezone.make_aware(first)
        return jobs.filter(
            requested_at__gte=start, requested_at__lt=timezone.make_aware(first + WEEK)
        )
    except (ValueError, OverflowError):
        return jobs


NARROW: dict[str, Callable[[OtaJobQuerySet, str], OtaJobQuerySet]] = {
    "model": lambda jobs, model: jobs.filter(hub_model=model),
    "version": lambda jobs, version: jobs.filter(to_version=version),
    "week": _in_week,
}
