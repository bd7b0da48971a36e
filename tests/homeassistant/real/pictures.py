"""Pictures of Home Assistant's own pages about a hub."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.homeassistant.real.core import HomeAssistant
from tests.tools import find_browser

if TYPE_CHECKING:
    from tests.homeassistant.real.__main__ import Judge

# As its frontend keeps a sign-in.
SIGN_IN = "localStorage.hassTokens = {};"
DIALOG = """(entity) => document.querySelector("home-assistant").dispatchEvent(
    new CustomEvent("hass-more-info", {detail: {entityId: entity}}))"""


def take(core: HomeAssistant, judge: "Judge", folder: Path) -> None:
    """Take the device page of an offered hub and its update dialog."""
    folder.mkdir(parents=True, exist_ok=True)
    entity = judge.offered(core.states())[0]
    device = next(one["device_id"] for one in core.entities() if one["entity_id"] == entity)
    tokens = core.tokens | {"hassUrl": core.url, "clientId": f"{core.url}/", "expires": 0}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser.on_path() or None, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.add_init_script(SIGN_IN.format(json.dumps(json.dumps(tokens))))
        page.goto(f"{core.url}/config/devices/device/{device}")
        page.get_by_text("Install firmware").first.wait_for(timeout=90_000)
        page.wait_for_timeout(2_000)
        page.screenshot(path=folder / "device.png")
        page.evaluate(DIALOG, entity)
        page.get_by_text("Installed version").first.wait_for(timeout=30_000)
        page.wait_for_timeout(1_000)
        page.screenshot(path=folder / "dialog.png")
        browser.close()
