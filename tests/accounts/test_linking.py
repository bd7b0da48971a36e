"""One cloud account is linked once, however its address and its cloud are spelled."""

from collections.abc import Iterator
from typing import Any

import pytest

from devices.accounts.allowed_clouds import is_allowed
from devices.accounts.linking import link_account
from devices.models import AuditEvent, CloudAccount, Household
from devices.rainmaker.errors import AnotherUser
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_node, make_owner, person
from tests.support.hostile_server import Behaviour, HostileServer, failure, reply
from tests.support.rainmaker import LOGIN, USER, jwt

pytestmark = pytest.mark.django_db
EMAIL = "porch@example.com"


def session(user_id: str | None = "u1") -> Behaviour:
    claims = {"custom:user_id": user_id} if user_id else {}
    answer = {"accesstoken": jwt(n=1), "refreshtoken": "r", "idtoken": jwt(**claims)}
    return reply(json={"status": "success"} | answer)


@pytest.fixture
def server(settings: Any) -> Iterator[HostileServer]:
    settings.LOOPBACK_CLOUDS = True
    with HostileServer() as server:
        server.on(LOGIN, session())
        yield server


def link(household: Household, base_url: str, email: str = EMAIL) -> CloudAccount:
    return link_account(
        household=household,
        base_url=base_url,
        email=email,
        password="x",
        actor=person(make_owner(household)),
    )


@pytest.mark.parametrize(
    "email", [EMAIL, "Porch@Example.com", " PORCH@EXAMPLE.COM ", "new-address@example.com"]
)
@pytest.mark.parametrize("user_id", ["u1", None])
def test_the_same_account_is_linked_once(
    server: HostileServer, email: str, user_id: str | None
) -> None:
    household = make_household()
    server.on(LOGIN, session(user_id))
    server.on(USER, reply(json={"user_id": "u1"}))
    first = link(household, server.url)
    assert link(household, server.url, email) == first
    assert CloudAccount.objects.get().cloud_user_id == "u1"


def test_without_a_user_id_the_letter_case_still_says_nothing(server: HostileServer) -> None:
    household = make_household()
    server.on(LOGIN, session(None))
    server.on(USER, failure(500))
    assert link(household, server.url) == link(household, server.url, "Porch@Example.com")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "sim.localhost"])
@pytest.mark.parametrize("end", ["", "/"])
def test_the_same_cloud_is_one_cloud_however_it_is_written(
    server: HostileServer, host: str, end: str
) -> None:
    household = make_household()
    first = link(household, server.url)
    port = server.url.rsplit(":", 1)[1]
    known = CloudAccount(base_url=f"http://{host}:{port}{end}")
    assert known.cloud_host == first.cloud_host
    if host != "sim.localhost":  # a name that not every machine looks up
        assert link(household, known.base_url) == first


def test_another_user_of_the_same_cloud_is_another_account(server: HostileServer) -> None:
    household = make_household()
    first = link(household, server.url)
    server.on(LOGIN, session("u2"))
    assert link(household, server.url, "shed@example.com") != first


def test_an_account_is_not_reconnected_as_another_user(server: HostileServer) -> None:
    household = make_household()
    account = link(household, server.url)
    sealed = account.sealed_refresh_token
    server.on(LOGIN, session("u2"))
    with pytest.raises(AnotherUser):
        link(household, server.url)
    account.refresh_from_db()
    assert (account.sealed_refresh_token, account.cloud_user_id) == (sealed, "u1")
    event = AuditEvent.objects.get(action="account.link")
    assert event.detail["trouble"] == "another_user"
    assert event.outcome == "refused"


def test_an_unlinked_address_may_be_linked_for_another_user(server: HostileServer) -> None:
    household = make_household()
    account = link(household, server.url)
    CloudAccount.objects.update(state="unlinked")
    server.on(LOGIN, session("u2"))
    assert link(household, server.url) == account
    account.refresh_from_db()
    assert account.cloud_user_id == "u2"


def test_the_page_says_that_the_account_was_linked_already(
    server: HostileServer, settings: Any
) -> None:
    settings.DEFAULT_CLOUD_URL = server.url
    household = make_household()
    client = Client()
    client.force_login(make_owner(household))
    for email, words in ((EMAIL, "Account linked."), ("Porch@Example.com", "already linked as")):
        values = {"email": email, "password": "x", "cloud": server.url}
        page = client.post("/accounts/link/", values, follow=True).content.decode()
        assert words in page
    assert CloudAccount.objects.count() == 1


def test_the_page_of_a_reconnection_explains_another_user(server: HostileServer) -> None:
    household = make_household()
    account = link(household, server.url)
    server.on(LOGIN, session("u2"))
    client = Client()
    client.force_login(make_owner(household))
    page = client.post(f"/accounts/{account.pk}/sign-in/", {"password": "x"}).content.decode()
    assert "The cloud answered for another user." in page


def test_a_cloud_is_allowed_however_it_is_written(settings: Any) -> None:
    settings.ALLOWED_CLOUDS = ("https://api.iot.example.com",)
    settings.LOOPBACK_CLOUDS = False
    for url in ("https://API.iot.example.com", "https://api.iot.example.com:443/"):
        assert is_allowed(url)
    for url in ("https://api.iot.example.com:8443", "https://api.iot.example.com/x", "x"):
        assert not is_allowed(url)


def test_an_account_without_hubs_explains_where_first_generation_hubs_are() -> None:
    account = make_account()
    client = Client()
    client.force_login(make_owner(account.household))
    assert "first generation (v1)" in client.get("/accounts/").content.decode()
    make_node(account)
    assert "first generation (v1)" not in client.get("/accounts/").content.decode()


def test_the_form_says_which_sign_in_works() -> None:
    client = Client()
    client.force_login(make_owner(make_household()))
    assert "one-time code is not supported" in client.get("/accounts/link/").content.decode()
