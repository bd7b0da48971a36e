"""Signing in by an OpenID Connect issuer: for people who are here already, and nobody else."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.oidc_issuer import CLIENT_ID, CLIENT_SECRET, Issuer
from tests.product import ROOT, Product

pytestmark = pytest.mark.processes
OWNER = "olivia@example.com"


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
            input="mosquito-free-evening\n",
            text=True,
            capture_output=True,
        )
        assert made.returncode == 0, made.stderr
        yield product


def enter(product: Product, issuer: Issuer, **claims: object) -> requests.Response:
    """Press the button and follow wherever it leads; return the last page."""
    issuer.claims = claims
    browser = requests.Session()
    page = browser.get(f"{product.url}/account/login/", timeout=30)
    assert issuer.url in page.headers["Content-Security-Policy"]
    assert "Sign in with Example ID" in page.text
    form = page.text.split('action="/account/sso/login/"')[1]
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    assert token
    return browser.post(
        f"{product.url}/account/sso/login/",
        {"csrfmiddlewaretoken": token.group(1)},
        headers={"Referer": page.url},
        timeout=30,
    )


def test_who_is_here_already_comes_in_by_a_verified_address(
    product: Product, issuer: Issuer
) -> None:
    page = enter(product, issuer, sub="1", email=OWNER.upper(), email_verified=True)
    assert page.url == f"{product.url}/"
    assert "Garden" in page.text
    assert issuer.pkce[-1] == "S256"


@pytest.mark.parametrize(
    ("sub", "email", "verified"),
    [("2", OWNER, False), ("3", "stranger@example.com", True)],
)
def test_nobody_else_does(
    product: Product, issuer: Issuer, sub: str, email: str, verified: bool
) -> None:
    page = enter(product, issuer, sub=sub, email=email, email_verified=verified)
    assert "Nobody here is known by that address" in page.text
    listed = subprocess.run(
        [sys.executable, "manage.py", "household", "list"],
        cwd=ROOT,
        env=product.environment,
        text=True,
        capture_output=True,
    )
    assert "stranger" not in listed.stdout


def test_pages_of_the_other_sign_in_that_are_not_wanted_are_closed(
    product: Product, issuer: Issuer
) -> None:
    for path in ("signup/", ""):
        answer = requests.get(f"{product.url}/account/other/{path}", timeout=30)
        assert answer.status_code == 404
    log = "".join(path.read_text() for path in Path(product.data_dir).rglob("*.log"))
    assert CLIENT_SECRET not in log
