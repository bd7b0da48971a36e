"""The state machine of an OTA job: one writer, legal moves, and the database agrees."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from devices.installs.lifecycle import move_to
from devices.installs.polling import PollResult, record_poll
from devices.installs.push import PushTooLate, push_failed
from devices.models import (
    LIVE,
    TRANSITIONS,
    UNSENT,
    VERDICTS,
    Actor,
    AuditEvent,
    IllegalTransition,
    InstallOutcome,
    OtaJob,
    StaleJob,
    State,
)
from devices.rainmaker.errors import AnswerUnreadable
from tests.support.factories import make_account, make_job, make_node

pytestmark = pytest.mark.django_db
WORKER = Actor.worker()
NOWHERE = AnswerUnreadable("The cloud's answer is not JSON.")


@pytest.mark.parametrize("old", list(State))
@pytest.mark.parametrize("new", list(State))
def test_only_moves_in_the_table_happen(old: State, new: State) -> None:
    job = make_job(state=old)
    if new in TRANSITIONS[old]:
        move_to(job, new, actor=WORKER, note="moved")
        assert OtaJob.objects.get(pk=job.pk).state == new
        event = AuditEvent.objects.latest("sequence")
        assert (event.action, event.job_id) == (f"install.{new.value}", job.pk)
    else:
        with pytest.raises(IllegalTransition):
            move_to(job, new, actor=WORKER, note="moved")
        assert OtaJob.objects.get(pk=job.pk).state == old
        assert not AuditEvent.objects.exists()


def test_a_job_moved_by_another_worker_is_stale_and_nothing_is_written() -> None:
    job = make_job(state=State.REQUESTED)
    other = OtaJob.objects.get(pk=job.pk)
    move_to(other, State.PUSHING, actor=WORKER, note="claimed")
    with pytest.raises(StaleJob):
        move_to(job, State.PUSHING, actor=WORKER, note="claimed twice")
    with pytest.raises(StaleJob):
        job.note(timezone.now(), trouble="x")
    assert AuditEvent.objects.count() == 1


def test_the_holder_of_an_older_claim_cannot_undo_a_newer_one() -> None:
    """The same state again is not the same claim: the first sender must not free the second."""
    late = make_job(state=State.PUSHING)
    other = OtaJob.objects.get(pk=late.pk)
    move_to(other, State.REQUESTED, actor=WORKER, note="the cloud says that nothing was sent")
    move_to(other, State.PUSHING, actor=WORKER, note="claimed again", pushes=other.pushes + 1)
    with pytest.raises(StaleJob):
        push_failed(late, PushTooLate(), timezone.now())
    with pytest.raises(StaleJob):
        record_poll(late, PollResult(None, NOWHERE, NOWHERE), timezone.now())
    late.refresh_from_db()
    assert (late.state, late.pushes) == (State.PUSHING, 2)


def test_an_answer_from_soon_after_the_push_proves_nothing_however_late_it_is_stored() -> None:
    now = timezone.now()
    job = make_job(state=State.PUSHING, now=now - timedelta(minutes=2))
    for asked_at in (now - timedelta(seconds=110), now - timedelta(seconds=100)):
        record_poll(job, PollResult(None, NOWHERE, NOWHERE, asked_at), now)
    job.refresh_from_db()
    assert (job.state, job.unsent_answers) == (State.PUSHING, 0)


def test_every_state_ends_or_can_end() -> None:
    for state in State:
        reached, frontier = {state}, {state}
        while frontier:
            frontier = {new for old in frontier for new in TRANSITIONS[old]} - reached
            reached |= frontier
        assert reached & VERDICTS


def test_verdicts_are_final_except_lost_which_only_becomes_another_verdict() -> None:
    for state in VERDICTS - {State.LOST}:
        assert not TRANSITIONS[state]
    assert TRANSITIONS[State.LOST] <= VERDICTS - UNSENT


def test_nothing_but_verifying_or_lost_leads_to_verified() -> None:
    leading = {old for old, news in TRANSITIONS.items() if State.VERIFIED in news}
    assert leading == {State.VERIFYING, State.LOST}


def test_a_verdict_is_dated_and_stops_the_polling() -> None:
    job = make_job(state=State.VERIFYING)
    now = timezone.now()
    move_to(job, State.VERIFIED, actor=WORKER, note="ok", now=now, outcome=InstallOutcome.VERIFIED)
    job.refresh_from_db()
    assert (job.ended_at, job.next_poll_at, job.outcome) == (now, None, "verified")


def test_one_live_job_per_physical_hub_even_through_two_accounts() -> None:
    first = make_node()
    again = make_node(make_account(), node_id=first.node_id)
    make_job(first, state=State.RUNNING)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(again, state=State.REQUESTED)
    make_job(again, state=State.LOST)


def test_the_database_knows_the_states() -> None:
    job = make_job()
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE devices_otajob SET state = 'perhaps' WHERE id = %s", [job.pk])


def test_every_change_of_a_job_shows_on_the_hub() -> None:
    job = make_job()
    before = job.node.revision
    job.note(timezone.now() + timedelta(seconds=1), trouble="busy")
    job.node.refresh_from_db()
    assert job.node.revision == before + 1


def test_live_and_verdicts_share_out_the_states() -> None:
    assert frozenset(State) == LIVE | VERDICTS
    assert not LIVE & VERDICTS
