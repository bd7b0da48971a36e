"""Linking a cloud account."""

from typing import Any, cast

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy

from devices.accounts.allowed_clouds import choices, is_allowed
from devices.forms.names import EmailField
from devices.forms.passwords import keep_password_field, password_field
from devices.models import Household


class CloudField(forms.ChoiceField):
    """One of the clouds this server offers, or another that it may call."""

    def valid_value(self, value: Any) -> bool:
        return super().valid_value(value) or is_allowed(str(value))


class LinkForm(forms.Form):
    """Which cloud account is linked to which household."""

    household_id = forms.TypedChoiceField(label=gettext_lazy("Household"), coerce=int)
    email = EmailField(
        label=gettext_lazy("E-mail address of the cloud account"),
        widget=forms.EmailInput(attrs={"autocomplete": "section-cloud email"}),
        max_length=254,
    )
    password = password_field(
        gettext_lazy("Password of the cloud account"), "section-cloud current-password"
    )
    keep_password = keep_password_field()
    cloud = CloudField(
        label=gettext_lazy("Cloud"),
        required=False,
        error_messages={
            "invalid_choice": (
                gettext_lazy(
                    "This server is not set up to use that cloud. The administrator can allow "
                    "more clouds with the setting ALLOWED_CLOUDS."
                )
            )
        },
    )

    def __init__(self, *args: Any, households: list[Household], **options: Any) -> None:
        super().__init__(*args, **options)
        self._households = {household.pk: household for household in households}
        choice = cast(forms.TypedChoiceField, self.fields["household_id"])
        choice.choices = [(pk, str(household)) for pk, household in self._households.items()]
        choice.initial = households[0].pk
        if len(households) == 1:
            choice.required = False
            choice.empty_value = str(households[0].pk)
        cast(forms.ChoiceField, self.fields["cloud"]).choices = choices()

    def base_url(self) -> str:
        """Return the address of the chosen cloud."""
        return str(self.cleaned_data["cloud"] or settings.DEFAULT_CLOUD_URL)

    def household(self) -> Household:
        """Return the household the account is linked to."""
        return self._households[int(self.cleaned_data["household_id"])]


class ReconnectForm(forms.Form):
    password = password_field(
        gettext_lazy("Password of the cloud account"), "section-cloud current-password"
    )
    keep_password = keep_password_field()
