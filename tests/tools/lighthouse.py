"""Let Google's Lighthouse judge the main pages of a demo: `make lighthouse`.

It fails when accessibility, best practices or SEO of a page is below 100; performance depends on
the machine and is only reported. Needs Node 18.16 or newer with npm, and the network once:
Lighthouse is installed in var/lighthouse.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.story import browser, person, review
from tests.support.product import ROOT, Product

# The newest that runs on Node 20, which Debian 13 has.
VERSION = "12.8.2"
FOLDER = ROOT / "var" / "lighthouse"
PRESETS = {"mobile": [], "desktop": ["--preset=desktop"]}
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
FULL = CATEGORIES[1:]
WITHIN_S = 180
# On a busy machine Chromium's trace of a page fails now and then; Lighthouse says: run it again.
TRIES = 4
PERSON = "owner@example.com"


@dataclass(frozen=True, slots=True)
class Judged:
    """One page as one preset sees it."""

    page: str
    preset: str
    scores: dict[str, int]
    faults: list[str]
    """What cost a point in a category that has to be full."""


def install() -> Path:
    """Return Lighthouse's program, installed here if it is not yet."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("Lighthouse needs Node 18.16 or newer, with npm.")
    program = FOLDER / "node_modules" / "lighthouse" / "cli" / "index.js"
    about = program.parents[1] / "package.json"
    if not about.exists() or json.loads(about.read_text())["version"] != VERSION:
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund"]
        subprocess.run([*command, f"lighthouse@{VERSION}"], check=True)
    return program


def addresses(product: Product, chromium: str) -> tuple[dict[str, str], str]:
    """Return the pages to judge, after one install was verified, and the owner's cookie."""
    with (
        sync_playwright() as playwright,
        browser(playwright, chromium) as opened,
        person(opened, product.url, PERSON) as page,
    ):
        review(page)
        hub = page.locator(".crumbs a").last.get_attribute("href")
        page.get_by_role("button", name="now").first.click()
        page.wait_for_selector('#install[data-state="verified"]', timeout=WITHIN_S * 1000)
        install = page.url
        page.goto("/")
        review(page)
        confirm = page.url
        cookies = page.context.cookies()
        cookie = "; ".join(f"{one['name']}={one['value']}" for one in cookies)
    paths = {
        "hubs": "/",
        "hub": str(hub),
        "overview": "/overview/",
        "audit": "/audit/",
        "help": "/help/",
    }
    found = {name: product.url + path for name, path in paths.items()}
    return found | {"confirm": confirm, "install": install}, cookie


def judge(program: Path, chromium: str, name: str, url: str, preset: str, cookie: str) -> Judged:
    """Return what Lighthouse says of this page."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = ["node", str(program), url, *PRESETS[preset], "--quiet"]
        command += ["--output=json", f"--output-path={report}"]
        command += [f"--only-categories={','.join(CATEGORIES)}"]
        command += ["--chrome-flags=--headless=new --no-sandbox --disable-gpu"]
        if cookie:
            headers = Path(folder) / "headers.json"
            headers.write_text(json.dumps({"Cookie": cookie}))
            command.append(f"--extra-headers={headers}")
        environment = os.environ | {"CHROME_PATH": chromium}
        for _ in range(TRIES):
            done = subprocess.run(command, check=False, timeout=WITHIN_S, env=environment)
            if done.returncode == 0:
                break
        else:
            sys.exit(f"{name}: Lighthouse could not judge it.")
        found = json.loads(report.read_text())
    if found.get("runtimeError"):
        sys.exit(f"{name}: {found['runtimeError']['message']}")
    if found["finalDisplayedUrl"] != url:
        sys.exit(f"{name}: {found['finalDisplayedUrl']} was shown instead of {url}")
    scores = {key: round(100 * found["categories"][key]["score"]) for key in CATEGORIES}
    faults = [
        f"{key}: {audit['title']}"
        for key in FULL
        for part in found["categories"][key]["auditRefs"]
        if (audit := found["audits"][part["id"]])["score"] not in {None, 1} and part["weight"]
    ]
    return Judged(name, preset, scores, faults)


def main() -> None:
    """Start a demo, have each page judged in each preset, print the table."""
    chromium, program = os.environ["CHROMIUM"], install()
    judged: list[Judged] = []
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "demo") as product:
        pages, cookie = addresses(product, chromium)
        asked = {"sign-in": (f"{product.url}/account/login/", "")}
        asked |= {name: (url, cookie) for name, url in pages.items()}
        print(f"{'page':<10} {'preset':<8} " + " ".join(f"{key:>14}" for key in CATEGORIES))
        for name, (url, own) in asked.items():
            for preset in PRESETS:
                one = judge(program, chromium, name, url, preset, own)
                scores = " ".join(f"{one.scores[key]:>14}" for key in CATEGORIES)
                print(f"{name:<10} {preset:<8} {scores}", flush=True)
                judged.append(one)
    for one in judged:
        for fault in one.faults:
            print(f"{one.page} ({one.preset}): {fault}")
    if any(one.scores[key] < 100 for one in judged for key in FULL):
        sys.exit("Below 100: see above.")


if __name__ == "__main__":
    main()
