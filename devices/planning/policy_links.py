"""The link in the notice about what an update policy will install: "Not this one".

It needs no account, is about exactly the versions of that notice, and can only stop them. It ends
with the channel it was sent through, and with any change to the person it belongs to or their role.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    Channel,
    Dismissal,
    Household,
    Node,
    Notice,
    Plan,
    UpdatePolicy,
    User,
    When,
)
from devices.models.version_text import is_same_version
from devices.notifications.channel_links import make_token, open_token
from devices.permissions import may_answer
from devices.planning import dismissals

_PURPOSE = "policy"
# As long as the plans wait, and a little longer for what is read late.
VALID_FOR = timedelta(days=21)


@dataclass(frozen=True, slots=True)
class Link:
    """What a link opens, and by whose right."""

    channel: Channel
    member: User
    versions: list[str]

    @property
    def household(self) -> Household:
        return self.channel.household

    @property
    def is_own(self) -> bool:
        """Was it sent to the member alone? Else it went to a service that others read too."""
        return not self.channel.is_service

    @property
    def name(self) -> str:
        """Return who answers, as the trail names them."""
        if self.is_own:
            return f"{self.member.email} (by the link they were sent)"
        return f"Someone with a link of {self.member.email}"


@dataclass(frozen=True, slots=True)
class Announced:
    """How a version of the notice stands now."""

    version: str
    plans: list[Plan]
    """Those that can still be stopped."""
    is_dismissed: bool


def path_of(notice: Notice, channel: Channel) -> str:
    """Return where a notice leads: one of a policy, for who may answer, to their own link. Three
    queries for one of a policy, none for others.
    """
    versions = notice.facts.get("versions")
    if not versions:
        return notice.path
    member = channel.user
    if member is None:  # a service: by the right of the person whose rule it is
        setters = UpdatePolicy.objects.filter(household=notice.household_id).values("set_by")
        member = User.objects.filter(pk__in=setters).first()
    if member is None or not may_answer(member, notice.household):
        return notice.path
    return make_link(Link(channel, member, list(versions)))


def make_link(link: Link) -> str:
    token = make_token(_PURPOSE, link.channel, link.member, [link.versions])
    return reverse("policy_answer", args=[token])


def open_link(token: str) -> Link | None:
    """Return what this link opens, stopped or not; None when it no longer works."""
    opened = open_token(_PURPOSE, token, VALID_FOR, may_answer)
    if opened is None:
        return None
    [versions] = opened.facts
    return Link(opened.channel, opened.user, versions)


def announced(link: Link) -> list[Announced]:
    """Return how each version of the link stands now. Four queries."""
    ours = Plan.objects.waiting().filter(household=link.household, when=When.POLICY)
    plans = list(ours.select_related("node__account").order_by("position", "pk"))
    dismissed = [one for one in Dismissal.of_household(link.household.pk) if one.node_id is None]
    return [
        Announced(
            version,
            [plan for plan in plans if is_same_version(plan.to_version, version)],
            any(is_same_version(one.version, version) for one in dismissed),
        )
        for version in link.versions
    ]


def stop(link: Link, version: str, *, user: User, actor: Actor, now: datetime) -> bool:
    """Dismiss this version of the link for the whole household; False when no hub is offered it any
    more, or the right is gone, so that nothing was changed. Safe to repeat.
    """
    with audit_log.locked():
        person = User.objects.get(pk=user.pk)
        if version not in link.versions or not may_answer(person, link.household):
            return False
        hubs = Node.objects.present().filter(account__household=link.household)
        for node in hubs.filter(offers__ended_at=None).with_offers().order_by("pk"):
            if node.offer is not None and is_same_version(node.offer.fw_version, version):
                dismissals.dismiss(
                    node, version, user=person, actor=actor, everywhere=True, now=now
                )
                return True
    return False
