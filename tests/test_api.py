"""The JSON addresses: tokens, scopes, limits, refusals, and one call that installs."""

import json
import logging
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from devices.api import gate
from devices.api.openapi import SCHEMAS, document
from devices.logs import OneLine
from devices.models import ApiToken, AuditEvent, Node, OtaJob, Role, Scope, User
from devices.models.token import digest_of
from tests.factories import (
    PASSWORD,
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
)
from tests.homeassistant_schema import errors_in

pytestmark = pytest.mark.django_db


class Home:
    """A household with an offered hub, and a program with a token."""

    def __init__(self, scope: Scope = Scope.INSTALL, role: str = Role.OWNER) -> None:
        self.household = make_household("Garden house")
        self.user: User = make_user(role=role, household=self.household)
        self.node: Node = make_node(make_account(self.household))
        self.offer = make_offer(self.node)
        self.token, self.text = ApiToken.make(self.user, self.household, name="Shelf", scope=scope)

    def ask(self, path: str, **options: Any) -> Any:
        return Client().get(path, headers={"Authorization": f"Bearer {self.text}"}, **options)

    def install(self, **changes: Any) -> Any:
        wanted = {
            "node_id": self.node.node_id,
            "ota_job_id": self.offer.ota_job_id,
            "version": self.offer.fw_version,
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
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}


def test_a_program_reads_the_hubs_of_its_household_only() -> None:
    home = Home(Scope.READ)
    make_offer(make_node(make_account(make_household())))
    answer = home.ask("/api/v1/hubs/")
    assert answer.status_code == 200
    said = answer.json()
    assert errors_in(said, schema("Hubs")) == []
    assert [hub["id"] for hub in said["hubs"]] == [home.node.pk]
    hub = said["hubs"][0]
    assert (hub["update_available"], hub["offer"]["version"]) == (True, "5.3.3")
    assert hub["offer"]["size_bytes"] == 245760
    assert "no-store" in answer["Cache-Control"]


def test_hubs_come_in_pages() -> None:
    home = Home(Scope.READ)
    others = [make_node(home.node.account) for _ in range(4)]
    found, path = [], "/api/v1/hubs/?limit=2"
    while path:
        said = home.ask(path).json()
        found += [hub["id"] for hub in said["hubs"]]
        path = said["next"]
    assert found == [home.node.pk, *(node.pk for node in others)]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "after=-1", "after=9" * 30])
def test_a_page_that_is_none_is_refused(query: str) -> None:
    answer = Home().ask(f"/api/v1/hubs/?{query}")
    assert answer.status_code == 400
    assert errors_in(answer.json(), schema("Error")) == []


def test_twice_the_hubs_cost_the_same_queries(django_assert_max_num_queries: Any) -> None:
    home = Home(Scope.READ)
    for _ in range(20):
        make_job(make_node(home.node.account), state="verified")
    with django_assert_max_num_queries(7):
        assert len(home.ask("/api/v1/hubs/").json()["hubs"]) == 21


def test_one_hub_says_why_it_could_not_install_now() -> None:
    home = Home(Scope.READ)
    home.node.touch(timezone.now(), is_online=False)
    said = home.ask(f"/api/v1/hubs/{home.node.pk}/").json()
    assert errors_in(said, schema("HubDetail")) == []
    assert [reason["code"] for reason in said["why_not_now"]] == ["hub_offline"]


def test_one_call_installs_what_it_names() -> None:
    home = Home()
    answer = home.install()
    assert answer.status_code == 201
    said = answer.json()
    assert errors_in(said, schema("Install")) == []
    job = OtaJob.objects.get()
    assert (job.pk, job.node, job.requested_by, job.requested_via) == (
        said["id"],
        home.node,
        home.user,
        "api",
    )
    assert answer["Location"] == f"/api/v1/installs/{job.pk}/"
    assert home.ask(answer["Location"]).json()["state"] == "requested"
    event = AuditEvent.objects.get(action="install.requested")
    assert (event.actor_name, event.via) == (home.user.email, "api")


@pytest.mark.parametrize("changes", [{"version": "5.4.0"}, {"ota_job_id": "OTA_JOB_OTHER"}])
def test_an_offer_that_is_not_made_is_refused(changes: dict[str, str]) -> None:
    home = Home()
    answer = home.install(**changes)
    assert answer.status_code == 409
    said = answer.json()["error"]
    assert said["code"] == "offer_swapped"
    assert "Nothing was sent" in said["sentence"]
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
    assert errors_in(answer.json(), schema("Error")) == []


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
    text = made.split('<p class="mono">')[1].split("<")[0]
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
    assert "not install" in browser.post(page, {"name": "x", "scope": "install"}).content.decode()
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
    monkeypatch.setattr(gate, "WRONG_TOKENS_A_MINUTE", 3)
    statuses = [
        Client().get("/api/v1/hubs/", headers={"Authorization": "Bearer twh_x"}).status_code
        for _ in range(8)
    ]
    assert 429 in statuses


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "7", '{"node_id": 7}', '{"node_id": "", "ota_job_id": "a", "version": "b"}'],
)
def test_a_body_that_says_nothing_is_refused(body: str) -> None:
    answer = Home().post(body)
    assert answer.status_code == 400
    assert "Nothing was sent" in answer.json()["error"]["sentence"]
    assert not OtaJob.objects.exists()


def test_a_form_of_another_site_cannot_install() -> None:
    home = Home()
    browser = Client(enforce_csrf_checks=True)
    browser.login(email=home.user.email, password=PASSWORD)
    body = json.dumps({"node_id": home.node.node_id})
    assert browser.post("/api/v1/installs/", body, content_type="text/plain").status_code == 401
    assert home.post(body, content_type="text/plain").status_code == 400


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
    assert text not in OneLine("%(message)s").format(record)


def test_the_description_is_served_to_anybody() -> None:
    answer = Client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(document()))
    assert answer.json()["openapi"].startswith("3.1")
