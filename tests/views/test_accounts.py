"""The page of cloud accounts: linking one, and its hubs appearing."""

from typing import Any

import pytest
from django.utils import timezone

from devices.models import CloudAccount, Role
from devices.rainmaker import errors
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_node, make_user
from tests.support.pages import Home

pytestmark = pytest.mark.django_db


def test_linking_keeps_what_was_typed_but_never_the_password(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    fields = {
        "email": "garden@example.com",
        "password": "a-secret-password",
        "cloud": "http://203.0.113.9",
    }
    text = client.post("/accounts/link/", fields).content.decode()
    assert "garden@example.com" in text
    assert "a-secret-password" not in text
    assert CloudAccount.objects.count() == 1
    assert enter(home.people[Role.MEMBER]).get("/accounts/link/").status_code == 403


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (errors.Unreachable("No route."), "Check that the internet works here, and try again."),
        (errors.AnswerUnreadable("Hm."), "Check that the internet works here, and try again."),
        (errors.AnswerLost("Gone."), "Try again later."),
        (errors.ServerTrouble("Oh.", status=500), "Try again later."),
        (errors.Busy("Slowly.", status=429), "Try again later."),
    ],
)
def test_a_link_that_the_cloud_did_not_answer_is_not_said_to_be_tried_again_by_itself(
    home: Home, enter: Any, monkeypatch: Any, problem: errors.CloudError, words: str
) -> None:
    def fail(**_: Any) -> None:
        raise problem

    monkeypatch.setattr("devices.views.accounts.link_account", fail)
    client = enter(home.people[Role.OWNER])
    fields = {"email": "garden@example.com", "password": "a-secret-password"}
    text = client.post("/accounts/link/", fields).content.decode()
    assert f"Nothing was linked. {words}" in text
    assert "again automatically" not in text
    text = client.post(f"/accounts/{home.account.pk}/sign-in/", fields).content.decode()
    assert f"Nothing was changed. {words}" in text
    assert "again automatically" not in text


def test_hubs_of_an_account_just_linked_come_by_themselves(client: Client) -> None:
    household = make_household()
    client.force_login(make_user(role=Role.OWNER, household=household))
    account = make_account(household, synced_at=None)
    page = client.get("/").content.decode()
    assert "Loading your hubs." in page
    assert "every 3s" in page
    make_node(account, checked_at=None)
    CloudAccount.objects.update(synced_at=timezone.now())
    assert "every 3s" in client.get("/").content.decode()
    account.nodes.update(checked_at=timezone.now())
    assert "every 30s" in client.get("/").content.decode()
    account.nodes.all().delete()
    page = client.get("/").content.decode()
    assert "No hubs here yet." in page
    assert "Add one in the Thermacell app" in page
