"""Joining by an invitation. Opening the link changes nothing: mail scanners open it too."""

from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from devices.forms.households import AcceptInvitationForm
from devices.households import invitations, members
from devices.models import Actor, Invitation, Role, User
from devices.presentation.formatting import role_word
from devices.request_scope import SELECTED_KEY
from devices.security.one_time_tokens import is_mail_mark
from devices.security.rate_limits import limited
from devices.security.request_origin import origin
from devices.views.profile import BACKEND

# What a role brings, as the invitation to it says.
RIGHTS: dict[str, Promise] = {
    Role.OWNER: gettext_lazy(
        "Your role is %(role)s: you also manage its people, cloud accounts and settings."
    ),
    Role.MEMBER: gettext_lazy("Your role is %(role)s: you can see its hubs and install firmware."),
    Role.VIEWER: gettext_lazy("Your role is %(role)s: you can see its hubs."),
}


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@limited("link")
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show who invites whom to which household; accept on POST."""
    found = invitations.open_invitation(token)
    if found is None:
        return render(request, "devices/people/invitation_expired.html", status=410)
    known = User.objects.filter(email__iexact=found.email).first()
    here = request.user if isinstance(request.user, User) else None
    is_me = known is not None and known == here
    values: dict[str, object] = {"invitation": found, "known": known, "is_me": is_me}
    values["rights"] = str(RIGHTS[found.role]) % {"role": role_word(found.role)}
    form = AcceptInvitationForm(
        request.POST if request.method == "POST" else None, email=found.email
    )
    problem = ""
    if request.method == "POST" and (is_me or (not known and not here)):
        if known is None and not form.is_valid():
            return render(request, "devices/people/invitation.html", values | {"form": form})
        try:
            _accept(request, found, known, form, is_mail_mark(token, request.GET.get("mail", "")))
        except members.MembershipError as why:
            problem = str(why)
        else:
            messages.success(
                request, (gettext("Welcome to %(household)s.") % {"household": found.household})
            )
            return redirect("hubs")
    elif request.method == "POST":
        problem = gettext("This invitation is for %(email)s.") % {"email": found.email}
    values |= {"form": form, "problem": problem}
    return render(request, "devices/people/invitation.html", values, status=409 if problem else 200)


def _accept(
    request: HttpRequest,
    found: Invitation,
    known: User | None,
    form: AcceptInvitationForm,
    is_mailed: bool,
) -> None:
    user_id = known.pk if known is not None else None
    actor = Actor(found.email, user_id, found.role, "web", **origin(request))
    if known is not None:
        invitations.accept(found, user=known, actor=actor, is_mailed=is_mailed)
    else:
        new = form.person()
        invitations.accept(found, new=new, actor=actor, is_mailed=is_mailed)
        login(request, new, backend=BACKEND)
    request.session.pop(SELECTED_KEY, None)
