"""What somebody types about being told, checked with the sentence they read."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from devices.channels import Wishes
from devices.models import TOPICS, Channel, Pace
from devices.services import ServiceUnusable, read_service

_TIME = {"type": "time"}


class ChannelForm(forms.Form):
    """What is told through one channel, and when."""

    is_on = forms.BooleanField(label=gettext_lazy("On"), required=False)
    topics = forms.MultipleChoiceField(
        label=gettext_lazy("About"),
        required=False,
        choices=[(topic.value, topic.label) for topic in TOPICS],
        widget=forms.CheckboxSelectMultiple,
    )
    pace = forms.ChoiceField(label=gettext_lazy("How often"), choices=Pace.choices)
    digest_at = forms.TimeField(
        label=gettext_lazy("When once a day, at"),
        required=False,
        widget=forms.TimeInput(attrs=_TIME, format="%H:%M"),
    )
    quiet_from = forms.TimeField(
        label=gettext_lazy("Quiet from"),
        required=False,
        widget=forms.TimeInput(attrs=_TIME, format="%H:%M"),
        help_text=gettext_lazy("What happens then comes when the quiet hours are over."),
    )
    quiet_until = forms.TimeField(
        label=gettext_lazy("Quiet until"),
        required=False,
        widget=forms.TimeInput(attrs=_TIME, format="%H:%M"),
    )

    def __init__(self, *args: Any, channel: Channel, **options: Any) -> None:
        options.setdefault("initial", initial_of(channel))
        super().__init__(*args, **options)
        self._channel = channel
        if channel.is_mail:
            self.fields["is_on"].label = gettext_lazy("Send me e-mail")

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        if told.get("is_on") and not told.get("topics") and "topics" not in self.errors:
            self.add_error("topics", gettext_lazy("Choose at least one thing to be told of."))
        if bool(told.get("quiet_from")) != bool(told.get("quiet_until")):
            missing = "quiet_until" if told.get("quiet_from") else "quiet_from"
            if missing not in self.errors:
                self.add_error(missing, gettext_lazy("Quiet hours need both times, or neither."))
        return told

    def wishes(self) -> Wishes:
        """Return what is wanted; call it when the form is valid."""
        told = self.cleaned_data
        return Wishes(
            is_on=told["is_on"],
            topics=told["topics"],
            pace=Pace(told["pace"]),
            digest_at=told["digest_at"] or self._channel.digest_at,
            quiet_from=told["quiet_from"],
            quiet_until=told["quiet_until"],
            name=told.get("name", ""),
            url=told.get("url", ""),
        )


class ServiceForm(ChannelForm):
    """The same for a service. Its address is never shown again: empty keeps it."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("Such as family chat. It stands in the trail."),
    )
    url = forms.CharField(
        label=gettext_lazy("Address of the service"),
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=(
            gettext_lazy(
                "As the apprise library writes it, such as ntfys://ntfy.sh/my-topic or "
                "tgram://bottoken/chatid. Kept encrypted."
            )
        ),
    )
    field_order = ("name", "url", "is_on", "topics", "pace")

    def __init__(self, *args: Any, channel: Channel, **options: Any) -> None:
        super().__init__(*args, channel=channel, **options)
        if channel.pk:
            self.fields["url"].help_text = gettext_lazy(
                "One is kept, encrypted. Leave this empty to keep it, or type another."
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
        "is_on": (is_new and not channel.is_mail) or channel.is_on,
        "topics": [topic.value for topic in TOPICS] if is_new else channel.topics,
        "pace": channel.pace,
        "digest_at": channel.digest_at,
        "quiet_from": channel.quiet_from,
        "quiet_until": channel.quiet_until,
        "name": channel.name,
    }
