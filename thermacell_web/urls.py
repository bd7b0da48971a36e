"""Every address of the product."""

from typing import NoReturn

from allauth.mfa.totp.views import activate_totp
from allauth.mfa.webauthn.views import add_webauthn
from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import URLPattern, URLResolver, include, path, re_path

from devices.views.profile import factor_proof_required


def closed(request: HttpRequest, **_: object) -> NoReturn:
    """Answer 404: a page of the sign-in library that has no place here."""
    raise Http404("not a page of this product")


# There is no sign-up and no list of addresses; the library still reverses these names.
closed_pages = [
    path("signup/", closed, name="account_signup"),
    path("email/", closed, name="account_email"),
    path("confirm-email/", closed, name="account_email_verification_sent"),
    re_path(r"^confirm-email/(?P<key>[-:\w]+)/$", closed, name="account_confirm_email"),
    path("password/set/", closed, name="account_set_password"),
    path("login/code/confirm/", closed, name="account_confirm_login_code"),
]

# Pages of the sign-in library that ask for one thing more.
guarded_pages = [
    path("totp/activate/", factor_proof_required(activate_totp), name="mfa_activate_totp"),
    path("webauthn/add/", factor_proof_required(add_webauthn), name="mfa_add_webauthn"),
]

handler400 = "devices.views.errors.bad_request"
handler500 = "devices.views.database_away.server_error"
urlpatterns: list[URLPattern | URLResolver] = [
    path("account/", include(closed_pages)),
    path("account/", include("allauth.account.urls")),
    path("account/factors/", include(guarded_pages)),
    path("account/factors/", include("allauth.mfa.urls")),
    path("account/sessions/", include("allauth.usersessions.urls")),
    path("", include("devices.urls")),
]
if settings.OIDC is not None:
    from devices.security import oidc
    from devices.views import identity

    issuer = {"provider_id": oidc.PROVIDER_ID}
    urlpatterns[:0] = [
        path("account/other/signup/", closed, name="socialaccount_signup"),
        path("account/other/", closed, name="socialaccount_connections"),
        path("account/other/", include("allauth.socialaccount.urls")),
        path("account/sso/login/", oidc.login, issuer, name="openid_connect_login"),
        path("account/sso/login/callback/", oidc.callback, issuer, name="openid_connect_callback"),
        path("account/sso/link/", identity.link, name="identity_link"),
        path("account/sso/unlink/", identity.unlink, name="identity_unlink"),
    ]
