"""Which installs went wrong has one definition: the same for one row and for a query."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.utils import timezone

from devices.models import InstallOutcome, OtaJob, State
from devices.models.install import needs_person, went_wrong
from tests.support.factories import make_job, make_node

pytestmark = pytest.mark.django_db


def test_a_query_finds_exactly_the_installs_of_which_the_row_says_so() -> None:
    now, first = timezone.now(), make_job(make_node(), state=State.FAILED)
    times = (None, now - timedelta(hours=1))
    outcomes = ("", InstallOutcome.STILL_DELAYED)
    rows: list[dict[str, Any]] = [
        dict(
            zip(
                ("state", "outcome", "fell_back_at", "arrived_late_at", "seen_at"), row, strict=True
            )
        )
        for row in product(State, outcomes, times, times, times)
    ]
    shared = {
        field.attname: getattr(first, field.attname)
        for field in OtaJob._meta.concrete_fields
        if not field.primary_key
    } | {"is_latest": False}
    OtaJob.objects.bulk_create(
        OtaJob(**shared | row | {"cloud_node_id": f"N{n}"}) for n, row in enumerate(rows)
    )
    every = OtaJob.objects.all()
    assert set(every.filter(went_wrong())) == {job for job in every if job.went_wrong}
    assert set(every.filter(needs_person())) == {job for job in every if job.needs_person}
    assert 0 < every.filter(needs_person()).count() < every.filter(went_wrong()).count()
