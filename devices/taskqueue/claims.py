"""Claims: each machine's loop works for accounts that no other machine works for meanwhile.

An account stays with one process, so that its session and its few calls at once are in one place.
What is never sent twice does not hang on a claim: an install has one of its own (installs/push.py).
With SQLite there is one machine, and nothing to share.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from django.db import transaction
from django.db.models import QuerySet

from devices.models import Beat, Claim
from devices.models.lease import CLOCK_SKEW
from devices.taskqueue.lease_holder import is_dead

TTL = timedelta(seconds=25)
RENEW_EVERY = timedelta(seconds=5)
# An account that was not asked about for so long is free for others.
UNUSED_AFTER = timedelta(seconds=15)
# One that was given away to even out the load is not taken back for so long.
LEFT_FOR = timedelta(seconds=10)


@dataclass(slots=True)
class Claims:
    """The accounts that one process works for in one loop."""

    loop: str
    holder: str
    is_shared: bool
    """May other machines use this database?"""
    used_at: dict[int, datetime] = field(default_factory=dict)
    """When each claimed account was last asked about."""
    elsewhere: frozenset[int] = frozenset()
    """The accounts of other machines, as of the last look."""
    left: dict[int, datetime] = field(default_factory=dict)
    """The accounts given away lately, and when."""
    renewed_at: datetime | None = None

    def take(self, accounts: Collection[int], now: datetime) -> frozenset[int]:
        """Return those of these accounts that are this process' own now. No query for those that
        were already; else two or three.
        """
        wanted = frozenset(accounts)
        if not self.is_shared:
            return wanted
        fresh = {pk for pk in wanted - self.used_at.keys() if pk not in self.left}
        taken = self._take(fresh, now) if fresh else set()
        mine = wanted & (self.used_at.keys() | taken)
        self.used_at.update(dict.fromkeys(mine, now))
        return mine

    def _take(self, accounts: set[int], now: datetime) -> set[int]:
        known = set(self._rows(accounts).values_list("account_id", flat=True))
        Claim.objects.bulk_create(
            [Claim(loop=self.loop, account_id=pk) for pk in sorted(accounts - known)],
            ignore_conflicts=True,
        )
        with transaction.atomic():
            # what another machine takes at this moment is left to it
            rows = list(self._rows(accounts).select_for_update(skip_locked=True).order_by("pk"))
            free = [row for row in rows if row.holder == self.holder or _is_free(row, now)]
            Claim.objects.filter(pk__in=[row.pk for row in free]).update(
                holder=self.holder, held_until=now + TTL
            )
        return {row.account_id for row in free}

    def look(self, now: datetime, in_use: Collection[int]) -> None:
        """Renew the claims, give back what is unused, and give others their share: to be called
        about once a second. in_use: the accounts that are being asked at this moment.
        """
        if not self.is_shared:
            return
        if self.renewed_at is not None and now - self.renewed_at < RENEW_EVERY:
            return
        self.renewed_at = now
        had_left = bool(self.left)
        self.left = {pk: at for pk, at in self.left.items() if now - at < LEFT_FOR}
        unused = {
            pk for pk, at in self.used_at.items() if pk not in in_use and now - at >= UNUSED_AFTER
        }
        self._give_back(unused)
        held = dict(
            Claim.objects.filter(loop=self.loop, held_until__gt=now).values_list(
                "account_id", "holder"
            )
        )
        self.elsewhere = frozenset(pk for pk, holder in held.items() if holder != self.holder)
        self.used_at = {pk: at for pk, at in self.used_at.items() if held.get(pk) == self.holder}
        runners = Beat.runners(self.loop, now)
        share = ceil(len(held) / max(1, runners))
        # an account that no machine took is taken back before others are given away
        if runners > 1 and not had_left and len(self.used_at) > share:
            spare = [pk for pk in self.used_at if pk not in in_use][: len(self.used_at) - share]
            self._give_back(spare)
            self.left = dict.fromkeys(spare, now)
        mine = self._rows(self.used_at).filter(holder=self.holder)
        mine.update(held_until=now + TTL)

    def give_back_all(self) -> None:
        """End all claims of this process."""
        if self.is_shared:
            Claim.objects.filter(loop=self.loop, holder=self.holder).update(
                holder="", held_until=None
            )
            self.used_at.clear()

    def _give_back(self, accounts: Iterable[int]) -> None:
        accounts = list(accounts)
        if accounts:
            mine = self._rows(accounts).filter(holder=self.holder)
            mine.update(holder="", held_until=None)
            for pk in accounts:
                self.used_at.pop(pk, None)

    def _rows(self, accounts: Iterable[int]) -> QuerySet[Claim]:
        return Claim.objects.filter(loop=self.loop, account_id__in=list(accounts))


def _is_free(claim: Claim, now: datetime) -> bool:
    until = claim.held_until
    if not claim.holder or until is None or until <= now or is_dead(claim.holder):
        return True
    # later than any claim can end: it was taken before the clock was set back
    return until > now + TTL + CLOCK_SKEW
