"""The one-time link of a first start."""

from datetime import timedelta

import pytest
import time_machine
from django.core import signing
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from devices import welcome
from devices.models import User

pytestmark = pytest.mark.django_db


def test_a_link_lets_the_first_person_in() -> None:
    assert welcome.is_valid(welcome.make_token())


def test_a_link_is_useless_as_soon_as_somebody_exists() -> None:
    token = welcome.make_token()
    User.objects.create_user("first@example.com", "a password nobody guesses")
    assert not welcome.is_valid(token)
    assert not welcome.is_valid(welcome.make_token())


def test_a_link_is_good_for_a_day() -> None:
    token = welcome.make_token()
    with time_machine.travel(timezone.now() + welcome.VALID_FOR - timedelta(minutes=1)):
        assert welcome.is_valid(token)
    with time_machine.travel(timezone.now() + welcome.VALID_FOR + timedelta(minutes=1)):
        assert not welcome.is_valid(token)


def test_a_link_belongs_to_its_database() -> None:
    token = welcome.make_token()
    MigrationRecorder.Migration.objects.update(applied=timezone.now())
    assert not welcome.is_valid(token)


@pytest.mark.parametrize("token", ["", "x", "a:b:c"])
def test_a_made_up_link_is_nothing(token: str) -> None:
    assert not welcome.is_valid(token)


def test_a_token_signed_for_something_else_is_nothing() -> None:
    inside = signing.loads(welcome.make_token(), salt="welcome")
    assert not welcome.is_valid(signing.dumps(inside, salt="other"))


def test_every_start_prints_another_link() -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        later = welcome.make_token()
    assert later != welcome.make_token()
