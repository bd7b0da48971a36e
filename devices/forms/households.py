"""Households: first setup, settings, invitations, roles."""

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy

from devices.forms.names import EmailField, NameField
from devices.forms.passwords import check_password, password_field
from devices.forms.time_zones import TimeZoneForm
from devices.models import Role, User

ROLES = [
    (Role.OWNER, gettext_lazy("Owner: also manages people, accounts and settings")),
    (Role.MEMBER, gettext_lazy("Member: can install firmware")),
    (Role.VIEWER, gettext_lazy("Viewer: view only")),
]


class SetupForm(TimeZoneForm):
    """The first person and the first household."""

    name = NameField(
        label=gettext_lazy("Your name"),
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    email = EmailField(
        label=gettext_lazy("Your e-mail address"),
        max_length=254,
        help_text=gettext_lazy("You use it to sign in."),
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    password = password_field(gettext_lazy("Password (at least 12 characters)"), "new-password")
    household = NameField(label=gettext_lazy("Name of the household"), max_length=120)
    field_order = ("name", "email", "password", "household", "time_zone")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        check_password(self, User(email=values.get("email", ""), name=values.get("name", "")))
        return values


class AcceptInvitationForm(forms.Form):
    """An invited person who has no sign-in here yet."""

    name = NameField(
        label=gettext_lazy("Your name"),
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    password = password_field(gettext_lazy("Password (at least 12 characters)"), "new-password")

    def __init__(self, *args: Any, email: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.email = email

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        check_password(self, User(email=self.email, name=values.get("name", "")))
        return values

    def person(self) -> User:
        """Return the new person, not saved yet."""
        user = User(email=self.email, name=self.cleaned_data["name"])
        user.set_password(self.cleaned_data["password"])
        return user


class HouseholdForm(TimeZoneForm):
    """A household's name and time zone."""

    name = NameField(label=gettext_lazy("Name"), max_length=120)
    field_order = ("name", "time_zone")


class HouseholdSettingsForm(HouseholdForm):
    """The same for an existing household, and its language."""

    language = forms.ChoiceField(
        label=gettext_lazy("Language of messages"),
        required=False,
        choices=[("", gettext_lazy("Server default")), *settings.LANGUAGES],
        help_text=gettext_lazy("For services, and for people who have not chosen a language."),
    )


class SupportForm(forms.Form):
    """What a household lets the server's support staff do."""

    DAYS = [
        ("0", gettext_lazy("Nothing")),
        ("1", gettext_lazy("View for one day")),
        ("7", gettext_lazy("View for one week")),
        ("30", gettext_lazy("View for 30 days")),
    ]
    days = forms.ChoiceField(label=gettext_lazy("Support may"), choices=DAYS)
    may_install = forms.BooleanField(
        label=gettext_lazy("and confirm installs"),
        required=False,
        help_text=gettext_lazy(
            "Otherwise support can view and request checks, but not confirm installs."
        ),
    )


class InviteForm(forms.Form):
    """An invitation to a household."""

    email = EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=ROLES, initial=Role.MEMBER)


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=ROLES)


class TransferForm(forms.Form):
    """The new owner, and what the previous one is afterwards."""

    to = forms.TypedChoiceField(label=gettext_lazy("New owner"), coerce=int)
    becomes = forms.ChoiceField(
        label=gettext_lazy("After the transfer"),
        choices=[
            (Role.MEMBER, gettext_lazy("Stay as a member")),
            (Role.VIEWER, gettext_lazy("Stay as a viewer")),
            (Role.OWNER, gettext_lazy("Stay an owner too")),
            ("", gettext_lazy("Leave the household")),
        ],
        required=False,
    )

    def __init__(self, *args: Any, others: Iterable[User], **options: Any) -> None:
        super().__init__(*args, **options)
        people = [(user.pk, f"{user} ({user.email})") for user in others]
        cast(forms.TypedChoiceField, self.fields["to"]).choices = people
