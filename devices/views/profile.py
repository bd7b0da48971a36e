"""A person's own page, and the proofs they give: of the address, and before a second factor."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from devices.forms.profile import FactorCodeForm, ProfileForm
from devices.households import staff
from devices.models import User
from devices.notifications.email import send
from devices.security import factor_proof
from devices.security.one_time_tokens import read, sign, standing
from devices.security.rate_limits import HOUR_S, limited, spend
from devices.views.access import current_user, login_required_here, request_actor
from devices.views.form_drafts import restore

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
ADDRESS_LINK_VALID_FOR = timedelta(hours=24)
CODES_AN_HOUR = 5


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def profile(request: HttpRequest) -> HttpResponse:
    """The person's name, households and ways to change the password or leave."""
    user = current_user(request)
    now = {"name": user.name, "search_key": user.search_key}
    if kept := restore(request):
        now = kept | {"search_key": "search_key" in kept}
    form = ProfileForm(request.POST if request.method == "POST" else None, initial=now)
    if form.is_valid():
        user.name = form.cleaned_data["name"]
        user.search_key = form.cleaned_data["search_key"]
        user.save(update_fields=["name", "search_key"])
        messages.success(request, gettext("Saved."))
        return redirect("profile")
    is_open = user.is_address_unproven or factor_proof.is_needed(user)
    values = {
        "form": form,
        "linked": _linked(user),
        "may_confirm": settings.HAS_MAIL_SERVER and is_open,
    }
    return render(request, "devices/people/profile.html", values)


def _linked(user: User) -> bool:
    """Can the OpenID Connect issuer sign this person in?"""
    if settings.OIDC is None:
        return False
    from allauth.socialaccount.models import SocialAccount

    return bool(SocialAccount.objects.filter(user=user).exists())


@require_POST
@login_required_here
@limited("invite")
def address_mail(request: HttpRequest) -> HttpResponse:
    """Mail a link that proves the address."""
    user = current_user(request)
    link = settings.PUBLIC_URL + reverse("address_confirm", args=[_address_token(user)])
    subject = gettext("Confirm your e-mail address")
    if send(user.email, subject, "mail/address.txt", {"link": link, "email": user.email}):
        words = gettext("A link was sent to %(email)s.") % {"email": user.email}
        messages.success(request, words)
    else:
        messages.warning(request, gettext("The mail could not be sent."))
    return redirect("profile")


def _address_token(user: User) -> str:
    return sign("address", [user.pk, standing(user)])


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
@limited("link")
def address_confirm(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the mailed link: confirm on POST, since mail scanners open links too."""
    user = current_user(request)
    if read("address", token, ADDRESS_LINK_VALID_FOR) != [user.pk, standing(user)]:
        return render(request, "devices/people/address_expired.html", status=410)
    if request.method != "POST":
        return render(request, "devices/people/address_confirm.html")
    staff.confirm_address(user, actor=request_actor(request), why="by a link in a mail")
    factor_proof.accept(user)
    messages.success(request, gettext("Your address is confirmed."))
    return redirect("profile")


def factor_proof_required(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Lead to `factor_code` first while a proof is missing."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **values: object) -> HttpResponseBase:
        user = request.user
        if isinstance(user, User) and factor_proof.is_missing(request, user):
            return redirect("factor_code")
        return view(request, *args, **values)

    return guarded


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def factor_code(request: HttpRequest) -> HttpResponse:
    """Ask for a proof before a second factor is set up right after a password link."""
    user = request.user
    if not isinstance(user, User) or not factor_proof.is_missing(request, user):
        return redirect("mfa_index")
    form = FactorCodeForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        if spend(f"factor-code:{user.pk}", CODES_AN_HOUR, HOUR_S):
            return render(request, "429.html", status=429)
        if factor_proof.is_code(user, form.cleaned_data["code"]):
            factor_proof.accept(user)
            return redirect("mfa_index")
        form.add_error("code", gettext("This code is not right, or too old."))
    return render(request, "devices/people/factor_code.html", {"form": form})
