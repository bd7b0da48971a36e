"""Home Assistant: how a household's hubs appear there, and whether it may press install."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models.household import Household, User
from devices.models.message import NO_MESSAGE, Message, MessageField
from devices.models.node import Node
from devices.models.plan import When

REFUSAL_SHOWN_FOR = timedelta(days=1)
# How an install or a plan was asked for that came from there.
VIA = "home-assistant"
# The moments that a press in Home Assistant can be for.
PRESS_WHEN = (When.NOW, When.TONIGHT, When.IDLE)


class MayInstall(models.TextChoices):
    NO = "no", gettext_lazy("No, view only")
    SOME = "some", gettext_lazy("Yes, on the hubs selected below")
    ALL = "all", gettext_lazy("Yes, on every hub")


class LineState(models.TextChoices):
    """The state of the connection to the broker."""

    OFF = "", gettext_lazy("Off")
    WAITING = "waiting", gettext_lazy("Connecting")
    CONNECTED = "connected", gettext_lazy("Connected")
    LOST = "lost", gettext_lazy("No connection")


def new_key() -> str:
    """Return a key that makes this household's entity ids unique; it never changes."""
    return secrets.token_hex(4)


def new_topic_prefix() -> str:
    """Return a topic prefix that cannot be guessed."""
    return f"thermacell-web/{secrets.token_hex(10)}"


class HomeAssistantLink(models.Model):
    """One household's connection to its Home Assistant, over a broker.

    `revision` counts changes made by people, not what the bridge writes.
    """

    household = models.OneToOneField(
        Household, on_delete=models.CASCADE, related_name="home_assistant"
    )
    is_on = models.BooleanField(default=False)
    key = models.CharField(max_length=16, unique=True, default=new_key)
    topic_prefix = models.CharField(max_length=80, unique=True, default=new_topic_prefix)
    discovery_prefix = models.CharField(max_length=80, default="homeassistant")
    # The household's own broker, used instead of the server's. All of it may be secret.
    sealed_broker_url = models.TextField(blank=True)
    ca_pem = models.TextField(blank=True)
    sealed_client_pem = models.TextField(blank=True)

    may_install = models.CharField(max_length=4, choices=MayInstall.choices, default=MayInstall.NO)
    allowed_hubs = models.ManyToManyField(Node, blank=True, related_name="+")
    allowed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    allowed_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)

    # Written by the bridge.
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

    def lets_install_on(self, node: Node, allowed: Iterable[int] | None = None) -> bool:
        """Did an owner allow installing on this hub? One query for SOME, unless ids are given."""
        if self.may_install == MayInstall.SOME:
            ids = self.allowed_ids() if allowed is None else allowed
            return node.pk in ids
        return self.may_install == MayInstall.ALL

    def allowed_ids(self) -> set[int]:
        return set(self.allowed_hubs.values_list("pk", flat=True))

    def note(self, **changes: object) -> None:
        """Write what the bridge found out, without raising the revision. One query."""
        HomeAssistantLink.objects.filter(pk=self.pk).update(**changes)
        for name, value in changes.items():
            setattr(self, name, value)

    @property
    def is_testing(self) -> bool:
        """Was a test message asked for that has not come back yet?"""
        if self.test_asked_at is None:
            return False
        return self.test_answered_at is None or self.test_answered_at < self.test_asked_at

    def set_state(self, state: LineState, trouble: str = "") -> None:
        """Write the state of the connection if it changed. One query."""
        if (self.state, self.trouble) != (state, trouble):
            self.note(state=state, trouble=trouble, state_at=timezone.now())


class HomeAssistantHub(models.Model):
    """What Home Assistant did to one hub: how often it pressed, why it was last refused, and which
    events it was sent; and what its next press does.
    """

    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="home_assistant")
    presses = models.PositiveIntegerField(default=0)
    # A press installs at once, or plans the install: one of PRESS_WHEN.
    when = models.CharField(
        max_length=8, choices=When.choices, default=When.NOW, db_default=When.NOW
    )
    refusal_code = models.CharField(max_length=32, blank=True)
    refusal = MessageField(blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    # Which install in which state, and which refusal, the event entity reported last.
    job_event = models.CharField(max_length=40, blank=True, default="", db_default="")
    refusal_event_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.node}: {self.presses} presses"

    @classmethod
    def when_of(cls, node: Node) -> When:
        """Return the moment that the next press is for. One query."""
        own = cls.objects.filter(node=node).first()
        return When(own.when) if own is not None else When.NOW

    @classmethod
    def choose(cls, node: Node, when: When, now: datetime) -> None:
        """Keep the moment that the next press is for, and show it. Three queries."""
        cls.objects.update_or_create(node=node, defaults={"when": when})
        node.touch(now)

    @classmethod
    def count_press(cls, node: Node, presses: int) -> bool:
        """Count the press with this number; False when it was used before. Two queries."""
        cls.objects.get_or_create(node=node)
        return bool(cls.objects.filter(node=node, presses=presses).update(presses=F("presses") + 1))

    @classmethod
    def keep_refusal(cls, node: Node, code: str, why: Message, now: datetime) -> None:
        """Keep the last refusal ("" when a press was accepted) and show it. Three queries."""
        cls.objects.update_or_create(
            node=node,
            defaults={
                "refusal_code": code[:32],
                "refusal": why,
                "refused_at": now if code else None,
            },
        )
        node.touch(now)

    @classmethod
    def drop_old_refusals(cls, now: datetime) -> None:
        """Forget refusals that are older than a day, and show that. One query when none is."""
        for own in cls.objects.exclude(refusal_code="").filter(
            refused_at__lt=now - REFUSAL_SHOWN_FOR
        ):
            cls.keep_refusal(own.node, "", NO_MESSAGE, now)
