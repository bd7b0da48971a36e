"""Fields for names of people, households and tokens, and for e-mail addresses."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from devices.models.text import clean_name


class NameField(forms.CharField):
    """Text without anything that does not show, or that changes how its surroundings show."""

    def to_python(self, value: Any) -> str:
        return clean_name(super().to_python(value) or "")


class EmailField(forms.EmailField):
    """An e-mail address, spelled as on all pages: the framework's own texts say "email"."""

    default_error_messages = {"invalid": gettext_lazy("Enter a valid e-mail address.")}
