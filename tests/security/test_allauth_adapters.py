"""Signing in by an OpenID Connect issuer: for people who are here already, and nobody else."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.oidc_issuer import CLIENT_ID, CLIENT_SECRET, Issuer
from tests.support.product import ROOT, Product

pytestmark = pytest.mark.processes
OWNER, PASSWORD = "olivia@example.com", "mosquito-free-evening"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def product(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("product"), demo=False)
    product.environment |= {
        "OIDC_ISSUER": issuer.url,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_NAME": "Example ID",
    }
    with product:
        made = subprocess.run(
            [sys.executable, "manage.py", "household", "create", "Garden", "--owner", OWNER],
            cwd=ROOT,
            env=product.environment,
            input=f"{PASSWORD}\n",
            text=True,
            capture_output=True,
        )
        assert made.returncode == 0, made.stderr
        yield product


def enter(
    product: Product, issuer: Issuer, browser: requests.Session | None = None, **claims: object
) -> requests.Response:
    """Press the button and follow wherever it leads; return the last page."""
    issuer.claims = claims
    browser = browser or requests.Session()
    page = browser.get(f"{product.url}/account/login/", timeout=30)
    assert issuer.url in page.headers["Content-Security-Policy"]
    assert "Sign in with Example ID" in page.text
    return post(browser, page, "/account/sso/login/", {})


def post(
    browser: requests.Session, page: requests.Response, path: str, values: dict[str, str]
) -> requests.Response:
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    origin = page.url.split("/account/")[0]
    return browser.post(
        origin + path,
        values | {"csrfmiddlewaretoken": token.group(1)},
        headers={"Referer": page.url},
        timeout=30,
    )


def test_the_first_time_needs_the_password_and_consent_and_then_none(
    product: Product, issuer: Issuer
) -> None:
    claims: dict[str, Any] = {"sub": "1", "email": OWNER.upper(), "email_verified": True}
    browser = requests.Session()
    page = enter(product, issuer, browser, **claims)
    assert "Example ID is not linked to your account here yet" in page.text
    assert issuer.pkce[-1] == "S256"
    path = "/account/login/?next=/account/sso/link/"
    page = post(browser, page, path, {"login": OWNER, "password": PASSWORD})
    assert "Let Example ID sign you in?" in page.text
    page = post(browser, page, "/account/sso/link/", {})
    assert "Linked. Your password still works." in page.text

    page = enter(product, issuer, **claims)
    assert page.url == f"{product.url}/"
    assert "Garden" in page.text
    # the password still signs in
    again = requests.Session()
    page = again.get(f"{product.url}/account/login/", timeout=30)
    page = post(again, page, "/account/login/", {"login": OWNER, "password": PASSWORD})
    assert page.url == f"{product.url}/"
    trail = again.get(f"{product.url}/audit/", timeout=30).text
    assert f"{OWNER} linked Example ID" in trail


def test_another_persons_identity_is_not_linked(product: Product, issuer: Issuer) -> None:
    browser = requests.Session()
    enter(product, issuer, browser, sub="9", email=OWNER, email_verified=True)
    page = browser.get(f"{product.url}/account/sso/link/", timeout=30)
    assert "/account/login/" in page.url


@pytest.mark.parametrize(
    ("email", "verified"),
    [(OWNER, text) for text in (False, "false", "true", 1, "1", None, [True], {"x": 1})]
    + [("stranger@example.com", True), ("", True), (None, True), ([OWNER], True)],
)
def test_nobody_else_does(product: Product, issuer: Issuer, email: Any, verified: Any) -> None:
    page = enter(product, issuer, sub="2", email=email, email_verified=verified)
    assert page.status_code == 200
    assert "You could not be signed in with this address" in page.text


@pytest.mark.parametrize("claims", [{}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256}])
def test_an_answer_without_a_subject_is_refused_with_a_sentence(
    product: Product, issuer: Issuer, claims: dict[str, Any]
) -> None:
    page = enter(product, issuer, email=OWNER, email_verified=True, **claims)
    assert page.status_code < 500
    assert "You were not signed in." in page.text


def test_pages_of_the_other_sign_in_that_are_not_wanted_are_closed(
    product: Product, issuer: Issuer
) -> None:
    for path in ("signup/", ""):
        answer = requests.get(f"{product.url}/account/other/{path}", timeout=30)
        assert answer.status_code == 404
    log = "".join(path.read_text() for path in Path(product.data_dir).rglob("*.log"))
    assert CLIENT_SECRET not in log
