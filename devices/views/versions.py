"""Firmware versions: notes, hubs, how installs of each went, and whether it is held.

A household sees what concerns its own hubs, and of others only what several of them did. Staff see
the numbers of the whole server; rows and release notes of households they may not enter stay shut.
"""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from devices.fleet import holds
from devices.fleet.known_versions import KnownVersion, known_versions, notes_of
from devices.forms.versions import HoldForm
from devices.installs.statistics import others_by, took_by
from devices.models.account import in_world
from devices.models.version_text import parse_version
from devices.permissions import VersionScope, households_for, may_hold, version_scope
from devices.presentation.addresses import UNKNOWN, version_address
from devices.presentation.badges import VERDICT_SHOWS
from devices.presentation.version_facts import (
    Asked,
    VersionFacts,
    facts_of,
    hubs_link,
    result_words,
)
from devices.request_scope import scope_of
from devices.views.access import current_user, login_required_here, request_actor

PER_PAGE = 25
# So many are offered to compare with.
MOST_CHOICES = 100


@require_safe
@login_required_here
def versions(request: HttpRequest) -> HttpResponse:
    """Every version that this person may know of, the newest first."""
    scope = version_scope(current_user(request), scope_of(request).household_id)
    found = known_versions(scope.nodes, scope.jobs, with_holds=scope.sees_all)
    models = sorted({one.hub_model for one in found})
    if (model := request.GET.get("model", "").strip()[:120]) and len(models) > 1:
        found = [one for one in found if (one.hub_model or UNKNOWN) == model]
    listed, held, world = Paginator(found, PER_PAGE), holds.HeldVersions(), _worlds(found)
    page = listed.get_page(request.GET.get("page"))
    values = {
        "listed": page,
        "rows": [
            {
                "known": one,
                "address": _address(one),
                "hubs_link": hubs_link(one, world(one), may_open=scope.may_open),
                "verified": one.in_states(VERDICT_SHOWS["verified"][1]),
                "hold": held.of(one.hub_model, one.version, is_simulated=one.is_simulated),
            }
            for one in page
        ],
        "models": [(one or UNKNOWN, one) for one in models] if len(models) > 1 else [],
        "model": model,
        "sees_all": scope.sees_all,
    }
    return render(request, "devices/versions/list.html", values)


@require_safe
@login_required_here
def version(request: HttpRequest) -> HttpResponse:
    """One version on one model, alone or beside another."""
    return _page(request, request.GET.get("version", ""), HoldForm())


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def hold(request: HttpRequest) -> HttpResponse:
    """Hold or release a version by hand; a GET leads to the versions."""
    user = current_user(request)
    if not may_hold(user):
        raise PermissionDenied(gettext("This page is only for support staff and administrators."))
    if request.method != "POST":
        return redirect("versions")
    form = HoldForm(request.POST)
    if not form.is_valid():
        return _page(request, request.POST.get("version", ""), form)
    wish = form.cleaned_data
    asked = {"is_simulated": wish["is_simulated"]}
    standing = holds.standing_of(wish["hub_model"], wish["version"], **asked)
    is_held = wish["act"] == "hold"
    if standing.is_held is is_held:
        messages.info(request, gettext("Nothing changed: someone else was faster."))
    else:
        holds.decide(
            standing,
            is_held=is_held,
            reason=wish["reason"],
            user=user,
            actor=request_actor(request),
        )
    return redirect(version_address(wish["version"], wish["hub_model"], **asked))


def _page(request: HttpRequest, wanted: str, form: HoldForm) -> HttpResponse:
    """Return the page of a version; 404 when this person knows of none like it."""
    user, within = current_user(request), scope_of(request).household_id
    scope = version_scope(user, within)
    found = known_versions(scope.nodes, scope.jobs, with_holds=scope.sees_all)
    one = _find(request, found, wanted)
    if one is None and within is not None:
        # links of households that the lists leave out now: the version is known, its numbers not
        wide = version_scope(user)
        one = _find(
            request, known_versions(wide.nodes, wide.jobs, with_holds=wide.sees_all), wanted
        )
        one = one.emptied() if one is not None else None
    if one is None and request.method == "POST" and wanted:
        # staff may hold a version before any hub has it
        model, is_simulated = request.POST.get("hub_model", ""), "is_simulated" in request.POST
        one = KnownVersion(model, wanted, is_simulated, {wanted})
    if one is None:
        raise Http404("no such version")
    others = [
        other
        for other in found
        if (other.hub_model, other.is_simulated) == (one.hub_model, one.is_simulated)
        and other.key != one.key
    ][:MOST_CHOICES]
    beside = next((other for other in others if other.version == request.GET.get("with")), None)
    both = [one, beside] if beside is not None else [one]
    facts = _facts(scope, both, _worlds(found)(one), mine=households_for(user))
    values = {
        "facts": facts[0],
        "beside": facts[1] if beside is not None else None,
        "compared": _compared(facts),
        "choices": others,
        "form": form,
        "may_hold": may_hold(user),
        "sees_all": scope.sees_all,
    }
    status = 409 if form.errors else 200
    return render(request, "devices/versions/version.html", values, status=status)


def _find(request: HttpRequest, found: list[KnownVersion], wanted: str) -> KnownVersion | None:
    """Return the version that the address, or the form, names."""
    given = request.POST if request.method == "POST" else request.GET
    model = given.get("hub_model" if request.method == "POST" else "model", "")
    model = "" if model == UNKNOWN else model
    form, world = parse_version(wanted), bool(given.get("is_simulated") or given.get("simulated"))
    alike = [one for one in found if one.hub_model == model and one.key[2] == form]
    # real hubs first, where the address does not say
    return next((one for one in alike if one.is_simulated is world), alike[0] if alike else None)


def _facts(
    scope: VersionScope, versions: list[KnownVersion], world: str, *, mine: list[int] | None
) -> list[VersionFacts]:
    """Return the facts of versions of one kind of hub. Six queries and at most three a version.

    mine: the households this person sees, also those that the lists leave out now.
    """
    one = versions[0]
    conditions = [version.condition() for version in versions]
    kind = in_world(one.is_simulated, "node__account__")
    asked = Asked(
        took=took_by(scope.jobs.filter(kind), conditions),
        # staff see the numbers of all: there are no others
        others={} if scope.sees_all or mine is None else others_by(conditions, mine, kind),
        standings=holds.standings_of(
            one.hub_model, [v.version for v in versions], is_simulated=one.is_simulated
        ),
        notes=[notes_of(version, scope.readable) for version in versions],
        may_open=scope.may_open,
        world=world,
    )
    return facts_of(versions, asked)


def _compared(facts: list[VersionFacts]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Return each result of two versions with the number and the link of both."""
    if len(facts) < 2:
        return []
    by_key = [{result.key: result for result in one.results} for one in facts]
    words = {key: result_words(key) for one in by_key for key in one}
    return [
        (name, [(one[key].count, one[key].link) if key in one else (0, "") for one in by_key])
        for key, name in sorted(words.items(), key=lambda item: item[1])
    ]


def _address(one: KnownVersion) -> str:
    return version_address(one.version, one.hub_model, is_simulated=one.is_simulated)


def _worlds(found: list[KnownVersion]) -> Callable[[KnownVersion], str]:
    """Return what narrows a list to the kind of hub of a version: nothing where there is one."""
    is_mixed = len({one.is_simulated for one in found}) > 1
    return lambda one: str(int(one.is_simulated)) if is_mixed else ""
