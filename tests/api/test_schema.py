"""The JSON addresses, tested by schemathesis from the OpenAPI document that the product serves:
the real server, the real database, the demo's hubs.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from devices.server import demo
from tests.support.product import ROOT, Product

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    made = Product(tmp_path_factory.mktemp("api") / "demo")
    made.environment |= {"API_ASKS_A_MINUTE": "1000000"}
    with made:
        yield made


def sign_in(product: Product) -> requests.Session:
    """Return the browser of the demo's first owner."""
    browser = requests.Session()
    page = browser.get(f"{product.url}/account/login/", timeout=30)
    owner = demo.RESIDENTS[0].email
    fields = {"login": owner, "password": demo.PASSWORD, "csrfmiddlewaretoken": _csrf(page.text)}
    answer = browser.post(f"{product.url}/account/login/", fields, timeout=30)
    assert "Sign out" in browser.get(f"{product.url}/profile/", timeout=30).text, answer.status_code
    return browser


def make_token(product: Product, scope: str) -> str:
    browser = sign_in(product)
    listed = browser.get(f"{product.url}/households/", timeout=30).text
    found = re.search(r"/households/(\d+)/people/", listed)
    assert found is not None
    address = f"{product.url}/households/{found[1]}/tokens/"
    page = browser.get(address, timeout=30).text
    fields = {"name": "schemathesis", "scope": scope, "csrfmiddlewaretoken": _csrf(page)}
    made = re.search(r"twh_[\w-]+", browser.post(address, fields, timeout=30).text)
    assert made is not None
    return made[0]


def _csrf(page: str) -> str:
    found = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found is not None
    return found[1]


# A token that may only read meets the same refusal again and again.
@pytest.mark.parametrize(("scope", "examples"), [("read", 15), ("install", 40)])
def test_what_is_served_is_what_is_described(
    product: Product, scope: str, examples: int, tmp_path: Path
) -> None:
    token = make_token(product, scope)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"{product.url}/api/v1/openapi.json",
            *("--header", f"Authorization: Bearer {token}"),
            *("--url", product.url, "--max-examples", str(examples), "--seed", "7", "--no-color"),
            *("--checks", "all", "--suppress-health-check", "all"),
        ],
        cwd=tmp_path,
        env={**product.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert token not in done.stdout
    (tmp_path / "output.txt").write_text(done.stdout)
