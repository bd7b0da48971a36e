"""What Home Assistant is told of one hub, drawn from the very messages at the broker.

Not a picture of Home Assistant, which is no part of the tests: names, states and attributes are
those of the messages, laid out as on its device page.
"""

import html
from typing import Any

from playwright.sync_api import Browser

from tests.mosquitto import Listener

STYLE = """
body { margin: 0; padding: 28px; background: #f3f4f7; font: 15px/1.45 system-ui, sans-serif;
  color: #1c1d21; display: grid; gap: 16px; grid-template-columns: 300px 1fr; align-items: start }
section { background: #fff; border-radius: 12px; padding: 18px 20px; border: 1px solid #e0e2e8 }
h1, h2 { margin: 0 0 10px; font-size: 17px; font-weight: 600 } p { margin: 2px 0; color: #5b5f6b }
h1 { color: #1c1d21 } dl { margin: 0 } dl div { display: flex; justify-content: space-between;
  gap: 20px; padding: 7px 0; border-top: 1px solid #eef0f4 } dl div:first-child { border: 0 }
dt { color: #1c1d21 } dd { margin: 0; color: #3b4150; text-align: right; max-width: 30em;
  overflow-wrap: anywhere }
.wide { display: grid; gap: 16px } footer { grid-column: 1 / -1; color: #6b7080; font-size: 13px }
b { font-weight: 600; color: #03669c }
"""


def take(opened: Browser, ear: Listener, path: str) -> None:
    """Draw the first hub that may be installed on, and keep the picture at the path."""
    ear.wait(lambda: _offered(ear), limit_s=90)
    page = opened.new_page(viewport={"width": 980, "height": 640})
    page.set_content(drawing(ear, _offered(ear)[0]))
    page.screenshot(path=path, full_page=True)
    page.close()


def _offered(ear: Listener) -> list[dict[str, Any]]:
    """Return the announcements of hubs with an offer and a button."""
    found = [ear.read(topic) for topic in ear.topics("/config")]
    return [
        told
        for told in found
        if "unique_id" in told["components"]["install"]
        and (ear.read(told["components"]["update"]["json_attributes_topic"]) or {}).get("file_size")
    ]


def drawing(ear: Listener, told: dict[str, Any]) -> str:
    """Return the page for one announcement and the states it names."""
    device, parts = told["device"], told["components"]
    state = ear.read(parts["update"]["state_topic"])
    offer = ear.read(parts["update"]["json_attributes_topic"])
    about = [
        ("Model", device.get("model", "")),
        ("Made by", device["manufacturer"]),
        ("Firmware", device.get("sw_version", "")),
        ("Serial number", device.get("serial_number", "")),
        ("Page", device["configuration_url"]),
    ]
    update = [
        ("Installed version", state["installed_version"]),
        ("Latest version", state["latest_version"]),
        ("Release notes", state["release_summary"]),
        ("In progress", "yes" if state["in_progress"] else "no"),
        ("Size", f"{offer['file_size']:,} bytes"),
    ]
    others: dict[str, list[tuple[str, str]]] = {"Sensors": [], "Controls": [], "Diagnostic": []}
    for key, part in parts.items():
        if key == "update" or "unique_id" not in part:
            continue
        group = "Diagnostic" if "entity_category" in part else "Sensors"
        group = "Controls" if part["platform"] == "button" else group
        others[group].append((part["name"], _value(ear, part)))
    cards = "".join(_card(title, rows) for title, rows in others.items() if rows)
    return (
        f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>"
        f"<section><h1>{html.escape(device['name'])}</h1>{_rows(about)}</section>"
        f"<div class=wide>{_card(parts['update']['name'] + ' (update)', update)}{cards}</div>"
        "<footer>Drawn from the messages at the broker; Home Assistant shows them in its own look."
        "</footer>"
    )


def _value(ear: Listener, part: dict[str, Any]) -> str:
    if part["platform"] == "button":
        return "Press"
    key = part["value_template"].removeprefix("{{ value_json.").removesuffix(" }}")
    value = (ear.read(part["state_topic"]) or {}).get(key)
    return "unknown" if value is None else str(value)


def _card(title: str, rows: list[tuple[str, str]]) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{_rows(rows)}</section>"


def _rows(rows: list[tuple[str, str]]) -> str:
    lines = (
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>"
        for name, value in rows
    )
    return f"<dl>{''.join(lines)}</dl>"
