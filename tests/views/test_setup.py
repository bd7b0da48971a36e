"""The first visit makes the owner, once."""

import pytest

from devices.models import AuditEvent, Household, Role, User
from tests.support.client import Client
from tests.support.factories import make_user

pytestmark = pytest.mark.django_db


def test_the_first_visit_makes_the_owner_and_works_once(client: Client) -> None:
    from devices.households.setup_link import make_token

    page = f"/welcome/{make_token()}/"
    fields = {
        "name": "Ada",
        "email": "Ada@Example.com",
        "password": "short",
        "household": "Garden house",
        "time_zone": "Europe/Berlin",
    }
    text = client.post(page, fields).content.decode()
    assert "too short" in text
    assert "Garden house" in text
    assert not User.objects.exists()
    answer = client.post(page, fields | {"password": "mosquito-free-evening"})
    assert answer["Location"] == "/accounts/link/"
    user = User.objects.get()
    assert user.email == "ada@example.com"
    assert Household.objects.get().memberships.get().role == Role.OWNER
    assert client.get(page).status_code == 410
    assert AuditEvent.objects.filter(action="household.created").count() == 1


def test_the_sign_in_page_of_a_server_without_people_leads_to_the_link(client: Client) -> None:
    assert "Open the one-time link" in client.get("/account/login/").content.decode()
    make_user()
    text = client.get("/account/login/").content.decode()
    assert "Open the one-time link" not in text
    assert "by invitation" in text
