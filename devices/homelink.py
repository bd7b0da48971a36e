"""What an owner decides about Home Assistant: whether hubs show there, where, and who may press."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from devices.broker import Broker, BrokerUnusable, read_broker
from devices.models import (
    Actor,
    HomeAssistantLink,
    Household,
    MayInstall,
    Node,
    Unsealable,
    User,
    audit,
)
from devices.policies import Right, may


class NotPossible(Exception):
    """What was asked for cannot be done; nothing was changed. str() is a sentence for people."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an owner wants. A secret that is None stays as it is; "" forgets it."""

    is_on: bool
    may_install: MayInstall
    allowed_hubs: Collection[Node] = ()
    discovery_prefix: str = "homeassistant"
    broker_url: str | None = None
    ca_pem: str = ""
    client_pem: str | None = None


def broker_of(link: HomeAssistantLink) -> Broker | None:
    """Return the household's own broker, else the server's, else None. Raises BrokerUnusable,
    Unsealable.
    """
    if link.has_own_broker:
        return read_broker(link.broker_url(), ca_pem=link.ca_pem, client_pem=link.client_pem())
    if not settings.MQTT_URL:
        return None
    return read_broker(
        settings.MQTT_URL, ca_pem=settings.MQTT_CA_PEM, client_pem=settings.MQTT_CLIENT_PEM
    )


def link_of(household: Household) -> HomeAssistantLink:
    """Return the household's link; one that is off and not saved when it has none yet."""
    found = HomeAssistantLink.objects.select_related("household", "allowed_by")
    link = found.filter(household=household).first()
    if link is None:
        link = HomeAssistantLink(household=household)
        taken = HomeAssistantLink.objects.filter(
            is_on=True, discovery_prefix=link.discovery_prefix, sealed_broker_url=""
        )
        if taken.exists():
            link.discovery_prefix = f"homeassistant-{link.key}"
    return link


def change(household: Household, wishes: Wishes, *, user: User, actor: Actor) -> HomeAssistantLink:
    """Make it so and record what changed; raises NotPossible. The bridge follows by itself."""
    with transaction.atomic():
        audit.lock()
        link = link_of(household)
        before = _plain(link)
        link.is_on = wishes.is_on
        link.discovery_prefix = wishes.discovery_prefix
        _keep_broker(link, wishes)
        _require_apart(link, user)
        chosen = wishes.allowed_hubs if wishes.may_install == MayInstall.SOME else ()
        _allow(link, wishes.may_install, {node.pk for node in chosen}, user)
        link.revision += 1
        link.save()
        link.allowed_hubs.set(chosen)
        after = _plain(link)
        changed = {name for name in before if before[name] != after[name]}
        if wishes.broker_url is not None or wishes.client_pem is not None:
            changed.add("broker")
        if changed:
            audit.record(
                actor,
                "household.home_assistant_changed",
                f"{actor.name} changed what Home Assistant sees and may do in {household}: "
                f"{_words(link)}.",
                household=household,
                why=f"role {actor.role}",
                detail={
                    "changed": sorted(changed),
                    "from": {name: before[name] for name in sorted(changed & before.keys())},
                    "to": {name: after[name] for name in sorted(changed & after.keys())},
                },
            )
    return link


def ask_test(link: HomeAssistantLink, now: datetime | None = None) -> None:
    """Ask the bridge to send a message to the broker and listen for it. Two queries."""
    HomeAssistantLink.objects.filter(pk=link.pk).update(
        test_asked_at=now or timezone.now(), revision=link.revision + 1
    )


def _keep_broker(link: HomeAssistantLink, wishes: Wishes) -> None:
    if wishes.broker_url is not None:
        link.keep_broker(wishes.broker_url.strip())
    if wishes.client_pem is not None:
        link.keep_client_pem(wishes.client_pem.strip())
    link.ca_pem = wishes.ca_pem.strip()
    if not link.has_own_broker:
        # certificates without a broker would wait for one unseen
        link.ca_pem = link.sealed_client_pem = ""
    try:
        broker = broker_of(link)
    except BrokerUnusable as problem:
        raise NotPossible("broker_url", str(problem)) from problem
    except Unsealable as problem:
        raise NotPossible(
            "broker_url", gettext("The stored address cannot be opened any more: enter it again.")
        ) from problem
    if link.is_on and broker is None:
        raise NotPossible(
            "broker_url",
            gettext("This server has no broker: name one of your own to show your hubs."),
        )


def _require_apart(link: HomeAssistantLink, user: User) -> None:
    """Refuse to announce where strangers listen: a discovery prefix shows all that is below it."""
    if not link.is_on:
        return
    mine = broker_of(link)
    others = HomeAssistantLink.objects.filter(is_on=True, discovery_prefix=link.discovery_prefix)
    for other in others.exclude(pk=link.pk).select_related("household"):
        try:
            theirs = broker_of(other)
        except (BrokerUnusable, Unsealable):
            continue
        if theirs is None or mine is None or (theirs.host, theirs.port) != (mine.host, mine.port):
            continue
        if not may(user, Right.PEOPLE, other.household):
            raise NotPossible(
                "discovery_prefix",
                (
                    gettext(
                        "Another household announces its hubs there already: choose another "
                        "prefix, such as homeassistant-%(key)s, and enter it in Home Assistant "
                        "too."
                    )
                    % {"key": link.key}
                ),
            )


def _allow(link: HomeAssistantLink, wish: MayInstall, chosen: set[int], user: User) -> None:
    """Keep who allowed it: that person's right to install is what a press rests on."""
    was = link.allowed_ids() if link.pk else set()
    is_same = link.may_install == wish and (wish != MayInstall.SOME or was == chosen)
    by = link.allowed_by
    link.may_install = wish
    if wish == MayInstall.NO:
        link.allowed_by = link.allowed_at = None
    elif not is_same or by is None or not may(by, Right.PEOPLE, link.household):
        link.allowed_by, link.allowed_at = user, timezone.now()


def _plain(link: HomeAssistantLink) -> dict[str, object]:
    """Return what may be in the trail: nothing secret."""
    return {
        "is_on": link.is_on if link.pk else False,
        "may_install": str(link.may_install),
        "hubs": sorted(link.allowed_ids()) if link.pk else [],
        "discovery_prefix": link.discovery_prefix if link.pk else "",
        "has_own_broker": link.has_own_broker,
        "allowed_by": link.allowed_by_id,
    }


def _words(link: HomeAssistantLink) -> str:
    shown = "hubs are shown" if link.is_on else "hubs are not shown"
    presses = {
        MayInstall.NO: "it may not install",
        MayInstall.SOME: "it may install on chosen hubs",
        MayInstall.ALL: "it may install on every hub",
    }
    return f"{shown}, {presses[MayInstall(link.may_install)]}"
