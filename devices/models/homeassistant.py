"""Home Assistant: how a household's hubs appear there, and whether it may press install."""

import secrets
from collections.abc import Iterable
from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.account import seal, unseal
from devices.models.household import Household, User
from devices.models.node import Node


class MayInstall(models.TextChoices):
    NO = "no", gettext_lazy("No: it shows, people install here")
    SOME = "some", gettext_lazy("Yes, on the hubs chosen below")
    ALL = "all", gettext_lazy("Yes, on every hub")


class LineState(models.TextChoices):
    """How the connection to the broker is."""

    OFF = "", gettext_lazy("Off")
    WAITING = "waiting", gettext_lazy("Being connected")
    CONNECTED = "connected", gettext_lazy("Connected")
    LOST = "lost", gettext_lazy("No connection")


def new_key() -> str:
    """Return what makes entity ids of this household differ from any other's, for good."""
    return secrets.token_hex(4)


def new_topic_prefix() -> str:
    """Return a topic prefix that nobody guesses."""
    return f"thermacell-web/{secrets.token_hex(10)}"


class HomeAssistantLink(models.Model):
    """One household's way to its Home Assistant, over a broker.

    `revision` counts what people changed; what the bridge writes of its own does not count.
    """

    household = models.OneToOneField(
        Household, on_delete=models.CASCADE, related_name="home_assistant"
    )
    is_on = models.BooleanField(default=False)
    key = models.CharField(max_length=16, unique=True, default=new_key)
    topic_prefix = models.CharField(max_length=80, unique=True, default=new_topic_prefix)
    discovery_prefix = models.CharField(max_length=80, default="homeassistant")
    # A broker of the household's own, instead of the server's; all of it may be secret.
    sealed_broker_url = models.TextField(blank=True)
    ca_pem = models.TextField(blank=True)
    sealed_client_pem = models.TextField(blank=True)

    may_install = models.CharField(max_length=4, choices=MayInstall.choices, default=MayInstall.NO)
    allowed_hubs = models.ManyToManyField(Node, blank=True, related_name="+")
    allowed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    allowed_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)

    # What the bridge says of itself.
    state = models.CharField(max_length=12, blank=True, choices=LineState.choices)
    state_at = models.DateTimeField(null=True, blank=True)
    trouble = models.CharField(max_length=24, blank=True)
    is_announced = models.BooleanField(default=False)
    announced_hubs = models.PositiveIntegerField(default=0)
    test_asked_at = models.DateTimeField(null=True, blank=True)
    test_answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(may_install__in=sorted(MayInstall.values)),
                name="home_assistant_may_install_known",
            )
        ]

    def __str__(self) -> str:
        return f"Home Assistant ({self.household})"

    @property
    def has_own_broker(self) -> bool:
        return bool(self.sealed_broker_url)

    def broker_url(self) -> str:
        """Return the household's own broker, password included, or ""; raises Unsealable."""
        return unseal(self.sealed_broker_url) if self.sealed_broker_url else ""

    def client_pem(self) -> str:
        """Return the household's client certificate and key, or ""; raises Unsealable."""
        return unseal(self.sealed_client_pem) if self.sealed_client_pem else ""

    def keep_broker(self, url: str) -> None:
        """Set the sealed address; the caller saves."""
        self.sealed_broker_url = seal(url) if url else ""

    def keep_client_pem(self, pem: str) -> None:
        """Set the sealed certificate and key; the caller saves."""
        self.sealed_client_pem = seal(pem) if pem else ""

    def lets_install_on(self, node: Node, allowed: Iterable[int] | None = None) -> bool:
        """Did an owner allow installing on this hub? One query for SOME, unless told the ids."""
        if self.may_install == MayInstall.SOME:
            ids = self.allowed_ids() if allowed is None else allowed
            return node.pk in ids
        return self.may_install == MayInstall.ALL

    def allowed_ids(self) -> set[int]:
        return set(self.allowed_hubs.values_list("pk", flat=True))

    def heard(self, **changes: object) -> None:
        """Write what the bridge learned, which is no change of what people set. One query."""
        HomeAssistantLink.objects.filter(pk=self.pk).update(**changes)
        for name, value in changes.items():
            setattr(self, name, value)

    @property
    def is_testing(self) -> bool:
        """Is a test message under way that has not come back?"""
        if self.test_asked_at is None:
            return False
        return self.test_answered_at is None or self.test_answered_at < self.test_asked_at

    def stands(self, state: LineState, trouble: str = "") -> None:
        """Write how the connection is, if that is news. One query."""
        if (self.state, self.trouble) != (state, trouble):
            self.heard(state=state, trouble=trouble, state_at=timezone.now())


class HomeAssistantHub(models.Model):
    """What Home Assistant did to one hub: how often it pressed, and why it was last refused."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="home_assistant")
    presses = models.PositiveIntegerField(default=0)
    refusal_code = models.CharField(max_length=32, blank=True)
    refusal = models.CharField(max_length=500, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.node}: {self.presses} presses"

    @classmethod
    def count_press(cls, node: Node, presses: int) -> bool:
        """Count the press that was shown as the presses-th; False when it was used before."""
        cls.objects.get_or_create(node=node)
        return bool(cls.objects.filter(node=node, presses=presses).update(presses=F("presses") + 1))

    @classmethod
    def keep_refusal(cls, node: Node, code: str, sentence: str, now: datetime) -> None:
        """Keep the last refusal ("" when a press was taken) and show it. Three queries."""
        cls.objects.update_or_create(
            node=node,
            defaults={
                "refusal_code": code[:32],
                "refusal": sentence[:500],
                "refused_at": now if code else None,
            },
        )
        node.touch(now)
