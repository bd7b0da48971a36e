"""Requests that are refused before a page is reached: each gets a sentence that helps."""

from typing import Any

import pytest

from devices.models import Role
from tests.support.client import Client
from tests.support.factories import make_user, sign_in

OTHER_NAMES = ["192.168.1.20:8000", "hubs.local", "nas", "[fd00::1]:8000"]


@pytest.mark.django_db
@pytest.mark.parametrize("host", OTHER_NAMES)
def test_another_name_leads_to_the_setting(client: Client, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert f"You opened it as “{host}”" in text
    assert "PUBLIC_URL" in text
    assert "ALLOWED_HOSTS" in text


@pytest.mark.django_db
def test_a_name_with_markup_stays_text_and_is_short(client: Client) -> None:
    answer = client.get("/", headers={"host": "<script>x</script>" + "a" * 5000})
    assert answer.status_code == 400
    assert b"<script>x" not in answer.content
    assert b"a" * 200 not in answer.content


@pytest.mark.django_db
def test_the_api_says_it_in_json(client: Client) -> None:
    answer = client.get("/api/v1/hubs/", headers={"host": "192.168.1.20"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "bad_request"
    assert "ALLOWED_HOSTS" in error["sentence"]


@pytest.mark.django_db
def test_a_form_that_is_too_large_is_a_sentence(client: Client) -> None:
    body = "&".join(f"f{n}=x" for n in range(1100))
    kind = "application/x-www-form-urlencoded"
    answer = client.post("/language/", body, content_type=kind)
    assert answer.status_code == 413
    assert b"This form is too large." in answer.content
    answer = client.post("/language/", "name=" + "x" * 1_100_000, content_type=kind)
    assert answer.status_code == 413


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/hubs/check/", "/language/", "/households/choose/"])
def test_a_form_address_that_is_opened_says_so(client: Client, path: str) -> None:
    sign_in(client, make_user(role=Role.OWNER))
    answer = client.get(path)
    assert answer.status_code == 405
    assert "POST" in answer["Allow"]
    assert b"This address only takes a form." in answer.content
    assert b'href="/"' in answer.content


@pytest.mark.django_db
def test_other_verbs_get_the_same_page(client: Client) -> None:
    answer = client.put("/account/login/")
    assert answer.status_code == 405
    assert b"This address only takes a form." in answer.content


@pytest.mark.django_db
def test_https_by_a_proxy_that_is_not_trusted_names_the_setting(
    client: Client, settings: Any
) -> None:
    settings.IS_HTTPS, settings.BEHIND_PROXY = True, False
    for headers in ({}, {"X-Forwarded-Proto": "https"}):
        answer = client.get("/account/login/", headers=headers)
        assert answer.status_code == 400
        assert b"BEHIND_PROXY=true" in answer.content
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/account/login/", "/", "/healthz", "/api/v1/hubs/", "/nowhere/"])
def test_every_answer_carries_our_marker(client: Client, path: str) -> None:
    assert client.get(path)["HX-Thermacell"] == "1"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("host", "is_secure", "is_warned"),
    [
        ("192.168.1.20:8000", False, True),
        ("nas.local", False, True),
        ("192.168.1.20:8000", True, False),
        ("localhost:8000", False, False),
        ("127.0.0.1:8000", False, False),
        ("[::1]:8000", False, False),
    ],
)
def test_a_password_that_others_can_read_is_warned_of(
    client: Client, settings: Any, host: str, is_secure: bool, is_warned: bool
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    page = client.get("/account/login/", headers={"host": host}, secure=is_secure)
    assert (b"This connection is not encrypted" in page.content) is is_warned
