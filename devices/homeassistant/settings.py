"""What an owner decides about Home Assistant: whether hubs show there, where, and who may press."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.homeassistant.broker import Broker, BrokerUnusable, read_broker
from devices.models import Actor, AuditAction, MayInstall, Plan, database_clock
from devices.models.homeassistant import VIA, HomeAssistantLink
from devices.models.household import Household, User
from devices.models.node import Node
from devices.permissions import Right, may
from devices.security.encryption import DecryptionError, decrypt, encrypt


class SettingsError(Exception):
    """The settings cannot be saved; nothing was changed. str() is a sentence for people."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class HomeAssistantSettings:
    """What an owner entered. A secret that is None is kept; "" removes it."""

    is_on: bool
    may_install: MayInstall
    allowed_hubs: Collection[Node] = ()
    discovery_prefix: str = "homeassistant"
    broker_url: str | None = None
    ca_pem: str = ""
    client_pem: str | None = None


def broker_of(link: HomeAssistantLink) -> Broker | None:
    """Return the household's own broker, else the server's, else None. Raises BrokerUnusable or
    DecryptionError.
    """
    if link.has_own_broker:
        return read_broker(broker_url_of(link), ca_pem=link.ca_pem, client_pem=client_pem_of(link))
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


def change(
    household: Household, wishes: HomeAssistantSettings, *, user: User, actor: Actor
) -> HomeAssistantLink:
    """Save the settings and record what changed; raises SettingsError. The bridge follows."""
    with audit_log.locked():
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
        # whether what was planned from there may still start is looked at now
        Plan.objects.filter(household=household, requested_via=VIA).wake(database_clock.now())
        after = _plain(link)
        changed = {name for name in before if before[name] != after[name]}
        if wishes.broker_url is not None or wishes.client_pem is not None:
            changed.add("broker")
        if changed:
            audit_log.record(
                actor,
                AuditAction.HOUSEHOLD_HOME_ASSISTANT_CHANGED,
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
    """Have the bridge send a test message to the broker and wait for it. One query."""
    HomeAssistantLink.objects.filter(pk=link.pk).update(
        test_asked_at=now or timezone.now(), revision=link.revision + 1
    )


def _keep_broker(link: HomeAssistantLink, wishes: HomeAssistantSettings) -> None:
    if wishes.broker_url is not None:
        set_broker_url(link, wishes.broker_url.strip())
    if wishes.client_pem is not None:
        set_client_pem(link, wishes.client_pem.strip())
    link.ca_pem = wishes.ca_pem.strip()
    if not link.has_own_broker:
        # certificates without a broker would apply unseen to a later one
        link.ca_pem = link.sealed_client_pem = ""
    try:
        broker = broker_of(link)
    except BrokerUnusable as problem:
        raise SettingsError("broker_url", str(problem)) from problem
    except DecryptionError as problem:
        raise SettingsError(
            "broker_url", gettext("The stored address can no longer be decrypted. Enter it again.")
        ) from problem
    if link.is_on and broker is None:
        raise SettingsError(
            "broker_url", gettext("This server has no broker. Enter your own to show your hubs.")
        )


def _require_apart(link: HomeAssistantLink, user: User) -> None:
    """Refuse a prefix of another household: everyone who uses it sees all hubs below it."""
    if not link.is_on:
        return
    mine = broker_of(link)
    others = HomeAssistantLink.objects.filter(is_on=True, discovery_prefix=link.discovery_prefix)
    for other in others.exclude(pk=link.pk).select_related("household"):
        try:
            theirs = broker_of(other)
        except (BrokerUnusable, DecryptionError):
            continue
        if theirs is None or mine is None or (theirs.host, theirs.port) != (mine.host, mine.port):
            continue
        if not may(user, Right.PEOPLE, other.household):
            raise SettingsError(
                "discovery_prefix",
                (
                    gettext(
                        "Another household already uses this prefix on this broker. Choose "
                        "another, such as homeassistant-%(key)s, and set it in Home Assistant "
                        "too."
                    )
                    % {"key": link.key}
                ),
            )


def _allow(link: HomeAssistantLink, wish: MayInstall, chosen: set[int], user: User) -> None:
    """Keep who allowed it: a press uses that person's right to install."""
    was = link.allowed_ids() if link.pk else set()
    is_same = link.may_install == wish and (wish != MayInstall.SOME or was == chosen)
    by = link.allowed_by
    link.may_install = wish
    if wish == MayInstall.NO:
        link.allowed_by = link.allowed_at = None
    elif not is_same or by is None or not may(by, Right.PEOPLE, link.household):
        link.allowed_by, link.allowed_at = user, timezone.now()


def _plain(link: HomeAssistantLink) -> dict[str, object]:
    """Return what goes into the audit trail: nothing secret."""
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


def broker_url_of(link: HomeAssistantLink) -> str:
    """Return the household's own broker, password included, or ""; raises DecryptionError."""
    return decrypt(link.sealed_broker_url) if link.sealed_broker_url else ""


def client_pem_of(link: HomeAssistantLink) -> str:
    """Return the household's client certificate and key, or ""; raises DecryptionError."""
    return decrypt(link.sealed_client_pem) if link.sealed_client_pem else ""


def set_broker_url(link: HomeAssistantLink, url: str) -> None:
    """Set the encrypted address; the caller saves."""
    link.sealed_broker_url = encrypt(url) if url else ""


def set_client_pem(link: HomeAssistantLink, pem: str) -> None:
    """Set the encrypted certificate and key; the caller saves."""
    link.sealed_client_pem = encrypt(pem) if pem else ""
