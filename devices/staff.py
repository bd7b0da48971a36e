"""The people of the server: make a sign-in, close it, give a staff role, end sessions.

Whoever does this sees no hub by it; each deed is in the trail of every household it concerns.
"""

from allauth.usersessions.models import UserSession
from django.db import transaction
from django.utils.translation import gettext

from devices.models import Actor, Household, Role, StaffRole, User, audit
from devices.people import NotPossible


def create_person(*, email: str, name: str, actor: Actor, why: str) -> User:
    """Create a person without a password: a one-time link lets them set one."""
    with transaction.atomic():
        audit.lock()
        if User.objects.filter(email__iexact=email.strip()).exists():
            raise NotPossible(gettext("%(email)s has a sign-in here already.") % {"email": email})
        user = User.objects.create_user(email, None, name=name)
        _record(actor, "person.created", f"{user.email} may sign in now.", user, why, {})
    return user


def set_staff_role(user: User, role: StaffRole, *, actor: Actor, why: str) -> bool:
    """Give or take a staff role; False when it is the same."""
    _not_oneself(user, actor)
    with transaction.atomic():
        audit.lock()
        user.refresh_from_db()
        before = user.staff_role
        if before == role:
            return False
        user.staff_role = role
        user.save(update_fields=["staff_role"])
        words = f"{user.email} is {role.value or 'not staff'} now."
        _record(actor, "person.staff_role", words, user, why, {"from": before, "to": role.value})
    return True


def close(user: User, *, actor: Actor, why: str) -> None:
    """End this person's sessions and let them sign in no more. Raises NotPossible for the only
    owner of a household.
    """
    _not_oneself(user, actor)
    with transaction.atomic():
        audit.lock()
        for household in Household.objects.filter(
            memberships__user=user, memberships__role=Role.OWNER
        ).select_for_update():
            owners = household.memberships.filter(role=Role.OWNER, user__is_active=True)
            if not owners.exclude(user=user).exists():
                raise NotPossible(
                    gettext("%(household)s would have no owner left; make somebody else one first.")
                    % {"household": household}
                )
        User.objects.filter(pk=user.pk).update(is_active=False)
        user.is_active = False
        _end(user)
        words = f"{user.email} can no longer sign in."
        _record(actor, "person.closed", words, user, why, {"from": "open", "to": "closed"})


def reopen(user: User, *, actor: Actor, why: str) -> None:
    """Let this person sign in again."""
    with transaction.atomic():
        audit.lock()
        User.objects.filter(pk=user.pk).update(is_active=True)
        user.is_active = True
        words = f"{user.email} can sign in again."
        _record(actor, "person.reopened", words, user, why, {"from": "closed", "to": "open"})


def end_sessions(user: User, *, actor: Actor, why: str) -> int:
    """Sign this person out everywhere; return of how many sessions."""
    with transaction.atomic():
        audit.lock()
        ended = _end(user)
        words = f"{actor.name} signed {user.email} out everywhere."
        _record(actor, "person.sessions_ended", words, user, why, {"sessions": ended})
    return ended


def _end(user: User) -> int:
    sessions = list(UserSession.objects.filter(user=user))
    for session in sessions:
        session.end()
    return len(sessions)


def _not_oneself(user: User, actor: Actor) -> None:
    if actor.user_id == user.pk:
        raise NotPossible(
            gettext("Ask another administrator: nobody changes this about themselves.")
        )


def _record(
    actor: Actor, action: str, words: str, user: User, why: str, detail: dict[str, object]
) -> None:
    """Write the deed into the trail of the server and of each household this person is in."""
    detail = {"user_id": user.pk} | detail
    for household in (None, *Household.objects.filter(memberships__user=user)):
        audit.record(actor, action, words, household=household, why=why, detail=detail)
