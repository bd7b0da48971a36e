"""Creating a personal API token."""

from django import forms
from django.utils.translation import gettext_lazy

from devices.forms.names import NameField
from devices.models import Scope
from devices.models.api_token import FOR_PROGRAMS


class TokenForm(forms.Form):
    """A personal token."""

    name = NameField(
        label=gettext_lazy("What is it for?"),
        max_length=80,
        help_text=gettext_lazy("For example, Home Assistant in the living room."),
    )
    scope = forms.ChoiceField(
        label=gettext_lazy("Permissions"),
        choices=[(scope.value, scope.label) for scope in FOR_PROGRAMS],
        initial=Scope.READ,
    )
