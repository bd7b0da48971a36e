"""Who may do what: every address and verb, as every kind of person, from one table.

A new address that is not in the table fails. Every request starts from the same rows and leaves
nothing behind.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from devices import batches
from devices.confirm import bind, sign, sign_list
from devices.models import (
    Actor,
    ApiToken,
    Channel,
    Household,
    Image,
    ImageFetch,
    Node,
    Offer,
    Role,
    Scope,
    StaffRole,
    State,
    User,
    audit,
)
from devices.notices import off_token
from devices.people import invite
from devices.proposals import propose
from devices.welcome import make_token
from tests.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
    person,
    sign_in,
)

pytestmark = pytest.mark.django_db

Jars = dict[str, dict[str, str]]
PEOPLE = (
    *("owner", "member", "viewer"),  # of the household
    *("support", "ungranted", "auditor", "administrator"),  # staff; support with and without leave
    *("stranger", "homeless", "nobody"),  # owner elsewhere, no household, not signed in
)
OUTSIDERS = ("ungranted", "administrator", "stranger", "homeless", "nobody")
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# In everything that belongs to the household, and in nothing else.
CANARY = "zaunkoenig"

# Who holds a link reads what it is for; an administrator sees who signs in here, no hub.
SHOWN_ANYWAY = {"invitation", "decide", "notification_off", "server_people", "server_person"}

# One status for each of PEOPLE; a single one stands for all.
SEEN = "200 200 200 200 200 200 200 200 200 302"
LOOK = "200 200 200 200 404 404 404 404 404 302"
LOOK_DONE = "302 302 302 302 404 404 404 404 404 302"
CHECK = "302 302 403 302 404 404 404 404 404 302"
INSTALL = "200 200 403 403 404 404 404 404 404 302"
INSTALL_DONE = "302 302 403 403 404 404 404 404 404 302"
PROPOSED = "302 403 403 302 404 404 404 404 404 302"
MANAGE = "200 403 403 403 404 404 404 404 404 302"
MANAGE_DONE = "302 403 403 403 404 404 404 404 404 302"
ADMINISTER = "403 403 403 403 403 403 200 403 403 302"
ADMINISTERED = "403 403 403 403 403 403 302 403 403 302"
NO = "405"
CLOSED = "404"
# Who changes second factors shows the password once more first.
REAUTH = "302"
# Of all these only staff have one.
HAS_FACTOR = "404 404 404 302 302 302 302 404 404 302"
ASKED_FACTOR = "302 302 302 200 200 200 200 302 302 302"
LOOK_ONLY = "405 405 405 405 405 405 405 405 405 302"
ALREADY_IN = "302 302 302 302 302 302 302 302 302 200"


SERVICE = {
    "name": "Chat",
    "url": "ntfys://ntfy.sh/a-topic",
    "is_on": "on",
    "topics": ["failed"],
    "pace": "at_once",
}


@dataclass(frozen=True)
class Row:
    """What an address answers."""

    get: str
    post: str = NO
    args: dict[str, str] = field(default_factory=dict)
    """Which of the household's things the address names."""
    body: Callable[["Home"], dict[str, Any]] = lambda home: {}


PAGE = Row(SEEN)
TABLE: dict[str, Row] = {
    "hubs": PAGE,
    "hubs_live": PAGE,
    "hubs_check": Row(NO, "302"),
    "hub": Row(LOOK, args={"pk": "hub"}),
    "hub_live": Row(LOOK, args={"pk": "hub"}),
    "hub_file_ask": Row(NO, CHECK, args={"pk": "hub"}),
    # what was fetched once and is no longer in the archive
    "hub_file": Row(LOOK.replace("200", "410"), args={"pk": "hub", "fetch": "file"}),
    "hub_check": Row(NO, CHECK, args={"pk": "hub"}),
    "hub_install": Row(
        INSTALL,
        INSTALL_DONE,
        args={"pk": "hub"},
        body=lambda home: {"agreed": sign(bind(home.hub, home.offer))},
    ),
    "hub_propose": Row(
        "200 403 403 200 404 404 404 404 404 302",
        PROPOSED,
        args={"pk": "hub"},
        body=lambda home: {"agreed": sign(bind(home.hub, home.offer))},
    ),
    "proposals": PAGE,
    "proposal": Row(
        LOOK, INSTALL_DONE, args={"pk": "proposal"}, body=lambda home: {"decision": "no"}
    ),
    "proposal_withdraw": Row(NO, PROPOSED, args={"pk": "proposal"}),
    "proposal_link": Row(NO, INSTALL, args={"pk": "proposal"}),
    # No account is needed; whoever only looks there, and staff, cannot answer.
    "decide": Row(
        "200",
        "200 200 409 409 409 409 409 200 200 200",
        args={"token": "proposal_token"},
        body=lambda home: {"decision": "no"},
    ),
    "install": Row(LOOK, args={"pk": "job"}),
    "install_live": Row(LOOK, args={"pk": "job"}),
    "install_ask_again": Row(NO, INSTALL_DONE, args={"pk": "job"}),
    "install_cancel": Row(NO, INSTALL_DONE, args={"pk": "job"}),
    "batch_new": Row(
        "200 200 200 200 200 200 200 200 200 302",  # nothing chosen yet
        "302 302 403 403 404 404 404 404 404 302",
        body=lambda home: {"agreed": sign_list([bind(home.hub, home.offer)])},
    ),
    "batch": Row(LOOK, args={"pk": "batch"}),
    "batch_live": Row(LOOK, args={"pk": "batch"}),
    "batch_stop": Row(NO, INSTALL_DONE, args={"pk": "batch"}),
    "batch_go_on": Row(NO, INSTALL_DONE, args={"pk": "batch"}),
    "overview": PAGE,
    "styleguide": Row("403 403 403 200 200 200 200 403 403 302"),
    "history": PAGE,
    "install_receipt": Row(LOOK, args={"pk": "job"}),
    "codes": PAGE,
    "unknown_texts": Row("403 403 403 200 200 403 200 403 403 302"),
    "audit": PAGE,
    "audit_chain": PAGE,
    "audit_csv": PAGE,
    "audit_jsonl": PAGE,
    "accounts": PAGE,
    "account_link": Row(
        "200 403 403 403 403 403 403 200 403 302",
        "200 403 403 403 403 403 403 200 403 302",  # 200: the form again, no cloud answers there
        body=lambda home: {"email": "a@example.com", "password": "x", "household_id": home.own},
    ),
    "account_try": Row(
        NO,
        "404 403 403 403 403 403 403 404 403 302",  # 404: no simulated cloud can be started there
    ),
    "account_reconnect": Row(MANAGE, MANAGE, args={"pk": "account"}),
    "account_forget": Row(NO, MANAGE_DONE, args={"pk": "account"}),
    "account_unlink": Row(MANAGE, MANAGE_DONE, args={"pk": "account"}),
    "profile": Row(
        SEEN, "302 302 302 302 302 302 302 302 302 302", body=lambda home: {"name": "Anew"}
    ),
    "language": Row(NO, " ".join(["302"] * 10), body=lambda home: {"language": "de"}),
    "households": PAGE,
    "household_choose": Row(NO, LOOK_DONE, body=lambda home: {"household": home.own}),
    "household_new": Row(
        "200 403 403 403 403 403 403 200 403 302",
        "302 403 403 403 403 403 403 302 403 302",
        body=lambda home: {"name": "Anew", "time_zone": "UTC"},
    ),
    "household_settings": Row(
        MANAGE,
        MANAGE_DONE,
        args={"pk": "household"},
        body=lambda home: {"name": "Anew", "time_zone": "UTC"},
    ),
    "household_support": Row(
        NO, MANAGE_DONE, args={"pk": "household"}, body=lambda home: {"days": "7"}
    ),
    "server_people": Row(ADMINISTER),
    "server_person_new": Row(
        ADMINISTER, ADMINISTERED, body=lambda home: {"email": "new@example.com"}
    ),
    "server_person": Row(ADMINISTER, args={"pk": "member"}),
    "server_person_act": Row(
        NO, ADMINISTERED, args={"pk": "member"}, body=lambda home: {"act": "sessions"}
    ),
    "server_household_new": Row(
        ADMINISTER,
        ADMINISTERED,
        body=lambda home: {
            "name": "Anew",
            "time_zone": "UTC",
            "owner": home.people["homeless"].email,
        },
    ),
    "household_leave": Row(
        # 409: the only owner stays, and so does who looks without belonging
        LOOK,
        "409 302 302 409 404 404 404 404 404 302",
        args={"pk": "household"},
    ),
    "household_hand_over": Row(
        MANAGE,
        MANAGE_DONE,
        args={"pk": "household"},
        body=lambda home: {"to": home.people["member"].pk, "becomes": "viewer"},
    ),
    "people": Row(
        LOOK,
        "200 403 403 403 404 404 404 404 404 302",
        args={"pk": "household"},
        body=lambda home: {"email": "new@example.com", "role": "viewer"},
    ),
    "member_role": Row(
        NO,
        MANAGE_DONE,
        args={"pk": "household", "user": "member"},
        body=lambda home: {"role": "viewer"},
    ),
    "member_remove": Row(MANAGE, MANAGE_DONE, args={"pk": "household", "user": "member"}),
    "member_reset": Row(MANAGE, MANAGE, args={"pk": "household", "user": "member"}),
    "invitation_withdraw": Row(
        NO, MANAGE_DONE, args={"pk": "household", "invitation": "invitation"}
    ),
    "home_assistant": Row(
        MANAGE,
        # 200: the form again, for this server has no broker
        MANAGE,
        args={"pk": "household"},
        body=lambda home: {
            "is_on": "on",
            "may_install": "no",
            "discovery_prefix": "homeassistant",
        },
    ),
    "home_assistant_live": Row(MANAGE, args={"pk": "household"}),
    "home_assistant_test": Row(NO, MANAGE_DONE, args={"pk": "household"}),
    "notifications": Row(
        LOOK,
        "302 302 302 404 404 404 404 404 404 302",  # who only looks has no channel there
        args={"pk": "household"},
        body=lambda home: {"is_on": "on", "topics": ["failed"], "pace": "at_once"},
    ),
    "notification_service_new": Row(
        MANAGE,
        MANAGE_DONE,
        args={"pk": "household"},
        body=lambda home: SERVICE,
    ),
    "notification_service": Row(
        MANAGE,
        MANAGE_DONE,
        args={"pk": "household", "channel": "channel"},
        body=lambda home: SERVICE,
    ),
    "notification_service_remove": Row(
        NO, MANAGE_DONE, args={"pk": "household", "channel": "channel"}
    ),
    "notification_test": Row(NO, MANAGE_DONE, args={"pk": "household", "channel": "channel"}),
    # Whoever holds the message may end what it belongs to, and learns nothing but whose it is.
    "notification_off": Row("200", "200", args={"token": "off_token"}),
    "tokens": Row(
        LOOK, LOOK, args={"pk": "household"}, body=lambda home: {"name": "x", "scope": "read"}
    ),
    "token_revoke": Row(
        # an owner ends any token of the household, others only their own
        NO,
        "302 404 404 404 404 404 404 404 404 302",
        args={"pk": "household", "token": "api_token"},
    ),
    # Programs come with a token; a person's cookie opens nothing.
    "api_openapi": Row("200"),
    "api_hubs": Row("401"),
    "api_hub": Row("401", args={"pk": "hub"}),
    "api_installs": Row(NO, "401"),
    "api_install": Row("401", args={"pk": "job"}),
    "api_nothing": Row("404", "404", args={"rest": "rest"}),
    # For the homeless one, who alone may accept; the link shows the others whom it is for.
    "invitation": Row("200", "409 409 409 409 409 409 409 409 302 409", args={"token": "token"}),
    "welcome": Row("410", "410", args={"token": "welcome"}),
    "healthz": Row("200"),
    "readyz": Row("503"),  # no worker runs beside this test, and that is for every monitor to know
    "account_login": Row(
        ALREADY_IN,
        "302",
        body=lambda home: {"login": home.people["homeless"].email, "password": PASSWORD},
    ),
    "account_logout": Row(SEEN, "302"),
    "account_inactive": Row("200"),
    "account_reauthenticate": Row(SEEN, "302", body=lambda home: {"password": PASSWORD}),
    "account_change_password": Row(
        SEEN,
        "302",
        body=lambda home: {
            "oldpassword": PASSWORD,
            "password1": "another-quiet-evening",
            "password2": "another-quiet-evening",
        },
    ),
    "account_reset_password": Row(
        "200", "302", body=lambda home: {"email": home.people["owner"].email}
    ),
    "account_reset_password_done": Row("200"),
    "account_reset_password_from_key": Row("200", "200", args={"uidb36": "uid", "key": "key"}),
    "account_reset_password_from_key_done": Row("200"),
    "mfa_index": Row(SEEN, LOOK_ONLY),
    "mfa_authenticate": Row("302", "302"),  # only between password and second factor
    "mfa_reauthenticate": Row(ASKED_FACTOR, ASKED_FACTOR),
    "mfa_activate_totp": Row(REAUTH, REAUTH),
    "mfa_deactivate_totp": Row(HAS_FACTOR, HAS_FACTOR),
    "mfa_view_recovery_codes": Row(HAS_FACTOR, LOOK_ONLY),
    "mfa_generate_recovery_codes": Row(REAUTH, REAUTH),
    "mfa_download_recovery_codes": Row(HAS_FACTOR, HAS_FACTOR),
    "mfa_list_webauthn": Row(SEEN, LOOK_ONLY),
    "mfa_add_webauthn": Row(REAUTH, REAUTH),
    "mfa_reauthenticate_webauthn": Row("302", "302"),
    "mfa_remove_webauthn": Row(REAUTH, REAUTH, args={"pk": "passkey"}),
    "mfa_edit_webauthn": Row(REAUTH, REAUTH, args={"pk": "passkey"}),
    "mfa_login_webauthn": Row("302", "302"),
    "usersessions_list": Row(SEEN, "302"),
    "account_signup": Row(CLOSED, CLOSED),
    "account_email": Row(CLOSED, CLOSED),
    "account_email_verification_sent": Row(CLOSED, CLOSED),
    "account_confirm_email": Row(CLOSED, CLOSED, args={"key": "key"}),
    "account_set_password": Row(CLOSED, CLOSED),
    "account_confirm_login_code": Row(CLOSED, CLOSED),
}


class Home:
    """A household that nobody else may know of, another one, and everybody who could ask."""

    hub: Node
    offer: Offer
    own: int
    people: dict[str, User]

    def __init__(self) -> None:
        self.household = make_household(f"House {CANARY}")
        self.account = make_account(self.household, email=f"{CANARY}.cloud@example.com")
        self.hub = make_node(self.account, name=f"Porch {CANARY}", serial=f"N{CANARY}")
        self.offer = make_offer(self.hub, description=f"For {CANARY}")
        gone = Image.objects.create(sha256=CANARY, md5="", size_bytes=1, dropped_at=timezone.now())
        self.file = ImageFetch.objects.create(
            node=self.hub,
            offer=self.offer,
            asked_by_name=f"{CANARY}@x.example",
            state="verified",
            image=gone,
        )
        busy = make_node(self.account, name=f"Pit {CANARY}")
        self.job = make_job(busy, state=State.REQUESTED, requested_by_name=f"{CANARY}@x.example")
        self.elsewhere = make_household("Elsewhere")
        make_offer(make_node(make_account(self.elsewhere)))
        self.people = {
            **{
                role.value: make_user(
                    f"{CANARY}.{role}@example.com", role=role, household=self.household
                )
                for role in Role
            },
            "support": make_user(staff_role=StaffRole.SUPPORT),
            "auditor": make_user(staff_role=StaffRole.AUDITOR),
            "administrator": make_user(staff_role=StaffRole.ADMINISTRATOR),
            "stranger": make_user(role=Role.OWNER, household=self.elsewhere),
            "homeless": make_user(),
        }
        self.batch = batches.request(
            user=self.people["owner"],
            household=self.household,
            chosen=[(self.hub, bind(self.hub, self.offer))],
            at_once=1,
            stops_on_failure=True,
            actor=Actor.worker(),
        )
        for job in (self.job, None):
            audit.record(
                person(self.people["owner"]), "test.deed", CANARY, household=self.household, job=job
            )
        self.member = self.people["member"]
        self.invitation, token = invite(
            self.household,
            email=self.people["homeless"].email,
            role=Role.VIEWER,
            by=self.people["owner"],
            actor=person(self.people["owner"]),
        )
        self.batch = batches.request(
            user=self.people["owner"],
            household=self.household,
            chosen=[(self.hub, bind(self.hub, self.offer))],
            at_once=1,
            stops_on_failure=True,
            actor=Actor.worker(),
        )
        self.passkey = self.people["owner"]
        self.proposal, proposal_token = propose(
            self.hub,
            user=self.people["support"],
            binding=bind(self.hub, self.offer),
            words=f"Please, {CANARY}",
            recipients=[],
            actor=person(self.people["support"], "support"),
        )
        self.own = self.household.pk
        self.api_token, _ = ApiToken.make(
            self.people["owner"], self.household, name=f"Shelf {CANARY}", scope=Scope.INSTALL
        )
        self.channel = Channel(household=self.household, name=f"Chat {CANARY}", topics=["failed"])
        self.channel.keep_url(f"ntfys://ntfy.sh/{CANARY}")
        self.channel.save()
        mails = Channel.objects.create(
            household=self.household, user=self.people["owner"], topics=["failed"]
        )
        self.words = {
            "off_token": off_token(mails),
            "rest": "v1/nothing",
            "token": token,
            "proposal_token": proposal_token,
            "welcome": make_token(),
            "uid": "1",
            "key": "no-such-key",
        }

    def path(self, name: str) -> str:
        """Return the address, with this household's things where it names any."""
        things = {
            word: self.words.get(thing) or getattr(self, thing).pk
            for word, thing in TABLE[name].args.items()
        }
        return reverse(name, kwargs=things)


def signed_in(user: User | None) -> dict[str, str]:
    """Return the cookies of this person's browser."""
    client = Client()
    if user is not None:
        sign_in(client, user)
    return {name: morsel.value for name, morsel in client.cookies.items()}


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[Home, Jars]]:
    """Yield the household, and everybody's cookies; every test leaves them as they are."""
    with django_db_blocker.unblock(), transaction.atomic():
        home = Home()
        jars = {
            who: signed_in(home.people.get(who.replace("ungranted", "support"))) for who in PEOPLE
        }
        with django_db_blocker.block():
            yield home, jars
        transaction.set_rollback(True)


@pytest.fixture
def home(rows: tuple[Home, Jars]) -> Home:
    return rows[0]


@pytest.fixture
def ask(rows: tuple[Home, Jars]) -> Callable[..., HttpResponse]:
    """Return a function that sends one request as one of PEOPLE and undoes what it did."""
    home, jars = rows
    client = Client()

    def send(who: str, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        cache.clear()
        # the same person of support, with and without the household's leave
        until = timezone.now() + timedelta(hours=1) if who == "support" else None
        Household.objects.filter(pk=home.household.pk).update(support_until=until)
        client.cookies = SimpleCookie(jars[who])
        with transaction.atomic():
            answer = client.generic(verb, path) if body is None else client.post(path, body)
            transaction.set_rollback(True)
        return answer

    return send


def patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from patterns(entry)
        else:
            yield entry


def test_every_address_is_in_the_table_and_the_table_knows_no_other() -> None:
    assert {pattern.name for pattern in patterns(get_resolver())} == set(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_verb_answers_everybody_as_the_table_says(
    home: Home, ask: Callable[..., Any], name: str
) -> None:
    row, path = TABLE[name], home.path(name)
    body = row.body(home)
    expected = {"GET": row.get, "HEAD": row.get, "POST": row.post}
    found, wanted = {}, {}
    for verb in VERBS:
        statuses = expected.get(verb, NO).split()
        wanted[verb] = " ".join(statuses if len(statuses) > 1 else statuses * len(PEOPLE))
        answers = []
        for who in PEOPLE:
            answer = ask(who, verb, path, body if verb == "POST" else None)
            answers.append(str(answer.status_code))
            if who in OUTSIDERS and name not in SHOWN_ANYWAY:
                assert CANARY not in answer.getvalue().decode() + str(answer.headers), (who, verb)
        found[verb] = " ".join(answers)
    assert found == wanted


# Programs send no form, and their addresses do not know or ask for the cookie.
WITHOUT_TOKEN = {
    "notification_off": 200,  # a mail program's one press (RFC 8058)
    "api_hub": 405,
    "api_hubs": 405,
    "api_install": 405,
    "api_installs": 401,
    "api_nothing": 404,
    "api_openapi": 405,
}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_no_form_is_taken_without_its_token(home: Home, name: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(home.people["owner"])
    assert client.post(home.path(name)).status_code == WITHOUT_TOKEN.get(name, 403)


# Lists, with what could be asked of them about things that are not one's own.
ASKED = (
    "/",
    "/?q={canary}",
    "/?show=new",
    "/?sort=version",
    "/hubs/live/",
    "/hubs/live/?show=running",
    "/overview/",
    "/queues/new/",
    "/queues/new/?all=1",
    "/history/",
    "/history/?q={canary}",
    "/history/?show=running",
    "/audit/",
    "/audit/?job={job}",
    "/audit/?person={canary}",
    "/audit/?hub={canary}&action=install.",
    "/accounts/",
    "/accounts/link/",
    "/profile/",
    "/households/",
    "/households/new/",
    "/proposals/",
)


@pytest.mark.parametrize("query", ASKED)
def test_an_outsiders_lists_are_the_same_as_if_the_household_did_not_exist(
    home: Home, ask: Callable[..., Any], query: str, time_machine: Any
) -> None:
    time_machine.move_to(timezone.now(), tick=False)
    path = query.format(canary=CANARY, job=home.job.pk)
    before = {who: plain(ask(who, "GET", path)) for who in OUTSIDERS}
    Household.objects.filter(pk=home.household.pk).delete()
    assert {who: plain(ask(who, "GET", path)) for who in OUTSIDERS} == before


def plain(answer: Any) -> str:
    """Return the page without what differs from one request to the next."""
    varying = (
        r'(csrfmiddlewaretoken" value="|agreed" value="|[?;]t=)[^"&]*|>[^<]* ago<|>just now<'
        r'|<dd class="mono">[0-9a-f]+<'
    )
    return re.sub(varying, "", answer.getvalue().decode())
