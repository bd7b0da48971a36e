"""End what was opened in a person's name: sessions, push devices, API tokens, links, invitations
they made.

Links need no row to end: each carries the person's access epoch, which is raised here.
"""

from allauth.usersessions.models import UserSession
from django.db.models import F
from django.utils import timezone

from devices.models import ApiToken, Household, Invitation, Plan, PushDevice, UpdatePolicy, User

# Of one person at a time.
MOST_SESSIONS = 50


def end_sessions(user: User) -> int:
    """End every session and every signed link of this person; return how many sessions."""
    User.objects.filter(pk=user.pk).update(access_epoch=F("access_epoch") + 1)
    user.refresh_from_db(fields=["access_epoch"])
    sessions = list(UserSession.objects.filter(user=user))
    for session in sessions:
        session.end()
    return len(sessions)


def end_oldest_sessions(user: User) -> None:
    """End the sessions unused for longest beyond MOST_SESSIONS: a program that signs in again each
    time would make the list of them endless. One query while there are fewer.
    """
    for session in UserSession.objects.filter(user=user).order_by("-last_seen_at")[MOST_SESSIONS:]:
        session.end()


def end_access(user: User) -> dict[str, object]:
    """End everything opened in this person's name; return how much of each, for the trail."""
    ended: dict[str, object] = {"sessions": end_sessions(user)}
    if devices := PushDevice.objects.filter(user=user):
        ended["devices"] = len(devices)
        devices.delete()
    return ended | end_grants(user)


def end_grants(user: User, household: Household | None = None) -> dict[str, object]:
    """End this person's API tokens and the invitations they made, in one household or in all."""
    now = timezone.now()
    tokens = ApiToken.objects.filter(user=user, revoked_at=None)
    invitations = Invitation.objects.filter(invited_by=user, ended_at=None)
    if household is not None:
        tokens = tokens.filter(household=household)
        invitations = invitations.filter(household=household)
    # whether their plans may still start is looked at now
    planned = Plan.objects.filter(requested_by=user)
    policies = UpdatePolicy.objects.filter(set_by=user)
    (planned if household is None else planned.filter(household=household)).wake(now)
    (policies if household is None else policies.filter(household=household)).wake(now)
    ended = {
        "tokens": tokens.update(revoked_at=now),
        "invitations": invitations.update(ended_at=now),
    }
    return {what: count for what, count in ended.items() if count}
