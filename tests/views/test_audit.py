"""The page of the audit trail."""

from typing import Any

import pytest

from devices.models import AuditEvent, Role
from tests.support.client import Client
from tests.support.pages import Home

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
