"""One page helps whoever is stuck: signed in or not, after an error or before one."""

from typing import Any

import pytest

from devices.models import Role
from tests.support.client import Client
from tests.support.factories import make_household, make_user
from tests.support.markup import tight
from tests.support.pages import Home

pytestmark = pytest.mark.django_db
SECTIONS = (
    "What a support code means",
    "Where to get help",
    "What this server promises",
    "What it does not promise",
    "What the words mean",
)


def test_who_cannot_sign_in_is_helped_and_sees_no_one(home: Home, client: Client) -> None:
    text = client.get("/help/").content.decode()
    for section in SECTIONS:
        assert section in text
    assert "can make a link with which you set a new password" in tight(text)
    assert home.people[Role.OWNER].email not in text
    assert "Keyboard shortcuts" not in text


def test_a_member_reads_who_owns_the_household_and_an_owner_is_one(home: Home, enter: Any) -> None:
    owner, closed = home.people[Role.OWNER], make_user(role=Role.OWNER, household=home.household)
    closed.is_active = False
    closed.save()
    make_user(role=Role.OWNER, household=make_household("Lake cabin"))
    text = enter(home.people[Role.MEMBER]).get("/help/").content.decode()
    assert f'href="mailto:{owner.email}"' in text
    assert text.count("mailto:") == 1
    assert "Let support look" not in text
    assert "Keyboard shortcuts" in text
    text = enter(owner).get("/help/").content.decode()
    assert "You are an owner of Garden house" in tight(text)
    assert f"/households/{home.household.pk}/settings/#support" in text


def test_codes_are_searched_from_there(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.VIEWER])
    assert 'action="/codes/"' in client.get("/help/").content.decode()
    found = client.get("/codes/?q=TW-V01").content.decode()
    assert 'id="TW-V01"' in found
    assert '<a href="/help/">Help</a>' in found


def test_every_page_and_every_refusal_leads_there(home: Home, enter: Any, settings: Any) -> None:
    client = enter(home.people[Role.VIEWER])
    refused = {
        404: client.get("/nowhere/"),
        403: client.get(f"/hubs/{home.new.pk}/install/"),
        400: client.get("/", headers={"host": "elsewhere.example"}),
    }
    for status, answer in refused.items():
        assert answer.status_code == status
        assert '<a class="button" href="/help/">Help</a>' in answer.content.decode(), status
    for path in ("/", "/history/", "/audit/", "/account/login/"):
        assert '<a href="/help/">Help</a>' in client.get(path, follow=True).content.decode(), path
