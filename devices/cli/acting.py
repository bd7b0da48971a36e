"""The acting person of a command, and their permission."""

import getpass
import os

from devices.audit import log as audit_log
from devices.cli.console import plain
from devices.cli.errors import CommandEnd, Exit
from devices.models import Actor, AuditAction, Household, Node, Outcome, Role, User
from devices.permissions import SENTENCES, Right, may, role_in


def acting(email: str | None) -> User:
    """Return the user a command acts as: the one given, else the server's only owner."""
    if email:
        user = User.objects.filter(email__iexact=email.strip(), is_active=True).first()
        if user is None:
            raise CommandEnd(Exit.NOT_UNDERSTOOD, f"No account here has {plain(email)}.")
        return user
    owners = list(User.objects.filter(memberships__role=Role.OWNER, is_active=True).distinct()[:10])
    if len(owners) == 1:
        return owners[0]
    if not owners:
        raise CommandEnd(
            Exit.NOT_UNDERSTOOD,
            "There is no owner yet; `manage.py household create` makes one, --as EMAIL names "
            "another person.",
        )
    names = ", ".join(sorted(user.email for user in owners))
    raise CommandEnd(
        Exit.NOT_UNDERSTOOD,
        f"Several people are owners here; say who acts with --as EMAIL: {names}.",
        candidates=sorted(user.email for user in owners),
    )


def actor_of(user: User, household: Household | None = None) -> Actor:
    """Return the person as an actor at this terminal."""
    role = role_in(user, household) if household is not None else user.staff_role
    return Actor.person(user, role=role, via="terminal", address="local", browser=_program())


def operator() -> Actor:
    """Return the actor for commands on this server: an account of the machine, not a user
    who signs in.
    """
    return Actor(
        name=_account(), role="operator", via="terminal", address="local", browser=_program()
    )


def require(user: User, right: Right, household: Household, node: Node | None = None) -> None:
    """Raise CommandEnd and record the refusal when this person lacks the right, as pages do."""
    if may(user, right, household):
        return
    audit_log.record(
        actor_of(user, household),
        AuditAction.ACCESS_REFUSED,
        f"{user.email} may not {SENTENCES[right]} in {household}.",
        household=household,
        node=node,
        outcome=Outcome.REFUSED,
        why="the role does not include this right",
        detail={"right": right.value},
    )
    sentence = f"Your role in {household} does not let you {SENTENCES[right]}."
    raise CommandEnd(
        Exit.REFUSED,
        sentence,
        event="refused",
        reasons=[{"code": "no_right", "sentence": sentence}],
    )


def _program() -> str:
    return f"manage.py, account {_account()} of the server"


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
