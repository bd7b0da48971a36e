"""Choosing a time zone."""

from functools import lru_cache, partial
from typing import Any, cast
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy

OTHER = "other"
REGIONS = {
    "Africa": gettext_lazy("Africa"),
    "America": gettext_lazy("America"),
    "Antarctica": gettext_lazy("Antarctica"),
    "Arctic": gettext_lazy("Arctic"),
    "Asia": gettext_lazy("Asia"),
    "Atlantic": gettext_lazy("Atlantic Ocean"),
    "Australia": gettext_lazy("Australia"),
    "Europe": gettext_lazy("Europe"),
    "Indian": gettext_lazy("Indian Ocean"),
    "Pacific": gettext_lazy("Pacific Ocean"),
}
NO_REGIONS = {"Etc", "posix", "right", "SystemV"}


def _zones(kept: str = "") -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the places of each region: typing "Ber" finds Berlin; what is no place comes last.

    `kept` is always offered: a name that was chosen earlier, or set for the server.
    """
    regions: dict[str, list[tuple[str, str]]] = {region: [] for region in (*REGIONS, "")}
    for name in _all_zones():
        if name != kept and not _is_place(name):
            continue
        region, _, place = name.partition("/")
        if region in REGIONS:
            regions[region].append((name, place.replace("_", " ")))
        else:
            regions[""].append((name, name))
    words = {**REGIONS, "": gettext_lazy("Other time zones")}
    return [(str(words[region]), places) for region, places in regions.items()]


@lru_cache(maxsize=1)
def _all_zones() -> list[str]:
    """Each is a file that would have to be looked into."""
    return sorted(available_timezones())


def _is_place(name: str) -> bool:
    """Is this time zone named for a place? Others, such as "W-SU" and "Factory", help no one."""
    region, _, place = name.partition("/")
    return name == "UTC" or (bool(place) and region not in NO_REGIONS)


class TimeZoneForm(forms.Form):
    """Where a household is. Until it is chosen, the page proposes the browser's zone.

    `kept` is the time zone it has already, which stays selectable.
    """

    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"), initial=lambda: settings.TIME_ZONE
    )

    def __init__(self, *args: Any, kept: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        zones = cast(forms.ChoiceField, self.fields["time_zone"])
        zones.choices = partial(_zones, kept or settings.TIME_ZONE)
        if not self.is_bound and not self.initial.get("time_zone"):
            self.fields["time_zone"].widget.attrs["data-guess-zone"] = True
