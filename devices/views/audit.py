"""The audit trail, to be reviewed: who did what to what, when, from where and why."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from devices.audit import export, triggers
from devices.audit.maintenance import is_own
from devices.audit.marks import read as read_marks
from devices.audit.search import AuditFilter, AuditSearch, Page
from devices.audit.verification import kept_head
from devices.forms.audit import AuditFilterForm
from devices.models import AuditAction, AuditCheck, AuditCheckpoint, AuditHead
from devices.models.parsing import parse_pk
from devices.permissions import Right, households_for
from devices.presentation.badges import of_event
from devices.request_scope import scope_of
from devices.security.rate_limits import limited
from devices.taskqueue.wakeups import wake_trail
from devices.views.access import current_user, login_required_here
from devices.views.partials import etag_of, layout_etag, live
from devices.views.streams import record_export, stream

VERIFY_EVERY = timedelta(minutes=1)


@require_safe
@login_required_here
def audit(request: HttpRequest) -> HttpResponse:
    """The rows that this person may review and asks for, newest first."""
    form, trail = _asked(request)
    if trail is None:
        page = Page([])
    else:
        before, after = (parse_pk(request.GET.get(name)) for name in ("before", "after"))
        page = trail.page(before=before, after=after)
    for event in page:
        event.badge = of_event(event)  # type: ignore[attr-defined]
    looks = households_for(current_user(request), Right.LOOK)
    values = {
        "form": form,
        "listed": page,
        # an auditor reads the trail and may not look at the installs it speaks of
        "linked": {event.pk for event in page if looks is None or event.household_id in looks},
        "filters": _filters(request),
        "narrowed": trail is not None and not trail.asked.is_all,
        "sees_all": trail is not None and trail.scope.sees_all,
    }
    return render(request, "devices/audit/trail.html", values)


@require_safe
@login_required_here
def audit_chain(request: HttpRequest) -> HttpResponse:
    """The state of the chain, up to where it is confirmed, and how to check it."""
    return render(request, "devices/audit/chain.html", _check(request))


@require_safe
@login_required_here
def audit_check(request: HttpRequest) -> HttpResponse:
    """The same without how to check it; 204 without a body when nothing changed."""
    values = _check(request)
    part = "devices/audit/partials/check.fragment.html"
    return live(request, values["mark"], part, lambda: values)


def _check(request: HttpRequest) -> dict[str, Any]:
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    checkpoint = AuditCheckpoint.latest()
    check = AuditCheck.objects.filter(pk=1).first() or AuditCheck()
    if not check.finding and not is_own(check):
        check = AuditCheck(requested_at=check.requested_at)
    unverified = max(0, head.sequence - check.verified_sequence)
    is_good = check.verified_at is not None and not unverified
    values = {
        "tone": "attention" if check.finding else "good" if is_good else "running",
        "head": head,
        "checkpoint": checkpoint,
        "rows": head.sequence - (checkpoint.sequence if checkpoint else 0),
        "check": check,
        "unverified": unverified,
        "unproven": max(0, check.verified_sequence - check.proven_sequence),
        "kept_head": kept_head(),
        "marks_start": read_marks().start,
        "is_guarded": triggers.are_in_place(),
    }
    state = (check.requested_at, check.verified_at, check.is_requested, check.is_overdue)
    newest = (head.sequence, check.finding, check.head_trouble)
    return values | {"mark": etag_of(*state, *newest, layout_etag(request))}


@require_POST
@login_required_here
def audit_verify(request: HttpRequest) -> HttpResponse:
    """Ask the worker to verify the whole trail now; once a minute is enough."""
    now = timezone.now()
    with transaction.atomic():
        check = AuditCheck.load()
        if check.requested_at is None or now - check.requested_at >= VERIFY_EVERY:
            AuditCheck.objects.filter(pk=1).update(requested_at=now)
            wake_trail()
    messages.success(request, gettext("The check has been requested. It usually takes a moment."))
    return redirect("audit_chain")


@require_safe
@login_required_here
@limited("export")
def audit_csv(request: HttpRequest) -> HttpResponseBase:
    """What is asked for, for a spreadsheet."""
    return _export(request, "csv", "text/csv; charset=utf-8", export.csv_rows)


@require_safe
@login_required_here
@limited("export")
def audit_jsonl(request: HttpRequest) -> HttpResponseBase:
    """The chain, with what is asked for in full: it can be verified without this server."""

    def lines(trail: AuditSearch) -> Iterator[bytes]:
        return export.jsonl(trail, current_user(request).email)

    return _export(request, "jsonl", "application/jsonl", lines)


def _export(
    request: HttpRequest,
    kind: str,
    content_type: str,
    lines: Callable[[AuditSearch], Iterator[bytes]],
) -> HttpResponseBase:
    _, trail = _asked(request)
    if trail is None:
        return HttpResponse(gettext("The filters in the address are not valid.\n"), status=400)
    what, ids = f"the audit trail ({{}}) as {kind}", trail.scope.household_ids
    asked = {"kind": kind, "asked": trail.asked.words()}
    return stream(
        request,
        f"audit-trail.{kind}",
        content_type,
        lambda: lines(trail),
        lambda: record_export(request, AuditAction.TRAIL_EXPORTED, what, ids, asked),
    )


def _asked(request: HttpRequest) -> tuple[AuditFilterForm, AuditSearch | None]:
    """Return the form and the rows it asks for; None when what it says makes no sense."""
    form = AuditFilterForm(request.GET or None)
    if form.is_bound and not form.is_valid():
        return form, None
    asked = form.asked() if form.is_bound else AuditFilter()
    return form, AuditSearch(current_user(request), asked, scope_of(request).household_id)


def _filters(request: HttpRequest) -> str:
    """Return the query string without the place in the list: the saved filter."""
    query = request.GET.copy()
    for name in ("before", "after"):
        query.pop(name, None)
    return query.urlencode()
