"""When the cloud and the people of a household were last here, as far as it is known."""

from dataclasses import dataclass
from datetime import datetime

from allauth.usersessions.models import UserSession
from django.db.models import Max

from devices.models import AccountState, CloudAccount, Household, StaffRole, User

MOST_ACCOUNTS = 20


@dataclass(frozen=True, slots=True)
class LastContact:
    accounts: list[CloudAccount]
    """The linked accounts, each with the time at which its cloud last answered."""
    person_at: datetime | None
    """When a person of the household was last here, to within some minutes. None: not known."""

    @property
    def cloud_at(self) -> datetime | None:
        return max((one.answered_at for one in self.accounts if one.answered_at), default=None)


def last_contact(household: Household) -> LastContact:
    """Return when each cloud last answered, and when a person who is not staff was last here. Three
    queries.
    """
    accounts = household.accounts.exclude(state=AccountState.UNLINKED).order_by("email", "pk")
    people = User.objects.filter(memberships__household=household, staff_role=StaffRole.NONE)
    # sessions end and are forgotten; the last sign-in is kept
    seen = UserSession.objects.filter(user__in=people).aggregate(at=Max("last_seen_at"))["at"]
    signed_in = people.aggregate(at=Max("last_login"))["at"]
    return LastContact(
        list(accounts[:MOST_ACCOUNTS]), max(filter(None, (seen, signed_in)), default=None)
    )
