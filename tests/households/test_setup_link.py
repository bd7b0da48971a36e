"""The one-time link of a first start."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
import requests
import time_machine
from django.core import signing
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from devices.households import setup_link
from devices.models import User
from tests.support.product import ROOT, Product

pytestmark = pytest.mark.django_db


def test_a_link_lets_the_first_person_in() -> None:
    assert setup_link.is_valid(setup_link.make_token())


def test_a_link_is_useless_as_soon_as_a_person_exists() -> None:
    token = setup_link.make_token()
    User.objects.create_user("first@example.com", "a password nobody guesses")
    assert not setup_link.is_valid(token)
    assert not setup_link.is_valid(setup_link.make_token())


def test_a_link_is_good_for_a_day() -> None:
    token = setup_link.make_token()
    with time_machine.travel(timezone.now() + setup_link.VALID_FOR - timedelta(minutes=1)):
        assert setup_link.is_valid(token)
    with time_machine.travel(timezone.now() + setup_link.VALID_FOR + timedelta(minutes=1)):
        assert not setup_link.is_valid(token)


def test_a_link_belongs_to_its_database() -> None:
    token = setup_link.make_token()
    MigrationRecorder.Migration.objects.update(applied=timezone.now())
    assert not setup_link.is_valid(token)


@pytest.mark.parametrize("token", ["", "x", "a:b:c"])
def test_a_made_up_link_is_nothing(token: str) -> None:
    assert not setup_link.is_valid(token)


def test_a_token_signed_for_something_else_is_nothing() -> None:
    inside = signing.loads(setup_link.make_token(), salt="welcome")
    assert not setup_link.is_valid(signing.dumps(inside, salt="other"))


def test_every_start_prints_another_link() -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        later = setup_link.make_token()
    assert later != setup_link.make_token()


@pytest.mark.processes
def test_the_link_pressed_six_times_at_once_makes_one_owner(tmp_path: Path) -> None:
    product = Product(tmp_path, demo=False)
    codes: list[int] = []
    with product:
        run = [sys.executable, "manage.py", "shell", "-v", "0", "-c"]
        ask = "from devices.households import setup_link; print(setup_link.make_token())"
        environment = product.environment
        made = subprocess.run(
            [*run, ask], cwd=ROOT, env=environment, text=True, capture_output=True
        )
        page = f"{product.url}/welcome/{made.stdout.strip()}/"
        start = Barrier(6)

        def press(number: int) -> None:
            browser = requests.Session()
            token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', browser.get(page).text)
            assert token
            values = {"name": "Ada", "email": f"ada{number}@example.com", "time_zone": "UTC"}
            values |= {"household": "Home", "password": "mosquito-free-evening"}
            values |= {"csrfmiddlewaretoken": token.group(1)}
            start.wait(60)
            answer = browser.post(
                page, values, headers={"Referer": page}, allow_redirects=False, timeout=60
            )
            codes.append(answer.status_code)

        threads = [Thread(target=press, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        ask = "from devices.models import *; print(User.objects.count(), Household.objects.count())"
        found = subprocess.run(
            [*run, ask], cwd=ROOT, env=environment, text=True, capture_output=True
        )
    assert sorted(codes) == [302, 410, 410, 410, 410, 410]
    assert found.stdout.split() == ["1", "1"]
