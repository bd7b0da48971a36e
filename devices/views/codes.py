"""What every support code means, for everybody; and what nobody has explained yet, for staff."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from devices.explain import Entry, every_entry, read_code
from devices.models import UnknownText
from devices.policies import may_see_unknown
from devices.views.access import person, signed_in


@require_safe
@signed_in
def codes(request: HttpRequest) -> HttpResponse:
    """The support codes and what stands behind them; one, when it is asked for."""
    search = request.GET.get("q", "").strip()[:100]
    code = read_code(search)
    entries = every_entry()
    found = [one for one in entries if one.code == code] if code else _matching(entries, search)
    return render(request, "devices/codes.html", {"entries": found, "search": search, "code": code})


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
@signed_in
def unknown_texts(request: HttpRequest) -> HttpResponse:
    """What hubs and clouds said that the catalogue does not know, the newest first."""
    if not may_see_unknown(person(request)):
        raise PermissionDenied(gettext("This page is for those who keep this server."))
    return render(request, "devices/unknown_texts.html", {"texts": UnknownText.objects.all()})
