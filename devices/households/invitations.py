"""Invite a person into a household, and let them accept."""

from dataclasses import replace
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.households.members import MembershipError, alone
from devices.models import Actor, AuditAction, Household, Invitation, Membership, Role, User
from devices.models.invitation import VALID_FOR
from devices.permissions import Right, may
from devices.security.one_time_tokens import digest_of, make_token


def invite(
    household: Household,
    *,
    email: str,
    role: Role,
    by: User,
    actor: Actor,
    now: datetime | None = None,
) -> tuple[Invitation, str]:
    """Return a new invitation and its token, which is stored nowhere; an older one for the same
    address ends. Raises MembershipError for a person who is a member already.
    """
    now, email, token = now or timezone.now(), email.strip().lower(), make_token()
    with alone(household):
        if household.memberships.filter(user__email__iexact=email).exists():
            raise MembershipError(
                gettext("%(email)s already belongs to %(household)s.")
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
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_INVITED,
            f"{actor.name} invited {email} to {household} as {role.value}.",
            household=household,
            why=f"role {actor.role}",
            at=now,
            detail={"email": email, "role": role.value, "invitation": invitation.pk},
        )
    return invitation, token


def withdraw(invitation: Invitation, *, actor: Actor) -> None:
    """End an invitation before it was accepted. Raises MembershipError when it has ended."""
    with alone(invitation.household):
        if not _end(invitation, timezone.now()):
            raise MembershipError(
                gettext("This invitation has already been accepted or withdrawn.")
            )
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_INVITATION_WITHDRAWN,
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
    """Return the invitation this token opens, or None once its maker may no longer invite.

    A few queries.
    """
    digest = digest_of(token)
    found = Invitation.objects.open(timezone.now()).filter(token_digest=digest)
    invitation = found.select_related("household", "invited_by").first()
    return invitation if invitation is not None and _is_backed(invitation) else None


def _is_backed(invitation: Invitation) -> bool:
    """May the person who invited still invite?"""
    maker = invitation.invited_by
    return maker is not None and may(maker, Right.PEOPLE, invitation.household)


def accept(
    invitation: Invitation,
    *,
    actor: Actor,
    user: User | None = None,
    new: User | None = None,
    is_mailed: bool = False,
) -> Membership:
    """Make the invited person a member: one who is known here, or the new one, which is saved.

    The address of a new person is proven only when the link came from the mail. Raises
    MembershipError when the link has ended or is for another person.
    """
    person = user or new
    if person is None or person.email.lower() != invitation.email:
        raise MembershipError(
            gettext("This invitation is for %(email)s.") % {"email": invitation.email}
        )
    household, now = invitation.household, timezone.now()
    with alone(household):
        invitation.refresh_from_db()
        is_good = now < invitation.expires_at and _is_backed(invitation)
        if not is_good or not _end(invitation, now, is_accepted=True):
            raise MembershipError(gettext("This invitation is no longer valid."))
        if new is not None:
            if User.objects.filter(email__iexact=new.email).exists():
                raise MembershipError(
                    gettext("%(email)s is already registered here. Sign in first.")
                    % {"email": new.email}
                )
            new.is_address_unproven = not is_mailed
            new.save(force_insert=True)
            actor = replace(actor, user_id=new.pk)
        elif is_mailed:
            User.objects.filter(pk=person.pk).update(is_address_unproven=False)
        membership, is_new = Membership.objects.get_or_create(
            user=person, household=household, defaults={"role": invitation.role}
        )
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_JOINED,
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
                "invited_by": invitation.invited_by_id,
                "is_mailed": is_mailed,
            },
        )
    return membership
