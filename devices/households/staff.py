"""The people of the server: create, close, reopen, give a staff role, sign out everywhere.

None of this gives access to a hub. Each change is in the trail of every household it concerns.
"""

from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.households.access_end import end_access
from devices.households.members import MembershipError, keep_an_owner, require_proven
from devices.models import Actor, AuditAction, Household, Role, StaffRole, User
from devices.security import factor_proof


def create_person(*, email: str, name: str, actor: Actor, why: str) -> User:
    """Create a person without a password: a one-time link lets them set one."""
    user = User(email=email.strip().lower(), name=name)
    user.set_unusable_password()
    save_new(user, actor=actor, why=why)
    return user


def save_new(user: User, *, actor: Actor, why: str) -> None:
    """Save a person who is new here. Raises MembershipError when the address is registered."""
    with audit_log.locked():
        if User.objects.filter(email__iexact=user.email).exists():
            raise MembershipError(
                gettext("%(email)s is already registered here.") % {"email": user.email}
            )
        user.save(force_insert=True)
        _record(actor, AuditAction.PERSON_CREATED, f"{user.email} may sign in now.", user, why, {})


def set_staff_role(user: User, role: StaffRole, *, actor: Actor, why: str) -> bool:
    """Give or take a staff role and end this person's access; return False when it is the same.

    Raises MembershipError while only an owner vouched for the address.
    """
    _not_oneself(user, actor)
    with audit_log.locked():
        user.refresh_from_db()
        before = user.staff_role
        if before == role:
            return False
        if role:
            require_proven(user)
        user.staff_role = role
        user.save(update_fields=["staff_role"])
        ended = end_access(user)
        words = f"{user.email} is now {role.value or 'not staff'}."
        _record(
            actor,
            AuditAction.PERSON_STAFF_ROLE,
            words,
            user,
            why,
            {"from": before, "to": role.value, **ended},
        )
    return True


def close(user: User, *, actor: Actor, why: str) -> None:
    """Close this person's sign-in and end their access. Raises MembershipError for the only owner
    of a household.
    """
    _not_oneself(user, actor)
    with audit_log.locked():
        owned = Household.objects.filter(memberships__user=user, memberships__role=Role.OWNER)
        households = list(owned.select_for_update())
        User.objects.filter(pk=user.pk).update(is_active=False)
        for household in households:
            keep_an_owner(household)
        user.is_active = False
        ended = end_access(user)
        words = f"{user.email} can no longer sign in."
        detail: dict[str, object] = {"from": "open", "to": "closed", **ended}
        _record(actor, AuditAction.PERSON_CLOSED, words, user, why, detail)


def reopen(user: User, *, actor: Actor, why: str) -> None:
    """Let this person sign in again."""
    with audit_log.locked():
        User.objects.filter(pk=user.pk).update(is_active=True)
        user.is_active = True
        words = f"{user.email} can sign in again."
        _record(
            actor, AuditAction.PERSON_REOPENED, words, user, why, {"from": "closed", "to": "open"}
        )


def sign_out_everywhere(user: User, *, actor: Actor, why: str) -> None:
    """End every session, API token, link and open invitation of this person."""
    with audit_log.locked():
        ended = end_access(user)
        words = f"{actor.name} signed {user.email} out everywhere."
        _record(actor, AuditAction.PERSON_SESSIONS_ENDED, words, user, why, ended)


def confirm_address(user: User, *, actor: Actor, why: str) -> None:
    """Record that the address belongs to this person. Safe on repeat."""
    with audit_log.locked():
        user.is_address_unproven = False
        user.save(update_fields=["is_address_unproven"])
        words = f"{actor.name} confirmed that {user.email} belongs to this person."
        _record(actor, AuditAction.PERSON_ADDRESS_PROVEN, words, user, why, {})


def make_factor_code(user: User, *, actor: Actor, why: str) -> str:
    """Return a code with which this person may set up two-step sign-in right after a password
    link. It is stored nowhere and works for at most two hours.
    """
    _not_oneself(user, actor)
    with audit_log.locked():
        words = f"{actor.name} made a code with which {user.email} can set up two-step sign-in."
        _record(actor, AuditAction.PERSON_FACTOR_CODE, words, user, why, {})
    return factor_proof.make_code(user)


def _not_oneself(user: User, actor: Actor) -> None:
    if actor.user_id == user.pk:
        raise MembershipError(
            gettext("You cannot change this for yourself. Ask another administrator.")
        )


def _record(
    actor: Actor, action: AuditAction, words: str, user: User, why: str, detail: dict[str, object]
) -> None:
    """Record it in the trail of the server and of each household this person is in."""
    detail = {"user_id": user.pk} | detail
    for household in (None, *Household.objects.filter(memberships__user=user)):
        audit_log.record(actor, action, words, household=household, why=why, detail=detail)
