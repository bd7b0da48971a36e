"""The form about Home Assistant: what an owner enters, and what is wrong with it."""

import re
from collections.abc import Collection
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from devices.homeassistant.broker import BrokerUnusable, read_broker
from devices.homeassistant.settings import HomeAssistantSettings
from devices.models import CloudAccount, HomeAssistantLink, MayInstall
from devices.models.node import NodeQuerySet

_PREFIX = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


class HomeAssistantForm(forms.Form):
    """What Home Assistant sees and may do. Secrets are never shown again: empty keeps them."""

    is_on = forms.BooleanField(
        label=gettext_lazy("Show this household's hubs in Home Assistant"), required=False
    )
    may_install = forms.ChoiceField(
        label=gettext_lazy("Allow Home Assistant to install?"),
        choices=MayInstall.choices,
        help_text=gettext_lazy(
            "Every press is recorded in the audit trail. The permission ends when you are no "
            "longer an owner."
        ),
    )
    hubs = forms.MultipleChoiceField(
        label=gettext_lazy("On these hubs"), required=False, widget=forms.CheckboxSelectMultiple
    )
    discovery_prefix = forms.CharField(
        label=gettext_lazy("Discovery prefix"),
        max_length=80,
        help_text=gettext_lazy(
            "Usually homeassistant. It must match the prefix in Home Assistant's MQTT options."
        ),
    )
    broker_url = forms.CharField(
        label=gettext_lazy("Address of your own broker"),
        required=False,
        max_length=500,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "mqtt://user:password@host:1883, or mqtts:// for TLS. Stored encrypted."
        ),
    )
    ca_pem = forms.CharField(
        label=gettext_lazy("CA certificate (PEM)"),
        required=False,
        max_length=20000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=gettext_lazy("Only needed for TLS with your own CA."),
    )
    client_pem = forms.CharField(
        label=gettext_lazy("Client certificate and private key (PEM)"),
        required=False,
        max_length=20000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=gettext_lazy("Stored encrypted and not shown again."),
    )
    forget_broker = forms.BooleanField(
        label=gettext_lazy("Remove your own broker and its certificates"), required=False
    )

    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self,
        *args: Any,
        link: HomeAssistantLink,
        nodes: NodeQuerySet,
        shown: Collection[int],
        **options: Any,
    ) -> None:
        """`shown` are the hubs of this page of the form; the others stay as they are."""
        options.setdefault("initial", initial_of(link))
        super().__init__(*args, **options)
        self._nodes = nodes
        self._link = link
        hubs = cast(forms.MultipleChoiceField, self.fields["hubs"])
        hubs.choices = _named(nodes.filter(pk__in=shown))
        self.fields["shown"].initial = ",".join(str(pk) for pk in shown)
        self._elsewhere = link.allowed_ids() - set(shown) if link.pk else set()
        if not hubs.choices:
            del self.fields["hubs"]
        if link.has_own_broker:
            self.fields["broker_url"].help_text = gettext_lazy(
                "An address is stored, encrypted. Leave this empty to keep it, or enter a new one."
            )
        else:
            del self.fields["forget_broker"]

    def clean_discovery_prefix(self) -> str:
        prefix = str(self.cleaned_data["discovery_prefix"])
        if not _PREFIX.fullmatch(prefix):
            raise ValidationError(
                gettext_lazy(
                    "Use only letters, digits, hyphens and underscores, with / as a separator."
                )
            )
        return prefix

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("may_install") == MayInstall.SOME and not (
            values.get("hubs") or self._elsewhere
        ):
            self.add_error("may_install", gettext_lazy("Select at least one hub below."))
        if values.get("broker_url"):
            try:
                read_broker(
                    values["broker_url"],
                    ca_pem=values.get("ca_pem", ""),
                    client_pem=values.get("client_pem", ""),
                )
            except BrokerUnusable as problem:
                self.add_error("broker_url", str(problem))
        return values

    def wishes(self) -> HomeAssistantSettings:
        """Return what is wanted."""
        values = self.cleaned_data
        forget = bool(values.get("forget_broker"))
        return HomeAssistantSettings(
            is_on=values["is_on"],
            may_install=MayInstall(values["may_install"]),
            allowed_hubs=list(
                self._nodes.filter(pk__in=[*values.get("hubs", []), *self._elsewhere])
            ),
            discovery_prefix=values["discovery_prefix"],
            broker_url="" if forget else values["broker_url"] or None,
            ca_pem="" if forget else values["ca_pem"],
            client_pem="" if forget else values["client_pem"] or None,
        )

    @property
    def has_broker_errors(self) -> bool:
        """Is anything wrong in the fields about the broker, which are folded away?"""
        return not self.errors.keys().isdisjoint(
            ("broker_url", "discovery_prefix", "ca_pem", "client_pem")
        )


def _named(nodes: NodeQuerySet) -> list[tuple[str, str]]:
    """Return the hubs to choose from, by number. Three queries."""
    ids = nodes.order_by().values_list("account_id", flat=True).distinct()
    accounts = CloudAccount.objects.in_bulk(list(ids))
    rows = nodes.values_list("pk", "account_id", "name", "node_id")
    return [
        (str(pk), accounts[account].marked(name or node_id)) for pk, account, name, node_id in rows
    ]


def initial_of(link: HomeAssistantLink) -> dict[str, Any]:
    """Return what the form shows of the link as it is."""
    return {
        "is_on": link.is_on,
        "may_install": link.may_install,
        "hubs": [str(pk) for pk in link.allowed_ids()] if link.pk else [],
        "discovery_prefix": link.discovery_prefix,
        "ca_pem": link.ca_pem,
    }
