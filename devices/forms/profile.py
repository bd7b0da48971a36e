"""A person's own settings."""

from django import forms
from django.utils.translation import gettext_lazy

from devices.forms.names import NameField


class ProfileForm(forms.Form):
    """A person's name and how the pages behave for them."""

    name = NameField(
        label=gettext_lazy("Your name"),
        max_length=120,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    search_key = forms.BooleanField(label=gettext_lazy("Use keyboard shortcuts"), required=False)


class FactorCodeForm(forms.Form):
    """The code that an administrator made."""

    code = forms.CharField(
        label=gettext_lazy("Code from an administrator"),
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )
