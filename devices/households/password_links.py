"""Links to set a new password: made by an owner, by an administrator, or mailed on request.

The right to make one is judged again when it is used. It ends with a sign-in, a new password, or
any change to the person or to its maker.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from allauth.account.utils import user_pk_to_url_str
from django.urls import reverse

from devices.audit import log as audit_log
from devices.explanations.reasons import Reason, ReasonCode
from devices.models import Actor, AuditAction, Household, User
from devices.models.message import MessageCode
from devices.permissions import Right, administers, may
from devices.security.one_time_tokens import read, sign, standing

VALID_FOR = timedelta(hours=2)
_PURPOSE = "password"


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a link: an owner, an administrator, or no person of the product."""

    user: User | None = None
    household: Household | None = None
    """The household whose owner made it; None for an administrator."""
    via: str = "web"

    @property
    def name(self) -> str:
        """Return how the trail names the link."""
        return (
            f"a link from {self.user.email}" if self.user is not None else _WITHOUT_USER[self.via]
        )

    @property
    def may_make(self) -> bool:
        """Would this maker be allowed to make a link now?"""
        if self.user is None:
            return True
        if self.household is None:
            return administers(self.user)
        return may(self.user, Right.PEOPLE, self.household)

    @property
    def standing(self) -> str:
        return standing(self.user, self.household) if self.user is not None else ""


BY_MAIL, BY_TERMINAL = Maker(via="mail"), Maker(via="terminal")
_WITHOUT_USER = {"mail": "the mailed link", "terminal": "a link from this server's terminal"}


class PasswordLinks:
    """Makes and checks the tokens; the sign-in library calls it for its own page and mail."""

    def make_token(self, user: User, maker: Maker = BY_MAIL) -> str:
        return sign(
            _PURPOSE,
            [
                user.pk,
                maker.user.pk if maker.user is not None else None,
                maker.household.pk if maker.household is not None else None,
                maker.via,
                _standing(user, maker),
            ],
        )

    def check_token(self, user: User, token: str) -> bool:
        """May this token set this person's password now?"""
        facts, maker = read(_PURPOSE, token, VALID_FOR), maker_of(user, token)
        if facts is None or maker is None or facts[4] != _standing(user, maker):
            return False
        if maker.household is not None and why_not_reset(maker.household, user):
            return False
        return user.is_active and maker.may_make


def maker_of(user: User, token: str) -> Maker | None:
    """Return who made this token for this person, used or not; None for no token of ours."""
    facts = read(_PURPOSE, token)
    if facts is None or facts[0] != user.pk:
        return None
    maker = User.objects.filter(pk=facts[1]).first()
    household = Household.objects.filter(pk=facts[2]).first()
    is_complete = (maker is None) == (facts[1] is None) and (household is None) == (
        facts[2] is None
    )
    return Maker(maker, household, facts[3]) if is_complete else None


def make_path(
    user: User, *, maker: Maker, actor: Actor, households: Iterable[Household], why: str
) -> str:
    """Return the path of a page where this person sets a new password, once, within `VALID_FOR`.

    It is stored nowhere; that it was made is in the trail of each household.
    """
    token = PasswordLinks().make_token(user, maker)
    with audit_log.locked():
        concerned: list[Household | None] = [*households] or [None]
        for household in concerned:
            audit_log.record(
                actor,
                AuditAction.PERSON_RESET_LINK,
                f"{actor.name} made a link with which {user.email} can set a new password.",
                household=household,
                why=why,
                detail={"user_id": user.pk},
            )
    return path_of(user, token)


def path_of(user: User, token: str) -> str:
    """Return the path of the page where this person sets a new password with this token."""
    key = {"uidb36": user_pk_to_url_str(user), "key": token}
    return reverse("account_reset_password_from_key", kwargs=key)


def why_not_reset(household: Household, user: User) -> list[Reason]:
    """Return why an owner of this household cannot let this person set a new password.

    The link lets its holder sign in as that person, so it must give access to nothing else.
    """
    reasons = []
    if user.staff_role:
        reasons.append(Reason(ReasonCode.IS_STAFF, MessageCode.IS_STAFF))
    if user.memberships.exclude(household=household).exists():
        reasons.append(Reason(ReasonCode.OTHER_HOUSEHOLD, MessageCode.OTHER_HOUSEHOLD))
    if not user.is_active:
        reasons.append(Reason(ReasonCode.CLOSED, MessageCode.SIGN_IN_CLOSED))
    return reasons


def _standing(user: User, maker: Maker) -> str:
    return f"{standing(user, None, user.password, str(user.last_login))}.{maker.standing}"
