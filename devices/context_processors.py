"""The values of base.html: navigation, households, worker status."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from devices.households.setup_link import is_without_people, stays_here
from devices.models import Household, Membership, User
from devices.permissions import Right, administers, households_for, may_see_unknown, memberships_of
from devices.rainmaker.address_guard import is_this_machine
from devices.request_scope import scope_of
from devices.taskqueue.health import WorkerStatus
from thermacell_web import __version__


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the main navigation: label, URL name, icon, who sees it."""

    label: Promise
    name: str
    icon: str
    beside: frozenset[str] = frozenset()
    """Further pages that belong to it."""
    is_shown: Callable[["Layout"], bool] = lambda page: True


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it is rendered on one page."""

    label: str
    address: str
    current: str
    """As aria-current says it: "page", "true" on a page that belongs to it, or ""."""
    icon: str


NAVIGATION = (
    Entry(gettext_lazy("Hubs"), "hubs", "hub", frozenset({"hub", "hub_install", "install"})),
    Entry(gettext_lazy("Planned"), "planned", "calendar", frozenset({"plan_change", "calendar"})),
    Entry(gettext_lazy("Overview"), "overview", "chart"),
    Entry(gettext_lazy("History"), "history", "clock"),
    Entry(
        gettext_lazy("Accounts"),
        "accounts",
        "cloud",
        frozenset({"account_link", "account_reconnect", "account_unlink", "account_calls"}),
    ),
    Entry(gettext_lazy("Audit trail"), "audit", "list", is_shown=lambda page: page.may_review),
    Entry(
        gettext_lazy("People"), "server_people", "people", is_shown=lambda page: page.administers
    ),
    Entry(
        gettext_lazy("Server"),
        "server_status",
        "server",
        frozenset({"server_backups"}),
        is_shown=lambda page: page.administers,
    ),
    Entry(
        gettext_lazy("Versions"),
        "versions",
        "chart",
        frozenset({"version", "server_versions"}),
        is_shown=lambda page: page.may_see_unknown,
    ),
    Entry(
        gettext_lazy("Unrecognised"),
        "unrecognised_messages",
        "info",
        is_shown=lambda page: page.may_see_unknown,
    ),
)

# The pages of one household, in the order in which they are shown on each of them.
OF_HOUSEHOLD = (
    Entry(gettext_lazy("Household"), "household", "list", frozenset({"household_proposals"})),
    Entry(gettext_lazy("People"), "people", "people", frozenset({"household_leave"})),
    Entry(
        gettext_lazy("Settings"),
        "household_settings",
        "server",
        frozenset({"household_transfer"}),
        is_shown=lambda page: page.may_manage_this,
    ),
    Entry(gettext_lazy("Updates"), "update_policy", "up"),
    Entry(
        gettext_lazy("Notifications"),
        "notifications",
        "info",
        frozenset({"notification_service", "notification_service_new", "notification_device"}),
    ),
    Entry(gettext_lazy("Winter"), "season", "moon"),
    Entry(
        gettext_lazy("Home Assistant"),
        "home_assistant",
        "hub",
        is_shown=lambda page: page.may_manage_this,
    ),
    Entry(gettext_lazy("Tokens"), "api_tokens", "key"),
)


class Layout:
    """The frame of a page. Each value costs its query only where a template asks for it."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        user = getattr(request, "user", None)
        self.user = user if isinstance(user, User) and user.is_authenticated else None

    @cached_property
    def memberships(self) -> list[Membership]:
        """The households this person belongs to, with the role in each, by name."""
        return memberships_of(self.user) if self.user is not None else []

    @cached_property
    def sees_all(self) -> bool:
        """Does this person see every household, by a staff role?"""
        return self.user is not None and households_for(self.user) is None

    @cached_property
    def household(self) -> Household | None:
        """The one household the lists show now: chosen, or the only one."""
        if self.user is None:
            return None
        wanted = scope_of(self.request).household_id
        for membership in self.memberships:
            if membership.household_id == wanted:
                return membership.household
        if wanted is not None:
            return Household.objects.filter(pk=wanted).first()
        if len(self.memberships) == 1 and not self.sees_all:
            return self.memberships[0].household
        return None

    @property
    def has_many_households(self) -> bool:
        """Do the lists show hubs of more than one household, unless narrowed to one?"""
        ids = households_for(self.user) if self.user is not None else []
        return ids is None or len(ids) > 1

    @property
    def sample_sign_ins(self) -> dict[str, object] | None:
        """Who may sign in to a demo, and with which password; None in every other start."""
        sign_ins: dict[str, object] | None = settings.SAMPLE_SIGN_INS
        return sign_ins

    @property
    def issuer(self) -> str:
        """The name of the single sign-on provider; "" without one."""
        return settings.OIDC.name if settings.OIDC is not None else ""

    @property
    def has_mail_server(self) -> bool:
        return bool(settings.HAS_MAIL_SERVER)

    @property
    def links_stay_here(self) -> bool:
        """Do shared links open only on the computer this server runs on?"""
        return stays_here(settings.PUBLIC_URL)

    @property
    def is_readable_on_the_way(self) -> bool:
        """Does what is typed here travel through a network without encryption?"""
        host = urlsplit(f"//{self.request.get_host()}").hostname or ""
        return not self.request.is_secure() and not is_this_machine(host)

    @property
    def is_without_people(self) -> bool:
        """Is the first person still to come in, by the link from the terminal?"""
        return is_without_people()

    @property
    def languages(self) -> list[tuple[str, str]]:
        """The languages to choose from, each by its own name."""
        return list(settings.LANGUAGES)

    @property
    def administers(self) -> bool:
        return self.user is not None and administers(self.user)

    @cached_property
    def may_review(self) -> bool:
        """May this person read any part of the audit trail?"""
        return self.user is not None and households_for(self.user, Right.REVIEW) != []

    @property
    def has_news(self) -> bool:
        """Did this person not yet see what the running version brought?"""
        return self.user is not None and self.user.news_seen != __version__

    @property
    def may_see_unknown(self) -> bool:
        return self.user is not None and may_see_unknown(self.user)

    @property
    def may_manage_this(self) -> bool:
        """May this person manage the household whose page this is?"""
        ids = households_for(self.user, Right.MANAGE) if self.user is not None else []
        return ids is None or self._kwarg("pk") in ids

    @cached_property
    def navigation(self) -> list[Link]:
        """The entries this person sees, with the one that is open."""
        return self._links(NAVIGATION)

    @cached_property
    def household_pages(self) -> list[Link]:
        """The pages of the household whose page this is, as far as this person may see them."""
        return self._links(OF_HOUSEHOLD, self._kwarg("pk"))

    def _kwarg(self, name: str) -> object:
        match = self.request.resolver_match
        return match.kwargs.get(name) if match is not None else None

    def _links(self, entries: tuple[Entry, ...], *args: object) -> list[Link]:
        match = self.request.resolver_match
        at = match.url_name if match is not None else None
        return [
            Link(
                str(entry.label),
                reverse(entry.name, args=args),
                "page" if at == entry.name else "true" if at in entry.beside else "",
                entry.icon,
            )
            for entry in entries
            if entry.is_shown(self)
        ]

    @property
    def worker(self) -> WorkerStatus:
        return scope_of(self.request).worker


def page(request: HttpRequest) -> dict[str, Any]:
    """Return the values for base.html."""
    return {"page": Layout(request)}
