"""Password fields and their checks."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from devices.models import User


def password_field(label: Any, autocomplete: str) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": autocomplete})
    return forms.CharField(label=label, strip=False, max_length=256, widget=widget)


def keep_password_field() -> forms.BooleanField:
    return forms.BooleanField(
        label=gettext_lazy("Stay connected automatically"),
        required=False,
        help_text=(
            gettext_lazy(
                "Stores the password encrypted and uses it when the cloud ends the session. "
                "Otherwise you will be asked to sign in again."
            )
        ),
    )


def check_password(form: forms.Form, person: User) -> None:
    if "password" in form.cleaned_data:
        try:
            validate_password(form.cleaned_data["password"], person)
        except ValidationError as problem:
            form.add_error("password", problem)
