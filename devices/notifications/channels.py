"""Change and read a household's channels: members' e-mail and devices, services of owners."""

from dataclasses import dataclass
from datetime import time

from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, Pace
from devices.models.household import Household, User
from devices.models.message import NO_MESSAGE
from devices.models.notification import Channel
from devices.security.encryption import decrypt, encrypt

MOST_SERVICES = 10


class ChannelError(Exception):
    """The change is not possible; nothing was changed. str() is a sentence for people."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What is sent through one channel, and when."""

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
    """Return this member's e-mail channel; a new one is not saved yet."""
    found = Channel.objects.filter(household=household, user=user, device=None).first()
    return found or Channel(household=household, user=user, is_on=False)


def services_of(household: Household) -> list[Channel]:
    return list(Channel.objects.filter(household=household, user=None).order_by("name", "pk"))


def keep(channel: Channel, wishes: ChannelSettings, *, actor: Actor) -> None:
    """Save the settings of a channel, new or known. Raises ChannelError."""
    household = channel.household
    with audit_log.locked():
        is_one_more = channel.pk is None and channel.is_service
        if is_one_more and len(services_of(household)) >= MOST_SERVICES:
            raise ChannelError(
                gettext("You can have up to %(n)s services. Remove one first.")
                % {"n": MOST_SERVICES}
            )
        was = {"on": channel.is_on, "topics": channel.topics} if channel.pk else {}
        channel.is_on, channel.topics = wishes.is_on, wishes.topics
        channel.pace, channel.digest_at = wishes.pace, wishes.digest_at
        channel.quiet_from, channel.quiet_until = wishes.quiet_from, wishes.quiet_until
        channel.name = wishes.name
        if wishes.url:
            set_provider_url(channel, wishes.url)
            channel.trouble, channel.trouble_at = NO_MESSAGE, None
        channel.save()
        # whose address, or which service, and what about: never the address of a service
        _record(
            channel,
            actor,
            AuditAction.NOTIFICATIONS_CHANGED,
            {"from": was, "address_is_new": bool(wishes.url)},
        )


def remove(channel: Channel, *, actor: Actor) -> None:
    """Delete a service, its address and what waits for it."""
    with audit_log.locked():
        _record(channel, actor, AuditAction.NOTIFICATIONS_REMOVED, {})
        channel.delete()


def switch_off(channel: Channel, *, actor: Actor) -> bool:
    """Switch the channel off; False when it was off already."""
    with audit_log.locked():
        if not Channel.objects.filter(pk=channel.pk, is_on=True).update(is_on=False):
            return False
        channel.is_on = False
        _record(channel, actor, AuditAction.NOTIFICATIONS_OFF, {})
    return True


def _record(channel: Channel, actor: Actor, action: AuditAction, detail: dict[str, object]) -> None:
    if channel.device is not None:
        what = f"the push messages to {channel.device}"
    else:
        to = channel.user
        what = f"the e-mails to {to.email}" if to else f"the service “{channel}”"
    is_removed = action is AuditAction.NOTIFICATIONS_REMOVED
    verb = "removed" if is_removed else f"switched {'on' if channel.is_on else 'off'}"
    audit_log.record(
        actor,
        action,
        f"{actor.name} {verb} {what} about {channel.household}.",
        household=channel.household,
        why=f"role {actor.role}" if actor.role else "the link in the message",
        detail={"channel": channel.pk, "topics": channel.topics, "pace": channel.pace, **detail},
    )


def provider_url(channel: Channel) -> str:
    """Return the service's address, secrets included; raises DecryptionError."""
    return decrypt(channel.sealed_url)


def set_provider_url(channel: Channel, url: str) -> None:
    """Set the sealed address; the caller saves."""
    channel.sealed_url = encrypt(url)
