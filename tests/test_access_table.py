"""Who may do what: every address and verb, as every kind of person, from one table. PATCH and
DELETE, which no address knows, are asked by three of them.

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
from django.db import connection, transaction
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from devices.audit import log as audit_log
from devices.households import api_tokens
from devices.households.invitations import invite
from devices.households.setup_link import make_token
from devices.installs.confirmation import sign, sign_list, snapshot_offer
from devices.models import (
    Actor,
    AuditAction,
    BackupRun,
    Channel,
    Household,
    Image,
    ImageFetch,
    Node,
    Notice,
    Offer,
    Proposal,
    PushDevice,
    Role,
    SavedView,
    Scope,
    StaffRole,
    State,
    Topic,
    User,
    When,
)
from devices.notifications import push_devices
from devices.notifications.channels import set_provider_url
from devices.notifications.delivery import unsubscribe_token
from devices.planning import policy_links, queues, tonight
from devices.planning.proposal_links import make_link
from devices.planning.proposals import propose
from tests.support.client import Client
from tests.support.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_plan,
    make_user,
    person,
    sign_in,
)
from tests.support.push_service import Browser

pytestmark = pytest.mark.django_db

Jars = dict[str, dict[str, str]]
PEOPLE = (
    *("owner", "member", "viewer"),  # of the household
    *("support", "ungranted", "auditor", "administrator"),  # staff; support with and without leave
    *("stranger", "homeless", "nobody"),  # owner elsewhere, no household, not signed in
)
OUTSIDERS = ("ungranted", "administrator", "stranger", "homeless", "nobody")
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# HEAD is answered by what answers GET, and no page knows the others. Of three of them the people
# with the most and the least rights are enough, and so they are on a second kind of database.
AS_ANOTHER, MOST_AND_LEAST = ("HEAD", "PATCH", "DELETE"), ("owner", "administrator", "nobody")
# In everything that belongs to the household, and in nothing else.
CANARY = "zaunkoenig"

# Who holds a link reads what it is for; an administrator sees who signs in here, no hub.
SHOWN_ANYWAY = {
    *("invitation", "proposal_answer", "policy_answer", "unsubscribe", "not_tonight"),
    *("calendar_feed", "server_people", "server_person"),
}

# One status for each of PEOPLE; a single one stands for all.
SEEN = "200 200 200 200 200 200 200 200 200 302"
LOOK = "200 200 200 200 404 404 404 404 404 302"
LOOK_DONE = "302 302 302 302 404 404 404 404 404 302"
CHECK = "302 302 403 302 404 404 404 404 404 302"
INSTALL = "200 200 403 403 404 404 404 404 404 302"
INSTALL_DONE = "302 302 403 403 404 404 404 404 404 302"
PROPOSED = "302 403 403 302 404 404 404 404 404 302"
OWN_DONE = "302 404 404 404 404 404 404 404 404 302"
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
EXPIRED = "410 410 410 410 410 410 410 410 410 302"
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
    other: str = NO
    """What every other verb is answered."""


PAGE = Row(SEEN)
TABLE: dict[str, Row] = {
    "hubs": PAGE,
    "hubs_live": PAGE,
    "hubs_check": Row(NO, "302"),
    "hubs_csv": PAGE,
    "view_save": Row(NO, "302", body=lambda home: {"name": "Mine"}),
    "view_remove": Row(NO, OWN_DONE, args={"pk": "saved_view"}),
    "hubs_jsonl": PAGE,
    "hub": Row(LOOK, args={"pk": "hub"}),
    "hub_live": Row(LOOK, args={"pk": "hub"}),
    "firmware_request": Row(NO, CHECK, args={"pk": "hub"}),
    # what was fetched once and is no longer in the archive
    "firmware_download": Row(LOOK.replace("200", "410"), args={"pk": "hub", "fetch": "file"}),
    "hub_check": Row(NO, CHECK, args={"pk": "hub"}),
    "hub_carry_over": Row(NO, MANAGE_DONE, args={"pk": "hub"}),
    "hub_install": Row(
        INSTALL,
        INSTALL_DONE,
        args={"pk": "hub"},
        body=lambda home: {"agreed": sign(snapshot_offer(home.hub, home.offer))},
    ),
    "hub_dismiss": Row(
        NO, INSTALL_DONE, args={"pk": "hub"}, body=lambda home: {"version": home.offer.fw_version}
    ),
    "hub_undismiss": Row(NO, INSTALL_DONE, args={"pk": "hub"}),
    "hub_propose": Row(
        "200 403 403 200 404 404 404 404 404 302",
        PROPOSED,
        args={"pk": "hub"},
        body=lambda home: {"agreed": sign(snapshot_offer(home.hub, home.offer))},
    ),
    "rehearsal": Row(
        "200 403 403 200 404 404 404 404 404 302",
        "409 403 403 409 404 404 404 404 404 302",  # 409: no simulated cloud answers there
        args={"pk": "hub"},
        body=lambda home: {"act": "stuck"},
    ),
    "proposals": PAGE,
    "propose_several": Row(
        NO,
        "409 403 403 409 404 404 404 404 404 302",  # 409: that hub is proposed already
        body=lambda home: {"agreed": sign_list([snapshot_offer(home.hub, home.offer)])},
    ),
    "proposal": Row(
        LOOK, INSTALL_DONE, args={"pk": "proposal"}, body=lambda home: {"decision": "no"}
    ),
    "household": Row(LOOK, args={"pk": "household"}),
    "household_proposals": Row(
        LOOK,
        "302 302 403 403 404 404 404 404 404 302",
        args={"pk": "household"},
        body=lambda home: {"decision": "no", "tick": home.proposal.pk},
    ),
    "proposal_withdraw": Row(NO, PROPOSED, args={"pk": "proposal"}),
    "proposal_link": Row(NO, INSTALL, args={"pk": "proposal"}),
    # No account is needed; viewers and staff cannot answer.
    "proposal_answer": Row(
        "200",
        "200 200 409 409 409 409 409 200 200 200",
        args={"token": "proposal_token"},
        body=lambda home: {"decision": "no"},
    ),
    "install": Row(LOOK, args={"pk": "job"}),
    "install_live": Row(LOOK, args={"pk": "job"}),
    "install_resume": Row(NO, INSTALL_DONE, args={"pk": "job"}),
    "install_put_back": Row(NO, INSTALL_DONE, args={"pk": "job"}),
    "install_seen": Row(NO, INSTALL_DONE, args={"pk": "job"}),
    "install_cancel": Row(NO, INSTALL_DONE, args={"pk": "job"}),
    "queue_new": Row(
        "200 200 200 200 200 200 200 200 200 302",  # nothing chosen yet
        "302 302 403 403 404 404 404 404 404 302",
        body=lambda home: {"agreed": sign_list([snapshot_offer(home.hub, home.offer)])},
    ),
    "queue": Row(LOOK, args={"pk": "batch"}),
    "queue_live": Row(LOOK, args={"pk": "batch"}),
    "queue_stop": Row(NO, INSTALL_DONE, args={"pk": "batch"}),
    "queue_resume": Row(NO, INSTALL_DONE, args={"pk": "batch"}),
    "planned": PAGE,
    "planned_live": PAGE,
    "plan_change": Row(
        INSTALL, INSTALL_DONE, args={"pk": "plan"}, body=lambda home: {"when": "tonight"}
    ),
    "plan_start": Row(NO, INSTALL_DONE, args={"pk": "plan"}),
    "plan_cancel": Row(NO, INSTALL_DONE, args={"pk": "plan"}),
    "calendar": Row(LOOK, "200 200 200 409 404 404 404 404 404 302", args={"pk": "household"}),
    # a calendar app comes without a sign-in
    "calendar_feed": Row("200", args={"token": "calendar_token"}),
    "overview": PAGE,
    "history": PAGE,
    "history_csv": PAGE,
    "history_jsonl": PAGE,
    "install_receipt": Row(LOOK, args={"pk": "job"}),
    "help": Row("200"),  # not getting in is one of the reasons to need it
    "support_codes": PAGE,
    "versions": PAGE,
    "version": Row(" ".join(["404"] * 9 + ["302"])),  # the address names none
    "server_versions": Row(
        "403 403 403 302 302 403 302 403 403 302",
        "403 403 403 302 302 403 302 403 403 302",
        body=lambda home: {"version": "9.9", "act": "hold", "reason": "for a test"},
    ),
    "unrecognised_messages": Row("403 403 403 200 200 403 200 403 403 302"),
    "audit": PAGE,
    "audit_chain": PAGE,
    "audit_check": PAGE,
    "audit_verify": Row(NO, "302"),
    "audit_csv": PAGE,
    "audit_jsonl": PAGE,
    "accounts": PAGE,
    "account_link": Row(
        "200 403 403 403 403 403 403 200 403 302",
        "200 403 403 403 403 403 403 200 403 302",  # 200: the form again, no cloud answers there
        body=lambda home: {"email": "a@example.com", "password": "x", "household_id": home.own},
    ),
    "account_trial": Row(
        NO,
        "404 403 403 403 403 403 403 404 403 302",  # 404: no simulated cloud can be started there
    ),
    "account_reconnect": Row(MANAGE, MANAGE, args={"pk": "account"}),
    "account_forget": Row(NO, MANAGE_DONE, args={"pk": "account"}),
    "account_calls": Row(LOOK, args={"pk": "account"}),
    "account_unlink": Row(MANAGE, MANAGE_DONE, args={"pk": "account"}),
    "whats_new": PAGE,
    "news_seen": Row(NO, "302"),
    "profile": Row(
        SEEN, "302 302 302 302 302 302 302 302 302 302", body=lambda home: {"name": "Renamed"}
    ),
    "address_mail": Row(NO, "302"),
    "address_confirm": Row(EXPIRED, EXPIRED, args={"token": "key"}),
    "factor_code": Row("302", "302"),
    "language": Row(NO, " ".join(["302"] * 10), body=lambda home: {"language": "de"}),
    "households": PAGE,
    "household_select": Row(NO, LOOK_DONE, body=lambda home: {"household": home.own}),
    "household_new": Row(
        "200 403 403 403 403 403 403 200 403 302",
        "302 403 403 403 403 403 403 302 403 302",
        body=lambda home: {"name": "Renamed", "time_zone": "UTC"},
    ),
    "household_settings": Row(
        MANAGE,
        MANAGE_DONE,
        args={"pk": "household"},
        body=lambda home: {"name": "Renamed", "time_zone": "UTC"},
    ),
    # everyone who looks sees what it would do; 302: nothing is let install itself by this form
    "update_policy": Row(
        LOOK,
        MANAGE_DONE,
        args={"pk": "household"},
        body=lambda home: {
            "mode": "ask",
            "window_start": "22:00",
            "window_end": "05:00",
            "waiting_days": "7",
            "others_after_days": "3",
            "idle_minutes": "30",
        },
    ),
    # No account is needed: it can only stop what was announced.
    "policy_answer": Row(
        "200",
        "200 200 409 409 409 409 409 200 200 200",
        args={"token": "policy_token"},
        body=lambda home: {"version": home.offer.fw_version},
    ),
    "household_support": Row(
        NO, MANAGE_DONE, args={"pk": "household"}, body=lambda home: {"days": "7"}
    ),
    "server_status": Row(ADMINISTER),
    "server_backups": Row(ADMINISTER),
    "server_backups_live": Row(ADMINISTER),
    # to the second factor first: the one that was shown at the sign-in is long ago
    "server_backup_new": Row(NO, ADMINISTERED),
    "server_backup_download": Row(NO, ADMINISTERED, args={"pk": "backup"}),
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
            "name": "Renamed",
            "time_zone": "UTC",
            "owner": home.people["homeless"].email,
        },
    ),
    "planned_play": Row(LOOK, args={"pk": "household"}),
    "season": Row(LOOK, MANAGE_DONE, args={"pk": "household"}, body=lambda home: {"act": "store"}),
    "household_leave": Row(
        # 409: the only owner stays, and so does who looks without belonging
        LOOK,
        "409 302 302 409 404 404 404 404 404 302",
        args={"pk": "household"},
    ),
    "household_transfer": Row(
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
        body=lambda home: {"is_on": "on", "may_install": "no", "discovery_prefix": "homeassistant"},
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
        MANAGE, MANAGE_DONE, args={"pk": "household"}, body=lambda home: SERVICE
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
    "notification_device": Row(
        "200 404 404 404 404 404 404 404 404 302",  # a device is its person's own
        "302 404 404 404 404 404 404 404 404 302",
        args={"pk": "household", "device": "device"},
        body=lambda home: {"is_on": "on", "topics": ["failed"], "pace": "at_once"},
    ),
    "this_device": PAGE,
    "push_add": Row(NO, "302", body=lambda home: Browser().fields("https://push.example/new")),
    # No browser here has the cookie of a device.
    "push_renew": Row("404", "404"),
    "push_remove": Row(NO, OWN_DONE, args={"pk": "device"}),
    "push_test": Row(NO, OWN_DONE, args={"pk": "device"}),
    # The button of a notification posts it without a sign-in; the signed link is the permission.
    "not_tonight": Row("200", "200", args={"token": "night_token"}),
    "offline": Row("200"),
    "offline_list": Row("200 200 200 403 403 403 403 200 200 302"),
    "manifest": Row("200", args={"language": "language"}),
    "service_worker": Row("200"),
    # The holder of the message may unsubscribe, and learns only whose message it is.
    "unsubscribe": Row("200", "200", args={"token": "off_token"}),
    "api_tokens": Row(
        LOOK, LOOK, args={"pk": "household"}, body=lambda home: {"name": "x", "scope": "read"}
    ),
    "api_token_revoke": Row(
        # an owner ends any token of the household, others only their own
        NO,
        "302 404 404 404 404 404 404 404 404 302",
        args={"pk": "household", "token": "api_token"},
    ),
    # Programs come with a token; a person's cookie opens nothing.
    "api_openapi": Row("200"),
    "api_hubs": Row("401"),
    "api_hub": Row("401", args={"hub": "hub"}),
    "api_dismissal": Row(NO, "401", args={"hub": "hub"}),
    "api_seen": Row(NO, "401", args={"install": "job"}),
    "api_installs": Row(NO, "401"),
    "api_install": Row("401", args={"install": "job"}),
    "api_plans": Row("401", "401"),
    "api_plan": Row("401", args={"plan": "plan"}),
    "api_plan_cancel": Row(NO, "401", args={"plan": "plan"}),
    "api_update_policy": Row("401"),
    "api_nothing": Row("404", "404", args={"rest": "rest"}, other="404"),
    # For the homeless one, who alone may accept; the link shows the others whom it is for.
    "invitation": Row("200", "409 409 409 409 409 409 409 409 302 409", args={"token": "token"}),
    "setup": Row("410", "410", args={"token": "welcome"}),
    "healthz": Row("200"),
    "readyz": Row("503"),  # no worker runs beside this test, and that is for every monitor to know
    # Figures about all of the server, and of no household; a monitor has a token.
    "metrics": Row("401 401 401 200 200 200 200 401 401 401"),
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
    """A private household, another one, and every kind of person who could ask."""

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
        self.batch = queues.request(
            user=self.people["owner"],
            household=self.household,
            chosen=[(self.hub, snapshot_offer(self.hub, self.offer))],
            at_once=1,
            stops_on_failure=True,
            actor=Actor.worker(),
        )
        for job in (self.job, None):
            audit_log.record(
                person(self.people["owner"]),
                AuditAction.CHECK_ASKED,
                CANARY,
                household=self.household,
                job=job,
            )
        self.member = self.people["member"]
        self.invitation, token = invite(
            self.household,
            email=self.people["homeless"].email,
            role=Role.VIEWER,
            by=self.people["owner"],
            actor=person(self.people["owner"]),
        )
        self.batch = queues.request(
            user=self.people["owner"],
            household=self.household,
            chosen=[(self.hub, snapshot_offer(self.hub, self.offer))],
            at_once=1,
            stops_on_failure=True,
            actor=Actor.worker(),
        )
        self.plan = self.batch.items.get()
        self.passkey = self.people["owner"]
        now = timezone.now()
        self.backup = BackupRun.objects.create(
            started_at=now, ended_at=now, verified_at=now, file="scheduled-20260101-000000.tar.gz"
        )
        self.saved_view = SavedView.objects.create(user=self.passkey, name=CANARY)
        self.proposal: Proposal = propose(
            self.hub,
            user=self.people["support"],
            binding=snapshot_offer(self.hub, self.offer),
            words=f"Please, {CANARY}",
            recipients=[],
            actor=person(self.people["support"], "support"),
        )
        # one to pass on: a mailed one would end while support is not let in
        path = make_link(self.proposal, maker=self.people["owner"])
        owner = self.people["owner"]
        mails = Channel.objects.create(household=self.household, user=owner, topics=["failed"])
        policy_path = policy_links.make_link(
            policy_links.Link(mails, owner, [self.offer.fw_version])
        )
        self.own = self.household.pk
        self.api_token, _ = api_tokens.create(
            self.people["owner"], self.household, name=f"Shelf {CANARY}", scope=Scope.INSTALL
        )
        _, calendar_token = api_tokens.create(
            self.people["viewer"], self.household, name="Calendar", scope=Scope.CALENDAR
        )
        self.channel = Channel(household=self.household, name=f"Chat {CANARY}", topics=["failed"])
        set_provider_url(self.channel, f"ntfys://ntfy.sh/{CANARY}")
        self.channel.save()
        self.device = self._device(self.people["owner"])
        self.words = {
            "night_token": self._night_token(),
            "language": "de",
            "off_token": unsubscribe_token(mails),
            "calendar_token": calendar_token,
            "rest": "v1/nothing",
            "token": token,
            "proposal_token": path.split("/")[2],
            "policy_token": policy_path.split("/")[2],
            "welcome": make_token(),
            "uid": "1",
            "key": "no-such-key",
        }

    def _device(self, user: User) -> PushDevice:
        browser = Browser().fields(f"https://push.example/{CANARY}")
        given = push_devices.read_subscription(*browser.values())
        actor = person(user)
        return push_devices.add(user, given, name=f"X {CANARY}", browser=CANARY, actor=actor)

    def _night_token(self) -> str:
        """Return the token with which the device of the owner puts a plan off."""
        now = timezone.now()
        porch = make_node(self.account, name=f"Deck {CANARY}")
        plan = make_plan(porch, when=When.TONIGHT, window_start="22:00", window_end="05:00")
        facts = {"plans": [plan.pk], "until": (now + timedelta(days=1)).isoformat()}
        notice = Notice(household=self.household, topic=Topic.PLANNED, facts=facts, at=now)
        channel = self.device.channels.get(household=self.household)
        return tonight.link_for(notice, channel, now).split("/")[2]

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
def test_every_verb_answers_everyone_as_the_table_says(
    home: Home, ask: Callable[..., Any], name: str
) -> None:
    row, path = TABLE[name], home.path(name)
    body = row.body(home)
    expected = {"GET": row.get, "HEAD": row.get, "POST": row.post}
    found: dict[str, dict[str, str]] = {}
    wanted: dict[str, dict[str, str]] = {}
    is_first = connection.vendor == "sqlite"
    for verb in VERBS if is_first else ("GET", "POST"):
        statuses = expected.get(verb, row.other).split()
        each = statuses if len(statuses) > 1 else statuses * len(PEOPLE)
        asked = PEOPLE if is_first and verb not in AS_ANOTHER else MOST_AND_LEAST
        wanted[verb] = {who: each[PEOPLE.index(who)] for who in asked}
        found[verb] = {}
        for who in asked:
            answer = ask(who, verb, path, body if verb == "POST" else None)
            found[verb][who] = str(answer.status_code)
            if who in OUTSIDERS and name not in SHOWN_ANYWAY:
                assert CANARY not in answer.getvalue().decode() + str(answer.headers), (who, verb)
    assert found == wanted


# Programs send no form, and their addresses do not know or ask for the cookie.
WITHOUT_TOKEN = {
    "unsubscribe": 200,  # a mail program's one press (RFC 8058)
    "not_tonight": 200,  # a notification's one press
    "api_hub": 405,
    "api_hubs": 405,
    "api_install": 405,
    "api_installs": 401,
    "api_dismissal": 401,
    "api_seen": 401,
    "api_plan": 405,
    "api_plan_cancel": 401,
    "api_plans": 401,
    "api_update_policy": 405,
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
    "/planned/",
    "/?sort=version",
    "/hubs/live/",
    "/hubs/live/?show=running",
    "/overview/",
    "/queues/new/",
    "/queues/new/?all=1",
    "/history/",
    "/history/?q={canary}",
    "/history/?show=running",
    "/hubs/export.csv",
    "/history/export.jsonl",
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
