"""The devices that a person gets push messages on: add, list, remove, send."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.models import TOPICS, Actor, AuditAction, Channel, Household, PushDevice, User
from devices.models.message import Message, MessageCode
from devices.models.push import MOST_DEVICES
from devices.models.text import clip
from devices.notifications import push_key
from devices.notifications.channels import ChannelError
from devices.notifications.push_encryption import (
    AUTH_BYTES,
    MOST_BYTES,
    encrypt,
    from_text,
    read_point,
)
from devices.notifications.push_sending import NotSent, post, read_address
from devices.security import encryption
from devices.security.device_cookie import device_of
from devices.security.one_time_tokens import digest_of

MOST_TITLE_CHARS, MOST_BODY_CHARS = 120, 1200


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a browser gives for its push messages; it was checked."""

    endpoint: str
    service: str
    public_key: str
    auth: str


def read_subscription(endpoint: str, public_key: str, auth: str) -> Subscription:
    """Return what a browser sent; raises ChannelError for what is no subscription."""
    try:
        address = read_address(endpoint)
        read_point(from_text(public_key))
        if len(from_text(auth)) != AUTH_BYTES:
            raise ValueError("not 16 bytes")
    except ValueError as problem:
        words = gettext("This browser gave an address that cannot be used. Nothing was changed.")
        raise ChannelError(words) from problem
    return Subscription(endpoint, address.host, public_key.rstrip("="), auth.rstrip("="))


def _address_of(given: Subscription) -> dict[str, str]:
    """Return what a device keeps of a subscription, but the digest by which it is found."""
    return {
        "sealed_endpoint": encryption.encrypt(given.endpoint),
        "service": given.service,
        "public_key": given.public_key,
        "sealed_auth": encryption.encrypt(given.auth),
    }


def add(user: User, given: Subscription, *, name: str, browser: str, actor: Actor) -> PushDevice:
    """Return this person's device, new or known, with a channel for each of their households. A
    device that was another person's is theirs no longer. Raises ChannelError.

    name: what the trail calls it. browser: as it names itself.
    """
    digest = digest_of(given.endpoint)
    values = _address_of(given) | {
        "browser": clip(browser, 300),
        "name": clip(name, 80) or "a browser",
    }
    with audit_log.locked():
        before = PushDevice.objects.filter(endpoint_digest=digest).first()
        if before is not None and before.user_id != user.pk:
            remove(before, actor=actor, why="another person uses this browser now")
            before = None
        if before is None and user.push_devices.count() >= MOST_DEVICES:
            raise ChannelError(
                gettext("You can have up to %(n)s devices. Remove one first.") % {"n": MOST_DEVICES}
            )
        device, is_new = PushDevice.objects.update_or_create(
            endpoint_digest=digest, defaults=values | {"user": user}
        )
        for household in Household.objects.filter(memberships__user=user):
            Channel.objects.get_or_create(
                household=household,
                user=user,
                device=device,
                defaults={"topics": [topic.value for topic in TOPICS]},
            )
        if is_new:
            words = f"{actor.name} turned push messages on for {device}."
            _record(device, actor, AuditAction.NOTIFICATIONS_DEVICE_ADDED, words)
    return device


def remove(device: PushDevice, *, actor: Actor, why: str = "") -> None:
    """Delete a device and what waits for it."""
    with audit_log.locked():
        words = f"{actor.name} removed {device} of {device.user.email} from push messages."
        _record(device, actor, AuditAction.NOTIFICATIONS_DEVICE_REMOVED, words, why)
        PushDevice.objects.filter(pk=device.pk).delete()


def remove_gone(device: PushDevice) -> None:
    """Delete a device that its push service no longer knows, unless it has another address since
    the message was sent.
    """
    with audit_log.locked():
        rows = PushDevice.objects.filter(pk=device.pk, endpoint_digest=device.endpoint_digest)
        if rows.exists():
            remove(device, actor=Actor.worker(), why="its push service no longer knows it")


def renew(device: PushDevice, given: Subscription, *, actor: Actor) -> PushDevice:
    """Return the device with the address that its browser has now; what waits is sent there. Its
    channels stay as they are. Raises ChannelError when it is gone, or another device has that
    address.
    """
    digest = digest_of(given.endpoint)
    with audit_log.locked():
        is_taken = PushDevice.objects.filter(endpoint_digest=digest).exclude(pk=device.pk).exists()
        rows = PushDevice.objects.filter(pk=device.pk, endpoint_digest=device.endpoint_digest)
        if is_taken or not rows.update(endpoint_digest=digest, **_address_of(given)):
            raise ChannelError(gettext("This device gets no messages. Turn them on again."))
        device.refresh_from_db()
        words = f"The browser gave {device} of {device.user.email} another push address."
        _record(device, actor, AuditAction.NOTIFICATIONS_DEVICE_RENEWED, words)
    return device


def is_address_of(device: PushDevice, endpoint: str) -> bool:
    """Is this where the messages to this device are posted?"""
    return digest_of(endpoint) == device.endpoint_digest


def end_here(request: HttpRequest, user: User, actor: Actor) -> None:
    """End this browser's push messages if it is a device of this person, who signs out."""
    device = device_of(request)
    if device is not None and device.user_id == user.pk:
        remove(device, actor=actor, why="signed out there")


def end_of_others(request: HttpRequest, user: User, actor: Actor) -> None:
    """End this browser's push messages if it is a device of another person."""
    device = device_of(request)
    if device is not None and device.user_id != user.pk:
        remove(device, actor=actor, why="another person signed in there")


def channel_for(household: Household, device: PushDevice) -> Channel:
    """Return the device's channel for this household; a new one is not saved yet."""
    found = Channel.objects.filter(household=household, device=device).first()
    return found or Channel(household=household, user=device.user, device=device, is_on=False)


@dataclass(frozen=True, slots=True)
class PushMessage:
    """What a device shows, and what its buttons do."""

    title: str
    lines: list[str]
    path: str
    """The page that a press on it opens."""
    tag: str
    """Up to 32 letters and digits: one that is sent again takes the place of the first."""
    language: str
    is_urgent: bool = False
    not_tonight: str = ""
    """The path that puts tonight's installs off, where this person may."""

    def content(self) -> bytes:
        """Return what static files' sw.js reads, short enough to be sent."""
        facts: dict[str, object] = {
            "title": self.title[:MOST_TITLE_CHARS],
            "path": self.path,
            "tag": self.tag,
            "lang": self.language,
            "urgent": self.is_urgent,
        }
        if self.not_tonight:
            facts["off"] = {
                "path": self.not_tonight,
                "words": gettext("Not tonight"),
                "done": gettext("Nothing of this starts tonight."),
                "failed": gettext("It could not be put off. Open the page."),
            }
        body = "\n".join(self.lines)[:MOST_BODY_CHARS]
        while len(found := _as_json(facts | {"body": body})) > MOST_BYTES:
            body = body[: len(body) * 3 // 4].rstrip() + "…"
        return found


def _as_json(facts: dict[str, object]) -> bytes:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()


def send(device: PushDevice, message: PushMessage) -> None:
    """Send a message to a device. Raises NotSent, SubscriptionGone and DecryptionError."""
    auth = from_text(encryption.decrypt(device.sealed_auth))
    try:
        address = read_address(encryption.decrypt(device.sealed_endpoint))
    except ValueError:  # the administrator has taken its host away
        raise NotSent(Message.of(MessageCode.PUSH_NOT_CALLED, host=device.service)) from None
    body = encrypt(message.content(), from_text(device.public_key), auth)
    key = push_key.private_key()
    post(address, body, key, topic=message.tag, is_urgent=message.is_urgent)


def _record(
    device: PushDevice, actor: Actor, action: AuditAction, words: str, why: str = ""
) -> None:
    # which browser and whose service: never the address
    audit_log.record(
        actor,
        action,
        words,
        why=why or f"role {actor.role}",
        detail={"device": device.pk, "user_id": device.user_id, "service": device.service},
    )


def listed(user: User) -> Iterable[PushDevice]:
    """Return this person's devices with their channels, newest first. Two queries."""
    return user.push_devices.prefetch_related("channels")
