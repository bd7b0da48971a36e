"""The history of installs."""

from collections.abc import Callable
from dataclasses import dataclass

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_safe

from devices.explanations.explain import read_code, shown_with
from devices.models import OtaJob
from devices.models.account import in_world
from devices.models.install import OtaJobQuerySet, result
from devices.models.version_text import spellings
from devices.permissions import jobs_for, mask_people
from devices.presentation.addresses import UNKNOWN
from devices.presentation.badges import VERDICT_SHOWS, of_job
from devices.presentation.version_facts import is_result, result_words
from devices.request_scope import scope_of
from devices.views.access import current_user, login_required_here
from devices.views.weeks import week_of

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """The installs that the address asks for, newest first, and by what."""

    found: OtaJobQuerySet
    """Before the kind of result narrows it."""
    show: str
    search: str
    narrowed: dict[str, str]

    @property
    def jobs(self) -> OtaJobQuerySet:
        states = VERDICT_SHOWS[self.show][1]
        return self.found.filter(state__in=states) if states else self.found

    def counts(self) -> dict[str, int]:
        """Return how many installs each kind of result would show. One query."""
        by_state = dict(self.found.order_by().values_list("state").annotate(n=Count("pk")))
        return {
            key: sum(n for state, n in by_state.items() if not states or state in states)
            for key, (_, states) in VERDICT_SHOWS.items()
        }


def asked_for(request: HttpRequest) -> Asked:
    """Read the filters of the address; invalid values are ignored."""
    show = request.GET.get("show", "")
    show = show if show in VERDICT_SHOWS else ""
    search = request.GET.get("q", "").strip()[:100]
    narrowed = {
        name: value for name in NARROW if (value := request.GET.get(name, "").strip()[:120])
    }
    jobs = jobs_for(current_user(request), within=scope_of(request).household_id).for_list()
    if code := read_code(search):
        jobs = jobs.filter(shown_with(code))
    elif search:
        jobs = jobs.matching(search)
    for name, value in narrowed.items():
        jobs = NARROW[name](jobs, value)
    return Asked(jobs, show, search, narrowed)


@require_safe
@login_required_here
def history(request: HttpRequest) -> HttpResponse:
    """Every install, newest first."""
    asked = asked_for(request)
    counts, pages = asked.counts(), Paginator(asked.jobs, PER_PAGE)
    pages.count = counts[asked.show]
    listed = pages.get_page(request.GET.get("page"))
    for job in listed:
        mask_people(current_user(request), job, job.household_id)
    values = {
        "listed": listed,
        "rows": [(job, of_job(job)) for job in listed],
        "shows": [(key, words, counts[key]) for key, (words, _) in VERDICT_SHOWS.items()],
        "show": asked.show,
        "search": asked.search,
        "narrowed": asked.narrowed,
        "chips": [
            (_words_of(name, value), _without(request, name))
            for name, value in asked.narrowed.items()
        ],
    }
    return render(request, "devices/installs/history.html", values)


def _without(request: HttpRequest, name: str) -> str:
    """Return the address of the first page of this list without one of its filters."""
    values = request.GET.copy()
    for key in (name, "page"):
        values.pop(key, None)
    return f"?{values.urlencode()}"


def _words_of(name: str, value: str) -> str:
    """Return what a filter's chip says."""
    if name == "result":
        return result_words(value) if is_result(value) else value
    if name == "simulated":
        return gettext("simulated") if value == "1" else gettext("real hubs")
    if name == "model" and value == UNKNOWN:
        return gettext("unknown model")
    return str(NARROWED.get(name, "%(value)s")) % {"value": value}


def _in_week(jobs: OtaJobQuerySet, monday: str) -> OtaJobQuerySet:
    """Return the jobs confirmed in the week that begins on this day; all when it is not a date."""
    week = week_of(monday)
    if week is None:
        return jobs
    return jobs.filter(requested_at__gte=week.start, requested_at__lt=week.end)


def _to_version(jobs: OtaJobQuerySet, version: str) -> OtaJobQuerySet:
    """Return the jobs that installed this version, however it was spelled. One query more."""
    texts = OtaJob.objects.order_by().values_list("to_version", flat=True).distinct()
    return jobs.filter(to_version__in=spellings(texts, version))


def _with_result(jobs: OtaJobQuerySet, wanted: str) -> OtaJobQuerySet:
    """Return the jobs that stand like this; all when it is not a result."""
    return jobs.alias(result=result()).filter(result=wanted) if is_result(wanted) else jobs


def _in_world(jobs: OtaJobQuerySet, simulated: str) -> OtaJobQuerySet:
    if simulated not in {"0", "1"}:
        return jobs
    return jobs.filter(in_world(simulated == "1", "node__account__"))


NARROW: dict[str, Callable[[OtaJobQuerySet, str], OtaJobQuerySet]] = {
    "model": lambda jobs, model: jobs.filter(hub_model="" if model == UNKNOWN else model),
    "simulated": _in_world,
    "version": _to_version,
    "result": _with_result,
    "week": _in_week,
}
# The words of a filter on its chip; the others show their value.
NARROWED = {"week": gettext_lazy("week of %(value)s"), "version": gettext_lazy("to %(value)s")}
