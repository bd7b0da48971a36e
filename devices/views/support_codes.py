"""What every support code means, for everybody; messages without an explanation, for staff."""

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from devices.explanations.explain import Entry, every_entry, read_code
from devices.models import UnknownText
from devices.permissions import may_see_unknown
from devices.views.access import current_user, login_required_here

PER_PAGE = 50


@require_safe
@login_required_here
def support_codes(request: HttpRequest) -> HttpResponse:
    """All support codes with their explanations, or the ones that match the search."""
    search = request.GET.get("q", "").strip()[:100]
    code = read_code(search)
    entries = every_entry()
    found = [one for one in entries if one.code == code] if code else _matching(entries, search)
    return render(
        request,
        "devices/help/support_codes.html",
        {"entries": found, "search": search, "code": code},
    )


def _matching(entries: list[Entry], search: str) -> list[Entry]:
    words = search.casefold().split()
    return [
        entry
        for entry in entries
        if all(
            word in " ".join((entry.code, entry.headline, *entry.sentences)).casefold()
            for word in words
        )
    ]


@require_safe
@login_required_here
def unrecognised_messages(request: HttpRequest) -> HttpResponse:
    """Messages of hubs and clouds that have no explanation, newest first."""
    if not may_see_unknown(current_user(request)):
        raise PermissionDenied(gettext("This page is only for support staff and administrators."))
    listed = Paginator(UnknownText.objects.all(), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "devices/help/unexplained_texts.html", {"listed": listed})
