"""The scripted trouble that a hub can play, and the parameters of each.

A scenario is chosen per hub (`--scenario 0=percent`, or `PUT /control/hubs/{hub}/scenario`) and
stays until another is chosen; `"once": true` returns the hub to `happy` after one install, and
`"step": 10` makes any of them report every ten percent.
`devices.simcloud.firmware` plays them; `devices.simcloud.hub` knows the few that change what the
cloud offers instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HAPPY = "happy"

REJECTIONS = {
    "project_name": "Project Name mismatch",
    "same_version": "Same version received",
    "secure_version": "Lower secure version received",
    "chip_revision": "Chip revision mismatch",
}
DELAYS = {
    "no_time": "No time information available yet.",
    "not_within_valid_window": "Not within valid window.",
    "not_within_download_window": "Not within download window.",
}
FINAL_FAILURES = {
    "window_lapsed": "OTA download window lapsed.",
    "invalid_window": "Invalid download window specified.",
    "json": "Aborted. JSON Payload error",
    "no_job_id": "Aborted. OTA Updated ID not found in JSON",
    "no_url": "Aborted. URL not found in JSON",
    "no_stream_id": "Aborted. Stream ID not found in JSON",
    # In no known firmware's code, but in tests of other clients.
    "connection_timeout": "Download failed - connection timeout",
}
BEGIN_FAILED = (
    "OTA Begin failed: ESP_ERR_HTTP_CONNECT (errno=113: Software caused connection abort)"
)
CUT_SHORT = "Complete data was not received"

# name -> (what happens, the parameters it takes with their defaults)
CATALOGUE: dict[str, tuple[str, dict[str, Any]]] = {
    HAPPY: ("installs in three to five minutes, without percentages (the firmware's default)", {}),
    "percent": ("like happy, and reports every `step` percent", {"step": 10}),
    "slow": ("like happy, with a download `factor` times as long", {"factor": 10.0}),
    "first_attempt_fails": (
        "download attempt 1 of 3 fails half-way, attempt 2 succeeds",
        {"why": CUT_SHORT},
    ),
    "all_attempts_fail": (
        "three attempts fail, the hub asks again after five minutes and the same job reruns; "
        "`cycles` such rounds (0: for ever), then it succeeds if `recovers`",
        {"why": BEGIN_FAILED, "cycles": 0, "recovers": True},
    ),
    "rejected": ("the hub refuses the image", {"reason": "project_name"}),
    "rolled_back": (
        "boots the new image, finds no MQTT, returns to the old one and says so; with "
        "`report_failed` it says `failed` the way CONFIG ..._ROLLBACK_REPORT_FAILED does",
        {"report_failed": False},
    ),
    "loses_setting": (
        "like happy, and comes back with its light's colour and its schedules at factory settings",
        {},
    ),
    "delayed": (
        "the hub will do it later: no_time proceeds after 30 s, the windows when they open "
        "(`opens_in_s`)",
        {"reason": "no_time", "opens_in_s": 600.0},
    ),
    "failed_final": ("one `failed` report and no further attempt", {"reason": "window_lapsed"}),
    "silent": ("the push is accepted, nothing is ever reported, the version stays", {}),
    "stuck": ("goes quiet after `fraction` of the download", {"fraction": 0.5}),
    "offline_mid_flash": (
        "offline for `away_s` in mid-download; `then` continues where it was, or fails that "
        "attempt and tries again (restarts)",
        {"away_s": 300.0, "then": "continues"},
    ),
    "success_lie": ("reports success and still runs the old version", {}),
    "version_only": ("runs the new version and never reports success", {}),
    "already_running": (
        "the hub began the install on its own: the push is answered and ignored",
        {},
    ),
    "offer_swapped": (
        "after `after_checks` more checks the offer is another one",
        {"after_checks": 1, "fw_version": "5.4.9"},
    ),
    "offer_withdrawn": ("after `after_checks` more checks there is no offer", {"after_checks": 1}),
    "image_not_found": (
        "the cloud offers an update and refuses each check with 104015: its image is missing",
        {},
    ),
    "offline": (
        "not connected, since `since_s` ago; `never` means it never was",
        {"since_s": 0.0, "never": False},
    ),
}
_CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("rejected", "reason"): tuple(REJECTIONS),
    ("delayed", "reason"): tuple(DELAYS),
    ("failed_final", "reason"): tuple(FINAL_FAILURES),
    ("offline_mid_flash", "then"): ("continues", "restarts"),
}


class UnknownScenario(ValueError):
    """No such scenario, or it does not take that parameter."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str = HAPPY
    params: dict[str, Any] = field(default_factory=dict)
    once: bool = False

    def get(self, key: str) -> Any:
        return self.params[key]


def scenario(name: str, params: dict[str, Any] | None = None) -> Scenario:
    """The scenario with its defaults filled in. Raises UnknownScenario, saying what would do."""
    if name not in CATALOGUE:
        raise UnknownScenario(f"no scenario {name!r}; there are: {', '.join(CATALOGUE)}")
    given = dict(params or {})
    once = bool(given.pop("once", False))
    filled = {"step": 0, **CATALOGUE[name][1]}
    for key, value in given.items():
        if key not in filled:
            takes = ", ".join(filled) or "none"
            raise UnknownScenario(f"{name} has no parameter {key!r}; it takes: {takes}")
        choices = _CHOICES.get((name, key))
        if choices and value not in choices:
            raise UnknownScenario(f"{name} {key} must be one of: {', '.join(choices)}")
        try:
            filled[key] = type(filled[key])(value)
        except (TypeError, ValueError) as error:
            raise UnknownScenario(f"{name} {key}: {value!r} does not fit") from error
    return Scenario(name, filled, once)


def parse(text: str) -> Scenario:
    """`rejected`, `rejected:same_version` or `slow:factor=4,once=1`, as on a command line."""
    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        params[key if equals else "reason"] = _read(value if equals else key)
    return scenario(name, params)


def _read(text: str) -> object:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text
