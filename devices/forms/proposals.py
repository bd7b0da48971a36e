"""Proposing an install."""

from django import forms
from django.utils.translation import gettext_lazy


class ProposalForm(forms.Form):
    """What support says to a household about an install it proposes."""

    words = forms.CharField(
        label=gettext_lazy("Message to the household"),
        required=False,
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("Use plain language. It is shown next to the details."),
    )
