"""What people type, checked with the sentence they read when it does not fit."""

from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any, cast
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from devices.clouds import choices, is_allowed
from devices.models import Household, Outcome, Role, StaffRole, User
from devices.review import Asked
from devices.widgets import GroupedOptions

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
ROLES = [
    (Role.OWNER, gettext_lazy("Owner: people, accounts and settings too")),
    (Role.MEMBER, gettext_lazy("Member: may install firmware")),
    (Role.VIEWER, gettext_lazy("Viewer: may only look")),
]


def _password(label: Any, autocomplete: str) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": autocomplete})
    return forms.CharField(label=label, strip=False, max_length=256, widget=widget)


def _keep_password() -> forms.BooleanField:
    return forms.BooleanField(
        label=gettext_lazy("Sign in again without me"),
        required=False,
        help_text=(
            gettext_lazy(
                "Keeps the password here, encrypted, and uses it when the cloud ends the session. "
                "Without it, you are asked to sign in again."
            )
        ),
    )


def _zones(kept: str = "") -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the places of each region: typing "Ber" finds Berlin; what is no place comes last.

    `kept` is offered whatever it is: a name that was chosen earlier, or set for the server.
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
    """Is this time zone named for a place? Others, such as "W-SU" and "Factory", help nobody."""
    region, _, place = name.partition("/")
    return name == "UTC" or (bool(place) and region not in NO_REGIONS)


class AtHomeForm(forms.Form):
    """Where a household is; where nobody has said so yet, the page proposes the browser's zone.

    `kept` is the time zone it has already, which stays selectable.
    """

    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"), initial=lambda: settings.TIME_ZONE, widget=GroupedOptions
    )

    def __init__(self, *args: Any, kept: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        zones = cast(forms.ChoiceField, self.fields["time_zone"])
        zones.choices = partial(_zones, kept or settings.TIME_ZONE)
        if not self.is_bound and not self.initial.get("time_zone"):
            self.fields["time_zone"].widget.attrs["data-guess-zone"] = True


def _check_password(form: forms.Form, person: User) -> None:
    if "password" in form.cleaned_data:
        try:
            validate_password(form.cleaned_data["password"], person)
        except ValidationError as problem:
            form.add_error("password", problem)


class CloudField(forms.ChoiceField):
    """One of the clouds this server offers, or another that it may call."""

    def valid_value(self, value: Any) -> bool:
        return super().valid_value(value) or is_allowed(str(value))


class LinkForm(forms.Form):
    """Which cloud account is linked to which household."""

    household_id = forms.TypedChoiceField(label=gettext_lazy("Household"), coerce=int)
    email = forms.EmailField(
        label=gettext_lazy("E-mail address of the cloud account"),
        widget=forms.EmailInput(attrs={"autocomplete": "section-cloud email"}),
        max_length=254,
    )
    password = _password(gettext_lazy("Its password"), "section-cloud current-password")
    keep_password = _keep_password()
    cloud = CloudField(
        label=gettext_lazy("Cloud"),
        required=False,
        error_messages={
            "invalid_choice": (
                gettext_lazy(
                    "This server does not call that cloud. Whoever runs it can allow more clouds "
                    "with the setting ALLOWED_CLOUDS."
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
    password = _password(
        gettext_lazy("Password of the cloud account"), "section-cloud current-password"
    )
    keep_password = _keep_password()


class WelcomeForm(AtHomeForm):
    """The first person and the first household."""

    name = forms.CharField(
        label=gettext_lazy("Your name"),
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    email = forms.EmailField(
        label=gettext_lazy("Your e-mail address"),
        max_length=254,
        help_text=gettext_lazy("You sign in with it."),
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    password = _password(gettext_lazy("A password, at least 12 characters"), "new-password")
    household = forms.CharField(label=gettext_lazy("Name of the household"), max_length=120)
    field_order = ("name", "email", "password", "household", "time_zone")

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        _check_password(self, User(email=told.get("email", ""), name=told.get("name", "")))
        return told


class ComingForm(forms.Form):
    """A person who comes by an invitation and has no sign-in here yet."""

    name = forms.CharField(
        label=gettext_lazy("Your name"),
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    password = _password(gettext_lazy("A password, at least 12 characters"), "new-password")

    def __init__(self, *args: Any, email: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.email = email

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        _check_password(self, User(email=self.email, name=told.get("name", "")))
        return told

    def person(self) -> User:
        """Return the new person, not saved yet."""
        user = User(email=self.email, name=self.cleaned_data["name"])
        user.set_password(self.cleaned_data["password"])
        return user


class HouseholdForm(AtHomeForm):
    """What a household is called and what time it is there."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    field_order = ("name", "time_zone")


class HouseholdSettingsForm(HouseholdForm):
    """The same later on, with what is asked only then."""

    language = forms.ChoiceField(
        label=gettext_lazy("Language of what is sent"),
        required=False,
        choices=[("", gettext_lazy("This server's")), *settings.LANGUAGES],
        help_text=gettext_lazy("To services, and to people who chose none for themselves."),
    )


class SupportForm(forms.Form):
    """What a household lets the server's support staff do."""

    DAYS = [
        ("0", gettext_lazy("Nothing")),
        ("1", gettext_lazy("Look for a day")),
        ("7", gettext_lazy("Look for a week")),
        ("30", gettext_lazy("Look for 30 days")),
    ]
    days = forms.ChoiceField(label=gettext_lazy("Support may"), choices=DAYS)
    may_install = forms.BooleanField(
        label=gettext_lazy("and confirm installs too"),
        required=False,
        help_text=gettext_lazy(
            "Without it support can look and ask for checks, but only you decide."
        ),
    )


class PersonForm(forms.Form):
    """Somebody who is to have a sign-in."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120, required=False)
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )


class FoundingForm(HouseholdForm):
    """A household for somebody who has a sign-in."""

    owner = forms.EmailField(
        label=gettext_lazy("E-mail address of its owner"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )


class StaffRoleForm(forms.Form):
    role = forms.ChoiceField(
        label=gettext_lazy("Staff role"), choices=StaffRole.choices, required=False
    )


class InviteForm(forms.Form):
    """Who is asked into a household."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=ROLES, initial=Role.MEMBER)


class ProposalForm(forms.Form):
    """What support says to a household about an install it proposes."""

    words = forms.CharField(
        label=gettext_lazy("What you say about it"),
        required=False,
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("In plain language; it stands on the page beside the facts."),
    )


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=ROLES)


class HandOverForm(forms.Form):
    """To whom a household goes, and what its owner is afterwards."""

    to = forms.TypedChoiceField(label=gettext_lazy("The new owner"), coerce=int)
    becomes = forms.ChoiceField(
        label=gettext_lazy("Afterwards you"),
        choices=[
            (Role.MEMBER, gettext_lazy("stay as a member")),
            (Role.VIEWER, gettext_lazy("stay as a viewer")),
            (Role.OWNER, gettext_lazy("stay an owner too")),
            ("", gettext_lazy("leave the household")),
        ],
        required=False,
    )

    def __init__(self, *args: Any, others: Iterable[User], **options: Any) -> None:
        super().__init__(*args, **options)
        people = [(user.pk, f"{user} ({user.email})") for user in others]
        cast(forms.TypedChoiceField, self.fields["to"]).choices = people


class ProfileForm(forms.Form):
    """What somebody says about themselves, and how they like the pages."""

    name = forms.CharField(
        label=gettext_lazy("Your name"),
        max_length=120,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    search_key = forms.BooleanField(
        label=gettext_lazy("The key / goes to the search of a page"), required=False
    )


class TrailForm(forms.Form):
    """What of the audit trail is to be seen."""

    text = forms.CharField(
        label=gettext_lazy("Words"),
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

    ACTIONS = {
        "": gettext_lazy("Everything"),
        "install.": gettext_lazy("Installs"),
        "queue.": gettext_lazy("Several installs at once"),
        "offer.": gettext_lazy("Offers"),
        "check.": gettext_lazy("Checks"),
        "version.": gettext_lazy("Versions"),
        "hub.": gettext_lazy("Hubs found and gone"),
        "account.": gettext_lazy("Cloud accounts"),
        "person.": gettext_lazy("Sign-ins"),
        "access.": gettext_lazy("Refusals"),
        "household.": gettext_lazy("Households"),
        "keys.": gettext_lazy("Keys"),
        "token.": gettext_lazy("Tokens"),
        "trail.": gettext_lazy("The trail itself"),
        "worker.": gettext_lazy("The product itself"),
    }
    ROLES = {
        "": gettext_lazy("Any"),
        **dict(Role.choices),
        **{value: label for value, label in StaffRole.choices if value},
        "worker": gettext_lazy("The product itself"),
        "home-assistant": gettext_lazy("Home Assistant"),
        "operator": gettext_lazy("Server's terminal"),
        "person": gettext_lazy("Without a household"),
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        choices = {
            "action": list(self.ACTIONS.items()),
            "role": list(self.ROLES.items()),
            "outcome": [("", gettext_lazy("Any")), *Outcome.choices],
        }
        for name, these in choices.items():
            cast(forms.ChoiceField, self.fields[name]).choices = these

    def asked(self) -> Asked:
        """Return what is asked for; call it when the form is valid."""
        return Asked(**self.cleaned_data)
