"""Choices of hundreds, such as all time zones, written at once: one template for each of them would
take longer than the rest of the page.
"""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


class GroupedOptions(forms.Select):
    """A list to choose one from; its choices are groups of choices."""

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        wanted = set(self.format_value(value))
        groups = format_html_join(
            "",
            '<optgroup label="{}">{}</optgroup>',
            ((group, _options(members, wanted)) for group, members in self.choices),
        )
        said = self.build_attrs(self.attrs, {"name": name, **(attrs or {})})
        return format_html("<select{}>{}</select>", flatatt(said), groups)


def _options(members: Iterable[tuple[Any, Any]], wanted: set[str]) -> SafeString:
    selected = flatatt({"selected": True})
    rows = ((value, selected if str(value) in wanted else "", label) for value, label in members)
    return format_html_join("", '<option value="{}"{}>{}</option>', rows)


class ManyBoxes(forms.CheckboxSelectMultiple):
    """Boxes to tick any of."""

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        wanted = set(self.format_value(value))
        said = self.build_attrs(self.attrs, attrs)
        place = flatatt({"id": said.pop("id", f"id_{name}")})
        checked = flatatt({"checked": True})
        each = flatatt({"type": "checkbox", "name": name, **said})
        boxes = format_html_join(
            "",
            '<div><label><input{} value="{}"{}> {}</label></div>',
            (
                (each, value, checked if str(value) in wanted else "", label)
                for value, label in self.choices
            ),
        )
        return format_html("<div{}>{}</div>", place, boxes)
