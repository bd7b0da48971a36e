"""Every piece of the look in every state, on one page: for whoever changes a template."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.views.access import person, signed_in
from devices.views.installs import Step, Witness
from devices.views.overview import Bar
from devices.views.standing import VERDICTS, Standing

TONES = ("good", "running", "attention", "new", "quiet")
COLOURS = ("paper", "card", "ink", "ink-2", "line", "lamp", "moss", "dusk", "coral", "stone")


class Sample(forms.Form):
    """Each kind of field once; shown empty and with errors."""

    text = forms.CharField(label="A text", help_text="What to write here.", max_length=20)
    choice = forms.ChoiceField(label="A choice", choices=[("", "None"), ("one", "One")])
    agree = forms.BooleanField(label="A box to tick", required=False)


@dataclass(frozen=True, slots=True)
class Told:
    """One verdict box."""

    tone: str
    headline: str


@require_safe
@signed_in
def styleguide(request: HttpRequest) -> HttpResponse:
    """The styleguide; staff only."""
    if not person(request).staff_role:
        raise PermissionDenied("The styleguide is for staff.")
    return render(request, "devices/styleguide.html", _pieces())


def _pieces() -> dict[str, Any]:
    now = timezone.now()
    then = now - timedelta(seconds=40)
    return {
        "colours": COLOURS,
        "badges": [
            *(Standing(str(words), tone, icon) for words, tone, icon in VERDICTS.values()),
            Standing("Downloading", "running", "running", then),
            Standing("Waiting to be sent", "running", "clock"),
            Standing("New firmware", "new", "up"),
            Standing("Up to date", "good", "check"),
            Standing("Offline since 2 Nov", "quiet", "moon"),
            Standing("Account signed out", "attention", "key"),
            Standing("Simulated", "", "beaker"),
        ],
        "tones": [Told(tone, f"A box that says something {tone}.") for tone in TONES],
        "notices": ["info", "success", "warning", "error"],
        "steps": [
            Step("Done", "done", then, "“the hub's own words”"),
            Step("Now", "now", then, "“Downloaded 40% Firmware Image”"),
            Step("Went wrong", "bad", then, "“OTA failed”"),
            Step("Still ahead", "ahead"),
        ],
        "witnesses": [
            Witness("cloud", "Agrees", "“success”: it counts the install as done.", "agrees", then),
            Witness("hub", "Speaking", "Not a verdict yet.", "speaking", then),
            Witness("wifi", "Disagrees", "Offline when last asked.", "disagrees", then),
            Witness("hub", "Silent", "Nothing about this attempt yet.", ""),
        ],
        "bars": [
            Bar("5.4.7", "9 hubs, 75 %", "#charts", 100, 60),
            Bar("a much longer name of a version", "3 hubs, 25 %", "#charts", 33),
            Bar("none", "0 hubs", "#charts", 0),
        ],
        "empty_form": Sample(),
        "wrong_form": Sample(
            {"text": "far more than twenty characters", "choice": "two"}, auto_id="wrong_%s"
        ),
        "then": then,
    }
