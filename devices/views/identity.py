"""Linking a person to the OpenID Connect issuer, with their consent, and ending the link."""

from allauth.socialaccount.models import SocialAccount
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from devices.audit import log as audit_log
from devices.households import staff
from devices.models import AuditAction
from devices.notifications.email import send
from devices.security import oidc
from devices.views.access import current_user, login_required_here, request_actor


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def link(request: HttpRequest) -> HttpResponse:
    """Ask whether the identity the issuer just named may sign this person in, and link it."""
    user = current_user(request)
    waiting = oidc.waiting_link(request, user)
    if waiting is None:
        messages.warning(request, gettext("There is nothing to link to this account."))
        return redirect("profile")
    issuer = oidc.issuer_name()
    if request.method != "POST":
        return render(request, "devices/people/identity_link.html", {"issuer": issuer})
    with audit_log.locked():
        waiting.connect(request, user)
        if user.is_address_unproven:
            staff.confirm_address(user, actor=request_actor(request), why=f"by {issuer}")
        audit_log.record(
            request_actor(request),
            AuditAction.PERSON_IDENTITY_LINKED,
            f"{user.email} linked {issuer}: it can sign this person in from now on.",
            detail={"user_id": user.pk, "subject": waiting.account.uid},
        )
    oidc.forget_waiting(request)
    subject = gettext("%(issuer)s can now sign you in") % {"issuer": issuer}
    send(user.email, subject, "mail/identity_linked.txt", {"issuer": issuer, "email": user.email})
    messages.success(request, gettext("Linked. Your password still works."))
    return redirect("profile")


@require_POST
@login_required_here
def unlink(request: HttpRequest) -> HttpResponse:
    """End the link: from now on only the password signs this person in."""
    user = current_user(request)
    with audit_log.locked():
        if SocialAccount.objects.filter(user=user).delete()[0]:
            audit_log.record(
                request_actor(request),
                AuditAction.PERSON_IDENTITY_UNLINKED,
                f"{user.email} ended the link to {oidc.issuer_name()}.",
                detail={"user_id": user.pk},
            )
    messages.success(request, gettext("The link was ended."))
    return redirect("profile")
