"""No page without pages: however many rows there are, a page stays small and asks as often."""

from collections.abc import Callable
from copy import copy
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    ApiToken,
    AuditAction,
    BackupRun,
    CloudAccount,
    Household,
    Invitation,
    Membership,
    Node,
    OtaJob,
    Proposal,
    Report,
    Role,
    StaffRole,
    State,
    UnknownText,
    User,
)
from tests.support.client import Client
from tests.support.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_plan,
    make_proposal,
    make_user,
    sign_in,
)

pytestmark = pytest.mark.django_db
# Without compression, which makes a tenth of it. The longest is the review of 100 hubs.
MOST_BYTES = 200_000
FEW, MANY = 105, 140  # both more than the longest page has


class Home:
    def __init__(self) -> None:
        self.household = make_household("Garden")
        self.owner = make_user(role=Role.OWNER, household=self.household)
        self.boss = make_user(staff_role=StaffRole.ADMINISTRATOR)
        self.account = make_account(self.household)
        self.node = make_node(self.account)
        make_offer(self.node)
        self.job = make_job(self.node, state=State.VERIFIED, ended_at=timezone.now())
        self.made = 0

    def numbers(self, many: int) -> range:
        first, self.made = self.made, self.made + many
        return range(first, self.made)


def accounts(home: Home, many: int) -> None:
    for n in home.numbers(many):
        account = CloudAccount(household=home.household, base_url=home.account.base_url)
        account.email = f"cloud{n}@garden.example"
        account.save()


def people(home: Home, many: int) -> None:
    new = User.objects.bulk_create(User(email=f"p{n}@a.example") for n in home.numbers(many))
    Membership.objects.bulk_create(
        Membership(user=one, household=home.household, role=Role.VIEWER) for one in new
    )


def invitations(home: Home, many: int) -> None:
    until = timezone.now() + timedelta(days=1)
    Invitation.objects.bulk_create(
        Invitation(
            household=home.household, email=f"i{n}@a.example", role=Role.VIEWER,
            token_digest=f"i{n}", invited_by_name="x", expires_at=until,
        ) for n in home.numbers(many)
    )  # fmt: skip


def tokens(home: Home, many: int) -> None:
    ApiToken.objects.bulk_create(
        ApiToken(household=home.household, user=home.owner, name=f"Shelf {n}", digest=f"t{n}")
        for n in home.numbers(many)
    )


def households(home: Home, many: int) -> None:
    new = Household.objects.bulk_create(Household(name=f"House {n}") for n in home.numbers(many))
    Membership.objects.bulk_create(
        Membership(user=home.owner, household=one, role=Role.MEMBER) for one in new
    )


def texts(home: Home, many: int) -> None:
    now = timezone.now()
    UnknownText.objects.bulk_create(
        UnknownText(
            source="hub", word="pondering", text="x" * 200, shape=f"s{n}",
            first_seen_at=now, last_seen_at=now,
        ) for n in home.numbers(many)
    )  # fmt: skip


def backups(home: Home, many: int) -> None:
    now = timezone.now()
    BackupRun.objects.bulk_create(
        BackupRun(started_at=now - timedelta(hours=n), ended_at=now, trouble="No space left.")
        for n in home.numbers(many)
    )


def hubs(home: Home, many: int) -> None:
    Node.objects.bulk_create(
        Node(account=home.account, node_id=f"N{n}", name=f"Hub {n}", fw_version="5.3.2")
        for n in home.numbers(many)
    )


def new_firmware(home: Home, many: int) -> None:
    hubs(home, many)
    for node in home.account.nodes.filter(offers=None):
        make_offer(node)


def installs(home: Home, many: int) -> None:
    new = []
    for n in home.numbers(many):
        job = copy(home.job)
        job.pk, job.is_latest, job.to_version = None, False, f"6.0.{n}"
        new.append(job)
    OtaJob.objects.bulk_create(new)


def plans(home: Home, many: int) -> None:
    new = [make_node(home.account, name=f"Deck {n}") for n in home.numbers(many)]
    for node in new:
        make_plan(node)


def proposals(home: Home, many: int) -> None:
    template = make_proposal(home.node, token_digest=f"first {home.made}", state="declined")
    Proposal.objects.bulk_create(
        Proposal(
            household=home.household, node=home.node, hub_name="Hub", binding=template.binding,
            proposed_by_name="sam", token_digest=f"p{n}", expires_at=template.expires_at,
            state="declined",
        ) for n in home.numbers(many)
    )  # fmt: skip


def reports(home: Home, many: int) -> None:
    now = timezone.now()
    Report.objects.bulk_create(
        Report(
            job=home.job, sequence=n + 1, heard_at=now, last_heard_at=now, word="in-progress",
            meaning="in-progress", info=f"Downloaded {n} bytes of the firmware image",
        ) for n in home.numbers(many)
    )  # fmt: skip


def entries(home: Home, many: int) -> None:
    for n in home.numbers(many):
        audit_log.record(
            Actor.worker(), AuditAction.CHECK_ASKED, f"Entry {n}", household=home.household
        )


LISTS: dict[str, tuple[Callable[[Home, int], None], str]] = {
    "/accounts/": (accounts, "owner"),
    "/households/{h}/people/": (people, "owner"),
    "/households/{h}/people/?page=3": (invitations, "owner"),
    "/households/{h}/hand-over/": (people, "owner"),
    "/households/{h}/tokens/": (tokens, "owner"),
    "/households/": (households, "owner"),
    "/households/{h}/home-assistant/": (hubs, "owner"),
    "/": (hubs, "owner"),
    "/queues/new/?all=1": (new_firmware, "owner"),
    "/history/": (installs, "owner"),
    "/hubs/{n}/": (installs, "owner"),
    "/installs/{j}/": (reports, "owner"),
    "/overview/": (installs, "owner"),
    "/planned/": (plans, "owner"),
    "/proposals/": (proposals, "owner"),
    "/audit/": (entries, "owner"),
    "/server/people/": (people, "boss"),
    "/server/people/{o}/": (households, "boss"),
    "/versions/": (installs, "owner"),
    "/versions/one/?version=5.3.3&model=thermacell-hub&with=5.3.2": (installs, "owner"),
    # staff read of them with the numbers of the whole server
    "/versions/?page=2": (installs, "boss"),
    "/server/backups/": (backups, "boss"),
    "/server/": (backups, "boss"),
    "/unexplained/": (texts, "boss"),
}


@pytest.mark.parametrize("path", LISTS)
def test_a_page_of_many_rows_is_small_and_costs_the_same(
    path: str, settings: Any, tmp_path: Any
) -> None:
    settings.BACKUP_DIR = tmp_path
    home, (add, who) = Home(), LISTS[path]
    client = sign_in(Client(), getattr(home, who))
    ids = {"h": home.household.pk, "n": home.node.pk, "j": home.job.pk, "o": home.owner.pk}
    address = path.format(**ids)

    last: list[dict[str, str]] = []

    def ask() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as asked:
            answer = client.get(address)
        assert answer.status_code == 200
        last[:] = asked.captured_queries
        return len(asked), len(answer.content)

    add(home, FEW)
    ask()  # what a first visit of the day writes
    few, _ = ask()
    add(home, MANY - FEW)
    ask()
    many, size = ask()
    assert size < MOST_BYTES
    assert many <= few, [one["sql"][:200] for one in last]


def test_the_pages_of_people_go_on_with_who_is_invited(client: Client) -> None:
    home = Home()
    people(home, 74)  # and the owner
    invitations(home, 40)
    sign_in(client, home.owner)
    seen: list[str] = []
    for page in (1, 2, 3):
        values = client.get(f"/households/{home.household.pk}/people/?page={page}").context
        seen += [one.user.email for one in values["members"]]
        seen += [one.email for one in values["invitations"]]
        assert len(values["members"]) + len(values["invitations"]) == {1: 50, 2: 50, 3: 15}[page]
    assert len(set(seen)) == 115
    assert seen[0] == home.owner.email, "owners first, as before"


def test_saving_one_page_of_hubs_leaves_the_others_as_they_are(client: Client) -> None:
    home = Home()
    hubs(home, 150)
    sign_in(client, home.owner)
    path = f"/households/{home.household.pk}/home-assistant/"
    first, second = (
        [node.pk for node in client.get(f"{path}?page={page}").context["listed"]] for page in (1, 2)
    )
    assert (len(first), len(second)) == (100, 51)
    wish = {"may_install": "some", "discovery_prefix": "homeassistant"}
    for page, shown, ticked in ((1, first, first[:3]), (2, second, second[:1])):
        shown_text = ",".join(map(str, shown))
        form = wish | {"shown": shown_text, "hubs": [str(pk) for pk in ticked]}
        assert client.post(f"{path}?page={page}", form)["Location"] == f"{path}?page={page}"
    link = home.household.home_assistant
    assert link.allowed_ids() == {*first[:3], second[0]}
    client.post(f"{path}?page=2", wish | {"shown": ",".join(map(str, second))})
    assert link.allowed_ids() == set(first[:3])


def test_a_program_that_signs_in_again_and_again_ends_its_oldest_sessions() -> None:
    owner = Home().owner
    for _ in range(55):
        Client().force_login(owner)
    assert UserSession.objects.filter(user=owner).count() == 50
    newest = Client()
    newest.post("/account/login/", {"login": owner.email, "password": PASSWORD})
    text = newest.get("/account/sessions/").content.decode()
    assert UserSession.objects.filter(user=owner).count() == 50
    assert len(text) < MOST_BYTES
