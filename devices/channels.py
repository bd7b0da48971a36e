"""Where a household's notices go: a member's own e-mail, and services that owners name."""

from dataclasses import dataclass
from datetime import time

from django.db import transaction
from django.utils.translation import gettext

from devices.models import Actor, Channel, Household, Pace, User, audit

MOST_SERVICES = 10


class NotPossible(Exception):
    """What was asked for cannot be done; nothing was changed. str() is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody wants to be told through one channel, and when."""

    is_on: bool
    topics: list[str]
    pace: Pace
    digest_at: time
    quiet_from: time | None
    quiet_until: time | None
    name: str = ""
    url: str = ""
    """A service's address; "" keeps the one it has."""


def mail_channel(household: Household, user: User) -> Channel:
    """Return this member's own channel, not saved while it was never set."""
    found = Channel.objects.filter(household=household, user=user).first()
    return found or Channel(household=household, user=user, is_on=False)


def services_of(household: Household) -> list[Channel]:
    return list(Channel.objects.filter(household=household, user=None).order_by("name", "pk"))


def keep(channel: Channel, wishes: Wishes, *, actor: Actor) -> None:
    """Write what is wanted of this channel, new or known. Raises NotPossible."""
    household = channel.household
    with transaction.atomic():
        audit.lock()
        is_one_more = channel.pk is None and not channel.is_mail
        if is_one_more and len(services_of(household)) >= MOST_SERVICES:
            raise NotPossible(
                gettext("There are %(n)s services: remove one first.") % {"n": MOST_SERVICES}
            )
        was = {"on": channel.is_on, "topics": channel.topics} if channel.pk else {}
        channel.is_on, channel.topics = wishes.is_on, wishes.topics
        channel.pace, channel.digest_at = wishes.pace, wishes.digest_at
        channel.quiet_from, channel.quiet_until = wishes.quiet_from, wishes.quiet_until
        channel.name = wishes.name
        if wishes.url:
            channel.keep_url(wishes.url)
            channel.trouble, channel.trouble_at = "", None
        channel.save()
        # whose address, or which service, and what about: never the address of a service
        _record(channel, actor, "changed", {"from": was, "address_is_new": bool(wishes.url)})


def remove(channel: Channel, *, actor: Actor) -> None:
    """Forget a service, its address and what was on its way to it."""
    with transaction.atomic():
        audit.lock()
        _record(channel, actor, "removed", {})
        channel.delete()


def switch_off(channel: Channel, *, actor: Actor) -> bool:
    """Send nothing more through this channel; False when it was off already."""
    with transaction.atomic():
        audit.lock()
        if not Channel.objects.filter(pk=channel.pk, is_on=True).update(is_on=False):
            return False
        channel.is_on = False
        _record(channel, actor, "off", {})
    return True


def _record(channel: Channel, actor: Actor, verb: str, detail: dict[str, object]) -> None:
    what = f"the e-mails to {channel.user.email}" if channel.user else f"the service “{channel}”"
    state = "on" if channel.is_on else "off"
    audit.record(
        actor,
        f"notifications.{verb}",
        f"{actor.name} {'removed' if verb == 'removed' else f'switched {state}'} {what} about "
        f"{channel.household}.",
        household=channel.household,
        why=f"role {actor.role}" if actor.role else "the link in the message",
        detail={"channel": channel.pk, "topics": channel.topics, "pace": channel.pace, **detail},
    )
