"""Files that are made while they are sent: a few at a time for each person."""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, Household
from devices.permissions import role_in, roles_of
from devices.security.request_origin import origin
from devices.views.access import current_user

# So many exports at a time for each person. One whose end was never seen is forgotten after this.
EXPORTS_AT_ONCE, FORGOTTEN_AFTER_S = 2, 120


def stream(
    request: HttpRequest,
    name: str,
    content_type: str,
    lines: Callable[[], Iterator[bytes]],
    record: Callable[[], None],
) -> HttpResponseBase:
    """Stream the lines as a file of this name with today's date in it; record it before the first.
    429 while the person has EXPORTS_AT_ONCE under way.
    """
    if request.method == "HEAD":
        return HttpResponse(content_type=content_type)
    places = [f"export:{current_user(request).pk}:{n}" for n in range(EXPORTS_AT_ONCE)]
    place = next((one for one in places if cache.add(one, 1, FORGOTTEN_AFTER_S)), None)
    if place is None:
        return render(request, "429.html", status=429)
    file = _Exported(lines(), place)
    record()
    answer = StreamingHttpResponse(file, content_type=content_type)
    start, _, ending = name.rpartition(".")
    dated = f"{start}-{timezone.now():%Y-%m-%d}.{ending}"
    answer["Content-Disposition"] = f'attachment; filename="{dated}"'
    answer["Cache-Control"] = "no-store"
    return answer


def record_export(
    request: HttpRequest,
    action: AuditAction,
    what: str,
    ids: Iterable[int] | None,
    asked: dict[str, Any],
) -> None:
    """Record an export for each household in it, or once when it covers all of them.

    ids: of the households; None for all. asked: by which filters.
    """
    user = current_user(request)
    households: list[Household | None] = [None]
    if ids is not None:
        households = [*Household.objects.filter(pk__in=ids).order_by("pk")] or [None]
    whose = "all households" if ids is None else "their own rows"
    # one household does not learn what was searched for in another
    detail = asked if len(households) == 1 else {n: asked[n] for n in asked if n == "kind"}
    for household in households:
        role = role_in(user, household) if household is not None else roles_of(user)
        audit_log.record(
            Actor.person(user, role=role, via="web", **origin(request)),
            action,
            f"{user.email} exported {what.format(household or whose)}.",
            household=household,
            why=f"role {role}",
            detail=detail,
        )


class _Exported:
    """The lines of an export. It holds one of its person's places until it ends."""

    def __init__(self, lines: Iterator[bytes], place: str) -> None:
        self.lines, self.place, self.renewed = lines, place, monotonic()

    def __iter__(self) -> Iterator[bytes]:
        for line in self.lines:
            if monotonic() - self.renewed > FORGOTTEN_AFTER_S / 4:
                cache.touch(self.place, FORGOTTEN_AFTER_S)
                self.renewed = monotonic()
            yield line
        self.close()

    def close(self) -> None:
        """Free the place; the response calls this when it ends, also when the reader left."""
        if self.place:
            cache.delete(self.place)
            self.place = ""

    __del__ = close
