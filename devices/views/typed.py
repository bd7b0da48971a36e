"""What somebody typed into a form whose session was over: kept until they have signed in again."""

import time
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.views.decorators.csrf import requires_csrf_token

KEPT_FOR_S = 60 * 60
MOST_FIELDS, LONGEST = 20, 2000
_KEY = "typed"
# A secret is typed again; what was agreed to is read again.
SECRETS = ("url", "broker_url", "client_pem", "code")
NOT_KEPT = ("csrfmiddlewaretoken", "agreed", "next", *SECRETS)


@requires_csrf_token
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form of an earlier sign-in, or of somebody else's making, which is not acted on.

    One of our own pages comes again with what was typed into it; any other gets 403.
    """
    if not request.user.is_authenticated or not _referer(request):
        return render(request, "403_csrf.html", status=403)
    messages.warning(
        request,
        gettext("This page was open too long, so nothing was changed or sent. Please press again."),
    )
    return redirect(keep(request, is_told=True))


def keep(request: HttpRequest, *, is_told: bool = False) -> str:
    """Keep the fields of this form in the session that begins now; return the form's page."""
    page = page_of(request)
    fields = {
        name: str(value)[:LONGEST]
        for name, value in list(request.POST.items())[:MOST_FIELDS]
        if name not in NOT_KEPT and "password" not in name
    }
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        kept = {"page": page, "fields": fields, "at": time.time(), "told": is_told}
        request.session[_KEY] = kept
    return page


def page_of(request: HttpRequest) -> str:
    """Return the page of ours that a form was sent from: some addresses take forms and have no
    page themselves.
    """
    return _referer(request) or request.path


def _referer(request: HttpRequest) -> str:
    """Return the page of ours that the browser says it comes from, or ""."""
    referer = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        parts = urlsplit(referer)
        if parts.path.startswith("/") and not parts.path.startswith("//"):
            return parts.path + (f"?{parts.query}" if parts.query else "")
    return ""


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
    if not kept.get("told"):
        messages.warning(
            request,
            gettext("You had been signed out, so nothing was sent. What you typed is here again."),
        )
    return dict(kept["fields"])
