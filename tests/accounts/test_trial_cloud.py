"""Trying things out with simulated hubs, beside real ones in a running installation."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from devices.accounts import trial_cloud
from devices.accounts.allowed_clouds import is_allowed
from devices.cli.errors import Exit
from devices.forms.accounts import LinkForm
from devices.models import AuditEvent, CloudAccount, Role
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_user
from tests.support.product import ROOT, Browser, free_port
from tests.support.started import Started, eventually
from thermacell_web.environment import START_FILE, read_start

LINK, TRY = "/accounts/link/", "/accounts/try/"


def simulated_hubs(page: str) -> int:
    """Return how many hubs the page lists where it says that all of them are simulated."""
    found = set(re.findall(r'href="/hubs/(\d+)/"', page))
    return len(found) if "All hubs listed here are simulated." in page else 0


@pytest.mark.processes
def test_simulated_hubs_are_one_button_away_until_their_account_is_unlinked(tmp_path: Path) -> None:
    product = Started(tmp_path / "home", demo=False)
    person = Browser(product.url)
    with product:
        way_in = re.search(r"/welcome/\S+/", product.text)
        assert way_in
        page = person.post(
            way_in[0],
            name="Ada",
            email="ada@example.com",
            password="mosquito-free-evening",
            household="Garden house",
            time_zone="Europe/Berlin",
        )
        assert f'formaction="{TRY}"' in page.text
        assert not product.processes("cloud")
        page = person.post(TRY, page=LINK)
        assert "You can try everything with simulated hubs" in page.text
        eventually(lambda: simulated_hubs(person.get("/").text) == trial_cloud.HUBS)
        assert f'formaction="{TRY}"' not in person.get(LINK).text
    assert not product.processes()

    # a command at a terminal, which no start told of that cloud, may call it all the same
    command = [sys.executable, "manage.py", "firmware", "check"]
    done = subprocess.run(
        command, cwd=ROOT, env=product.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == Exit.NO_ANSWER
    assert done.stdout.count("The cloud cannot be reached.") == trial_cloud.HUBS

    with product:  # where it was, without anybody asking
        page = person.get("/accounts/")
        port = re.search(r"127\.0\.0\.1:(\d+)", page.text)
        unlink = re.search(r"/accounts/\d+/unlink/", page.text)
        assert port
        assert unlink
        eventually(lambda: product.answer("/apiversions", int(port[1])) == 200)
        assert person.post(unlink[0]).status_code == 200
        os.utime(product.data_dir / "trial" / "port", (0, 0))  # as if it was long ago
        eventually(lambda: not product.processes("cloud"))
        assert "had stopped" not in product.text
        person.post(TRY, page=LINK)
        assert product.answer("/apiversions", int(port[1])) == 200
        unlink = re.search(r"/accounts/\d+/unlink/", person.get("/accounts/").text)
        assert unlink
        person.post(unlink[0])

    with product:
        assert not product.processes("cloud")
        assert f'formaction="{TRY}"' in person.get(LINK).text


@pytest.fixture
def owner(client: Client, db: Any, tmp_path: Path, settings: Any) -> Client:
    settings.DATA_DIR = tmp_path
    settings.LOOPBACK_CLOUDS = False
    client.force_login(make_user(role=Role.OWNER, household=make_household("Garden house")))
    return client


def test_where_none_can_be_started_the_page_says_who_can(owner: Client) -> None:
    page = owner.get(LINK).content.decode()
    assert "make demo PORT=8100" in page
    assert TRY not in page
    assert owner.post(TRY).status_code == 404


def test_a_household_of_another_person_is_not_mistaken_for_ones_own(
    owner: Client, settings: Any
) -> None:
    settings.TRIAL_CLOUD_URL = trial_cloud.address(free_port())
    assert owner.post(TRY, {"household_id": make_household().pk}).status_code == 404
    assert trial_cloud.asked_port() is None


def test_a_simulated_cloud_that_does_not_start_links_nothing(owner: Client, settings: Any) -> None:
    settings.TRIAL_CLOUD_URL = trial_cloud.address(free_port())
    settings.ENGINE_PACE = 100
    page = owner.post(TRY, follow=True)
    assert "The simulated hubs did not start, and nothing was linked." in page.content.decode()
    assert not CloudAccount.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="account.").exists()


def test_no_other_cloud_on_this_machine_is_called(owner: Client, settings: Any) -> None:
    settings.TRIAL_CLOUD_URL = trial_cloud.address(8001)
    assert is_allowed("http://127.0.0.1:8001")
    assert not is_allowed("http://127.0.0.1:8002")
    settings.TRIAL_CLOUD_URL = ""
    assert not is_allowed("http://127.0.0.1:8001")


def test_a_command_beside_it_knows_what_the_start_set_aside(tmp_path: Path) -> None:
    assert read_start(tmp_path) == {}
    (tmp_path / START_FILE).parent.mkdir()
    (tmp_path / START_FILE).write_text("PUBLIC_URL=http://localhost:8017\nTRIAL_CLOUD_URL=\n")
    assert read_start(tmp_path) == {"PUBLIC_URL": "http://localhost:8017"}


def test_it_is_in_use_until_the_last_account_is_unlinked(owner: Client) -> None:
    here = trial_cloud.address(8001)
    account = make_account(base_url=here)
    make_account(base_url=here, state="signed_out")
    assert trial_cloud.is_in_use(here)
    assert not trial_cloud.is_in_use(trial_cloud.address(8002))
    CloudAccount.objects.exclude(pk=account.pk).update(state="unlinked")
    assert trial_cloud.is_in_use(here)
    CloudAccount.objects.update(state="unlinked")
    assert not trial_cloud.is_in_use(here)


def test_it_is_over_once_its_account_is_unlinked_but_not_before_it_is_linked(owner: Client) -> None:
    assert trial_cloud.is_over()
    trial_cloud.folder().mkdir()
    wish = trial_cloud.folder() / "port"
    wish.write_text("8001")
    assert not trial_cloud.is_over()
    account = make_account(base_url=trial_cloud.address(8001))
    long_ago = time.time() - trial_cloud.LINKS_WITHIN_S - 1
    os.utime(wish, (long_ago, long_ago))
    assert not trial_cloud.is_over()
    CloudAccount.objects.filter(pk=account.pk).update(state="unlinked")
    assert trial_cloud.is_over()


@pytest.mark.parametrize(("written", "port"), [("8001", 8001), ("", None), ("half", None)])
def test_a_wish_is_a_port_or_none(owner: Client, written: str, port: int | None) -> None:
    assert trial_cloud.asked_port() is None
    trial_cloud.folder().mkdir()
    (trial_cloud.folder() / "port").write_text(written)
    assert trial_cloud.asked_port() == port
    trial_cloud.forget()
    assert trial_cloud.asked_port() is None


@pytest.mark.parametrize(
    ("address", "loopback", "is_taken"),
    [
        ("http://127.0.0.1:8910", True, True),
        ("http://127.0.0.1:8910", False, False),
        ("https://elsewhere.example", True, False),
        ("http://elsewhere.example", True, False),
        ("", False, True),
    ],
)
def test_a_cloud_is_linked_by_its_address_where_it_may_be_called(
    owner: Client, settings: Any, address: str, loopback: bool, is_taken: bool
) -> None:
    settings.LOOPBACK_CLOUDS = loopback
    found = {"email": "porch@example.com", "password": "fireflies", "cloud": address}
    form = LinkForm(found, households=[make_household()])
    assert form.is_valid() == is_taken
    if is_taken:
        assert form.base_url() == (address or settings.DEFAULT_CLOUD_URL)
    else:
        assert "not set up to use that cloud" in str(form.errors["cloud"])


@pytest.mark.django_db
def test_an_account_that_a_restore_brought_back_has_its_cloud_started_again(
    settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    trial_cloud.recall()
    assert trial_cloud.asked_port() is None
    make_account(email=trial_cloud.EMAIL, base_url="https://api.rainmaker.espressif.com")
    trial_cloud.recall()
    assert trial_cloud.asked_port() is None
    account = make_account(email=trial_cloud.EMAIL, base_url=trial_cloud.address(8123))
    trial_cloud.recall()
    assert trial_cloud.asked_port() == 8123
    trial_cloud.forget()
    account.state = "unlinked"
    account.save()
    trial_cloud.recall()
    assert trial_cloud.asked_port() is None
