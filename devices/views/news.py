"""What is new in this version: a page for everybody, and one line after an upgrade."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from devices.presentation.whats_new import releases
from devices.views.access import current_user, login_required_here
from devices.views.form_drafts import page_or_hubs
from thermacell_web import __version__


@require_safe
@login_required_here
def whats_new(request: HttpRequest) -> HttpResponse:
    """The changelog, newest version first."""
    return render(request, "devices/help/whats_new.html", {"releases": releases()})


@require_POST
@login_required_here
def news_seen(request: HttpRequest) -> HttpResponse:
    """Show this person no line about this version any more."""
    user = current_user(request)
    user.news_seen = __version__
    user.save(update_fields=["news_seen"])
    return redirect(page_or_hubs(request))
