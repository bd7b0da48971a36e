"""What an owner types about Home Assistant, checked with the sentence they read."""

import re
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from devices.broker import BrokerUnusable, read_broker
from devices.homelink import Wishes
from devices.models import CloudAccount, HomeAssistantLink, MayInstall, Scope
from devices.models.node import NodeQuerySet
from devices.widgets import ManyBoxes

_PREFIX = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


class HomeAssistantForm(forms.Form):
    """What Home Assistant sees and may do. Secrets are never shown again: empty keeps them."""

    is_on = forms.BooleanField(
        label=gettext_lazy("Show this household's hubs to Home Assistant"), required=False
    )
    may_install = forms.ChoiceField(
        label=gettext_lazy("May Home Assistant install?"),
        choices=MayInstall.choices,
        help_text=gettext_lazy(
            "Every press is in the audit trail as Home Assistant. It stops when you leave."
        ),
    )
    hubs = forms.MultipleChoiceField(
        label=gettext_lazy("On these hubs"), required=False, widget=ManyBoxes
    )
    discovery_prefix = forms.CharField(
        label=gettext_lazy("Discovery prefix"),
        max_length=80,
        help_text=gettext_lazy(
            "Usually homeassistant. It must be the one set in Home Assistant's MQTT options."
        ),
    )
    broker_url = forms.CharField(
        label=gettext_lazy("Address of a broker of your own"),
        required=False,
        max_length=500,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "mqtt://user:password@host:1883, or mqtts:// for TLS. Kept encrypted."
        ),
    )
    ca_pem = forms.CharField(
        label=gettext_lazy("The authority it is trusted by, as PEM"),
        required=False,
        max_length=20000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=gettext_lazy("Only for TLS with an authority of your own."),
    )
    client_pem = forms.CharField(
        label=gettext_lazy("A client certificate with its private key, as PEM"),
        required=False,
        max_length=20000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=gettext_lazy("Kept encrypted and not shown again."),
    )
    forget_broker = forms.BooleanField(
        label=gettext_lazy("Forget the broker of our own, with its certificates"), required=False
    )

    def __init__(
        self, *args: Any, link: HomeAssistantLink, nodes: NodeQuerySet, **options: Any
    ) -> None:
        options.setdefault("initial", initial_of(link))
        super().__init__(*args, **options)
        self._nodes = nodes
        self._link = link
        hubs = cast(forms.MultipleChoiceField, self.fields["hubs"])
        hubs.choices = _named(nodes)
        if not hubs.choices:
            del self.fields["hubs"]
        if link.has_own_broker:
            self.fields["broker_url"].help_text = gettext_lazy(
                "One is kept, encrypted. Leave this empty to keep it, or type another."
            )
        else:
            del self.fields["forget_broker"]

    def clean_discovery_prefix(self) -> str:
        prefix = str(self.cleaned_data["discovery_prefix"])
        if not _PREFIX.fullmatch(prefix):
            raise ValidationError(
                gettext_lazy("Letters, digits, dashes and underscores, with / between.")
            )
        return prefix

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        if told.get("may_install") == MayInstall.SOME and not told.get("hubs"):
            self.add_error("may_install", gettext_lazy("Choose at least one hub below."))
        if told.get("broker_url"):
            try:
                read_broker(
                    told["broker_url"],
                    ca_pem=told.get("ca_pem", ""),
                    client_pem=told.get("client_pem", ""),
                )
            except BrokerUnusable as problem:
                self.add_error("broker_url", str(problem))
        return told

    def wishes(self) -> Wishes:
        """Return what is wanted."""
        told = self.cleaned_data
        forget = bool(told.get("forget_broker"))
        return Wishes(
            is_on=told["is_on"],
            may_install=MayInstall(told["may_install"]),
            allowed_hubs=list(self._nodes.filter(pk__in=told.get("hubs", []))),
            discovery_prefix=told["discovery_prefix"],
            broker_url="" if forget else told["broker_url"] or None,
            ca_pem="" if forget else told["ca_pem"],
            client_pem="" if forget else told["client_pem"] or None,
        )


class TokenForm(forms.Form):
    """A personal token."""

    name = forms.CharField(
        label=gettext_lazy("What is it for?"),
        max_length=80,
        help_text=gettext_lazy("Such as Home Assistant on the shelf."),
    )
    scope = forms.ChoiceField(
        label=gettext_lazy("It may"), choices=Scope.choices, initial=Scope.READ
    )


def _named(nodes: NodeQuerySet) -> list[tuple[str, str]]:
    """Return the hubs to choose from, by number. A household may have thousands: three queries."""
    ids = nodes.order_by().values_list("account_id", flat=True).distinct()
    accounts = CloudAccount.objects.in_bulk(list(ids))
    told = nodes.values_list("pk", "account_id", "name", "node_id")
    return [
        (str(pk), accounts[account].marked(name or node_id)) for pk, account, name, node_id in told
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
