"""A field for names: of people, households and tokens."""

from typing import Any

from django import forms

from devices.models.text import clean_name


class NameField(forms.CharField):
    """Text without anything that does not show, or that changes how its surroundings show."""

    def to_python(self, value: Any) -> str:
        return clean_name(super().to_python(value) or "")
