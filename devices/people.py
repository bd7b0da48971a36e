"""The people of a household: invite, accept, change a role, remove, leave, hand over.

Every verb takes the audit chain's row and then the household's, so that two of them never run at
once on one household: two owners who leave at the same time cannot leave it without one.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from allauth.account.app_settings import PASSWORD_RESET_TOKEN_GENERATOR
from allauth.account.utils import user_pk_to_url_str
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext

from devices.models import Actor, Household, Invitation, Membership, Role, User, audit
from devices.models.invitation import VALID_FOR, digest_of, make_token


class NotPossible(Exception):
    """What was asked for cannot be done; nothing was changed. str() is a sentence for people."""


@contextmanager
def _alone(household: Household) -> Iterator[None]:
    with transaction.atomic():
        audit.lock()
        if not Household.objects.select_for_update().filter(pk=household.pk).first():
            raise NotPossible(gettext("This household is gone."))
        yield


def create_household(
    *, name: str, time_zone: str, owner: User, actor: Actor, why: str
) -> Household:
    """Create a household with its first owner."""
    with transaction.atomic():
        audit.lock()
        household = Household.objects.create(name=name, time_zone=time_zone)
        Membership.objects.create(user=owner, household=household, role=Role.OWNER)
        audit.record(
            actor,
            "household.created",
            f"The household {household} was set up with {owner.email} as its owner.",
            household=household,
            why=why,
            detail={"user_id": owner.pk, "role": Role.OWNER.value, "time_zone": time_zone},
        )
    return household


SETTINGS = ("name", "time_zone", "language")


def change_settings(household: Household, wanted: Mapping[str, str], *, actor: Actor) -> bool:
    """Change what SETTINGS names; False when nothing differs."""
    with _alone(household):
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
        audit.record(
            actor,
            "household.settings_changed",
            f"{actor.name} changed the settings of {household}: {words}.",
            household=household,
            why=f"role {actor.role}",
            detail={
                "from": {key: before[key] for key in changed},
                "to": {key: after[key] for key in changed},
            },
        )
    return True


def let_support_in(
    household: Household, *, until: datetime | None, may_install: bool, actor: Actor
) -> None:
    """Let support look until then, or no longer; and confirm installs only where may_install."""
    with _alone(household):
        household.refresh_from_db()
        before = {"until": _iso(household.support_until), "install": household.support_may_install}
        household.support_until, household.support_may_install = until, may_install
        household.save(update_fields=["support_until", "support_may_install"])
        words = "lets support in no more"
        if until is not None:
            also = " and confirm installs" if may_install else ""
            words = f"lets support look{also} until {until:%d %b %Y, %H:%M %Z}"
        audit.record(
            actor,
            "household.support",
            f"{actor.name} {words}.",
            household=household,
            why=f"role {actor.role}",
            detail={"from": before, "to": {"until": _iso(until), "install": may_install}},
        )


def _iso(at: datetime | None) -> str:
    return at.isoformat(timespec="minutes") if at is not None else ""


def invite(
    household: Household,
    *,
    email: str,
    role: Role,
    by: User,
    actor: Actor,
    now: datetime | None = None,
) -> tuple[Invitation, str]:
    """Return a new invitation and its token, which is kept nowhere; an older one for the same
    address ends. Raises NotPossible for somebody who belongs already.
    """
    now, email, token = now or timezone.now(), email.strip().lower(), make_token()
    with _alone(household):
        if household.memberships.filter(user__email__iexact=email).exists():
            raise NotPossible(
                gettext("%(email)s belongs to %(household)s already.")
                % {"email": email, "household": household}
            )
        household.invitations.filter(email=email, ended_at=None).update(ended_at=now)
        invitation = Invitation.objects.create(
            household=household,
            email=email,
            role=role,
            token_digest=digest_of(token),
            invited_by=by,
            invited_by_name=str(by),
            created_at=now,
            expires_at=now + VALID_FOR,
        )
        audit.record(
            actor,
            "household.invited",
            f"{actor.name} invited {email} to {household} as {role.value}.",
            household=household,
            why=f"role {actor.role}",
            at=now,
            detail={"email": email, "role": role.value, "invitation": invitation.pk},
        )
    return invitation, token


def withdraw(invitation: Invitation, *, actor: Actor) -> None:
    """End an invitation before it was accepted. Raises NotPossible when it has ended."""
    with _alone(invitation.household):
        if not _end(invitation, timezone.now()):
            raise NotPossible(gettext("This invitation was accepted or withdrawn already."))
        audit.record(
            actor,
            "household.invitation_withdrawn",
            f"{actor.name} withdrew the invitation of {invitation.email} to "
            f"{invitation.household}.",
            household=invitation.household,
            why=f"role {actor.role}",
            detail={"email": invitation.email, "invitation": invitation.pk},
        )


def _end(invitation: Invitation, now: datetime, **changes: object) -> bool:
    still_open = Invitation.objects.filter(pk=invitation.pk, ended_at=None)
    return bool(still_open.update(ended_at=now, **changes))


def open_invitation(token: str) -> Invitation | None:
    """Return the invitation this token opens, or None. One query."""
    found = Invitation.objects.open(timezone.now()).filter(token_digest=digest_of(token))
    return found.select_related("household").first()


def accept(
    invitation: Invitation, *, actor: Actor, user: User | None = None, new: User | None = None
) -> Membership:
    """Bring the invited person into the household: one who is known here, or the new one, which
    is saved. Raises NotPossible when the link was used meanwhile or is for somebody else.
    """
    person = user or new
    if person is None or person.email.lower() != invitation.email:
        raise NotPossible(
            gettext("This invitation is for %(email)s.") % {"email": invitation.email}
        )
    household, now = invitation.household, timezone.now()
    with _alone(household):
        if now >= invitation.expires_at or not _end(invitation, now, is_accepted=True):
            raise NotPossible(gettext("This invitation was used or withdrawn already."))
        if new is not None:
            if User.objects.filter(email__iexact=new.email).exists():
                raise NotPossible(
                    gettext("%(email)s has a sign-in here already. Sign in first.")
                    % {"email": new.email}
                )
            new.save(force_insert=True)
            actor = replace(actor, user_id=new.pk)
        membership, is_new = Membership.objects.get_or_create(
            user=person, household=household, defaults={"role": invitation.role}
        )
        audit.record(
            actor,
            "household.joined",
            f"{person.email} accepted the invitation to {household} as {membership.role}.",
            household=household,
            why=f"invited by {invitation.invited_by_name}",
            at=now,
            detail={
                "user_id": person.pk,
                "role": membership.role,
                "invitation": invitation.pk,
                "is_new_person": new is not None,
                "was_member": not is_new,
            },
        )
    return membership


def change_role(
    household: Household, user: User, role: Role, *, actor: Actor, why: str = ""
) -> bool:
    """Give a member another role; False when it is the same. Raises NotPossible when the
    household would be left without an owner.
    """
    with _alone(household):
        return _change_role(_membership(household, user), role, actor, why)


def _change_role(membership: Membership, role: Role, actor: Actor, why: str) -> bool:
    before = membership.role
    if before == role:
        return False
    membership.role = role
    membership.save(update_fields=["role"])
    _keep_an_owner(membership.household)
    if before == Role.OWNER:
        _end_invitations_by(membership)
    audit.record(
        actor,
        "household.role_changed",
        f"{membership.user.email} is {role} of {membership.household} now, not {before}.",
        household=membership.household,
        why=why or f"role {actor.role}",
        detail={"user_id": membership.user_id, "from": before, "to": role.value},
    )
    return True


def add(household: Household, user: User, role: Role, *, actor: Actor, why: str) -> bool:
    """Make a known person a member, or give the member this role; False when nothing differs."""
    with _alone(household):
        if household.memberships.filter(user=user).exists():
            return _change_role(_membership(household, user), role, actor, why)
        Membership.objects.create(user=user, household=household, role=role)
        audit.record(
            actor,
            "household.joined",
            f"{user.email} became {role} of {household}.",
            household=household,
            why=why,
            detail={"user_id": user.pk, "role": role.value},
        )
    return True


def remove(household: Household, user: User, *, actor: Actor, why: str = "") -> None:
    """End a membership: by an owner, or by the person who leaves. Raises NotPossible when the
    household would be left without an owner.
    """
    with _alone(household):
        _remove(_membership(household, user), actor, why)


def _remove(membership: Membership, actor: Actor, why: str) -> None:
    household, user, role = membership.household, membership.user, membership.role
    is_leaving = actor.user_id == user.pk
    membership.delete()
    _keep_an_owner(household)
    _end_invitations_by(membership)
    audit.record(
        actor,
        "household.left" if is_leaving else "household.removed",
        f"{user.email} left {household}."
        if is_leaving
        else f"{actor.name} removed {user.email} from {household}.",
        household=household,
        why=why or f"role {actor.role}",
        detail={"user_id": user.pk, "from": role, "to": ""},
    )


def hand_over(
    household: Household, *, by: User, to: User, becomes: Role | None, actor: Actor
) -> None:
    """Make somebody else the owner; the one who hands over takes the other role, or leaves."""
    with _alone(household):
        mine = _membership(household, by)
        if mine.role != Role.OWNER:
            raise NotPossible(
                gettext("Only an owner hands %(household)s over.") % {"household": household}
            )
        if by.pk == to.pk:
            raise NotPossible(gettext("Choose somebody else to hand it over to."))
        _change_role(_membership(household, to), Role.OWNER, actor, "handed over")
        if becomes is None:
            _remove(mine, actor, "handed over")
        else:
            _change_role(mine, becomes, actor, "handed over")


def reset_link(user: User, *, actor: Actor, households: Iterable[Household], why: str) -> str:
    """Return the path of a one-time page where this person sets a new password.

    It is kept nowhere, is good for a day, and ends with the next password or sign-in.
    """
    token = PASSWORD_RESET_TOKEN_GENERATOR().make_token(user)
    key = {"uidb36": user_pk_to_url_str(user), "key": token}
    with transaction.atomic():
        audit.lock()
        concerned: list[Household | None] = [*households] or [None]
        for household in concerned:
            audit.record(
                actor,
                "person.reset_link",
                f"{actor.name} made a link with which {user.email} can set a new password.",
                household=household,
                why=why,
                detail={"user_id": user.pk},
            )
    return reverse("account_reset_password_from_key", kwargs=key)


def _membership(household: Household, user: User) -> Membership:
    found = household.memberships.select_related("user", "household").filter(user=user).first()
    if found is None:
        raise NotPossible(
            gettext("%(email)s does not belong to %(household)s.")
            % {"email": user.email, "household": household}
        )
    return found


def _keep_an_owner(household: Household) -> None:
    """Raise NotPossible, undoing all, when no owner who can sign in is left."""
    if not household.memberships.filter(role=Role.OWNER, user__is_active=True).exists():
        raise NotPossible(
            gettext("%(household)s would have no owner left; make somebody else one first.")
            % {"household": household}
        )


def _end_invitations_by(membership: Membership) -> None:
    """Who may not invite any more has no open invitations either."""
    Invitation.objects.filter(
        household=membership.household_id, invited_by=membership.user_id, ended_at=None
    ).update(ended_at=timezone.now())
