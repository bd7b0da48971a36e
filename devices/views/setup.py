"""The first visit: the first owner comes in by a one-time link."""

from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from devices.forms.households import SetupForm
from devices.households import setup_link
from devices.security.request_origin import origin
from devices.views.profile import BACKEND


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """The first owner and household, by the one-time link from the terminal."""
    if not setup_link.is_valid(token):
        return render(request, "devices/setup/link_expired.html", status=410)
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = setup_link.use(token, origin=origin(request), **form.cleaned_data)
        if user is None:
            return render(request, "devices/setup/link_expired.html", status=410)
        login(request, user, backend=BACKEND)
        messages.success(request, gettext("Welcome. Next, link your cloud account."))
        return redirect("account_link")
    return render(request, "devices/setup/welcome.html", {"form": form})
