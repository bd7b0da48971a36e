"""What is over goes after its time; what is under way, or history, stays. Of every table it is said
how long its rows are kept.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.utils import timezone

from devices.installs.reports import MOST_REPORTS, keep_status
from devices.models import (
    ApiToken,
    Batch,
    CacheEntry,
    Image,
    ImageFetch,
    Invitation,
    Offer,
    OtaJob,
    Plan,
    PlanState,
    Proposal,
    ProposalState,
    Role,
    State,
    Suspect,
)
from devices.rainmaker.schemas import OtaStatus, OtaWord
from devices.tasks import trail_upkeep
from devices.worker.upkeep import delete_what_is_over
from tests.support.factories import (
    make_household,
    make_job,
    make_node,
    make_offer,
    make_plan,
    make_proposal,
    make_user,
)
from tests.support.product import ROOT

pytestmark = pytest.mark.django_db


def invitation(at: datetime) -> Model:
    return Invitation.objects.create(
        household=make_household(), email="a@example.com", role=Role.VIEWER,
        token_digest=str(at), invited_by_name="x", expires_at=at,
    )  # fmt: skip


def token(at: datetime) -> Model:
    home, user = make_household(), make_user()
    return ApiToken.objects.create(
        household=home, user=user, name="x", digest=str(at), revoked_at=at
    )


def plan(at: datetime) -> Model:
    return make_plan(make_node(), state=PlanState.EXPIRED, ended_at=at)


def proposal(at: datetime) -> Model:
    return _proposal(state=ProposalState.DECLINED, decided_at=at, expires_at=at)


def _proposal(**fields: Any) -> Proposal:
    return make_proposal(make_offer(make_node()).node, **fields)


def queue(at: datetime) -> Model:
    return Batch.objects.create(
        household=make_household(), requested_by_name="x", requested_at=at, state="finished"
    )


def offer(at: datetime) -> Model:
    return make_offer(make_node(), ended_at=at, end_reason="withdrawn")


def fetch(at: datetime) -> Model:
    given = make_offer(make_node())
    return ImageFetch.objects.create(
        node=given.node, offer=given, asked_by_name="x", asked_at=at, state="failed", ended_at=at
    )


def image(at: datetime) -> Model:
    return Image.objects.create(sha256=str(at), md5="", size_bytes=1, dropped_at=at)


def suspect(at: datetime) -> Model:
    return Suspect.objects.create(loop="installs", key=str(at), died_at=at)


def cached(at: datetime) -> Model:
    return CacheEntry.objects.create(key=str(at), value="1", expires_at=at)


def signed_in(at: datetime) -> Model:
    made: Model = UserSession.objects.create(
        user=make_user(), ip="192.0.2.1", session_key=str(at)[:40], user_agent="", last_seen_at=at
    )
    return made


KINDS: dict[Callable[[datetime], Model], int] = {
    **dict.fromkeys((invitation, token, plan, proposal, queue, offer, fetch, image), 365),
    suspect: 30,
    cached: 0,
    signed_in: 90,
}


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_each_goes_after_its_time(make: Callable[[datetime], Model], settings: Any) -> None:
    now, days = timezone.now(), timedelta(days=KINDS[make])
    old, young = make(now - days - timedelta(hours=1)), make(now - days + timedelta(hours=1))
    settings.ENDED_KEEP_DAYS = 365
    assert delete_what_is_over(now) == 1
    model: Any = type(old)
    assert not model.objects.filter(pk=old.pk).exists()
    assert model.objects.filter(pk=young.pk).exists()


def test_nothing_that_ended_goes_when_all_is_kept(settings: Any) -> None:
    settings.ENDED_KEEP_DAYS = 0
    long_ago = timezone.now() - timedelta(days=9999)
    for make, days in KINDS.items():
        if days == 365:
            make(long_ago)
    assert delete_what_is_over(timezone.now()) == 0


def test_what_is_under_way_or_history_stays_however_old() -> None:
    long_ago = timezone.now() - timedelta(days=9999)
    waits = make_plan(make_node(), requested_at=long_ago)
    running = make_job(make_node(), state=State.RUNNING)
    started = make_plan(running.node, state=PlanState.STARTED, ended_at=long_ago, job=running)
    asked = _proposal(state=ProposalState.OPEN, expires_at=long_ago)
    full = Batch.objects.create(
        household=waits.household, requested_by_name="x", requested_at=long_ago
    )
    Plan.objects.filter(pk=waits.pk).update(batch=full)
    done = make_job(make_node(), state=State.VERIFIED, requested_at=long_ago, ended_at=long_ago)
    given = make_offer(done.node, ended_at=long_ago, end_reason="installed")
    OtaJob.objects.filter(pk=done.pk).update(offer=given)
    Session.objects.create(session_key="k", session_data="", expire_date=timezone.now())
    open_session: Any = signed_in(long_ago)
    lives = timezone.now() + timedelta(days=1)
    Session.objects.create(session_key=open_session.session_key, session_data="", expire_date=lives)
    trail_upkeep()  # the task of the queue, as a worker runs it
    assert Plan.objects.filter(pk__in=[waits.pk, started.pk]).count() == 2
    assert Proposal.objects.filter(pk=asked.pk).exists()
    assert Batch.objects.filter(pk=full.pk).exists()
    assert OtaJob.objects.filter(pk=done.pk).exists()
    assert Offer.objects.filter(pk=given.pk).exists()
    assert UserSession.objects.filter(pk=open_session.pk).exists()
    assert not Session.objects.filter(session_key="k").exists()


def test_the_reports_of_an_install_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.installs.reports.MOST_REPORTS", 5)
    assert MOST_REPORTS > 500, "a real install has some dozen"
    job, now = make_job(make_node()), timezone.now()
    for number in range(8):
        info = f"news {number}"
        status = OtaStatus("in-progress", OtaWord.IN_PROGRESS, info, None, "", "NODE", "{}")
        keep_status(job, status, now, is_before_push=False)
    kept = list(job.reports.values_list("sequence", "info"))
    assert kept == [*((n + 1, f"news {n}") for n in range(4)), (5, "news 7")]


def tables() -> set[str]:
    models = apps.get_models(include_auto_created=True)
    return {model._meta.db_table for model in models}


def test_it_is_decided_of_every_table_how_long_its_rows_are_kept() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    section = text.partition("## What is kept, and for how long")[2].partition("\n## ")[0]
    listed = re.findall(r"`([a-z_]+_[a-z_0-9]+)`", section)
    decided = {name for name in listed if name in tables()}
    assert tables() - decided == set(), "add a row to docs/operations.md, and prune it if it grows"
    # a single sign-in provider brings tables of its own
    optional = {name for name in listed if name.startswith("socialaccount_")}
    unknown = {name for name in listed if name.startswith("devices_")} - tables()
    assert (unknown, bool(optional)) == (set(), True)
