"""A session ends only when the cloud refuses to extend it, and it stays the same person's."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.accounts import auto_sign_in
from devices.accounts.failures import record_failure
from devices.accounts.sessions import keep_tokens, sign_out, tokens_of
from devices.models import AccountState, AuditEvent, Channel, CloudAccount, Notice
from devices.notifications.messages import sentence
from devices.rainmaker.errors import AnotherUser, SignInAgain
from devices.rainmaker.schemas import Tokens
from devices.security.encryption import encrypt
from devices.worker import cloud_tasks
from devices.worker.runner import Runner
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_node, make_owner
from tests.support.hostile_server import Behaviour, HostileServer, failure, reply
from tests.support.rainmaker import CHECK, LOGIN, NO_UPDATE, NODES, jwt

pytestmark = pytest.mark.django_db
REFUSED = failure(400, 101017, "Refresh token is invalid")
UNAUTHORIZED = reply(401, json={"message": "Unauthorized"})
BLOCKED = reply(403, body="<html>Request blocked</html>")
NO_HUBS = reply(json={"nodes": [], "node_details": [], "total": 0})


@pytest.fixture
def server(settings: Any) -> Iterator[HostileServer]:
    settings.LOOPBACK_CLOUDS = True
    with HostileServer() as server:
        server.on(NODES, NO_HUBS)
        server.on(CHECK, NO_UPDATE)
        yield server


def extended(user_id: str = "u1", number: int = 2) -> Behaviour:
    in_an_hour = int((timezone.now() + timedelta(hours=1)).timestamp())
    return reply(
        json={
            "status": "success",
            "accesstoken": jwt(exp=in_an_hour, n=number),
            "idtoken": jwt(**{"custom:user_id": user_id}),
        }
    )


def account_at(server: HostileServer, **fields: Any) -> CloudAccount:
    values = {
        "base_url": server.url,
        "cloud_user_id": "u1",
        "sealed_access_token": encrypt(jwt(n=1)),
        "access_expires_at": timezone.now() + timedelta(hours=1),
    }
    return make_account(make_household(), **values | fields)


def read(account: CloudAccount, times: int = 1) -> CloudAccount:
    """Let the worker read the account so many times."""
    for _ in range(times):
        CloudAccount.objects.filter(pk=account.pk).update(
            next_sync_at=timezone.now(), resume_at=None
        )
        Runner("chores", cloud_tasks.find_chores, cloud_tasks.chores_are_idle).run()
    account.refresh_from_db()
    return account


@pytest.mark.parametrize(
    "behaviours",
    [
        [BLOCKED, BLOCKED],
        [UNAUTHORIZED, UNAUTHORIZED],
        [reply(403, json={"message": "Forbidden"})] * 2,
        [failure(400, 101017)] * 2,
    ],
)
def test_a_call_refused_twice_ends_no_session_and_is_shown(
    server: HostileServer, behaviours: list[Behaviour]
) -> None:
    account = account_at(server)
    server.on(NODES, *behaviours, NO_HUBS)
    server.on(LOGIN, extended())
    read(account)
    assert account.state == AccountState.LINKED
    assert account.trouble == "call_refused"
    assert "The cloud refused a call" in account.trouble_text
    read(account, times=2)
    assert (account.state, account.trouble) == (AccountState.LINKED, "")


@pytest.mark.parametrize("behaviour", [BLOCKED, failure(400, 555555), UNAUTHORIZED, failure(500)])
def test_an_extension_that_is_not_refused_by_a_known_code_ends_no_session(
    server: HostileServer, behaviour: Behaviour
) -> None:
    account = account_at(server, sealed_password=encrypt("kept"))
    server.on(NODES, UNAUTHORIZED)
    server.on(LOGIN, behaviour)
    read(account, times=4)
    assert account.state == AccountState.LINKED
    assert len(server.seen(LOGIN)) == 1, "the pause is kept between runs of the loop"
    assert account.extend_after is not None
    assert account.extend_after > timezone.now()


def test_a_refused_extension_signs_out(server: HostileServer) -> None:
    account = account_at(server)
    server.on(NODES, UNAUTHORIZED)
    server.on(LOGIN, REFUSED)
    assert read(account).state == AccountState.SIGNED_OUT


def test_a_cloud_that_answers_401_every_second_time_meets_no_storm(server: HostileServer) -> None:
    account = account_at(server, sealed_password=encrypt("kept"))
    make_node(account, next_check_at=timezone.now())
    server.on(NODES, *[UNAUTHORIZED, NO_HUBS] * 20)
    server.on(LOGIN, *[extended(number=number) for number in range(2, 20)])
    read(account, times=12)
    assert account.state == AccountState.LINKED
    assert len(server.seen(LOGIN)) == 1


def refusal() -> SignInAgain:
    return SignInAgain("The cloud ended the session; sign in again.", code=101017, was_sent=True)


def test_a_session_encrypted_again_is_still_the_one_that_was_refused(server: HostileServer) -> None:
    account = account_at(server)
    CloudAccount.objects.update(sealed_refresh_token=encrypt("refresh"))
    sign_out(account, refusal(), timezone.now())
    account.refresh_from_db()
    assert account.state == AccountState.SIGNED_OUT


def test_a_newer_session_is_not_ended_by_the_end_of_an_older_one(server: HostileServer) -> None:
    account = account_at(server)
    CloudAccount.objects.update(sealed_refresh_token=encrypt("newer"))
    sign_out(account, refusal(), timezone.now())
    account.refresh_from_db()
    assert account.state == AccountState.LINKED


def test_a_kept_password_encrypted_again_still_signs_in(server: HostileServer) -> None:
    account = account_at(server, state="signed_out", sealed_password=encrypt("kept"))
    CloudAccount.objects.update(sealed_password=encrypt("kept"))
    tokens = Tokens("access", "refresh", None, "u1", account.email)
    auto_sign_in.on_signed_in(account, tokens, timezone.now())
    account.refresh_from_db()
    assert account.state == AccountState.LINKED


def test_the_pause_is_part_of_the_stored_session(server: HostileServer) -> None:
    account = account_at(server)
    until = timezone.now() + timedelta(minutes=3)
    keep_tokens(account, Tokens("a", "r", None, "u1", "e", extend_after=until, extensions=4))
    stored = tokens_of(account)
    assert stored is not None
    assert (stored.extend_after, stored.extensions) == (until, 4)


def watch(account: CloudAccount) -> None:
    Channel.objects.create(
        household=account.household, sealed_url=encrypt("ntfy://x/y"), topics=["signed_out"]
    )


def assert_refused(account: CloudAccount, before: list[Any], now: datetime) -> None:
    rows = AuditEvent.objects.filter(action="account.other_user")
    assert [row.detail["account_id"] for row in rows] == [account.pk]
    (notice,) = Notice.objects.all()
    assert "another user" in sentence(notice)
    account.refresh_from_db()
    assert [account.sealed_refresh_token, account.cloud_user_id] == before
    assert account.trouble == "another_user"


def test_a_session_of_another_user_is_refused_recorded_and_notified(server: HostileServer) -> None:
    account = account_at(server)
    watch(account)
    before = [account.sealed_refresh_token, account.cloud_user_id]
    access = account.sealed_access_token
    server.on(NODES, UNAUTHORIZED, UNAUTHORIZED, UNAUTHORIZED)
    server.on(LOGIN, extended("u2"))
    read(account)
    assert account.state == AccountState.LINKED
    assert account.sealed_access_token == access
    assert_refused(account, before, timezone.now())
    record_failure(account, AnotherUser("Once more.", was_sent=True), timezone.now())
    assert Notice.objects.count() == 1, "once a day is enough"


def test_an_automatic_sign_in_as_another_user_is_refused_too(server: HostileServer) -> None:
    account = account_at(server, state="signed_out", sealed_password=encrypt("kept"))
    watch(account)
    before = [account.sealed_refresh_token, account.cloud_user_id]
    server.on(LOGIN, extended("u2"))
    Runner("chores", cloud_tasks.find_chores, cloud_tasks.chores_are_idle).run()
    assert_refused(account, before, timezone.now())
    assert account.state == AccountState.SIGNED_OUT
    assert account.sealed_password
    assert account.next_sign_in_at is not None


def test_both_loops_use_an_extension_that_one_of_them_made(server: HostileServer) -> None:
    account = account_at(server)
    other = Runner("installs", lambda now, busy: [], lambda now: True)
    server.on(NODES, UNAUTHORIZED, NO_HUBS)
    server.on(LOGIN, extended())
    CloudAccount.objects.update(access_expires_at=timezone.now() + timedelta(minutes=5))
    account.refresh_from_db()
    session = other._session(account)
    read(account)
    assert other._session(account) is session
    assert session.client.tokens is not None
    stored = tokens_of(account)
    assert stored is not None
    assert session.client.tokens.access_token == stored.access_token


def test_the_page_names_the_trouble(server: HostileServer) -> None:
    account = account_at(server)
    server.on(NODES, BLOCKED)
    read(account)
    client = Client()
    client.force_login(make_owner(account.household))
    page = client.get("/accounts/").content.decode()
    assert "The cloud refused a call" in page
    assert "403" in page
