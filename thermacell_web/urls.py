"""Every address of the product."""

from typing import NoReturn

from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import URLPattern, URLResolver, include, path, re_path


def closed(request: HttpRequest, **_: object) -> NoReturn:
    """Answer 404: a page of the sign-in library that has no place here."""
    raise Http404("not a page of this product")


# Nobody signs up alone or manages several addresses; the library still reverses these names.
closed_pages = [
    path("signup/", closed, name="account_signup"),
    path("email/", closed, name="account_email"),
    path("confirm-email/", closed, name="account_email_verification_sent"),
    re_path(r"^confirm-email/(?P<key>[-:\w]+)/$", closed, name="account_confirm_email"),
    path("password/set/", closed, name="account_set_password"),
    path("login/code/confirm/", closed, name="account_confirm_login_code"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("account/", include(closed_pages)),
    path("account/", include("allauth.account.urls")),
    path("account/factors/", include("allauth.mfa.urls")),
    path("account/sessions/", include("allauth.usersessions.urls")),
    path("", include("devices.urls")),
]
if settings.OIDC is not None:
    urlpatterns[:0] = [
        path("account/other/signup/", closed, name="socialaccount_signup"),
        path("account/other/", closed, name="socialaccount_connections"),
        path("account/other/", include("allauth.socialaccount.urls")),
        path("account/", include("allauth.socialaccount.providers.openid_connect.urls")),
    ]
