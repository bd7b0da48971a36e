"""Signing in again without a person: only when asked for, once per pause, never in a circle."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from devices.accounts.linking import link_account
from devices.cli.acting import operator
from devices.models import AccountState, AuditEvent, CloudAccount, User
from devices.security import key_rotation
from devices.security.encryption import decrypt, encrypt
from tests.support.client import Client
from tests.support.engine import PASSWORD, run_until
from tests.support.factories import make_account, make_household, make_owner, make_user, person
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.django_db
EMAIL = "garden@example.com"


@pytest.fixture
def cloud() -> Iterator[SimCloud]:
    with SimCloud(hubs=2, users=[f"{EMAIL}:{PASSWORD}"], offers=1) as cloud:
        yield cloud


def linked(cloud: SimCloud, *, keep_password: bool) -> tuple[CloudAccount, User]:
    household = make_household("Garden house")
    owner = make_owner(household)
    account = link_account(
        household=household,
        base_url=cloud.url,
        email=EMAIL,
        password=PASSWORD,
        actor=person(owner),
        keep_password=keep_password,
    )
    run_until(lambda: account.nodes.exists() and not account.nodes.filter(checked_at=None).exists())
    return account, owner


def end_session(cloud: SimCloud, account: CloudAccount) -> None:
    """Let the cloud refuse the refresh token, and be found out about it at the next reading."""
    cloud.revoke_tokens(EMAIL)
    CloudAccount.objects.filter(pk=account.pk).update(next_sync_at=timezone.now())


def state_of(account: CloudAccount) -> str:
    account.refresh_from_db()
    return account.state


def sign_ins(cloud: SimCloud) -> int:
    answers = cloud.counters()["answers"].get("POST /v1/login2", {})
    return int(sum(answers.values()))


def trail_of(account: CloudAccount) -> list[str]:
    events = AuditEvent.objects.filter(action__startswith="account.").order_by("sequence")
    return [event.action for event in events if event.detail.get("account_id") == account.pk]


def _failed_times(account: CloudAccount, times: int) -> bool:
    return trail_of(account).count("account.sign_in_failed") == times


@pytest.mark.processes
def test_a_session_that_ended_is_opened_again_by_itself(cloud: SimCloud) -> None:
    account, _ = linked(cloud, keep_password=True)
    assert decrypt(account.sealed_password) == PASSWORD
    assert PASSWORD not in account.sealed_password
    end_session(cloud, account)
    run_until(
        lambda: (
            "account.reconnected" in trail_of(account) and state_of(account) == AccountState.LINKED
        )
    )
    assert trail_of(account) == ["account.linked", "account.signed_out", "account.reconnected"]
    event = AuditEvent.objects.get(action="account.reconnected")
    assert event.via == "worker"
    assert "kept for this" in event.why
    before = account.synced_at
    CloudAccount.objects.filter(pk=account.pk).update(next_sync_at=timezone.now())
    run_until(lambda: account.synced_at != before or state_of(account) != AccountState.LINKED)
    assert state_of(account) == AccountState.LINKED


@pytest.mark.processes
def test_without_the_tick_the_person_is_asked(cloud: SimCloud) -> None:
    account, _ = linked(cloud, keep_password=False)
    assert account.sealed_password == ""
    end_session(cloud, account)
    run_until(lambda: state_of(account) == AccountState.SIGNED_OUT)
    asked = sign_ins(cloud)
    assert not CloudAccount.objects.due_for_sign_in(timezone.now() + timedelta(days=1)).exists()
    assert sign_ins(cloud) == asked


@pytest.mark.processes
def test_a_password_changed_elsewhere_is_tried_once_and_deleted(cloud: SimCloud) -> None:
    account, _ = linked(cloud, keep_password=True)
    CloudAccount.objects.filter(pk=account.pk).update(sealed_password=encrypt("was changed"))
    end_session(cloud, account)
    run_until(lambda: "account.sign_in_failed" in trail_of(account))
    account.refresh_from_db()
    assert account.state == AccountState.SIGNED_OUT
    assert account.sealed_password == ""
    assert account.trouble == "wrong_password"
    assert "was deleted here" in AuditEvent.objects.get(action="account.sign_in_failed").sentence
    assert not CloudAccount.objects.due_for_sign_in(timezone.now() + timedelta(days=1)).exists()


@pytest.mark.processes
def test_a_cloud_that_ends_every_session_is_not_asked_in_a_circle(cloud: SimCloud) -> None:
    account, _ = linked(cloud, keep_password=True)
    end_session(cloud, account)
    run_until(lambda: "account.reconnected" in trail_of(account))
    end_session(cloud, account)
    run_until(lambda: state_of(account) == AccountState.SIGNED_OUT)
    now = timezone.now()
    assert not CloudAccount.objects.due_for_sign_in(now).exists()
    assert account.next_sign_in_at is not None
    assert account.next_sign_in_at > now
    later = account.next_sign_in_at
    assert CloudAccount.objects.due_for_sign_in(later).get() == account


@pytest.mark.processes
def test_a_cloud_in_trouble_is_tried_again_after_longer_and_longer_pauses(cloud: SimCloud) -> None:
    account, _ = linked(cloud, keep_password=True)
    cloud.fault("500", path="/v1/login2", skip=1)  # the session is still refused properly
    end_session(cloud, account)
    pauses = []
    for attempt in range(1, 4):
        run_until(partial(_failed_times, account, attempt))
        account.refresh_from_db()
        assert account.next_sign_in_at is not None
        pauses.append(account.next_sign_in_at - timezone.now())
        due = timezone.now()
        CloudAccount.objects.filter(pk=account.pk).update(next_sign_in_at=due)
    assert pauses[0] < pauses[1] < pauses[2]
    assert account.sealed_password != ""
    cloud.clear_faults()
    run_until(lambda: state_of(account) == AccountState.LINKED)


@pytest.mark.processes
def test_a_rotation_in_the_middle_loses_no_session(cloud: SimCloud, settings: Any) -> None:
    from devices.worker.cloud_tasks import ReadAccount
    from devices.worker.runner import Runner

    account, _ = linked(cloud, keep_password=True)
    loop = Runner("chores", lambda now, busy: [], lambda now: True)
    line = loop._session(account)
    access = line.client.extend_session().access_token
    key_rotation.new_key(operator(), timezone.now())
    assert key_rotation.reseal_all(operator()).resealed == 3
    task = ReadAccount(account)
    task.session = line
    loop._keep_session(task)  # what was refreshed before the rotation is stored after it
    account.refresh_from_db()
    assert decrypt(account.sealed_access_token) == access
    assert loop._session(account) is line, "the session is the same"


@pytest.mark.processes
def test_linking_on_the_page_keeps_the_password_only_when_ticked(
    cloud: SimCloud, settings: Any
) -> None:
    settings.DEFAULT_CLOUD_URL = cloud.url
    settings.ALLOWED_CLOUDS = (cloud.url,)
    household = make_household()
    client = Client()
    client.force_login(make_owner(household))
    found = {"email": EMAIL, "password": PASSWORD, "cloud": cloud.url}

    assert client.post("/accounts/link/", found | {"keep_password": "on"}).status_code == 302
    account = CloudAccount.objects.get()
    assert decrypt(account.sealed_password) == PASSWORD
    page = client.get("/accounts/").content.decode()
    assert "stays connected automatically" in page
    assert "Delete saved password" in page
    assert "checked" in client.get(f"/accounts/{account.pk}/sign-in/").content.decode()

    client.post(f"/accounts/{account.pk}/sign-in/", {"password": PASSWORD})
    account.refresh_from_db()
    assert account.sealed_password == "", "unticking deletes it"

    client.post(f"/accounts/{account.pk}/sign-in/", {"password": PASSWORD, "keep_password": "on"})
    account.refresh_from_db()
    assert account.sealed_password
    client.post(f"/accounts/{account.pk}/unlink/")
    account.refresh_from_db()
    assert (account.sealed_password, account.sealed_refresh_token) == ("", "")


def test_the_kept_password_is_deleted_by_an_owner_alone() -> None:
    household = make_household()
    account = make_account(household, sealed_password=encrypt(PASSWORD))
    address = f"/accounts/{account.pk}/forget-password/"

    def posts(user: User) -> int:
        client = Client()
        client.force_login(user)
        return client.post(address).status_code

    assert posts(make_owner(make_household())) == 404
    assert posts(make_user(role="member", household=household)) == 403
    account.refresh_from_db()
    assert account.sealed_password
    owner = make_owner(household)
    assert posts(owner) == 302
    assert posts(owner) == 302
    account.refresh_from_db()
    assert account.sealed_password == ""
    assert account.is_linked
    assert AuditEvent.objects.filter(action="account.password_forgotten").count() == 1
