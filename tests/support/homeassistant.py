"""A household that Home Assistant sees, and its hubs as Home Assistant has them."""

import time
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from devices.homeassistant.bridge import Bridge
from devices.models import AuditEvent, HomeAssistantLink, Household, MayInstall, Node, OtaJob
from tests.support.factories import make_account, make_household, make_node, make_offer, make_owner
from tests.support.mosquitto import Listener


def turn_until(bridge: Bridge, is_true: Callable[[], object], *, limit_s: float = 30) -> None:
    until = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < until, "the bridge did not get there in time"
        bridge.turn()


def link_of(household: Household, **fields: Any) -> HomeAssistantLink:
    return HomeAssistantLink.objects.create(household=household, is_on=True, **fields)


def allow(link: HomeAssistantLink, **fields: Any) -> None:
    """Let Home Assistant install, as the settings page does."""
    link.may_install = fields.pop("may_install", MayInstall.ALL)
    link.allowed_by = fields.pop("by", None) or make_owner(link.household)
    link.allowed_at = timezone.now()
    link.revision += 1
    link.save()


class Entity:
    """One hub as Home Assistant has it from the second client."""

    def __init__(self, ear: Listener, link: HomeAssistantLink, node: Node) -> None:
        self.ear = ear
        self.base = f"{link.topic_prefix}/hub/{node.pk}"
        self.config_topic = f"{link.discovery_prefix}/device/thermacell_{link.key}/{node.pk}/config"

    def config(self) -> Any:
        return self.ear.read(self.config_topic)

    def part(self, name: str) -> Any:
        return self.config()["components"][name]

    def read(self, name: str) -> Any:
        return self.ear.read(f"{self.base}/{name}")

    @property
    def payload(self) -> str:
        return str(self.part("update")["payload_install"])

    def press(self, payload: str = "", *, retain: bool = False) -> None:
        self.ear.say(f"{self.base}/install", payload or self.payload, retain=retain)

    def refusal(self) -> str:
        return str((self.read("refusal") or {"about": {"code": ""}})["about"]["code"] or "")


class World:
    """A household with one offered hub that Home Assistant sees and may install on."""

    def __init__(self, bridge: Bridge, ear: Listener, *, may_install: bool = True) -> None:
        self.bridge, self.ear = bridge, ear
        self.household = make_household("Garden house")
        self.account = make_account(self.household)
        self.node = make_node(self.account, name="Back porch")
        self.offer = make_offer(self.node)
        self.link = link_of(self.household)
        if may_install:
            allow(self.link)
        self.entity = Entity(ear, self.link, self.node)
        self.until(lambda: self.entity.config() and self.is_online())

    def is_online(self) -> bool:
        return self.ear.heard.get(f"{self.link.topic_prefix}/status") == b"online"

    def until(self, is_true: Callable[[], object], **limits: float) -> None:
        turn_until(self.bridge, is_true, **limits)

    def refused(self, code: str) -> None:
        """Wait for this refusal; nothing must have been asked for."""
        self.until(lambda: self.entity.refusal() == code)
        reported = self.entity.read("refusal")
        assert "sent nothing" in reported["about"]["sentence"]
        assert not OtaJob.objects.filter(requested_via="home-assistant").exists()
        refusals = AuditEvent.objects.filter(action="install.request_refused")
        event = refusals.latest("sequence")
        assert event.actor_name == "Home Assistant (Garden house)"
        assert code in event.detail["reasons"]
