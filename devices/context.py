"""What every page shows besides its own subject."""

from functools import cached_property
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest

from devices.models import Household, Membership, User
from devices.policies import Right, administers, households_for, may_see_unknown, memberships_of
from devices.readiness import WorkerStanding
from devices.welcome import stays_here

# The session's key for the household the lists are narrowed to.
CHOSEN = "household"


def chosen(request: HttpRequest) -> int | None:
    """Return the household this person narrowed the lists to, or None. At most one query."""
    if not hasattr(request, "_chosen_household"):
        wanted = request.session.get(CHOSEN) if request.user.is_authenticated else None
        if wanted is not None and not households_for(cast(User, request.user), within=wanted):
            wanted = None
        request._chosen_household = wanted  # type: ignore[attr-defined]
    return cast("int | None", request._chosen_household)  # type: ignore[attr-defined]


def worker_now(request: HttpRequest) -> WorkerStanding:
    """Return how the worker stands, looked up once a request."""
    if not hasattr(request, "_worker_standing"):
        request._worker_standing = WorkerStanding.now()  # type: ignore[attr-defined]
    return cast(WorkerStanding, request._worker_standing)  # type: ignore[attr-defined]


class Page:
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
        wanted = chosen(self.request)
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
        return self.sees_all or len(self.memberships) > 1

    @property
    def issuer(self) -> str:
        """Return what the other way to sign in is called; "" when there is none."""
        return settings.OIDC.name if settings.OIDC is not None else ""

    @property
    def has_mail_server(self) -> bool:
        return bool(settings.HAS_MAIL_SERVER)

    @property
    def links_stay_here(self) -> bool:
        """Do links to pass on open only on the computer this server runs on?"""
        return stays_here(settings.PUBLIC_URL)

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
    def may_see_unknown(self) -> bool:
        return self.user is not None and may_see_unknown(self.user)

    @property
    def worker(self) -> WorkerStanding:
        return worker_now(self.request)


def page(request: HttpRequest) -> dict[str, Any]:
    """Return the values for base.html."""
    return {"page": Page(request)}
