"""Addresses of the pages."""

from django.urls import path

from devices.views import accounts, health, hub, hubs, installs, overview, people, trail

urlpatterns = [
    path("", hubs.hubs, name="hubs"),
    path("hubs/live/", hubs.hubs_live, name="hubs_live"),
    path("hubs/check/", hubs.hubs_check, name="hubs_check"),
    path("hubs/<int:pk>/", hub.hub, name="hub"),
    path("hubs/<int:pk>/live/", hub.hub_live, name="hub_live"),
    path("hubs/<int:pk>/check/", hubs.hub_check, name="hub_check"),
    path("hubs/<int:pk>/install/", installs.confirm, name="hub_install"),
    path("installs/<int:pk>/", installs.install, name="install"),
    path("installs/<int:pk>/live/", installs.install_live, name="install_live"),
    path("installs/<int:pk>/cancel/", installs.install_cancel, name="install_cancel"),
    path("overview/", overview.overview, name="overview"),
    path("history/", installs.history, name="history"),
    path("audit/", trail.audit, name="audit"),
    path("accounts/", accounts.accounts, name="accounts"),
    path("accounts/link/", accounts.account_link, name="account_link"),
    path("accounts/<int:pk>/sign-in/", accounts.account_reconnect, name="account_reconnect"),
    path("accounts/<int:pk>/forget-password/", accounts.account_forget, name="account_forget"),
    path("accounts/<int:pk>/unlink/", accounts.account_unlink, name="account_unlink"),
    path("profile/", people.profile, name="profile"),
    path("welcome/<str:token>/", people.welcome, name="welcome"),
    path("healthz", health.healthz, name="healthz"),
]
