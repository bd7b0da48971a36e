"""Signing in: factors, sessions, one-time links, limits, and forms that outlive a session."""

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core.cache import cache
from django.utils import timezone

from devices.models import AuditEvent, Household, Role, StaffRole, User
from devices.security import key_rotation
from devices.security.request_origin import origin
from tests.support.client import Client
from tests.support.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_node,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db
LOGIN = "/account/login/"


@pytest.fixture
def household() -> Household:
    return make_household("Garden house")


@pytest.fixture
def owner(household: Household) -> User:
    return make_user("olivia@example.com", role=Role.OWNER, household=household)


def enter(user: User, password: str = PASSWORD, client: Client | None = None) -> Client:
    """Sign in on the page."""
    client = client or Client()
    client.post(LOGIN, {"login": user.email, "password": password})
    return client


def code_of(secret: str) -> str:
    code: str = format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))
    return code


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


@pytest.mark.django_db(transaction=True)
def test_staff_see_nothing_before_their_second_factor(time_machine: Any) -> None:
    staff = make_user("sam@example.com", staff_role=StaffRole.AUDITOR)
    client = enter(staff)
    for page in ("/", "/audit/", "/households/", "/profile/"):
        assert client.get(page)["Location"] == "/account/factors/"
    live = client.get("/hubs/live/", headers={"HX-Request": "true"})
    assert live["HX-Redirect"] == "/account/factors/"

    page = "/account/factors/totp/activate/"
    text = client.get(page, follow=True).content.decode()
    assert "Enter your password again" not in text  # it was typed a moment ago
    found = re.search(r'class="mono">([A-Z2-7]{16,})<', text)
    assert found, text
    assert "style=" not in text
    assert "data:image" not in text
    secret = found.group(1)
    done = client.post(page, {"code": code_of(secret)}, follow=True).content.decode()
    assert "Print these codes and keep them safe" in done
    assert client.get("/audit/").status_code == 200
    assert secret not in str(Authenticator.objects.get(type="totp").data)

    later = enter(staff)
    assert later.get("/audit/")["Location"].startswith(LOGIN)
    time_machine.move_to(timezone.now() + timedelta(minutes=1))
    assert later.post("/account/factors/authenticate/", {"code": "000000"}).status_code == 200
    later.post("/account/factors/authenticate/", {"code": code_of(secret)})
    assert later.get("/audit/").status_code == 200
    assert {"person.factor_added", "person.factor_failed", "person.signed_in"} <= set(actions())
    roles = set(AuditEvent.objects.values_list("actor_role", flat=True))
    assert roles == {"auditor"}


def test_guesses_of_a_second_factor_are_counted_for_the_person_not_the_address() -> None:
    user = make_user("sam@example.com")
    TOTP.activate(user, generate_totp_secret())
    page = "/account/factors/authenticate/"
    client = enter(user)
    for number in range(11):
        client.post(page, {"code": "000000"}, REMOTE_ADDR=f"198.51.100.{number}")
    # the sign-in that was begun is over: each further guess costs the password again
    assert client.get(page).status_code == 302
    again = enter(user)
    assert again.get(page).status_code == 200
    again.post(page, {"code": "000000"}, REMOTE_ADDR="203.0.113.7")
    assert again.get(page).status_code == 302


def test_who_becomes_staff_shows_the_factor_in_the_session_that_is_open(owner: User) -> None:
    client = enter(owner)
    secret = generate_totp_secret()
    TOTP.activate(owner, secret)
    User.objects.filter(pk=owner.pk).update(staff_role=StaffRole.SUPPORT)
    way = client.get("/history/?q=x")
    assert way["Location"] == "/account/factors/reauthenticate/?next=%2Fhistory%2F%3Fq%3Dx"
    assert client.post(way["Location"], {"code": code_of(secret)})["Location"] == "/history/?q=x"
    assert client.get("/history/").status_code == 200


def test_a_recovery_code_lets_in_once(owner: User) -> None:
    sign_in(Client(), owner)
    TOTP.activate(owner, generate_totp_secret())
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    code = RecoveryCodes.activate(owner).get_unused_codes()[0]
    for wanted in (200, 302):
        client = enter(owner)
        client.post("/account/factors/authenticate/", {"code": code})
        assert client.get("/").status_code == (200 if wanted == 200 else 302)


def test_second_factors_turn_with_the_encryption_keys(owner: User) -> None:
    TOTP.activate(owner, generate_totp_secret())
    sealed = Authenticator.objects.get().data["secret"]
    assert sealed in {text for _, text in key_rotation._secrets()}
    place = next(place for place, text in key_rotation._secrets() if text == sealed)
    assert not place.replace("other", "x")
    assert place.replace(sealed, "fresh")
    assert Authenticator.objects.get().data == {"secret": "fresh"}


def test_an_address_is_limited(owner: User) -> None:
    codes = [
        Client().post(LOGIN, {"login": f"p{n}@example.com", "password": "x"}).status_code
        for n in range(31)
    ]
    assert codes[-1] == 429
    other = Client(REMOTE_ADDR="192.0.2.9")
    assert other.post(LOGIN, {"login": owner.email, "password": PASSWORD}).status_code == 302


def tries(owner: User, count: int, typed: str = "wrong", **where: str) -> list[bool]:
    """Try that often from one address; return which tries came too early."""
    form = {"login": owner.email, "password": typed}
    answers = [Client(**where).post(LOGIN, form) for _ in range(count)]  # type: ignore[arg-type]
    return ["Too many failed sign-ins" in answer.content.decode() for answer in answers]


def test_wrong_passwords_slow_down_and_lock_no_one_out(owner: User, time_machine: Any) -> None:
    now = timezone.now()
    time_machine.move_to(now, tick=False)
    assert tries(owner, 7) == [False] * 6 + [True]
    time_machine.move_to(now + timedelta(seconds=3), tick=False)
    assert enter(owner).get("/").status_code == 200
    # the longest wait is a minute, however often it was tried
    for n in range(20):
        cache.set("pace:tries:olivia@example.com:127.0.0.1", 5 + n)
        time_machine.move_to(now + timedelta(minutes=2 + 2 * n), tick=False)
        assert tries(owner, 2) == [False, True]
    time_machine.move_to(now + timedelta(minutes=42), tick=False)
    assert enter(owner).get("/").status_code == 200


def test_another_address_and_a_known_browser_are_not_slowed_down(owner: User) -> None:
    known = enter(owner)
    known.post("/account/logout/")
    tries(owner, 9)
    assert tries(owner, 1, PASSWORD) == [True]
    assert enter(owner, client=known).get("/").status_code == 200
    assert enter(owner, client=Client(REMOTE_ADDR="192.0.2.7")).get("/").status_code == 200


def test_many_strangers_together_are_slowed_down_and_known_addresses_are_not(owner: User) -> None:
    enter(owner, client=Client(REMOTE_ADDR="192.0.2.7"))
    early = [tries(owner, 1, REMOTE_ADDR=f"198.51.100.{n}")[0] for n in range(23)]
    assert early == [False] * 20 + [True] * 3
    assert tries(owner, 1, PASSWORD, REMOTE_ADDR="192.0.2.7") == [False]


def test_what_a_proxy_says_counts_only_behind_one(settings: Any, rf: Any) -> None:
    request = rf.get("/", headers={"X-Forwarded-For": "203.0.113.1, 198.51.100.2, 10.0.0.3"})
    assert origin(request)["address"] == "127.0.0.1"
    settings.BEHIND_PROXY = True
    assert origin(request)["address"] == "10.0.0.3"
    settings.PROXY_COUNT = 2
    assert origin(request)["address"] == "198.51.100.2"
    forged = rf.get("/", headers={"X-Forwarded-For": "<script>, x"})
    assert origin(forged)["address"] == "127.0.0.1"


def test_a_new_password_ends_every_other_session(owner: User) -> None:
    here, there = enter(owner), enter(owner)
    fields = {"oldpassword": PASSWORD, "password1": "x" * 4, "password2": "x" * 4}
    assert "too short" in here.post("/account/password/change/", fields).content.decode()
    assert there.get("/").status_code == 200
    new = "a-much-quieter-evening"
    here.post("/account/password/change/", fields | {"password1": new, "password2": new})
    assert here.get("/").status_code == 200
    assert there.get("/")["Location"].startswith(LOGIN)
    assert "person.password_changed" in actions()


def test_sessions_are_listed_and_ended(owner: User) -> None:
    here, there = enter(owner), enter(owner, client=Client(headers={"User-Agent": "Other/1"}))
    there.get("/")
    text = here.get("/account/sessions/").content.decode()
    assert "Other/1" in text
    assert "This session" in text
    here.post("/account/sessions/")
    assert here.get("/").status_code == 200
    assert there.get("/")["Location"].startswith(LOGIN)


@pytest.mark.parametrize(
    ("role", "idle", "longest"),
    [
        ("", timedelta(hours=72), timedelta(days=30)),
        ("auditor", timedelta(minutes=30), timedelta(hours=12)),
    ],
)
def test_a_session_ends_by_idling_and_by_age(
    time_machine: Any, role: str, idle: timedelta, longest: timedelta
) -> None:
    user = make_user(staff_role=role)
    began = timezone.now()
    time_machine.move_to(began)
    idling, busy = sign_in(Client(), user), sign_in(Client(), user)
    for client in (idling, busy):
        assert client.get("/profile/").status_code == 200
    now = began
    while now + idle * 0.9 < began + longest:
        now += idle * 0.9
        time_machine.move_to(now)
        assert busy.get("/profile/").status_code == 200
        if now < began + idle * 1.5:
            # what a page asks for by itself does not keep the session
            idling.get("/hubs/live/", headers={"HX-Request": "true"})
    assert idling.get("/profile/")["Location"].startswith(LOGIN)
    time_machine.move_to(began + longest + timedelta(seconds=1))
    assert busy.get("/profile/")["Location"].startswith(LOGIN)
    assert actions().count("person.session_over") == 2


def test_a_form_outlives_its_session(owner: User, household: Household, time_machine: Any) -> None:
    client = enter(owner)
    page = f"/households/{household.pk}/settings/"
    client.get(page)
    now = timezone.now() + timedelta(hours=73)
    time_machine.move_to(now)
    typed = {"name": "A much better name", "time_zone": "Asia/Tokyo"}
    way = client.post(page, typed, headers={"Referer": f"http://testserver{page}"})
    assert way["Location"] == f"{LOGIN}?next=" + page.replace("/", "%2F")
    household.refresh_from_db()
    assert household.name == "Garden house"
    back = client.post(way["Location"], {"login": owner.email, "password": PASSWORD})
    assert back["Location"] == page
    text = client.get(page).content.decode()
    assert 'value="A much better name"' in text
    assert '<option value="Asia/Tokyo" selected>' in text
    assert "nothing was sent" in text
    assert "A much better name" not in client.get(page).content.decode()


def test_a_form_outlives_signing_in_again_elsewhere(owner: User, household: Household) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    page = f"/households/{household.pk}/settings/"
    typed = {"name": "A much better name", "time_zone": "Asia/Tokyo", "broker_url": "mqtt://a:b@c"}
    stale = typed | {"csrfmiddlewaretoken": "x" * 64}
    for referer, status in (("https://evil.example/", 403), (f"http://testserver{page}", 302)):
        assert client.post(page, stale, headers={"Referer": referer}).status_code == status
    assert "mqtt" not in str(client.session["typed"])
    household.refresh_from_db()
    assert household.name == "Garden house"
    text = client.get(page).content.decode()
    assert 'value="A much better name"' in text
    assert "nothing was changed or sent" in text
    assert "You were signed out" not in text


def test_a_password_is_never_kept_with_a_form(owner: User, time_machine: Any) -> None:
    client = enter(owner)
    time_machine.move_to(timezone.now() + timedelta(hours=73))
    fields = {"email": "garden@example.com", "password": "a-canary-password"}
    client.post("/accounts/link/", fields)
    assert "a-canary-password" not in str(client.session.items())
    enter(owner, client=client)
    text = client.get("/accounts/link/").content.decode()
    assert "garden@example.com" in text
    assert "a-canary-password" not in text


def test_a_button_on_a_list_leads_back_to_the_list(owner: User) -> None:
    node = make_node(make_account(owner.households.get()))
    answer = Client().post(
        f"/hubs/{node.pk}/check/", headers={"Referer": "http://testserver/?show=new"}
    )
    assert answer["Location"] == f"{LOGIN}?next=%2F%3Fshow%3Dnew"
    foreign = Client().post(f"/hubs/{node.pk}/check/", headers={"Referer": "http://evil.example/"})
    assert "evil" not in foreign["Location"]


def test_an_owner_makes_a_one_time_link_for_a_new_password(
    household: Household, owner: User
) -> None:
    member = make_user("milo@example.com", role=Role.MEMBER, household=household)
    old, page = enter(member), f"/households/{household.pk}/people/{member.pk}/reset/"
    client = enter(owner)
    assert "/key/" not in client.get(page).content.decode()
    found = re.search(
        r"http://localhost:8000(/account/[^<\s]+)", client.post(page).content.decode()
    )
    assert found
    link, new = (
        found.group(1),
        {"password1": "an-even-quieter-one", "password2": "an-even-quieter-one"},
    )
    assert link.split("-", 1)[1].strip("/") not in str(list(AuditEvent.objects.values()))
    coming = Client()
    form = coming.get(link, follow=True).request["PATH_INFO"]
    assert User.objects.get(pk=member.pk).check_password(PASSWORD)
    coming.post(form, new)
    assert User.objects.get(pk=member.pk).check_password(new["password1"])
    assert old.get("/")["Location"].startswith(LOGIN)
    again = Client().get(link, follow=True).content.decode()
    assert "no longer works" in again
    assert [one for one in actions() if one.startswith(("person.reset", "person.password"))] == [
        "person.reset_link",
        "person.password_reset",
    ]


@pytest.mark.parametrize("door", ["staff", "household"])
def test_a_link_that_would_open_another_door_is_not_made(
    household: Household, owner: User, door: str
) -> None:
    member = make_user(role=Role.MEMBER, household=household)
    if door == "staff":
        User.objects.filter(pk=member.pk).update(staff_role=StaffRole.AUDITOR)
    else:
        member.memberships.create(household=make_household(), role=Role.OWNER)
    page = f"/households/{household.pk}/people/{member.pk}/reset/"
    text = enter(owner).post(page).content.decode()
    assert "You cannot create a password link" in text
    assert "person.reset_link" not in actions()


@pytest.mark.parametrize("has_mail_server", [True, False])
def test_a_server_without_mail_promises_no_link(settings: Any, has_mail_server: bool) -> None:
    settings.HAS_MAIL_SERVER = has_mail_server
    page = "/account/password/reset/"
    before = Client().get(page).content.decode()
    after = Client().post(page, {"email": "unknown@example.com"}, follow=True).content.decode()
    assert ('name="email"' in before) is has_mail_server
    for text in (before, after):
        assert ("This server does not send e-mail." in text) is not has_mail_server
        assert ("An owner of your household" in text) is not has_mail_server
        promises = ("a link arrives", "on its way", "by e-mail", "Check your e-mail")
        assert any(one in text for one in promises) is has_mail_server


def test_a_reset_by_mail_needs_a_mail_server_and_tells_nothing(
    owner: User, settings: Any, mailoutbox: list[Any]
) -> None:
    page = "/account/password/reset/"
    for server, mails in ((False, 0), (True, 1)):
        settings.HAS_MAIL_SERVER = server
        answers = {
            re.sub(
                rb'(csrfmiddlewaretoken" value|data-at)="[^"]+',
                b"",
                Client().post(page, {"email": email}, follow=True).content,
            )
            for email in (owner.email, "unknown@example.com")
        }
        assert len(answers) == 1
        assert len(mailoutbox) == mails


HOSTS = ["localhost:6666", "127.0.0.1:1", "[::1]:8080", "localhost", "LOCALHOST:6666"]


@pytest.mark.parametrize("host", HOSTS)
def test_the_link_in_a_password_mail_is_never_the_requests_host(
    owner: User, settings: Any, mailoutbox: list[Any], host: str
) -> None:
    settings.HAS_MAIL_SERVER = True
    settings.PUBLIC_URL = "https://hubs.example.org"
    Client().post("/account/password/reset/", {"email": owner.email}, headers={"host": host})
    [mail] = mailoutbox
    text = f"{mail.subject} {mail.body} {[body for body, _ in mail.alternatives]}"
    links = re.findall(r"https?://[^/\s]+", text)
    assert set(links) == {"https://hubs.example.org"}
    assert "localhost" not in text
    assert "127.0.0.1" not in text
    assert "::1" not in text
    path = re.search(r"https://hubs.example.org(/account/password/reset/key/\S+)", mail.body)
    assert path is not None
    assert Client().get(path[1], follow=True).status_code == 200


def test_another_host_is_no_new_count_of_wrong_passwords(owner: User) -> None:
    form = {"login": owner.email, "password": "wrong"}
    for number in range(6):  # five are free, and one is let through at once
        host = {"host": f"localhost:{8000 + number}"}
        Client().post("/account/login/", form, headers=host)
    text = Client().post("/account/login/", form, headers={"host": "127.0.0.1:1"}).content.decode()
    assert "Too many" in text
