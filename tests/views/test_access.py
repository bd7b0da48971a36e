"""Who sees a page, and where everybody else is sent."""

from typing import Any

import pytest

from devices.installs.confirmation import sign, snapshot_offer
from devices.models import AuditEvent, Household, OtaJob, Role, StaffRole
from tests.support.client import Client
from tests.support.factories import make_household, make_user
from tests.support.pages import HTMX, Home, pages_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", [Role.OWNER, Role.MEMBER, Role.VIEWER])
def test_members_see_every_page_of_their_household(home: Home, enter: Any, role: Role) -> None:
    client = enter(home.people[role])
    for page in pages_of(home):
        answer = client.get(page)
        assert answer.status_code == 200, page
        if "live" not in page:
            assert answer.content.decode().count("<h1") == 1, page


def test_a_stranger_finds_nothing(home: Home, enter: Any) -> None:
    other = make_household("Elsewhere")
    client = enter(make_user(role=Role.OWNER, household=other))
    for page in pages_of(home):
        answer = client.get(page)
        text = answer.content.decode()
        assert answer.status_code == (404 if any(c.isdigit() for c in page) else 200), page
        assert "Vegetable beds" not in text
        assert "Garden house" not in text
    for page in (f"/hubs/{home.new.pk}/install/", f"/accounts/{home.account.pk}/unlink/"):
        assert client.get(page).status_code == 404
        assert client.post(page).status_code == 404


def test_nobody_is_sent_to_sign_in(home: Home, client: Client) -> None:
    for page in pages_of(home):
        answer = client.get(page)
        assert answer.status_code == 302, page
        assert answer["Location"].startswith("/account/login/")


def test_a_fragment_without_a_session_sends_the_whole_page_to_sign_in(
    home: Home, client: Client
) -> None:
    answer = client.get(
        "/hubs/live/", headers=HTMX | {"HX-Current-URL": "http://testserver/?show=new"}
    )
    assert answer.status_code == 200
    assert answer["HX-Redirect"] == "/account/login/?next=%2F%3Fshow%3Dnew"
    assert answer.content == b""


def test_support_looks_everywhere_when_the_server_is_set_so_and_installs_nowhere(
    home: Home, enter: Any, settings: Any
) -> None:
    client = enter(make_user(staff_role=StaffRole.SUPPORT))
    assert "Vegetable beds" not in client.get("/").content.decode()
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    text = client.get("/").content.decode()
    assert "Vegetable beds" in text
    assert "Review update" not in text
    assert client.get(f"/hubs/{home.new.pk}/install/").status_code == 403
    assert AuditEvent.objects.get(action="access.refused").outcome == "refused"


def test_a_viewer_may_not_install_and_the_refusal_is_in_the_trail(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.VIEWER])
    page = f"/hubs/{home.new.pk}/install/"
    for answer in (
        client.get(page),
        client.post(page, {"agreed": sign(snapshot_offer(home.new, home.offer))}),
    ):
        assert answer.status_code == 403
        assert "does not let you install firmware" in answer.content.decode()
    assert AuditEvent.objects.filter(action="access.refused").count() == 2
    assert not OtaJob.objects.filter(node=home.new).exists()


@pytest.mark.parametrize("page", ["/account/sessions/", "/account/factors/", "/profile/"])
def test_every_page_shows_times_in_the_households_zone(home: Home, enter: Any, page: str) -> None:
    Household.objects.update(time_zone="Asia/Kathmandu")
    text = enter(home.people[Role.OWNER]).get(page).content.decode()
    assert "Asia/Kathmandu" in text
