"""Settings of notifications: what people type, checked."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from devices.models import TOPICS, Channel, Pace
from devices.notifications.channels import ChannelSettings
from devices.notifications.providers import ServiceUnusable, read_service

_TIME = {"type": "time"}


class ChannelForm(forms.Form):
    """What one channel sends, and when."""

    is_on = forms.BooleanField(label=gettext_lazy("On"), required=False)
    topics = forms.MultipleChoiceField(
        label=gettext_lazy("Notify about"),
        required=False,
        choices=[(topic.value, topic.label) for topic in TOPICS],
        widget=forms.CheckboxSelectMultiple,
    )
    pace = forms.ChoiceField(label=gettext_lazy("How often"), choices=Pace.choices)
    digest_at = forms.TimeField(
        label=gettext_lazy("Daily summary at"),
        required=False,
        widget=forms.TimeInput(attrs=_TIME, format="%H:%M"),
    )
    quiet_from = forms.TimeField(
        label=gettext_lazy("Quiet hours from"),
        required=False,
        widget=forms.TimeInput(attrs=_TIME, format="%H:%M"),
        help_text=gettext_lazy("Held until quiet hours end."),
    )
    quiet_until = forms.TimeField(
        label=gettext_lazy("Quiet hours until"),
        required=False,
        widget=forms.TimeInput(attrs=_TIME, format="%H:%M"),
    )

    def __init__(self, *args: Any, channel: Channel, **options: Any) -> None:
        options.setdefault("initial", initial_of(channel))
        super().__init__(*args, **options)
        self._channel = channel
        if channel.is_mail:
            self.fields["is_on"].label = gettext_lazy("Send me e-mail")
        elif not channel.is_service:
            self.fields["is_on"].label = gettext_lazy("Show notifications on this device")

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if found.get("is_on") and not found.get("topics") and "topics" not in self.errors:
            self.add_error("topics", gettext_lazy("Select at least one topic."))
        if bool(found.get("quiet_from")) != bool(found.get("quiet_until")):
            missing = "quiet_until" if found.get("quiet_from") else "quiet_from"
            if missing not in self.errors:
                self.add_error(
                    missing, gettext_lazy("Enter both times for quiet hours, or leave both empty.")
                )
        return found

    def wishes(self) -> ChannelSettings:
        """Return what is wanted; call it when the form is valid."""
        found = self.cleaned_data
        return ChannelSettings(
            is_on=found["is_on"],
            topics=found["topics"],
            pace=Pace(found["pace"]),
            digest_at=found["digest_at"] or self._channel.digest_at,
            quiet_from=found["quiet_from"],
            quiet_until=found["quiet_until"],
            name=found.get("name", ""),
            url=found.get("url", ""),
        )


class ServiceForm(ChannelForm):
    """The same for a service. Its address is never shown again: empty keeps it."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("For example, family chat. It appears in the audit trail."),
    )
    url = forms.CharField(
        label=gettext_lazy("Service address"),
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=(
            gettext_lazy(
                "An Apprise URL, such as ntfys://ntfy.sh/my-topic or tgram://bottoken/chatid. "
                "Stored encrypted."
            )
        ),
    )
    field_order = ("name", "url", "is_on", "topics", "pace")

    def __init__(self, *args: Any, channel: Channel, **options: Any) -> None:
        super().__init__(*args, channel=channel, **options)
        if channel.pk:
            self.fields["url"].help_text = gettext_lazy(
                "An address is stored, encrypted. Leave this empty to keep it, or enter a new one."
            )
        else:
            self.fields["url"].required = True

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"])
        if url:
            try:
                read_service(url)
            except ServiceUnusable as problem:
                raise forms.ValidationError(str(problem)) from problem
        return url


def initial_of(channel: Channel) -> dict[str, Any]:
    """Return what the form shows of the channel as it is."""
    is_new = channel.pk is None
    return {
        "is_on": (is_new and channel.is_service) or channel.is_on,
        "topics": [topic.value for topic in TOPICS] if is_new else channel.topics,
        "pace": channel.pace,
        "digest_at": channel.digest_at,
        "quiet_from": channel.quiet_from,
        "quiet_until": channel.quiet_until,
        "name": channel.name,
    }
