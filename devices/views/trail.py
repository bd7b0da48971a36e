"""The audit trail, to be reviewed: who did what to what, when, from where and why."""

from collections.abc import Callable, Iterator

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from devices import exports, guards
from devices.context import chosen
from devices.forms import TrailForm
from devices.middleware import origin
from devices.models import Actor, AuditCheck, AuditCheckpoint, AuditHead, Household
from devices.models import audit as audit_trail
from devices.policies import Right, households_for, role_in, roles_of
from devices.review import Asked, Page, Trail
from devices.views.access import person, signed_in


@require_safe
@signed_in
def audit(request: HttpRequest) -> HttpResponse:
    """The rows that this person may review and asks for, newest first."""
    form, trail = _asked(request)
    if trail is None:
        page = Page([])
    else:
        page = trail.page(before=_position(request, "before"), after=_position(request, "after"))
    looks = households_for(person(request), Right.LOOK)
    values = {
        "form": form,
        "listed": page,
        # an auditor reads the trail and may not look at the installs it speaks of
        "linked": {event.pk for event in page if looks is None or event.household_id in looks},
        "filters": _filters(request),
    }
    return render(request, "devices/audit.html", values)


@require_safe
@signed_in
def audit_chain(request: HttpRequest) -> HttpResponse:
    """The state of the chain, and how anybody can check it."""
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    checkpoint = AuditCheckpoint.latest()
    values = {
        "head": head,
        "checkpoint": checkpoint,
        "rows": head.sequence - (checkpoint.sequence if checkpoint else 0),
        "check": AuditCheck.objects.filter(pk=1).first() or AuditCheck(),
        "is_guarded": guards.are_in_place(),
    }
    return render(request, "devices/audit_chain.html", values)


@require_safe
@signed_in
def audit_csv(request: HttpRequest) -> HttpResponseBase:
    """What is asked for, for a spreadsheet."""
    return _export(request, "csv", "text/csv; charset=utf-8", exports.csv_rows)


@require_safe
@signed_in
def audit_jsonl(request: HttpRequest) -> HttpResponseBase:
    """The chain, with what is asked for in full: it can be verified without this server."""

    def lines(trail: Trail) -> Iterator[bytes]:
        return exports.jsonl(trail, person(request).email)

    return _export(request, "jsonl", "application/jsonl", lines)


def _export(
    request: HttpRequest, kind: str, content_type: str, lines: Callable[[Trail], Iterator[bytes]]
) -> HttpResponseBase:
    """Send the file while it is made; that it was taken is in the trail before the first line."""
    _, trail = _asked(request)
    if trail is None:
        return HttpResponse(gettext("The filters in the address make no sense.\n"), status=400)
    if request.method == "HEAD":
        return HttpResponse(content_type=content_type)
    _record_export(request, kind, trail)
    answer = StreamingHttpResponse(lines(trail), content_type=content_type)
    name = f"audit-trail-{timezone.now():%Y-%m-%d}.{kind}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "no-store"
    return answer


def _record_export(request: HttpRequest, kind: str, trail: Trail) -> None:
    """Record it with every household whose rows are taken; once, when they are all of them."""
    user = person(request)
    ids = trail.scope.household_ids
    households: list[Household | None] = [None]
    if ids is not None:
        households = [*Household.objects.filter(pk__in=ids).order_by("pk")] or [None]
    whose = "all households" if ids is None else "their own rows"
    # what somebody looked for in one household is none of another's business
    asked = {} if len(households) > 1 else {"asked": trail.asked.words()}
    for household in households:
        role = role_in(user, household) if household is not None else roles_of(user)
        audit_trail.record(
            Actor.person(user, role=role, via="web", **origin(request)),
            "trail.exported",
            f"{user.email} exported the audit trail ({household or whose}) as {kind}.",
            household=household,
            why=f"role {role}",
            detail={"kind": kind, **asked},
        )


def _asked(request: HttpRequest) -> tuple[TrailForm, Trail | None]:
    """Return the form and the rows it asks for; None when what it says makes no sense."""
    form = TrailForm(request.GET or None)
    if form.is_bound and not form.is_valid():
        return form, None
    asked = form.asked() if form.is_bound else Asked()
    return form, Trail(person(request), asked, chosen(request))


def _position(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _filters(request: HttpRequest) -> str:
    """Return the query string without the place in the list: the saved filter."""
    said = request.GET.copy()
    for name in ("before", "after"):
        said.pop(name, None)
    return said.urlencode()
