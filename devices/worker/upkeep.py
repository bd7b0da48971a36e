"""Delete what is over and was kept for long enough, so that no table grows for ever.

How long each table is kept stands in docs/operations.md, and a test compares. Installs, hubs and
the audit trail are no part of this.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, Q, QuerySet

from devices.models import (
    LIVE,
    ApiToken,
    Batch,
    Beat,
    CacheEntry,
    Image,
    ImageFetch,
    Invitation,
    Offer,
    Plan,
    Proposal,
    Suspect,
)
from devices.models.firmware_file import FetchState
from devices.models.proposal import UNDECIDED
from devices.security.session_store import SessionStore

log = logging.getLogger(__name__)
# So many rows of each kind go at once: SQLite has one writer, and the next time is soon.
AT_ONCE = 1_000
# An address that was seen lately makes the next sign-in from there faster: see sign_in_pace.
SIGN_INS_KEPT, SUSPECTS_KEPT = timedelta(days=90), timedelta(days=30)


def delete_what_is_over(now: datetime) -> int:
    """Delete sessions, heartbeats and ended rows that are old enough; return how many rows."""
    SessionStore.clear_expired()
    Beat.forget_machines(now)
    gone = {}
    for rows in _over(now):
        pks = list(rows.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
        if pks:
            rows.model.objects.filter(pk__in=pks).delete()
            gone[rows.model._meta.db_table] = len(pks)
    if gone:
        log.info("deleted what was over: %s", gone)
    return sum(gone.values())


def _over(now: datetime) -> "Iterator[QuerySet]":  # type: ignore[type-arg]
    yield CacheEntry.objects.filter(expires_at__lt=now)
    yield Suspect.objects.filter(died_at__lt=now - SUSPECTS_KEPT)
    lives = Session.objects.filter(session_key=OuterRef("session_key"))
    signed_in = UserSession.objects.filter(last_seen_at__lt=now - SIGN_INS_KEPT)
    yield signed_in.filter(~Exists(lives))
    if not settings.ENDED_KEEP_DAYS:
        return
    before = now - timedelta(days=settings.ENDED_KEEP_DAYS)
    yield Invitation.objects.filter(Q(ended_at__lt=before) | Q(expires_at__lt=before))
    yield ApiToken.objects.filter(revoked_at__lt=before)
    is_live = Q(job__state__in=sorted(LIVE))
    decided = Proposal.objects.exclude(state__in=UNDECIDED).exclude(is_live)
    # its plan goes with it
    ended = Q(plan=None) | Q(plan__ended_at__lt=before)
    yield decided.filter(ended, Q(decided_at__lt=before) | Q(expires_at__lt=before))
    yield Plan.objects.filter(ended_at__lt=before, proposal=None).exclude(is_live)
    yield Batch.objects.filter(requested_at__lt=before, items=None)
    fetched = ImageFetch.objects.exclude(state=FetchState.WAITING)
    yield fetched.filter(Q(image=None) | Q(image__dropped_at__isnull=False), asked_at__lt=before)
    yield Image.objects.filter(dropped_at__lt=before, fetches=None)
    yield Offer.objects.filter(ended_at__lt=before, jobs=None, fetches=None)
