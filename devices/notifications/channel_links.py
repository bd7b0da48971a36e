"""Links in messages that act without a sign-in: each belongs to one channel and one person.

A link ends with its channel, such as a device that is removed, with any change of its person or
their role, and with its age.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from devices.models import Channel, Household, User
from devices.security.one_time_tokens import read, sign, standing


@dataclass(frozen=True, slots=True)
class ChannelLink:
    """What a link was made for; it was checked."""

    channel: Channel
    user: User
    """By whose right it acts: the person of the channel, or of a service someone who may."""
    facts: list[Any]


def make_token(purpose: str, channel: Channel, user: User, facts: list[Any]) -> str:
    """Return the token of a link in a message through this channel. One query."""
    stands = standing(user, channel.household)
    return sign(purpose, [channel.pk, user.pk, stands, *facts])


def open_token(
    purpose: str, token: str, valid_for: timedelta, is_allowed: Callable[[User, Household], bool]
) -> ChannelLink | None:
    """Return what a token was made for, None when it no longer works: signed by us and not too old,
    its channel is there and still this person's, and they stand as then and may do this.
    """
    signed = read(purpose, token, valid_for)
    if signed is None:
        return None
    channel_pk, user_pk, stands, *facts = signed
    channels = Channel.objects.select_related("household", "device")
    channel = channels.filter(pk=channel_pk).first()
    user = User.objects.filter(pk=user_pk).first()
    if channel is None or user is None:
        return None
    device = channel.device
    is_theirs = channel.is_service or channel.user_id == user.pk
    if not is_theirs or (device is not None and device.user_id != user.pk):
        return None
    if standing(user, channel.household) != stands or not is_allowed(user, channel.household):
        return None
    return ChannelLink(channel, user, facts)
