"""The lists of hubs and of installs as files: all that their filters match, in the same order.

As in all that programs read, the words are English and the times UTC.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.views.decorators.http import require_safe

from devices.audit.export import cell
from devices.fleet.attention import hubs_of
from devices.models import AuditAction, User
from devices.models.install import OtaJobQuerySet
from devices.models.node import NodeQuerySet
from devices.permissions import cached_answers, households_for, mask_people
from devices.presentation.serializers import HubData, InstallData, json_value, values_of
from devices.request_scope import scope_of
from devices.security.rate_limits import limited
from devices.views.access import current_user, login_required_here
from devices.views.history import asked_for
from devices.views.hub_filters import HubFilter, find
from devices.views.streams import record_export, stream

# So many rows are in memory at a time.
CHUNK = 500
Values = dict[str, Any]
# The columns of the CSV files, by their place in the JSON Lines.
HUB_COLUMNS = (
    *("id", "node_id", "name", "household", "model", "serial", "is_simulated", "fw_version"),
    *("available_version", "is_step_back", "is_online", "is_in_use", "repellent", "checked_at"),
    *("trouble.support_code", "install.id", "install.to_version", "install.state"),
    *("install.outcome", "install.badge", "install.support_code", "install.ended_at"),
    *("plan.to_version", "plan.when", "plan.starts", "plan.not_before", "plan.expires_at"),
    *("plan.waits_for", "plan.reason", "plan.planned_by", "page"),
)
INSTALL_COLUMNS = (
    *("id", "hub", "hub_name", "node_id", "household", "is_simulated", "ota_job_id"),
    *("from_version", "to_version", "state", "outcome", "badge", "support_code", "requested_by"),
    *("requested_via", "requested_at", "pushes", "pushed_at", "ended_at", "duration_s", "page"),
)


@require_safe
@login_required_here
@limited("export")
def hubs_csv(request: HttpRequest) -> HttpResponseBase:
    """The hubs that are asked for, for a spreadsheet."""
    return _export(request, "hubs.csv", _hubs(request), HUB_COLUMNS)


@require_safe
@login_required_here
@limited("export")
def hubs_jsonl(request: HttpRequest) -> HttpResponseBase:
    """The hubs that are asked for, one JSON object a line, as the JSON API gives them."""
    return _export(request, "hubs.jsonl", _hubs(request))


@require_safe
@login_required_here
@limited("export")
def history_csv(request: HttpRequest) -> HttpResponseBase:
    """The installs that are asked for, for a spreadsheet."""
    return _export(request, "history.csv", _installs(request), INSTALL_COLUMNS)


@require_safe
@login_required_here
@limited("export")
def history_jsonl(request: HttpRequest) -> HttpResponseBase:
    """The installs that are asked for, one JSON object a line, as the JSON API gives them."""
    return _export(request, "history.jsonl", _installs(request))


def _export(
    request: HttpRequest,
    name: str,
    chunks: Callable[[], Iterator[list[Values]]],
    columns: tuple[str, ...] = (),
) -> HttpResponseBase:
    content_type = "text/csv; charset=utf-8" if columns else "application/jsonl"
    lines = (lambda: _csv(chunks(), columns)) if columns else (lambda: _jsonl(chunks()))
    return stream(request, name, content_type, lines, lambda: _record(request, name))


def _hubs(request: HttpRequest) -> Callable[[], Iterator[list[Values]]]:
    user = current_user(request)
    found = find(hubs_of(user, scope_of(request).household_id), HubFilter.read(request.GET))

    def values(hubs: NodeQuerySet) -> Iterator[tuple[int, Values]]:
        for node in hubs.for_list().with_accounts_once():
            if (job := node.latest_job) is not None:
                mask_people(user, job, job.household_id)
            if (plan := node.plan) is not None:
                mask_people(user, plan, plan.household_id)
            yield node.pk, values_of(HubData.of(node))

    return lambda: _chunks(user, found, values)


def _installs(request: HttpRequest) -> Callable[[], Iterator[list[Values]]]:
    user, found = current_user(request), asked_for(request).jobs

    def values(jobs: OtaJobQuerySet) -> Iterator[tuple[int, Values]]:
        for job in jobs.select_related("node__account__household", "household"):
            yield job.pk, values_of(InstallData.of(mask_people(user, job, job.household_id)))

    return lambda: _chunks(user, found, values)


def _chunks(
    user: User, found: Any, values: Callable[[Any], Iterator[tuple[int, Values]]]
) -> Iterator[list[Values]]:
    """Yield the rows a chunk at a time, in the order they had at the start. No cursor stays open
    while a slow reader takes them; a row that is gone by then is left out.
    """
    order = list(found.values_list("pk", flat=True))
    for start in range(0, len(order), CHUNK):
        wanted = order[start : start + CHUNK]
        with translation.override("en"), cached_answers(user):
            rows = dict(values(found.model.objects.filter(pk__in=wanted)))
        yield [rows[pk] for pk in wanted if pk in rows]


def _csv(chunks: Iterator[list[Values]], columns: tuple[str, ...]) -> Iterator[bytes]:
    """Yield CSV for a spreadsheet; no cell is a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(one.replace(".", "_") for one in columns)
    yield "\ufeff".encode()  # so that spreadsheets read it as UTF-8
    yield buffer.getvalue().encode()
    for chunk in chunks:
        buffer.seek(0)
        buffer.truncate()
        writer.writerows([_cell(row, one) for one in columns] for row in chunk)
        yield buffer.getvalue().encode()


def _cell(row: Values, column: str) -> object:
    value: Any = row
    for name in column.split("."):
        value = value[name] if value is not None else None
    is_plain = value is None or isinstance(value, bool | int | float)
    return value if is_plain else cell(value if isinstance(value, str) else json_value(value))


def _jsonl(chunks: Iterator[list[Values]]) -> Iterator[bytes]:
    for chunk in chunks:
        lines = (json.dumps(row, ensure_ascii=False, default=json_value) for row in chunk)
        yield "".join(f"{line}\n" for line in lines).encode()


def _record(request: HttpRequest, name: str) -> None:
    ids = households_for(current_user(request), within=scope_of(request).household_id)
    what = "the list of hubs" if name.startswith("hubs") else "the history of installs"
    asked = {"asked": request.GET.urlencode()[:500]}
    record_export(request, AuditAction.ACCESS_EXPORTED, f"{what} ({{}}) as {name}", ids, asked)
