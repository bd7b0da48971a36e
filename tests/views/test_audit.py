"""The page of the audit trail."""

import re
from typing import Any

import pytest
from django.utils import timezone

from devices.audit.log import record
from devices.audit.maintenance import run_due
from devices.models import Actor, AuditAction, AuditEvent, Role
from tests.support.client import Client
from tests.support.factories import make_household
from tests.support.markup import tight
from tests.support.pages import HTMX, Home

pytestmark = pytest.mark.django_db


def test_signing_in_and_failing_to_are_in_the_trail(home: Home, client: Client) -> None:
    owner = home.people[Role.OWNER]
    client.post("/account/login/", {"login": owner.email, "password": "wrong"})
    answer = client.post(
        "/account/login/", {"login": owner.email.upper(), "password": "mosquito-free-evening"}
    )
    assert answer["Location"] == "/"
    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {
        "person.sign_in_failed",
        "person.signed_in",
    }


def test_the_trail_is_filtered(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    client.get("/hubs/999999/")
    client.post(f"/installs/{home.running.pk}/cancel/")
    assert "Cancelling the install" in client.get("/audit/?action=install.").content.decode()
    assert "No matches" in client.get("/audit/?hub=nowhere").content.decode()
    assert "Cancelling" in client.get(f"/audit/?job={home.running.pk}").content.decode()
    assert client.get("/audit/?since=never&page=x").status_code == 200


def test_numbers_that_are_not_listed_are_spoken_of_beside_the_list(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    other = make_household("Lake cabin")
    for household in (home.household, other, home.household):
        record(Actor.worker(), AuditAction.HOUSEHOLD_CREATED, "Made.", household=household)
    text = tight(client.get("/audit/").content.decode())
    assert "Some numbers are not in this list." in text
    assert "Entries about other households are not listed." in text
    assert "Your filter leaves entries out." not in text
    narrowed = tight(client.get("/audit/?text=Made").content.decode())
    assert "Your filter leaves entries out." in narrowed


def test_a_list_without_gaps_speaks_of_none(home: Home, enter: Any) -> None:
    for _ in range(3):
        record(Actor.worker(), AuditAction.HOUSEHOLD_CREATED, "Made.", household=home.household)
    text = enter(home.people[Role.OWNER]).get("/audit/?text=Made").content.decode()
    assert text.count('<tr id="no-') == 3
    assert 'id="gaps"' not in text


def test_a_check_that_was_asked_for_shows_its_result_without_a_reload(
    home: Home, enter: Any
) -> None:
    client = enter(home.people[Role.OWNER])
    assert "data-poll" not in client.get("/audit/chain/").content.decode()
    page = client.post("/audit/verify/", follow=True).content.decode()
    poll = re.search(r'data-hx-get="([^"]+)"', page)
    assert poll
    assert client.get(poll[1], headers=HTMX).status_code == 204
    run_due(timezone.now())
    answer = client.get(poll[1], headers=HTMX)
    assert answer.status_code == 200
    assert "data-poll" not in answer.content.decode()
    assert "Verified just now" in tight(re.sub(r"<[^>]+>", "", answer.content.decode()))
