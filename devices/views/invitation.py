"""Coming in by an invitation. Looking at the link decides nothing: mail scanners look too."""

from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from devices import people
from devices.context import CHOSEN
from devices.forms import ComingForm
from devices.middleware import origin
from devices.models import Actor, Invitation, User
from devices.views.limits import limited
from devices.views.people import BACKEND


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@limited("link")
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Who invites whom to what; accepting is an act of its own."""
    found = people.open_invitation(token)
    if found is None:
        return render(request, "devices/invitation_over.html", status=410)
    known = User.objects.filter(email__iexact=found.email).first()
    here = request.user if isinstance(request.user, User) else None
    is_me = known is not None and known == here
    values: dict[str, object] = {"invitation": found, "known": known, "is_me": is_me}
    form = ComingForm(request.POST if request.method == "POST" else None, email=found.email)
    problem = ""
    if request.method == "POST" and (is_me or (not known and not here)):
        if known is None and not form.is_valid():
            return render(request, "devices/invitation.html", values | {"form": form})
        try:
            _accept(request, found, known, form)
        except people.NotPossible as why:
            problem = str(why)
        else:
            messages.success(
                request, (gettext("Welcome to %(household)s.") % {"household": found.household})
            )
            return redirect("hubs")
    elif request.method == "POST":
        problem = gettext("This invitation is for %(email)s.") % {"email": found.email}
    values |= {"form": form, "problem": problem}
    return render(request, "devices/invitation.html", values, status=409 if problem else 200)


def _accept(request: HttpRequest, found: Invitation, known: User | None, form: ComingForm) -> None:
    user_id = known.pk if known is not None else None
    actor = Actor(found.email, user_id, found.role, "web", **origin(request))
    if known is not None:
        people.accept(found, user=known, actor=actor)
    else:
        new = form.person()
        people.accept(found, new=new, actor=actor)
        login(request, new, backend=BACKEND)
    request.session.pop(CHOSEN, None)
