"""Drafts of forms that were sent after the session had ended, kept until the next sign-in."""

import time
from urllib.parse import urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.views.decorators.csrf import requires_csrf_token

from devices.security.rate_limits import address_of, spend
from devices.security.session_cookie import session_key_in

KEPT_FOR_S = 60 * 60
MOST_DRAFTS = 30  # a minute, from one address
MOST_FIELDS, LONGEST = 20, 2000
_KEY = "typed"
# Secrets have to be typed again, and offers confirmed again.
SECRETS = ("url", "broker_url", "client_pem", "code", "endpoint", "p256dh", "auth")
NOT_KEPT = ("csrfmiddlewaretoken", "agreed", "next", *SECRETS)


@requires_csrf_token
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form of an earlier session or of another site: nothing is changed.

    One of our own pages is shown again with its fields filled in; any other gets 403.
    """
    if not request.user.is_authenticated or not referring_page(request):
        return render(request, "403_csrf.html", status=403)
    messages.warning(
        request, gettext("This page had expired, so nothing was changed or sent. Please try again.")
    )
    return redirect(save(request, is_shown=True))


def save(request: HttpRequest, *, is_shown: bool = False) -> str:
    """Keep the fields of this form in the session that begins now; return the form's page."""
    page = page_of(request)
    fields = {
        name: str(value)[:LONGEST]
        for name, value in list(request.POST.items())[:MOST_FIELDS]
        if name not in NOT_KEPT and "password" not in name
    }
    # only for a browser that had a session here, and not without end: each new one is a row
    if session_key_in(request) and not spend(f"draft:{address_of(request)}", MOST_DRAFTS):
        kept = {"page": page, "fields": fields, "at": time.time(), "is_shown": is_shown}
        request.session[_KEY] = kept
    return page


def page_of(request: HttpRequest) -> str:
    """Return our page that a form was sent from: some addresses accept forms and have no page."""
    return referring_page(request) or request.path


def referring_page(request: HttpRequest) -> str:
    """Return our page that the referrer names, or ""."""
    referer = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        parts = urlsplit(referer)
        if parts.path.startswith("/") and not parts.path.startswith("//"):
            return parts.path + (f"?{parts.query}" if parts.query else "")
    return ""


def page_or_hubs(request: HttpRequest) -> str:
    """Return our page that a form was sent from, or the hubs page without a referrer."""
    page = page_of(request)
    return page if page != request.path else reverse("hubs")


def restore(request: HttpRequest) -> dict[str, str]:
    """Return the draft of this page once, with a message about it."""
    kept = request.session.get(_KEY)
    if not kept or kept["page"] != request.get_full_path() or request.method != "GET":
        return {}
    del request.session[_KEY]
    if time.time() - kept["at"] > KEPT_FOR_S:
        return {}
    if not kept.get("is_shown"):
        messages.warning(
            request,
            gettext("You were signed out, so nothing was sent. What you typed is still here."),
        )
    return dict(kept["fields"])
