"""The people of a household as one list, for pages."""

from typing import Any

from django.db.models import Case, QuerySet, Value, When
from django.utils import timezone

from devices.models import Household, Invitation, Membership, Role


class MembersAndInvited:
    """Members by role, then open invitations, as one list that is read a slice at a time."""

    def __init__(self, household: Household, *, with_invited: bool) -> None:
        ranks = [When(role=role, then=Value(rank)) for rank, role in enumerate(Role.values)]
        members = household.memberships.select_related("user")
        self.parts: list[QuerySet[Any]] = [members.order_by(Case(*ranks), "user__email")]
        if with_invited:
            invited = household.invitations.open(timezone.now())
            self.parts.append(invited.order_by("email", "pk"))
        self.counts = [part.count() for part in self.parts]

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, wanted: slice) -> list[Membership | Invitation]:
        found: list[Membership | Invitation] = []
        first = 0
        for part, count in zip(self.parts, self.counts, strict=True):
            start, stop = wanted.start - first, wanted.stop - first
            if stop > 0 and start < count:
                found += part[max(0, start) : stop]
            first += count
        return found
