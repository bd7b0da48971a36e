"""What a hub was set to before and after an install, for people."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, ngettext

from devices.fleet.settings_kept import differences
from devices.models import OtaJob
from devices.presentation.formatting import number


@dataclass(frozen=True, slots=True)
class ChangedSetting:
    """One setting that is not as it was."""

    label: str
    before: str
    after: str


def changed_settings(job: OtaJob) -> list[ChangedSetting]:
    """Return the settings that differ after this install. No query."""
    was, now = job.settings_before or {}, job.settings_after or {}
    labels = {
        "name": gettext("Name"),
        "power": gettext("Repellent"),
        "led_brightness": gettext("Light: brightness"),
        "led_hue": gettext("Light: colour"),
        "schedules": gettext("Schedules"),
        "refill_percent": gettext("Refill"),
    }
    return [
        ChangedSetting(labels[name], _words(name, was[name]), _words(name, now[name]))
        for name in differences(was, now)
    ]


def _words(name: str, value: Any) -> str:
    if name == "power":
        return gettext("on") if value else gettext("off")
    if name in {"led_brightness", "refill_percent"}:
        return f"{value:.0f} %"
    if name == "led_hue":
        return f"{value}°"
    if name == "schedules":
        words = ngettext("%(n)s schedule", "%(n)s schedules", len(value))
        return words % {"n": number(len(value))}
    return str(value)
