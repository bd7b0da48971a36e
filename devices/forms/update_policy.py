"""The form about a household's update policy."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from devices.models import Node, PolicyMode, UpdatePolicy
from devices.planning.policies import SETTINGS, PolicyWishes
from devices.planning.policy_rules import Hub, hub_of

_TIME = {"type": "time"}
WAITING_DAYS = [
    (0, gettext_lazy("At once")),
    (3, gettext_lazy("After 3 days")),
    (7, gettext_lazy("After 7 days")),
    (14, gettext_lazy("After 14 days")),
]
OTHERS_AFTER_DAYS = [
    (0, gettext_lazy("All in one night, one after the other")),
    (1, gettext_lazy("One hub first, the others 1 day later")),
    (3, gettext_lazy("One hub first, the others 3 days later")),
    (7, gettext_lazy("One hub first, the others 7 days later")),
]
IDLE_MINUTES = [
    (0, gettext_lazy("As soon as it is off")),
    (15, gettext_lazy("Off for 15 minutes")),
    (30, gettext_lazy("Off for 30 minutes")),
    (60, gettext_lazy("Off for 1 hour")),
    (120, gettext_lazy("Off for 2 hours")),
]
MODES = PolicyMode.choices
HUB_MODES = [("", gettext_lazy("Like the household")), *MODES]


class UpdatePolicyForm(forms.Form):
    """What an owner wants of new firmware. Each hub has a field of its own on the page."""

    mode = forms.ChoiceField(label=gettext_lazy("New firmware"), choices=MODES)
    window_start = forms.TimeField(
        label=gettext_lazy("Between"), widget=forms.TimeInput(attrs=_TIME, format="%H:%M")
    )
    window_end = forms.TimeField(
        label=gettext_lazy("and"),
        widget=forms.TimeInput(attrs=_TIME, format="%H:%M"),
        help_text=gettext_lazy("On the household's clock, over midnight if you like."),
    )
    waiting_days = forms.TypedChoiceField(
        label=gettext_lazy("When a version is new"), coerce=int, choices=WAITING_DAYS
    )
    others_after_days = forms.TypedChoiceField(
        label=gettext_lazy("Several hubs"),
        coerce=int,
        choices=OTHERS_AFTER_DAYS,
        help_text=gettext_lazy("The days count from when the first hub is verified."),
    )
    idle_minutes = forms.TypedChoiceField(
        label=gettext_lazy("Only when the repellent is"),
        coerce=int,
        choices=IDLE_MINUTES,
        help_text=gettext_lazy("What a person plans for this household waits for it too."),
    )

    def __init__(
        self,
        *args: Any,
        policy: UpdatePolicy,
        nodes: Iterable[Node],
        modes: Mapping[Hub, PolicyMode],
        **options: Any,
    ) -> None:
        options.setdefault("initial", {name: getattr(policy, name) for name in SETTINGS})
        super().__init__(*args, **options)
        self._hubs = {node.pk: hub_of(node) for node in nodes}
        self._modes = dict(modes)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        start, end = values.get("window_start"), values.get("window_end")
        if start is not None and start == end:
            self.add_error("window_end", gettext_lazy("The two times must differ."))
        return values

    def wishes(self) -> PolicyWishes:
        """Return what is wanted. A hub that the page had no field for stays as it was."""
        values = {name: self.cleaned_data[name] for name in SETTINGS if name != "mode"}
        hubs = dict(self._modes)
        for pk, hub in self._hubs.items():
            chosen = self.data.get(f"hub-{pk}")
            if chosen in PolicyMode.values:
                hubs[hub] = PolicyMode(chosen)
            elif chosen is not None:
                hubs.pop(hub, None)
        return PolicyWishes(mode=PolicyMode(self.cleaned_data["mode"]), hubs=hubs, **values)
