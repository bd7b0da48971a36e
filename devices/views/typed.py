"""What somebody typed into a form whose session was over: kept until they have signed in again."""

import time
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext

KEPT_FOR_S = 60 * 60
MOST_FIELDS, LONGEST = 20, 2000
_KEY = "typed"
# A password is typed again; what was agreed to is read again.
NOT_KEPT = ("csrfmiddlewaretoken", "agreed", "next")


def keep(request: HttpRequest) -> str:
    """Keep the fields of this form in the session that begins now; return the form's page."""
    page = page_of(request)
    fields = {
        name: str(value)[:LONGEST]
        for name, value in list(request.POST.items())[:MOST_FIELDS]
        if name not in NOT_KEPT and "password" not in name
    }
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        request.session[_KEY] = {"page": page, "fields": fields, "at": time.time()}
    return page


def page_of(request: HttpRequest) -> str:
    """Return the page of ours that a form was sent from: some addresses take forms and have no
    page themselves.
    """
    referer = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        parts = urlsplit(referer)
        if parts.path.startswith("/") and not parts.path.startswith("//"):
            return parts.path + (f"?{parts.query}" if parts.query else "")
    return request.path


def page_or_hubs(request: HttpRequest) -> str:
    """Return the page of ours that a form was sent from, or the hubs when no browser told."""
    page = page_of(request)
    return page if page != request.path else reverse("hubs")


def typed(request: HttpRequest) -> dict[str, str]:
    """Return what was typed into this page before its session ended, once, and say so."""
    kept = request.session.get(_KEY)
    if not kept or kept["page"] != request.get_full_path() or request.method != "GET":
        return {}
    del request.session[_KEY]
    if time.time() - kept["at"] > KEPT_FOR_S:
        return {}
    messages.warning(
        request,
        gettext("You had been signed out, so nothing was sent. What you typed is here again."),
    )
    return dict(kept["fields"])
