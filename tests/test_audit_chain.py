"""The audit trail is a chain: what is changed, removed or put in shows."""

from itertools import pairwise

import pytest

from devices.models import Actor, AuditEvent, AuditHead, audit
from tests.factories import make_job

pytestmark = pytest.mark.django_db
ACTOR = Actor(name="owner@example.com", user_id=1, role="owner", address="192.0.2.1")


def test_each_event_carries_the_digest_of_the_one_before() -> None:
    events = [audit.record(ACTOR, "test.deed", f"Deed {n}.", detail={"n": n}) for n in range(4)]
    stored = list(AuditEvent.objects.order_by("sequence"))
    assert [event.sequence for event in stored] == [1, 2, 3, 4]
    assert stored[0].previous_digest == audit.FIRST_DIGEST
    for before, event in pairwise(stored):
        assert event.previous_digest == before.digest
    for event in stored:
        assert event.expected_digest() == event.digest
        assert event.expected_seal() == event.seal
    assert AuditHead.objects.get().digest == events[-1].digest


@pytest.mark.parametrize(
    ("field", "value"),
    [("sentence", "Nothing."), ("actor_name", "eve@example.com"), ("detail", {"n": 2})],
)
def test_a_changed_row_no_longer_fits_its_digest(field: str, value: object) -> None:
    event = audit.record(ACTOR, "test.deed", "A deed.", detail={"n": 1})
    AuditEvent.objects.filter(pk=event.pk).update(**{field: value})
    changed = AuditEvent.objects.get(pk=event.pk)
    assert changed.expected_digest() != changed.digest


def test_names_stay_when_the_rows_they_speak_of_are_gone() -> None:
    job = make_job()
    audit.record(ACTOR, "install.requested", "Confirmed.", job=job)
    household = job.household.name
    job.household.delete()
    event = AuditEvent.objects.get()
    assert (event.household_name, event.hub_name) == (household, job.hub_name)
    assert event.expected_digest() == event.digest
