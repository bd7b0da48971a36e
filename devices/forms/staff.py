"""Server people: new sign-ins, staff roles, new households."""

from django import forms
from django.utils.translation import gettext_lazy

from devices.forms.households import HouseholdForm
from devices.forms.names import EmailField, NameField
from devices.models import StaffRole


class PersonForm(forms.Form):
    """A person who gets a sign-in."""

    name = NameField(label=gettext_lazy("Name"), max_length=120, required=False)
    email = EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )


class NewHouseholdForm(HouseholdForm):
    """A household for a person who has a sign-in."""

    owner = EmailField(
        label=gettext_lazy("Owner's e-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )


class StaffRoleForm(forms.Form):
    role = forms.ChoiceField(
        label=gettext_lazy("Staff role"), choices=StaffRole.choices, required=False
    )
