"""Filters of the audit trail."""

from typing import Any, cast

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from devices.audit.search import AuditFilter
from devices.models import AuditGroup, Outcome, Role, StaffRole


class AuditFilterForm(forms.Form):
    """The filters of the audit trail."""

    text = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput({"type": "search"}),
    )
    person = forms.CharField(label=gettext_lazy("Person"), required=False, max_length=254)
    role = forms.ChoiceField(label=gettext_lazy("Role"), required=False)
    hub = forms.CharField(label=gettext_lazy("Hub"), required=False, max_length=200)
    household = forms.CharField(label=gettext_lazy("Household"), required=False, max_length=120)
    action = forms.ChoiceField(label=gettext_lazy("What"), required=False)
    outcome = forms.ChoiceField(label=gettext_lazy("Outcome"), required=False)
    since = forms.DateField(
        label=gettext_lazy("First day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    until = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    job = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)

    ACTIONS: dict[str, str | Promise] = {
        "": gettext_lazy("Everything"),
        **{group.prefix: group.label for group in AuditGroup},
    }
    ROLES = {
        "": gettext_lazy("Any"),
        **dict(Role.choices),
        **{value: label for value, label in StaffRole.choices if value},
        "worker": gettext_lazy("System"),
        "watchdog": gettext_lazy("Watchdog"),
        "home-assistant": gettext_lazy("Home Assistant"),
        "operator": gettext_lazy("Server terminal"),
        "person": gettext_lazy("Without a household"),
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        choices: dict[str, list[Any]] = {
            "action": list(self.ACTIONS.items()),
            "role": list(self.ROLES.items()),
            "outcome": [("", gettext_lazy("Any")), *Outcome.choices],
        }
        for name, these in choices.items():
            cast(forms.ChoiceField, self.fields[name]).choices = these

    def asked(self) -> AuditFilter:
        """Return the filter; call it only on a valid form."""
        return AuditFilter(**self.cleaned_data)
