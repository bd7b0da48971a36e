"""Hold a firmware version, or release it."""

from django import forms
from django.utils.translation import gettext_lazy


class HoldForm(forms.Form):
    """What is decided about one version, and why."""

    hub_model = forms.CharField(max_length=120, required=False, strip=False)
    version = forms.CharField(max_length=64, strip=False)
    is_simulated = forms.BooleanField(required=False)
    act = forms.ChoiceField(choices=[("hold", ""), ("release", "")])
    reason = forms.CharField(
        max_length=300, error_messages={"required": gettext_lazy("Give a reason: it is recorded.")}
    )
