"""The pages: who sees what, what it costs, and what a fragment answers."""

import gzip
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.accounts import unlink_account
from devices.cloud import errors
from devices.confirm import bind, sign
from devices.models import (
    AuditEvent,
    CloudAccount,
    Household,
    Node,
    OtaJob,
    Role,
    StaffRole,
    State,
    User,
)
from tests.factories import (
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
HTMX = {"HX-Request": "true"}


class Home:
    """One household with hubs in every standing."""

    def __init__(self) -> None:
        self.household = make_household("Garden house", time_zone="Europe/Berlin")
        self.account = make_account(self.household)
        self.new = make_node(self.account, name="Vegetable beds")
        self.offer = make_offer(self.new)
        self.plain = make_node(self.account, name="Front door", fw_version="5.3.3")
        self.broken = make_node(self.account, name="Back porch")
        self.job = make_job(
            self.broken,
            state=State.UNVERIFIED,
            outcome="claimed_success_same_version",
            cloud_word="success",
            cloud_meaning="success",
            success_at=timezone.now(),
            version_seen="5.3.2",
            version_seen_at=timezone.now(),
            is_online=True,
        )
        self.busy = make_node(self.account, name="Fire pit")
        self.running = make_job(self.busy, state=State.RUNNING)
        self.people = {
            role: make_user(role=role, household=self.household)
            for role in (Role.OWNER, Role.MEMBER, Role.VIEWER)
        }


@pytest.fixture
def home() -> Home:
    return Home()


@pytest.fixture
def enter() -> Callable[[User], Client]:
    def enter(user: User) -> Client:
        return sign_in(Client(), user)

    return enter


def pages_of(home: Home) -> list[str]:
    return [
        "/",
        "/hubs/live/",
        f"/hubs/{home.new.pk}/",
        f"/hubs/{home.new.pk}/live/",
        f"/installs/{home.job.pk}/",
        f"/installs/{home.job.pk}/live/",
        f"/installs/{home.running.pk}/",
        "/history/",
        "/audit/",
        "/accounts/",
        "/profile/",
    ]


@pytest.mark.parametrize("role", [Role.OWNER, Role.MEMBER, Role.VIEWER])
def test_members_see_every_page_of_their_household(home: Home, enter: Any, role: Role) -> None:
    client = enter(home.people[role])
    for page in pages_of(home):
        answer = client.get(page)
        assert answer.status_code == 200, page
        if "live" not in page:
            assert answer.content.decode().count("<h1") == 1, page


def test_a_stranger_finds_nothing(home: Home, enter: Any) -> None:
    other = make_household("Elsewhere")
    client = enter(make_user(role=Role.OWNER, household=other))
    for page in pages_of(home):
        answer = client.get(page)
        text = answer.content.decode()
        assert answer.status_code == (404 if any(c.isdigit() for c in page) else 200), page
        assert "Vegetable beds" not in text
        assert "Garden house" not in text
    for page in (f"/hubs/{home.new.pk}/install/", f"/accounts/{home.account.pk}/unlink/"):
        assert client.get(page).status_code == 404
        assert client.post(page).status_code == 404


def test_nobody_is_sent_to_sign_in(home: Home, client: Client) -> None:
    for page in pages_of(home):
        answer = client.get(page)
        assert answer.status_code == 302, page
        assert answer["Location"].startswith("/account/login/")


def test_a_fragment_without_a_session_sends_the_whole_page_to_sign_in(
    home: Home, client: Client
) -> None:
    answer = client.get(
        "/hubs/live/", headers=HTMX | {"HX-Current-URL": "http://testserver/?show=new"}
    )
    assert answer.status_code == 200
    assert answer["HX-Redirect"] == "/account/login/?next=%2F%3Fshow%3Dnew"
    assert answer.content == b""


def test_support_looks_everywhere_when_the_server_is_set_so_and_installs_nowhere(
    home: Home, enter: Any, settings: Any
) -> None:
    client = enter(make_user(staff_role=StaffRole.SUPPORT))
    assert "Vegetable beds" not in client.get("/").content.decode()
    settings.SUPPORT_SEES_ALL_HOUSEHOLDS = True
    text = client.get("/").content.decode()
    assert "Vegetable beds" in text
    assert "Review update" not in text
    assert client.get(f"/hubs/{home.new.pk}/install/").status_code == 403
    assert AuditEvent.objects.get(action="access.refused").outcome == "refused"


def test_a_viewer_may_not_install_and_the_refusal_is_in_the_trail(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.VIEWER])
    page = f"/hubs/{home.new.pk}/install/"
    for answer in (
        client.get(page),
        client.post(page, {"agreed": sign(bind(home.new, home.offer))}),
    ):
        assert answer.status_code == 403
        assert "does not let you install firmware" in answer.content.decode()
    assert AuditEvent.objects.filter(action="access.refused").count() == 2
    assert not OtaJob.objects.filter(node=home.new).exists()


@pytest.mark.parametrize(
    ("md5", "is_one"), [("9f86d081884c7d659a2feaa0c55aa3c1", True), ("a1b2c3d4e5p6", False)]
)
def test_what_is_no_md5_is_said_to_be_none_wherever_one_is_read(
    home: Home, enter: Any, md5: str, is_one: bool
) -> None:
    home.new.offers.update(md5=md5)
    OtaJob.objects.filter(pk=home.job.pk).update(md5=md5)
    client = enter(home.people[Role.MEMBER])
    pages = ["/hubs/{hub}/", "/hubs/{hub}/install/", "/queues/new/?hub={hub}"]
    pages += ["/installs/{job}/", "/installs/{job}/receipt/"]
    for page in pages:
        text = client.get(page.format(hub=home.new.pk, job=home.job.pk)).content.decode()
        assert md5 in text, page
        assert ("no MD5: no file can be checked against it" in text) is not is_one, page


def test_confirming_needs_one_deliberate_act_and_keeps_what_was_read(
    home: Home, enter: Any
) -> None:
    client = enter(home.people[Role.MEMBER])
    text = client.get(f"/hubs/{home.new.pk}/install/").content.decode()
    for fact in ("5.3.2", "5.3.3", "240 KB", home.offer.md5, home.offer.description):
        assert fact in text
    agreed = text.split('name="agreed" value="')[1].split('"')[0]
    answer = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    job = OtaJob.objects.get(node=home.new)
    assert answer["Location"] == f"/installs/{job.pk}/"
    assert (job.ota_job_id, job.to_version, job.md5) == (
        home.offer.ota_job_id,
        "5.3.3",
        home.offer.md5,
    )
    again = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    assert again.status_code == 409
    assert "already running" in again.content.decode()
    assert OtaJob.objects.filter(node=home.new).count() == 1


def test_a_changed_offer_is_refused_and_the_difference_shown(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    agreed = sign(bind(home.new, home.offer))
    home.offer.fw_version, home.offer.md5 = "5.3.4", "0" * 32
    home.offer.save()
    answer = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    text = answer.content.decode()
    assert answer.status_code == 409
    assert "<del>5.3.3</del>" in text
    assert "<ins>5.3.4</ins>" in text
    assert not OtaJob.objects.filter(node=home.new).exists()


@pytest.mark.parametrize("agreed", ["", "nonsense", "a:b:c"])
def test_a_form_that_was_tampered_with_sends_nothing(home: Home, enter: Any, agreed: str) -> None:
    answer = enter(home.people[Role.OWNER]).post(
        f"/hubs/{home.new.pk}/install/", {"agreed": agreed}
    )
    assert answer.status_code == 409
    assert "Nothing was sent" in answer.content.decode()
    assert not OtaJob.objects.filter(node=home.new).exists()


def test_a_form_bound_to_one_hub_does_not_serve_another(home: Home, enter: Any) -> None:
    make_offer(home.plain, fw_version="5.4.0")
    agreed = sign(bind(home.new, home.offer))
    answer = enter(home.people[Role.OWNER]).post(
        f"/hubs/{home.plain.pk}/install/", {"agreed": agreed}
    )
    assert answer.status_code == 409
    assert not OtaJob.objects.filter(node__in=[home.new, home.plain]).exists()


def test_an_approval_expires(home: Home, enter: Any, time_machine: Any) -> None:
    agreed = sign(bind(home.new, home.offer))
    client = enter(home.people[Role.OWNER])
    time_machine.move_to(timezone.now() + timedelta(minutes=31))
    answer = client.post(f"/hubs/{home.new.pk}/install/", {"agreed": agreed})
    assert answer.status_code == 409
    assert "half an hour" in answer.content.decode()


@pytest.mark.parametrize(
    ("installed", "offered", "is_older"),
    [("5.4.7", "5.3.3", True), ("5.3.2", "5.3.10", False), ("5.3.2", "beta-1", False)],
)
def test_a_step_back_is_called_one(
    home: Home, enter: Any, installed: str, offered: str, is_older: bool
) -> None:
    Node.objects.filter(pk=home.new.pk).update(fw_version=installed)
    home.new.offers.update(fw_version=offered)
    text = enter(home.people[Role.OWNER]).get(f"/hubs/{home.new.pk}/install/").content.decode()
    assert ("older version than the hub runs" in text) is is_older


def test_an_offline_hub_is_refused_with_the_reason(home: Home, enter: Any) -> None:
    Node.objects.filter(pk=home.new.pk).update(is_online=False)
    client = enter(home.people[Role.OWNER])
    text = client.get(f"/hubs/{home.new.pk}/install/").content.decode()
    assert "The hub is offline" in text
    assert 'name="agreed"' not in text


def test_what_is_unsent_can_be_cancelled_and_what_is_sent_cannot(home: Home, enter: Any) -> None:
    job = make_job(home.plain, state=State.REQUESTED)
    client = enter(home.people[Role.MEMBER])
    assert "Cancel, it was not sent yet" in client.get(f"/installs/{job.pk}/").content.decode()
    client.post(f"/installs/{job.pk}/cancel/")
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    answer = client.post(f"/installs/{home.running.pk}/cancel/", follow=True)
    assert "too late to cancel" in answer.content.decode()


def test_hubs_that_need_somebody_come_first(home: Home, enter: Any) -> None:
    text = enter(home.people[Role.OWNER]).get("/").content.decode()
    order = sorted(
        ("Back porch", "Fire pit", "Vegetable beds", "Front door"),
        key=lambda name: text.index(f">{name}</a>"),
    )
    assert order == ["Back porch", "Fire pit", "Vegetable beds", "Front door"]
    assert "Claimed success, still 5.3.2" in text
    assert "One of four hubs has new firmware, one is installing, and one needs you." in text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("show=new", {"Vegetable beds"}),
        ("show=running", {"Fire pit"}),
        ("show=attention", {"Back porch"}),
        ("show=offline", set()),
        ("q=door", {"Front door"}),
        ("q=5.3.3", {"Front door", "Vegetable beds"}),
        ("sort=name&show=nonsense&page=zzz", None),
    ],
)
def test_hubs_are_found_and_filtered(
    home: Home, enter: Any, query: str, names: set[str] | None
) -> None:
    text = enter(home.people[Role.OWNER]).get(f"/?{query}").content.decode()
    every = {"Back porch", "Fire pit", "Vegetable beds", "Front door"}
    assert {name for name in every if f">{name}</a>" in text} == (every if names is None else names)


def mark_in(text: str, what: str) -> str:
    return text.split(f'data-hx-get="{what}')[1].split('"')[0].replace("&amp;", "&")


def test_nothing_changed_is_answered_without_a_body_and_a_change_brings_one_row(
    home: Home, enter: Any
) -> None:
    client = enter(home.people[Role.OWNER])
    url = "/hubs/live/" + mark_in(client.get("/").content.decode(), "/hubs/live/")
    quiet = client.get(url, headers=HTMX)
    assert (quiet.status_code, quiet.content) == (204, b"")
    Node.objects.exclude(pk=home.plain.pk).update(changed_at=timezone.now() - timedelta(hours=1))
    home.plain.touch(timezone.now(), name="Side door")
    text = client.get(url, headers=HTMX).content.decode()
    assert "Side door" in text
    # the order by name may move; the same order travels as rows alone
    url = "/hubs/live/" + mark_in(text, "/hubs/live/")
    home.plain.touch(timezone.now(), is_on=True)
    text = client.get(url, headers=HTMX).content.decode()
    assert f'id="hub-{home.plain.pk}"' in text
    assert f'id="hub-{home.new.pk}"' not in text


def test_an_install_page_stops_asking_when_it_is_settled(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    text = client.get(f"/installs/{home.running.pk}/").content.decode()
    url = f"/installs/{home.running.pk}/live/" + mark_in(text, f"/installs/{home.running.pk}/live/")
    assert client.get(url, headers=HTMX).status_code == 204
    assert "hx-get" not in client.get(f"/installs/{home.job.pk}/").content.decode()
    assert '<meta http-equiv="refresh"' in text


def test_a_revoked_worker_is_said(home: Home, enter: Any) -> None:
    assert "The worker is not running" in enter(home.people[Role.OWNER]).get("/").content.decode()


def cost(client: Client, page: str) -> int:
    client.get(page)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(page).status_code == 200
    return len(queries)


@pytest.mark.parametrize("page", ["/", "/hubs/live/", "/history/", "/audit/", "/accounts/"])
def test_queries_do_not_grow_with_rows(home: Home, enter: Any, page: str) -> None:
    client = enter(home.people[Role.OWNER])

    def grow(n: int) -> None:
        for _ in range(n):
            node = make_node(home.account)
            make_offer(node)
            job = make_job(make_node(make_account(home.household)), state=State.RUNNING)
            job.note(timezone.now(), trouble="busy")
            from devices.models import Actor, audit

            audit.record(Actor.worker(), "test.deed", "Something.", job=job)

    grow(3)
    before = cost(client, page)
    grow(6)
    assert cost(client, page) == before


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '=HYPERLINK("http://x")', "a\nb"])
def test_hostile_names_are_only_text(home: Home, enter: Any, name: str) -> None:
    Node.objects.filter(pk=home.new.pk).update(name=name)
    client = enter(home.people[Role.OWNER])
    for page in ("/", f"/hubs/{home.new.pk}/", f"/hubs/{home.new.pk}/install/"):
        assert "<script>alert" not in client.get(page).content.decode()


def test_linking_keeps_what_was_typed_but_never_the_password(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    told = {
        "email": "garden@example.com",
        "password": "a-secret-password",
        "cloud": "http://203.0.113.9",
    }
    text = client.post("/accounts/link/", told).content.decode()
    assert "garden@example.com" in text
    assert "a-secret-password" not in text
    assert CloudAccount.objects.count() == 1
    assert enter(home.people[Role.MEMBER]).get("/accounts/link/").status_code == 403


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (errors.Unreachable("No route."), "See whether the internet works here, and try again."),
        (errors.AnswerUnreadable("Hm."), "See whether the internet works here, and try again."),
        (errors.AnswerLost("Gone."), "Try again in a while."),
        (errors.ServerTrouble("Oh.", status=500), "Try again in a while."),
        (errors.Busy("Slowly.", status=429), "Try again in a while."),
    ],
)
def test_a_link_that_the_cloud_did_not_answer_is_not_said_to_be_tried_again_by_itself(
    home: Home, enter: Any, monkeypatch: Any, problem: errors.CloudError, words: str
) -> None:
    def fail(**_: Any) -> None:
        raise problem

    monkeypatch.setattr("devices.views.accounts.link_account", fail)
    client = enter(home.people[Role.OWNER])
    told = {"email": "garden@example.com", "password": "a-secret-password"}
    text = client.post("/accounts/link/", told).content.decode()
    assert f"Nothing was linked. {words}" in text
    assert "by ourselves" not in text
    text = client.post(f"/accounts/{home.account.pk}/sign-in/", told).content.decode()
    assert f"Nothing was changed. {words}" in text
    assert "by ourselves" not in text


def test_the_first_visit_makes_the_owner_and_works_once(client: Client) -> None:
    from devices.welcome import make_token

    page = f"/welcome/{make_token()}/"
    told = {
        "name": "Ada",
        "email": "Ada@Example.com",
        "password": "short",
        "household": "Garden house",
        "time_zone": "Europe/Berlin",
    }
    text = client.post(page, told).content.decode()
    assert "too short" in text
    assert "Garden house" in text
    assert not User.objects.exists()
    answer = client.post(page, told | {"password": "mosquito-free-evening"})
    assert answer["Location"] == "/accounts/link/"
    user = User.objects.get()
    assert user.email == "ada@example.com"
    assert Household.objects.get().memberships.get().role == Role.OWNER
    assert client.get(page).status_code == 410
    assert AuditEvent.objects.filter(action="household.created").count() == 1


def test_signing_in_and_failing_to_are_in_the_trail(home: Home, client: Client) -> None:
    owner = home.people[Role.OWNER]
    client.post("/account/login/", {"login": owner.email, "password": "wrong"})
    answer = client.post(
        "/account/login/", {"login": owner.email.upper(), "password": "mosquito-free-evening"}
    )
    assert answer["Location"] == "/"
    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {
        "person.sign_in_failed",
        "person.signed_in",
    }


def test_the_trail_is_filtered(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    client.get("/hubs/999999/")
    client.post(f"/installs/{home.running.pk}/cancel/")
    assert "Cancelling the install" in client.get("/audit/?action=install.").content.decode()
    assert "Nothing fits" in client.get("/audit/?hub=nowhere").content.decode()
    assert "Cancelling" in client.get(f"/audit/?job={home.running.pk}").content.decode()
    assert client.get("/audit/?since=never&page=x").status_code == 200


@pytest.mark.parametrize("page", ["/", "/account/login/", "/nowhere/"])
def test_every_answer_carries_the_strict_headers(client: Client, page: str) -> None:
    answer = client.get(page)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert len(answer["X-Request-ID"]) == 32


def test_a_page_travels_compressed_and_a_file_as_it_is(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    packed = client.get("/", headers={"Accept-Encoding": "gzip, br"})
    assert packed["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed["Vary"]
    assert b"</html>" in gzip.decompress(packed.content)
    assert len(packed.content) < len(client.get("/").content) / 2
    assert "Content-Encoding" not in client.get("/").headers
    lengths = {
        len(client.get("/accounts/", headers={"Accept-Encoding": "gzip"}).content)
        for _ in range(20)
    }
    assert len(lengths) > 5, "the length of a page is told"
    trail = client.get("/audit/export.jsonl", headers={"Accept-Encoding": "gzip"})
    assert trail.streaming
    assert "Content-Encoding" not in trail.headers


def test_the_styleguide_is_made_of_the_real_pieces(enter: Any) -> None:
    client = enter(make_user(staff_role=StaffRole.SUPPORT))
    text = client.get("/styleguide/").content.decode()
    for words in ("Refused by the hub", "Downloading", "Not now", "Ensure this value has at most"):
        assert words in text


def test_the_tab_says_how_many_need_somebody(home: Home, enter: Any) -> None:
    text = enter(home.people[Role.OWNER]).get("/").content.decode()
    assert "<title>(1) Hubs · Thermacell Web</title>" in text
    assert 'data-tab-needs="1"' in text


def test_hubs_of_an_account_just_linked_come_by_themselves(client: Client) -> None:
    household = make_household()
    client.force_login(make_user(role=Role.OWNER, household=household))
    account = make_account(household, synced_at=None)
    page = client.get("/").content.decode()
    assert "Your hubs are being read." in page
    assert "every 3s" in page
    make_node(account, checked_at=None)
    CloudAccount.objects.update(synced_at=timezone.now())
    assert "every 3s" in client.get("/").content.decode()
    account.nodes.update(checked_at=timezone.now())
    assert "every 30s" in client.get("/").content.decode()
    account.nodes.all().delete()
    page = client.get("/").content.decode()
    assert "No hubs here yet." in page
    assert "Add one in the phone app" in page


def test_a_hub_shows_the_line_of_its_versions(home: Home, enter: Any) -> None:
    now = timezone.now()
    for days, version in ((30, "5.3.1"), (3, "5.3.2")):
        home.plain.version_changes.create(
            to_version=version, at=now - timedelta(days=days), cause="outside"
        )
    text = enter(home.people[Role.OWNER]).get(f"/hubs/{home.plain.pk}/").content.decode()
    line = text[text.index('class="line"') :]
    assert line.index("5.3.1") < line.index("5.3.2")


@pytest.mark.parametrize("hub", ["new", "plain"])
def test_a_hub_of_an_unlinked_account_says_so_and_promises_nothing(
    home: Home, enter: Any, hub: str
) -> None:
    home.account.forget_secrets()  # the cloud is not asked
    unlink_account(home.account, actor=person(home.people[Role.OWNER]))
    client, path = enter(home.people[Role.OWNER]), f"/hubs/{getattr(home, hub).pk}/"
    text = client.get(path).content.decode()
    assert "Its cloud account was unlinked <time" in text
    assert "what stands here is what was known then." in text
    for gone in ("next check", "Check now", "Review update", "Nothing newer than", "online since"):
        assert gone not in text.replace("\n", " ")
    assert "Everything that happened to it" in text
    assert ("Offered 5.3.3" in text) == (hub == "new")
    owner = home.people[Role.OWNER].email
    told = re.findall(r"<li>.*Its cloud account was unlinked</span>.*</li>", text)
    assert [f">by {owner}<" in line for line in told] == [True]
    said = client.post(f"{path}check/", follow=True).content.decode()
    assert "cannot be checked: its account is unlinked." in said


def test_when_it_was_unlinked_is_left_out_where_the_trail_forgot(home: Home, enter: Any) -> None:
    CloudAccount.objects.update(state="unlinked")
    text = enter(home.people[Role.VIEWER]).get(f"/hubs/{home.plain.pk}/").content.decode()
    assert "Its cloud account was unlinked; what stands here is what was known then." in text


def test_a_hub_of_a_signed_out_account_is_not_called_unlinked(home: Home, enter: Any) -> None:
    CloudAccount.objects.update(state="signed_out")
    client, path = enter(home.people[Role.OWNER]), f"/hubs/{home.plain.pk}/"
    assert "was unlinked" not in client.get(path).content.decode()
    said = client.post(f"{path}check/", follow=True).content.decode()
    assert "cannot be checked: its account is not signed in." in said
