"""Who acts at a terminal, and secrets that are read without being shown."""

import getpass
import os
import sys

from django.core.management.base import CommandError

from devices.models import Actor, Household, Membership, Role, User
from devices.policies import role_in


def acting(email: str | None) -> User:
    """Return the person a command acts as: the one named, else the server's only owner."""
    if email:
        user = User.objects.filter(email__iexact=email.strip(), is_active=True).first()
        if user is None:
            raise CommandError(f"Nobody signs in here as {email}.")
        return user
    owners = list(User.objects.filter(memberships__role=Role.OWNER, is_active=True).distinct()[:2])
    if len(owners) == 1:
        return owners[0]
    if not owners:
        raise CommandError("There is no owner yet; `manage.py household create` makes one.")
    raise CommandError("Several people are owners here; say who acts with --as EMAIL.")


def actor_of(user: User, household: Household | None = None) -> Actor:
    """Return the person as an actor at this terminal."""
    role = role_in(user, household) if household is not None else user.staff_role
    return Actor.person(
        user, role=role, via="terminal", address="local", browser=f"account {_account()}"
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def household_named(name: str | None, user: User) -> Household:
    """Return this person's household by name or number; their only one by default."""
    memberships = Membership.objects.filter(user=user).select_related("household")
    mine = [membership.household for membership in memberships]
    if name is None:
        if len(mine) == 1:
            return mine[0]
        names = ", ".join(str(household) for household in mine) or "none"
        raise CommandError(f"Say which household with --household; yours: {names}.")
    fitting = [h for h in mine if str(h.pk) == name or h.name.lower() == name.lower()]
    if len(fitting) == 1:
        return fitting[0]
    raise CommandError(f"You belong to no household that is called {name}.")


def read_secret(question: str) -> str:
    """Return a password: asked for without echo at a terminal, else the first line of the input."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\r\n")
