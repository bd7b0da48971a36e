"""The JSON addresses: tokens, scopes, limits, refusals, and one call that installs."""

import json
import logging
import re
from typing import Any

import pytest
from django.utils import timezone

from devices.api import auth
from devices.api.errors import STATUSES
from devices.api.views import InstallWanted, document
from devices.cli.console import as_json
from devices.homeassistant import settings as homeassistant_settings
from devices.homeassistant import snapshot
from devices.homeassistant.discovery import messages
from devices.households import api_tokens
from devices.models import (
    ApiToken,
    AuditEvent,
    HubPolicy,
    Node,
    OtaJob,
    Plan,
    Role,
    Scope,
    UpdatePolicy,
    User,
)
from devices.presentation.serializers import HubData, values_of
from devices.security.log_formatter import SafeFormatter
from devices.security.one_time_tokens import digest_of
from tests.support.client import Client
from tests.support.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
)
from tests.support.homeassistant_schema import errors_in
from tests.support.services import ROOT

pytestmark = pytest.mark.django_db


class Home:
    """A household with an offered hub, and a program with a token."""

    def __init__(self, scope: Scope = Scope.INSTALL, role: str = Role.OWNER) -> None:
        self.household = make_household("Garden house")
        self.user: User = make_user(role=role, household=self.household)
        self.node: Node = make_node(make_account(self.household))
        self.offer = make_offer(self.node)
        self.token, self.text = api_tokens.create(
            self.user, self.household, name="Shelf", scope=scope
        )

    def ask(self, path: str, **options: Any) -> Any:
        return Client().get(path, headers={"Authorization": f"Bearer {self.text}"}, **options)

    def install(self, **changes: Any) -> Any:
        wanted = {
            "node_id": self.node.node_id,
            "ota_job_id": self.offer.ota_job_id,
            "fw_version": self.offer.fw_version,
        } | changes
        return self.post(json.dumps(wanted))

    def post(self, body: str, content_type: str = "application/json") -> Any:
        return Client().post(
            "/api/v1/installs/",
            body,
            content_type=content_type,
            headers={"Authorization": f"Bearer {self.text}"},
        )


def schema(name: str) -> dict[str, Any]:
    return {
        "$ref": f"#/components/schemas/{name}",
        "components": {"schemas": document()["components"]["schemas"]},
    }


def test_a_program_reads_the_hubs_of_its_household_only() -> None:
    home = Home(Scope.READ)
    make_offer(make_node(make_account(make_household())))
    answer = home.ask("/api/v1/hubs/")
    assert answer.status_code == 200
    answered = answer.json()
    assert errors_in(answered, schema("HubsData")) == []
    assert [hub["id"] for hub in answered["hubs"]] == [home.node.pk]
    hub = answered["hubs"][0]
    assert (hub["ota_available"], hub["offer"]["fw_version"]) == (True, "5.3.3")
    assert hub["offer"]["file_size"] == 245760
    assert "no-store" in answer["Cache-Control"]


def test_hubs_come_in_pages() -> None:
    home = Home(Scope.READ)
    others = [make_node(home.node.account) for _ in range(4)]
    found, path = [], "/api/v1/hubs/?limit=2"
    while path:
        answered = home.ask(path).json()
        found += [hub["id"] for hub in answered["hubs"]]
        path = answered["next"]
    assert found == [home.node.pk, *(node.pk for node in others)]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "after=-1", "after=9" * 30])
def test_a_page_that_is_none_is_refused(query: str) -> None:
    answer = Home().ask(f"/api/v1/hubs/?{query}")
    assert answer.status_code == 400
    assert errors_in(answer.json(), schema("ErrorData")) == []


def test_twice_the_hubs_cost_the_same_queries(django_assert_max_num_queries: Any) -> None:
    home = Home(Scope.READ)
    for _ in range(20):
        make_job(make_node(home.node.account), state="verified")
    home.ask("/api/v1/hubs/")  # notes that somebody looks
    with django_assert_max_num_queries(9):
        assert len(home.ask("/api/v1/hubs/").json()["hubs"]) == 21


def test_one_hub_says_why_it_could_not_install_now() -> None:
    home = Home(Scope.READ)
    home.node.touch(timezone.now(), is_online=False)
    answered = home.ask(f"/api/v1/hubs/{home.node.pk}/").json()
    assert errors_in(answered, schema("HubDetail")) == []
    assert [reason["code"] for reason in answered["why_not_now"]] == ["hub_offline"]


def test_one_call_installs_what_it_names() -> None:
    home = Home()
    answer = home.install()
    assert answer.status_code == 201
    answered = answer.json()
    assert errors_in(answered, schema("InstallData")) == []
    job = OtaJob.objects.get()
    assert (job.pk, job.node, job.requested_by, job.requested_via) == (
        answered["id"],
        home.node,
        home.user,
        "api",
    )
    assert answer["Location"] == f"/api/v1/installs/{job.pk}/"
    assert home.ask(answer["Location"]).json()["state"] == "requested"
    event = AuditEvent.objects.get(action="install.requested")
    assert (event.actor_name, event.via) == (home.user.email, "api")


@pytest.mark.parametrize("changes", [{"fw_version": "5.4.0"}, {"ota_job_id": "OTA_JOB_OTHER"}])
def test_an_offer_that_is_not_made_is_refused(changes: dict[str, str]) -> None:
    home = Home()
    answer = home.install(**changes)
    assert answer.status_code == 409
    answered = answer.json()["error"]
    assert answered["code"] == "offer_swapped"
    assert "Nothing was sent" in answered["sentence"]
    assert not OtaJob.objects.exists()


def test_the_second_call_does_not_install_twice() -> None:
    home = Home()
    assert home.install().status_code == 201
    answer = home.install()
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "job_running"
    assert OtaJob.objects.count() == 1


def test_an_offline_hub_is_refused() -> None:
    home = Home()
    home.node.touch(timezone.now(), is_online=False)
    answer = home.install()
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "hub_offline")


def test_a_token_that_reads_does_not_install() -> None:
    home = Home(Scope.READ)
    answer = home.install()
    assert answer.status_code == 403
    assert not OtaJob.objects.exists()
    assert AuditEvent.objects.get(action="access.refused").household_id == home.household.pk


def test_a_token_may_never_do_more_than_its_person() -> None:
    home = Home()
    home.user.memberships.update(role=Role.VIEWER)
    assert home.install().status_code == 403
    assert home.ask("/api/v1/hubs/").status_code == 200
    home.user.memberships.all().delete()
    assert home.ask("/api/v1/hubs/").status_code == 401
    assert home.install().status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer twh_wrong", "Basic dHdo", "bearer \N{HOT BEVERAGE}"]
)
def test_without_a_good_token_nothing_is_said(header: str) -> None:
    home = Home()
    headers = {"Authorization": header} if header else {}
    answer = Client().get(f"/api/v1/hubs/{home.node.pk}/", headers=headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert errors_in(answer.json(), schema("ErrorData")) == []


def test_a_revoked_token_opens_nothing() -> None:
    home = Home()
    browser = Client()
    browser.force_login(home.user)
    page = f"/households/{home.household.pk}/tokens/"
    assert browser.post(f"{page}{home.token.pk}/revoke/").status_code == 302
    assert home.ask("/api/v1/hubs/").status_code == 401
    assert "<strong>Shelf</strong>" not in browser.get(page).content.decode()
    assert AuditEvent.objects.filter(action="token.revoked").count() == 1


def test_a_person_who_is_closed_out_takes_their_tokens_with_them() -> None:
    home = Home()
    home.user.is_active = False
    home.user.save()
    assert home.ask("/api/v1/hubs/").status_code == 401


def test_a_token_is_shown_once_and_kept_as_a_digest() -> None:
    household = make_household()
    browser = Client()
    browser.force_login(make_owner(household))
    page = f"/households/{household.pk}/tokens/"
    made = browser.post(page, {"name": "Shelf", "scope": "install"}).content.decode()
    text = made.split('id="fresh">')[1].split("<")[0]
    token = ApiToken.objects.get()
    assert token.digest == digest_of(text)
    assert text not in browser.get(page).content.decode()
    assert "Shelf" in browser.get(page).content.decode()
    event = AuditEvent.objects.get(action="token.made")
    assert text not in json.dumps(event.detail) + event.sentence
    answer = Client().get("/api/v1/hubs/", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 200
    token.refresh_from_db()
    assert token.last_used_at is not None


def test_a_viewer_makes_a_token_that_reads_only() -> None:
    household = make_household()
    browser = Client()
    browser.force_login(make_user(role=Role.VIEWER, household=household))
    page = f"/households/{household.pk}/tokens/"
    assert (
        "does not allow installing"
        in browser.post(page, {"name": "x", "scope": "install"}).content.decode()
    )
    assert not ApiToken.objects.exists()
    browser.post(page, {"name": "x", "scope": "read"})
    assert ApiToken.objects.get().scope == "read"


def test_a_member_sees_only_their_own_tokens_and_an_owner_all() -> None:
    home = Home()
    member = make_user(role=Role.MEMBER, household=home.household)
    page = f"/households/{home.household.pk}/tokens/"
    browser = Client()
    browser.force_login(member)
    assert "<strong>Shelf</strong>" not in browser.get(page).content.decode()
    assert browser.post(f"{page}{home.token.pk}/revoke/").status_code == 404
    browser.force_login(make_owner(home.household))
    assert "<strong>Shelf</strong>" in browser.get(page).content.decode()


def test_too_often_is_answered_with_when_to_come_back(settings: Any) -> None:
    settings.API_ASKS_A_MINUTE = 3
    home = Home()
    answers = [home.ask("/api/v1/hubs/") for _ in range(8)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited
    assert 1 <= int(limited[-1]["Retry-After"]) <= 60
    assert limited[-1].json()["error"]["code"] == "too_often"


def test_tokens_are_not_found_by_trying(monkeypatch: Any) -> None:
    monkeypatch.setattr(auth, "WRONG_TOKENS_A_MINUTE", 3)
    statuses = [
        Client().get("/api/v1/hubs/", headers={"Authorization": "Bearer twh_x"}).status_code
        for _ in range(8)
    ]
    assert 429 in statuses


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "7", '{"node_id": 7}', '{"node_id": "", "ota_job_id": "a", "fw_version": "b"}'],
)
def test_a_body_that_says_nothing_is_refused(body: str) -> None:
    answer = Home().post(body)
    assert answer.status_code == 400
    assert "Nothing was sent" in answer.json()["error"]["sentence"]
    assert not OtaJob.objects.exists()


DEEP = "[" * 100_000 + "]" * 100_000
NAMES = ("node_id", "ota_job_id", "fw_version")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (DEEP, 400),
        (f'{{"node_id": {DEEP}, "ota_job_id": "a", "fw_version": "b"}}', 400),
        ('{"\\ud800": 1, "node_id": "a", "ota_job_id": "a", "fw_version": "b"}', 400),
        ("\x00", 400),
        ('"' + "x" * 3_000_000 + '"', 413),
    ],
    ids=["deep", "a deep value", "half a character as a name", "no text", "too large"],
)
def test_a_body_of_an_unexpected_kind_is_answered_as_json(body: str, status: int) -> None:
    answer = Home().post(body)
    assert answer.status_code == status
    assert errors_in(answer.json(), schema("ErrorData")) == []
    assert "Nothing was sent" in answer.json()["error"]["sentence"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["\ud800", "a\x00", "x" * 129, "", None, 7, ["a"]])
def test_a_name_that_no_database_keeps_is_refused(name: str, value: object) -> None:
    answer = Home().install(**{name: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["sentence"].startswith(f"{name}: ")
    assert not OtaJob.objects.exists()


def test_an_unknown_field_is_refused() -> None:
    answer = Home().install(version="5.3.3")
    assert answer.status_code == 400
    assert answer.json()["error"]["sentence"].startswith("version: ")


@pytest.mark.parametrize("kind", ["hubs", "installs"])
@pytest.mark.parametrize(
    "number", ["0", "-1", "x", "1.0", "９", str(2**63), "9" * 30, "9" * 5000], ids=lambda n: n[:31]
)
def test_a_number_that_no_row_has_is_not_found(kind: str, number: str) -> None:
    answer = Home().ask(f"/api/v1/{kind}/{number}/")
    assert answer.status_code == 404
    assert errors_in(answer.json(), schema("ErrorData")) == []


def test_a_verb_that_an_address_has_not_is_answered_as_json() -> None:
    home = Home()
    for path, verbs in (
        ("/api/v1/hubs/", "GET, HEAD"),
        ("/api/v1/installs/", "POST"),
        ("/api/v1/openapi.json", "GET, HEAD"),
    ):
        for verb in ("OPTIONS", "PUT", "DELETE", "NONSENSE"):
            answer = Client().generic(verb, path, headers={"Authorization": f"Bearer {home.text}"})
            assert (answer.status_code, answer["Allow"]) == (405, verbs)
            assert errors_in(answer.json(), schema("ErrorData")) == []


def test_only_the_headers_are_answered_to_who_wants_them_alone() -> None:
    home = Home()
    answer = Client().head("/api/v1/hubs/", headers={"Authorization": f"Bearer {home.text}"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Content-Type"].startswith("application/json")


def test_programs_read_the_same_fields_everywhere() -> None:
    """The API, the terminal and Home Assistant serialize with the same class."""
    home = Home()
    make_job(home.node, state="verified")
    node = Node.objects.for_list().get(pk=home.node.pk)
    hub = json.loads(as_json(values_of(HubData.of(node))))
    link = homeassistant_settings.link_of(home.household)
    link.save()
    (shown,) = snapshot.hubs_of(link, [node.pk])
    sent = messages(snapshot.home_of(link), shown)
    attributes = {topic.rpartition("/")[2]: json.loads(text) for topic, text in sent.items()}
    assert home.ask("/api/v1/hubs/").json()["hubs"] == [hub]
    assert home.ask(f"/api/v1/installs/{hub['install']['id']}/").json() == hub["install"]
    assert attributes["verdict"]["about"] == hub["install"]
    assert attributes["offer"]["offer"] == hub["offer"]


def test_a_form_of_another_site_cannot_install() -> None:
    home = Home()
    browser = Client(enforce_csrf_checks=True)
    browser.login(email=home.user.email, password=PASSWORD)
    body = json.dumps({"node_id": home.node.node_id})
    assert browser.post("/api/v1/installs/", body, content_type="text/plain").status_code == 401
    assert home.post(body, content_type="text/plain").status_code == 415


def test_a_hub_elsewhere_does_not_exist() -> None:
    home = Home()
    other = make_node(make_account(make_household()))
    theirs = make_job(other)
    for path in (f"/api/v1/hubs/{other.pk}/", f"/api/v1/installs/{theirs.pk}/", "/api/v1/x"):
        assert home.ask(path).status_code == 404
    answer = home.install(node_id=other.node_id)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_no_token_reaches_a_log() -> None:
    text = Home().text
    record = logging.LogRecord("x", logging.INFO, "", 0, f"asked with {text}", None, None)
    assert text not in SafeFormatter("%(message)s").format(record)


def test_the_description_is_served_to_everyone() -> None:
    answer = Client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(document()))
    assert answer.json()["openapi"].startswith("3.1")


def test_the_body_in_the_documentation_is_one_that_is_taken() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    found = re.search(r"-d '(\{.*\})'", text)
    assert found
    assert set(json.loads(found.group(1))) == set(InstallWanted.model_fields)
    documented = {int(status) for status in re.findall(r"^\| (\d{3}) \|", text, re.M)}
    assert documented == set(STATUSES)


# --- plans


def plan(home: Home, **changes: Any) -> Any:
    wanted = {
        "node_id": home.node.node_id,
        "ota_job_id": home.offer.ota_job_id,
        "fw_version": home.offer.fw_version,
        "when": "tonight",
    } | changes
    return send(home, "/api/v1/plans/", wanted)


def send(home: Home, path: str, body: dict[str, Any]) -> Any:
    return Client().post(
        path,
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {home.text}"},
    )


def test_a_program_plans_lists_and_cancels() -> None:
    home = Home()
    made = plan(home)
    assert made.status_code == 201
    row = Plan.objects.get()
    assert made["Location"] == f"/api/v1/plans/{row.pk}/"
    data = made.json()
    assert (data["when"], data["window_start"], data["window_end"]) == ("tonight", "22:00", "05:00")
    assert (data["state"], data["planned_by"]) == ("waiting", home.user.email)
    assert row.requested_via == "api"
    assert home.ask("/api/v1/plans/").json()["plans"] == [home.ask(made["Location"]).json()]
    assert not OtaJob.objects.exists()
    cancelled = send(home, f"/api/v1/plans/{row.pk}/cancel/", {})
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert send(home, f"/api/v1/plans/{row.pk}/cancel/", {}).status_code == 409
    assert home.ask("/api/v1/plans/").json() == {"plans": []}


def test_a_program_plans_for_a_hub_that_is_offline() -> None:
    home = Home()
    Node.objects.update(is_online=False)
    assert plan(home, when="online").status_code == 201


@pytest.mark.parametrize("when", ["now", "soon", "2020-01-01T02:00", "2999-01-01T02:00"])
def test_a_wrong_moment_is_a_wrong_request(when: str) -> None:
    answer = plan(Home(), when=when)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_time")
    assert not Plan.objects.exists()


def test_only_the_offer_that_was_read_is_planned() -> None:
    answer = plan(Home(), fw_version="9.9.9")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "offer_swapped")
    assert not Plan.objects.exists()


def test_who_may_not_install_plans_and_cancels_nothing() -> None:
    reader, viewer, other = Home(Scope.READ), Home(role=Role.VIEWER), Home()
    assert plan(reader).status_code == 403
    assert plan(viewer).status_code == 403
    assert plan(other).status_code == 201
    pk = Plan.objects.get().pk
    assert reader.ask(f"/api/v1/plans/{pk}/").status_code == 404
    assert send(viewer, f"/api/v1/plans/{pk}/cancel/", {}).status_code == 403
    assert Plan.objects.waiting().count() == 1


def test_a_program_reads_the_update_policy() -> None:
    home = Home(Scope.READ)
    found = home.ask("/api/v1/update-policy/").json()
    assert (found["mode"], found["set_by"], found["idle_minutes"]) == ("ask", None, 0)
    [hub] = found["hubs"]
    assert (hub["would_install"], hub["reason_codes"]) == (False, ["asks"])
    policy = UpdatePolicy.objects.create(
        household=home.household, mode="install", waiting_days=14, set_by=home.user
    )
    found = home.ask("/api/v1/update-policy/").json()
    assert found["hubs"][0]["reason_codes"] == ["too_new"]
    assert found["stopped"] == ["No one in this household is notified of decisions."]
    HubPolicy.objects.create(policy=policy, node=home.node, mode="ask")
    [hub] = home.ask("/api/v1/update-policy/").json()["hubs"]
    assert (hub["mode"], hub["differs"]) == ("ask", True)
    assert not errors_in(found, schema("UpdatePolicyData"))
