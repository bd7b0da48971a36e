"""Signing in by an OpenID Connect issuer, read strictly, and only for people who are known here.

The first time, the person has to sign in here once and agree to the link: an issuer that names an
address is no reason to hand over an account.
"""

import time
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, Outcome, User
from devices.security.request_origin import origin

PROVIDER_ID = "sso"
# The session's key for an identity that waits for its person's consent, and for how long.
_WAITING, _WAITS_S = "identity_to_link", 900
_ENDPOINTS = ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
_LONGEST_SUBJECT = 255  # OpenID Connect Core 1.0, section 2


class StrictOpenIDConnect(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """Refuses an answer without a subject, and takes only a JSON true for a verified address."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.subjects: set[str] = set()

    @property
    def openid_config(self) -> dict[str, Any]:
        config = super().openid_config
        if not isinstance(config, dict) or not all(config.get(name) for name in _ENDPOINTS):
            raise OAuth2Error("the issuer's configuration is incomplete")
        return config

    def complete_login(self, request: HttpRequest, *args: Any, **kwargs: Any) -> SocialLogin:
        """Return who the issuer says this is. Raises OAuth2Error for an answer not as agreed."""
        login = super().complete_login(request, *args, **kwargs)
        if len(self.subjects) != 1:  # OpenID Connect Core 1.0, section 5.3.2
            raise OAuth2Error("the issuer named two subjects")
        return login

    def _fetch_user_info(self, access_token: str) -> dict[str, Any]:
        return self._strict(super()._fetch_user_info(access_token))

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        return self._strict(super()._decode_id_token(app, id_token))

    def _strict(self, claims: Any) -> dict[str, Any]:
        subject = claims.get("sub") if isinstance(claims, dict) else None
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
            raise OAuth2Error("the issuer named no subject")
        self.subjects.add(subject)
        texts = {name: value for name, value in claims.items() if isinstance(value, str)}
        return texts | {"email_verified": claims.get("email_verified") is True}


def issuer_name() -> str:
    return settings.OIDC.name if settings.OIDC is not None else ""


def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Lead on to the issuer."""
    return _view(OAuth2LoginView, request, provider_id)


def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Read what the issuer says."""
    return _view(OAuth2CallbackView, request, provider_id)


def _view(kind: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    answer: HttpResponse = kind.adapter_view(StrictOpenIDConnect(request, provider_id))(request)
    return answer


class KnownPeopleOnly(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Lets in people who linked their account here; others must sign in here once first."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        if sociallogin.is_existing:
            if not sociallogin.user.is_active:
                _record_refusal(request, sociallogin.user.email)
            return
        email = verified_address(sociallogin)
        if not User.objects.filter(email__iexact=email, is_active=True).exists():
            _record_refusal(request, email)
            raise ImmediateHttpResponse(render(request, "account/signup_closed.html"))
        request.session[_WAITING] = {"at": time.time(), "login": sociallogin.serialize()}
        words = gettext(
            "%(issuer)s is not linked to your account here yet. Sign in with your password once "
            "to link it."
        )
        messages.info(request, words % {"issuer": issuer_name()})
        raise ImmediateHttpResponse(redirect("identity_link"))

    def can_authenticate_by_email(self, login: SocialLogin, email: str) -> bool:
        return False


def verified_address(sociallogin: SocialLogin) -> str:
    """Return the address that the issuer calls verified, or ""."""
    return next((one.email for one in sociallogin.email_addresses if one.verified), "")


def waiting_link(request: HttpRequest, user: User) -> SocialLogin | None:
    """Return the identity that waits for this person's consent; None for another person's."""
    waiting = request.session.get(_WAITING)
    if waiting is None or time.time() - waiting["at"] > _WAITS_S:
        return None
    login = SocialLogin.deserialize(waiting["login"])
    is_taken = SocialAccount.objects.filter(provider=login.account.provider, uid=login.account.uid)
    is_own = verified_address(login).lower() == user.email
    return login if is_own and not is_taken.exists() else None


def forget_waiting(request: HttpRequest) -> None:
    request.session.pop(_WAITING, None)


def _record_refusal(request: HttpRequest, email: str) -> None:
    name = email[:254] or "unknown"
    audit_log.record(
        Actor(name=name, **origin(request)),
        AuditAction.PERSON_SIGN_IN_FAILED,
        f"A sign-in as {name} by {issuer_name()} was refused.",
        outcome=Outcome.REFUSED,
    )
