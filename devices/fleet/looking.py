"""Read a household's accounts less often while no page about its hubs is open."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import Q

from devices.models import CloudAccount, HomeAssistantLink, Household, OtaJob, Plan, Proposal
from devices.taskqueue.wakeups import wake_sync

log = logging.getLogger(__name__)
SYNC_EVERY = timedelta(minutes=2)
# A large account is read less often: a tenth of a second more for each of its hubs.
SYNC_PER_HUB = timedelta(seconds=0.1)
# Without an open page the pause grows to an eighth of the time since the last one, up to this.
IDLE_SHARE = 8
LONGEST_PAUSE = timedelta(minutes=30)
# From so long before a plan is looked at, its account is read as often as usual.
SOON = timedelta(minutes=10)
# How often the time of the last page is written at most.
NOTED_EVERY = timedelta(minutes=5)


def note_look(households: Iterable[Household], now: datetime) -> None:
    """Store that a person has a page of these households open; read old accounts again at once.

    No query when that was stored lately. The page is shown also when it cannot be stored.
    """
    unnoted = [one for one in households if one.looked_at is None or _is_old(one.looked_at, now)]
    if not unnoted:
        return
    for one in unnoted:
        one.looked_at = now
    try:
        with transaction.atomic():
            _write_look([one.pk for one in unnoted], now)
    except DatabaseError as problem:
        log.warning("the time of the last page could not be stored: %s", type(problem).__name__)


def _write_look(ids: list[int], now: datetime) -> None:
    stale = Q(looked_at=None) | Q(looked_at__lte=now - NOTED_EVERY)
    Household.objects.filter(stale, pk__in=ids).update(looked_at=now)
    resting = CloudAccount.objects.active().filter(
        household__in=ids, synced_at__lte=now - SYNC_EVERY, next_sync_at__gt=now + SYNC_EVERY
    )
    if resting.update(next_sync_at=now):
        wake_sync()


def pause_of(account: CloudAccount, hubs: int, now: datetime) -> timedelta:
    """Return how long after a reading of so many hubs the account is read again.

    Longer when no page was open lately, unless an install runs or waits, a proposal is open, or
    Home Assistant shows the hubs. One to five queries.
    """
    usual = SYNC_EVERY + SYNC_PER_HUB * hubs
    looked_at = Household.objects.values_list("looked_at", flat=True).get(pk=account.household_id)
    idle = (now - max(looked_at or account.linked_at, account.linked_at)) / IDLE_SHARE
    if idle <= usual or _is_watched(account, now):
        return usual
    return min(idle, max(usual, LONGEST_PAUSE))


def _is_watched(account: CloudAccount, now: datetime) -> bool:
    """Does something under way need fresh facts: is a hub in use, or online again?"""
    shown = HomeAssistantLink.objects.filter(household=account.household_id, is_on=True)
    # a plan for tonight needs no fresh facts at noon
    planned = Plan.objects.due(now + SOON)
    return (
        shown.exists()
        or OtaJob.objects.live().filter(node__account=account).exists()
        or planned.filter(node__account=account).exists()
        or Proposal.objects.undecided(now).filter(node__account=account, plan=None).exists()
    )


def _is_old(looked_at: datetime, now: datetime) -> bool:
    return not timedelta() <= now - looked_at < NOTED_EVERY
