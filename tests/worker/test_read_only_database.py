"""An install that was sent is followed again once the database takes writes again."""

from typing import Any

import pytest
from django.db import DatabaseError

from devices.models import State
from devices.models.database_trouble import Trouble, trouble_of
from tests.support.engine import PASSWORD, confirm, end_of, link, run_until
from tests.support.factories import make_household, make_owner
from tests.support.simcloud_process import SimCloud
from tests.support.troubled_database import only_read

PACE, EMAIL, TRIES = 30, "garden@example.com", 3


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_it_ends_verified_and_was_sent_once(settings: Any) -> None:
    settings.ENGINE_PACE = PACE
    users = [f"{EMAIL}:{PASSWORD}"]
    with SimCloud(hubs=1, speed=PACE, offers=1, users=users) as cloud:
        cloud.set_online(0, True)
        household = make_household()
        owner = make_owner(household)
        node = link(cloud, household, owner, EMAIL).nodes.get()
        job = confirm(owner, node)

        def is_sent() -> bool:
            job.refresh_from_db()
            return job.state != State.REQUESTED

        run_until(is_sent)
        with only_read():
            for _ in range(TRIES):
                with pytest.raises(DatabaseError) as refused:
                    run_until(lambda: False, limit_s=20)
                assert trouble_of(refused.value) is Trouble.READ_ONLY
        assert end_of(job) == ("verified", "verified")
        assert cloud.pushes(node.node_id)["accepted"] == 1
