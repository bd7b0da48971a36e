"""The people of a household: change a role, add, remove, leave, transfer ownership.

Every function locks the audit chain's row and then the household's, so that two of them never run
at once on one household: two owners who leave at the same time cannot leave it without one.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.households.access_end import end_grants
from devices.models import Actor, ApiToken, AuditAction, Channel, Household, Membership, Role, User


class MembershipError(Exception):
    """What was asked for cannot be done; nothing was changed. str() is a sentence for people."""


@contextmanager
def alone(household: Household) -> Iterator[None]:
    with audit_log.locked():
        if not Household.objects.select_for_update().filter(pk=household.pk).first():
            raise MembershipError(gettext("This household no longer exists."))
        yield


def create_household(
    *, name: str, time_zone: str, owner: User, actor: Actor, why: str
) -> Household:
    """Create a household with its first owner. Raises MembershipError while only another owner
    vouched for the address.
    """
    require_proven(owner)
    with audit_log.locked():
        household = Household.objects.create(name=name, time_zone=time_zone)
        Membership.objects.create(user=owner, household=household, role=Role.OWNER)
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_CREATED,
            f"The household {household} was set up with {owner.email} as its owner.",
            household=household,
            why=why,
            detail={"user_id": owner.pk, "role": Role.OWNER.value, "time_zone": time_zone},
        )
    return household


def owners_of(households: Iterable[int]) -> dict[int, list[User]]:
    """Return who owns each of these households and may sign in, by address. One query."""
    found: dict[int, list[User]] = {pk: [] for pk in households}
    owning = Membership.objects.filter(
        household__in=list(found), role=Role.OWNER, user__is_active=True
    )
    for one in owning.select_related("user").order_by("user__email"):
        found[one.household_id].append(one.user)
    return found


def require_proven(user: User) -> None:
    """Raise MembershipError when only an owner vouched for this person's address."""
    if user.is_address_unproven:
        raise MembershipError(
            gettext(
                "The address %(email)s is not confirmed. Confirm it on the person's page, or let "
                "the person confirm it by e-mail."
            )
            % {"email": user.email}
        )


SETTINGS = ("name", "time_zone", "language")


def change_settings(household: Household, wanted: Mapping[str, str], *, actor: Actor) -> bool:
    """Change the settings named in SETTINGS; return False when nothing differs."""
    with alone(household):
        household.refresh_from_db()
        before = {name: getattr(household, name) for name in SETTINGS}
        after = {name: wanted[name] for name in SETTINGS}
        changed = [key for key in SETTINGS if before[key] != after[key]]
        if not changed:
            return False
        for key in changed:
            setattr(household, key, after[key])
        household.save(update_fields=changed)
        words = ", ".join(
            f"{key.replace('_', ' ')} {before[key] or 'none'} to {after[key] or 'none'}"
            for key in changed
        )
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_SETTINGS_CHANGED,
            f"{actor.name} changed the settings of {household}: {words}.",
            household=household,
            why=f"role {actor.role}",
            detail={
                "from": {key: before[key] for key in changed},
                "to": {key: after[key] for key in changed},
            },
        )
    return True


def set_support_access(
    household: Household, *, until: datetime | None, may_install: bool, actor: Actor
) -> None:
    """Let support look until then, or no longer, and confirm installs only if may_install."""
    with alone(household):
        household.refresh_from_db()
        before = {"until": _iso(household.support_until), "install": household.support_may_install}
        household.support_until, household.support_may_install = until, may_install
        household.save(update_fields=["support_until", "support_may_install"])
        # A token of support ends with each change: it must not work again in the next period.
        of_support = ApiToken.objects.filter(household=household, revoked_at=None).exclude(
            user__in=household.members.all()
        )
        of_support.update(revoked_at=timezone.now())
        words = "no longer lets support in"
        if until is not None:
            also = " and confirm installs" if may_install else ""
            words = f"lets support look{also} until {until:%d %b %Y, %H:%M %Z}"
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_SUPPORT,
            f"{actor.name} {words}.",
            household=household,
            why=f"role {actor.role}",
            detail={"from": before, "to": {"until": _iso(until), "install": may_install}},
        )


def _iso(at: datetime | None) -> str:
    return at.isoformat(timespec="minutes") if at is not None else ""


def change_role(
    household: Household, user: User, role: Role, *, actor: Actor, why: str = ""
) -> bool:
    """Give a member another role; return False when it is the same. Raises MembershipError when
    the household would be left without an owner.
    """
    with alone(household):
        return _change_role(_membership(household, user), role, actor, why)


def _change_role(membership: Membership, role: Role, actor: Actor, why: str) -> bool:
    before = membership.role
    if before == role:
        return False
    membership.role, membership.role_at = role, timezone.now()
    membership.save(update_fields=["role", "role_at"])
    keep_an_owner(membership.household)
    ended: dict[str, object] = {}
    if Role.values.index(role) > Role.values.index(before):  # a smaller role
        ended = end_grants(membership.user, membership.household)
    audit_log.record(
        actor,
        AuditAction.HOUSEHOLD_ROLE_CHANGED,
        f"{membership.user.email} is {role} of {membership.household} now, not {before}.",
        household=membership.household,
        why=why or f"role {actor.role}",
        detail={"user_id": membership.user_id, "from": before, "to": role.value, **ended},
    )
    return True


def add(household: Household, user: User, role: Role, *, actor: Actor, why: str) -> bool:
    """Make a known person a member, or give a member this role; False when nothing differs."""
    with alone(household):
        if household.memberships.filter(user=user).exists():
            return _change_role(_membership(household, user), role, actor, why)
        Membership.objects.create(user=user, household=household, role=role)
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_JOINED,
            f"{user.email} became {role} of {household}.",
            household=household,
            why=why,
            detail={"user_id": user.pk, "role": role.value},
        )
    return True


def remove(household: Household, user: User, *, actor: Actor, why: str = "") -> None:
    """End a membership: by an owner, or by the person who leaves. Raises MembershipError when
    the household would be left without an owner.
    """
    with alone(household):
        _remove(_membership(household, user), actor, why)


def _remove(membership: Membership, actor: Actor, why: str) -> None:
    household, user, role = membership.household, membership.user, membership.role
    is_leaving = actor.user_id == user.pk
    membership.delete()
    keep_an_owner(household)
    Channel.objects.filter(household=household, user=user).exclude(device=None).delete()
    ended = end_grants(user, household)
    audit_log.record(
        actor,
        AuditAction.HOUSEHOLD_LEFT if is_leaving else AuditAction.HOUSEHOLD_REMOVED,
        f"{user.email} left {household}."
        if is_leaving
        else f"{actor.name} removed {user.email} from {household}.",
        household=household,
        why=why or f"role {actor.role}",
        detail={"user_id": user.pk, "from": role, "to": "", **ended},
    )


def transfer_ownership(
    household: Household, *, by: User, to: User, becomes: Role | None, actor: Actor
) -> None:
    """Make another person the owner; the previous owner takes the other role, or leaves."""
    with alone(household):
        mine = _membership(household, by)
        if mine.role != Role.OWNER:
            raise MembershipError(
                gettext("Only an owner can transfer ownership of %(household)s.")
                % {"household": household}
            )
        if by.pk == to.pk:
            raise MembershipError(gettext("Choose another person as the new owner."))
        _change_role(_membership(household, to), Role.OWNER, actor, "handed over")
        if becomes is None:
            _remove(mine, actor, "handed over")
        else:
            _change_role(mine, becomes, actor, "handed over")


def _membership(household: Household, user: User) -> Membership:
    found = household.memberships.select_related("user", "household").filter(user=user).first()
    if found is None:
        raise MembershipError(
            gettext("%(email)s does not belong to %(household)s.")
            % {"email": user.email, "household": household}
        )
    return found


def keep_an_owner(household: Household) -> None:
    """Raise MembershipError, undoing everything, when no owner who can sign in is left."""
    if not household.memberships.filter(role=Role.OWNER, user__is_active=True).exists():
        raise MembershipError(
            gettext("%(household)s needs at least one owner. Make someone else an owner first.")
            % {"household": household}
        )
