"""A question whether anything changed: two queries at most, and never a stale answer."""

from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from devices.models import Batch, CloudAccount, Node, StaffRole, State
from devices.views.not_modified import SAME_FOR_S
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_owner,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db


class Open:
    """A person with an open page that polls."""

    def __init__(self, client: Client) -> None:
        self.household = make_household()
        self.account = make_account(self.household)
        self.node = make_node(self.account)
        self.job = make_job(self.node, state=State.RUNNING)
        self.client = sign_in(client, make_owner(self.household))

    def paths(self) -> list[str]:
        """Return what the list, the hub's page and the install's page would ask now."""
        found = []
        for page in ("/", f"/hubs/{self.node.pk}/", f"/installs/{self.job.pk}/"):
            text = self.client.get(page).content.decode()
            found.append(text.split('data-hx-get="')[-1].split('"')[0].replace("&amp;", "&"))
        assert all("/live/" in path for path in found)
        return found

    def ask(self, path: str) -> int:
        return self.client.get(path).status_code


@pytest.fixture
def open_(client: Client) -> Open:
    return Open(client)


def test_the_second_time_it_costs_one_query(open_: Open, django_assert_num_queries: Any) -> None:
    paths = open_.paths()
    open_.ask(paths[0])  # the first question of all tells which households the session sees
    for path in paths:
        assert open_.ask(path) == 204
        with django_assert_num_queries(1):
            answer = open_.client.get(path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Content-Type-Options"] == "nosniff"


def test_what_others_do_costs_nothing(open_: Open, django_assert_num_queries: Any) -> None:
    paths = open_.paths()
    busy = make_job(make_node(make_account(make_household())), state=State.RUNNING)
    for path in [paths[0], *paths]:
        open_.ask(path)
    for path in paths:
        busy.note(timezone.now(), cloud_info="Downloaded 41% Firmware Image")
        Batch.objects.create(household=busy.household, requested_by_name="x", revision=7)
        with django_assert_num_queries(1):
            assert open_.ask(path) == 204


def test_whoever_sees_everything_hears_of_everything(client: Client, settings: Any) -> None:
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    sign_in(client, make_user("support@example.com", staff_role=StaffRole.SUPPORT))
    job = make_job(make_node(make_account(make_household())), state=State.RUNNING)
    text = client.get("/").content.decode()
    path = text.split('data-hx-get="')[-1].split('"')[0].replace("&amp;", "&")
    assert [client.get(path).status_code for _ in range(3)] == [204] * 3
    job.note(timezone.now(), cloud_info="Downloaded 41% Firmware Image")
    assert client.get(path).status_code == 200


def test_every_change_is_answered_at_once(open_: Open) -> None:
    for number in range(3):
        path = open_.paths()[number]
        assert [open_.ask(path), open_.ask(path)] == [204, 204]
        open_.job.refresh_from_db()
        open_.job.note(timezone.now(), cloud_info="Downloaded 41% Firmware Image")
        assert open_.ask(path) == 200, path


def test_a_hub_that_comes_or_goes_is_answered_at_once(open_: Open) -> None:
    path = open_.paths()[0]
    assert [open_.ask(path), open_.ask(path)] == [204, 204]
    make_node(open_.account)
    assert open_.ask(path) == 200


@pytest.mark.parametrize("model", [Batch, CloudAccount, Node])
def test_a_change_that_concerns_another_person_is_asked_again_and_changes_nothing(
    open_: Open, model: Any
) -> None:
    path = open_.paths()[0]
    assert [open_.ask(path), open_.ask(path)] == [204, 204]
    elsewhere = make_household()
    if model is Batch:
        Batch.objects.create(household=elsewhere, requested_by_name="x", revision=7)
    elif model is CloudAccount:
        make_account(elsewhere)
    else:
        make_node(make_account(elsewhere))
    assert [open_.ask(path), open_.ask(path)] == [204, 204]


def test_who_signed_out_hears_nothing_more(open_: Open) -> None:
    path = open_.paths()[0]
    assert [open_.ask(path), open_.ask(path)] == [204, 204]
    Session.objects.all().delete()
    assert open_.ask(path) == 302


def test_a_session_that_ran_out_hears_nothing_more(open_: Open) -> None:
    path = open_.paths()[0]
    assert [open_.ask(path), open_.ask(path)] == [204, 204]
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert open_.ask(path) == 302


def test_another_person_with_the_same_question_is_not_answered_by_it(open_: Open) -> None:
    path = open_.paths()[1]
    assert [open_.ask(path), open_.ask(path)] == [204, 204]
    stranger = sign_in(Client(), make_owner(make_household()))
    assert stranger.get(path).status_code == 404


def test_who_lost_the_right_is_found_out_within_half_a_minute(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = open_.paths()[1]
    assert [open_.ask(path), open_.ask(path)] == [204, 204]
    open_.household.memberships.all().delete()
    assert open_.ask(path) == 204  # which says nothing but that there is nothing new
    later = monotonic() + SAME_FOR_S
    monkeypatch.setattr("devices.views.not_modified.monotonic", lambda: later)
    assert open_.ask(path) == 404


def test_a_request_refused_before_the_person_is_known_stays_refused(open_: Open) -> None:
    path = open_.paths()[0]
    assert open_.client.get(path, headers={"Host": "evil.example"}).status_code == 400
