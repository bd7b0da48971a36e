"""Send the outbox."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, override

from devices.audit.verification import kept_head
from devices.models import Channel, Delivery, Household, Notice, PushDevice, Topic, User
from devices.models.household import language_of
from devices.models.lease import NOTICES
from devices.models.message import NO_MESSAGE, Message, MessageCode
from devices.models.text import one_line
from devices.notifications import push_devices
from devices.notifications.channels import provider_url
from devices.notifications.email import one_connection
from devices.notifications.messages import sentence
from devices.notifications.outbox import is_moot, notify
from devices.notifications.providers import ServiceUnusable, send_by_service
from devices.notifications.push_devices import PushMessage
from devices.notifications.push_sending import NotSent, SubscriptionGone
from devices.security.encryption import DecryptionError
from devices.taskqueue.backoff import backoff
from devices.taskqueue.leases import SHARED_LEASE, Lease, held

log = logging.getLogger(__name__)
# A message that is being sent is not due again for so long: longer than any sending takes, and than
# the lease, so that another machine that goes on meanwhile does not send it too.
BEING_SENT = timedelta(minutes=3)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=2)
# These waits add up to a day. What could not be sent by then is dropped.
MOST_TRIES = 18
KEEP = timedelta(days=30)
# More than these are summed up in one line; what needs a person comes first.
SHOWN = 20
SHOWN_ON_DEVICES = 4
URGENT = {Topic.FAILED, Topic.NEEDS_YOU, Topic.SIGNED_OUT}
SALT = "notifications-off"
# How long the unsubscribe link of a mail works: longer than anybody leaves one unread.
LINK_LASTS = timedelta(days=90)


def ask_test(channel: Channel, now: datetime) -> None:
    """Send a test message through this channel, at any hour and with any topics."""
    notify(
        Topic.TEST,
        household=channel.household,
        path=reverse("notifications", args=[channel.household_id]),
        now=now,
        only=channel,
    )


def unsubscribe_token(channel: Channel) -> str:
    """Return the token of the unsubscribe link; it gives no other access."""
    return signing.dumps(channel.pk, salt=SALT)


def channel_of(token: str) -> Channel | None:
    """Return the channel that an unsubscribe link ends; None for a link that is invalid or old.
    Services have no such link: one reader of a chat cannot end it for all.
    """
    try:
        pk = signing.loads(token, salt=SALT, max_age=LINK_LASTS)
    except signing.BadSignature:
        return None
    mails = Channel.objects.filter(user__isnull=False, device=None)
    mails = mails.select_related("household", "user")
    return mails.filter(pk=pk).first()


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to one person about one notice."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """What messages hold that is decided in rooms above this one; without those, the least."""

    is_moot: Callable[[Notice, datetime], bool] = lambda notice, now: is_moot(notice)
    """Is the notice about nothing any more? It may take parts out of it."""
    standing: Callable[[Household], str] = lambda household: ""
    """How the household's hubs are now, in the active language: mails end with it."""
    path_of: Callable[[Notice, Channel], str] = lambda notice, channel: notice.path
    """Where a notice leads, for what leads each recipient elsewhere."""
    not_tonight: Callable[[Notice, Channel, datetime], str] = lambda notice, channel, now: ""
    """The path that puts the installs of a notice off, for the person of this channel; "" where
    they may not."""
    letter: Callable[[Notice, User, datetime], Letter | None] = lambda notice, person, now: None
    """The letter of a notice to this person, in the active language and time zone; None when there
    is nothing more to answer, or it is not theirs to answer."""


def send_due(now: datetime, *, limit_s: float = 60, words: Words = Words()) -> bool:
    """Send what is due; True when time ran out before everything was sent."""
    with held(NOTICES, SHARED_LEASE) as lease:
        return lease is not None and _send_while_held(lease, now, limit_s, words)


def _send_while_held(lease: Lease, now: datetime, limit_s: float, words: Words) -> bool:
    by = monotonic() + limit_s
    due = Delivery.waiting().filter(channel__isnull=False, due_at__lte=now)
    for pk in list(due.order_by("channel_id").values_list("channel_id", flat=True).distinct()):
        if monotonic() > by or not lease.renew():
            return True
        rows = Channel.objects.select_related("household", "user", "device__user")
        channel = rows.filter(pk=pk).first()
        if channel is not None:  # removed a moment ago, with all that waited for it
            _send(channel, now, words)
    if not _send_letters(lease, now, by, words):
        return True
    Notice.objects.filter(at__lt=now - KEEP).exclude(deliveries__in=Delivery.waiting()).delete()
    return False


def _send(channel: Channel, now: datetime, words: Words) -> None:
    """Send everything due through this channel as one message."""
    due = _taken(Delivery.waiting().filter(channel=channel), now)
    moot = [one.pk for one in due if words.is_moot(one.notice, now)]
    Delivery.objects.filter(pk__in=moot).update(dropped_at=now)
    due = [one for one in due if one.pk not in moot]
    these = Delivery.objects.filter(pk__in=[one.pk for one in due])
    if not due:
        return
    if not _may_receive(channel, due):
        these.update(dropped_at=now)
        return
    try:
        with override(channel.language):
            trouble = _try(channel, due, words, now)
    except DatabaseError:
        raise
    except SubscriptionGone:
        if channel.device is not None:
            push_devices.remove_gone(channel.device)
        return
    except Exception:
        # a message that cannot be rendered must not hold up those of other households
        log.exception("channel %s", channel.pk)
        trouble = Message.of(MessageCode.NOT_MADE)
    if trouble:
        log.warning("channel %s: %s", channel.pk, trouble.english)
        Channel.objects.filter(pk=channel.pk).update(trouble=trouble, trouble_at=now)
        _try_later(due, now)
        return
    these.update(sent_at=now)
    Channel.objects.filter(pk=channel.pk).update(sent_at=now, trouble=NO_MESSAGE, trouble_at=None)


def _try_later(due: Iterable[Delivery], now: datetime) -> None:
    """Put off what could not be sent, longer each time; drop it after a day."""
    for one in due:
        one.due_at = now + backoff(one.tries, FIRST_WAIT, LONGEST_WAIT)
        one.tries += 1
        if one.tries >= MOST_TRIES:
            one.dropped_at = now
        one.save(update_fields=["tries", "due_at", "dropped_at"])


def _send_letters(lease: Lease, now: datetime, by: float, words: Words) -> bool:
    """Send the letters that are due, over one connection; False when time ran out before the last.
    One query when none is due.
    """
    due = Delivery.letters().filter(due_at__lte=now)
    pks = list(due.order_by("pk").values_list("pk", flat=True))
    if not pks:
        return True
    with one_connection() as connection:
        for pk in pks:
            if monotonic() > by or not lease.renew():
                return False
            for one in _taken(Delivery.letters().filter(pk=pk), now):
                _send_letter(one, connection, now, words)
    return True


def _send_letter(
    one: Delivery, connection: BaseEmailBackend | None, now: datetime, words: Words
) -> None:
    """Send one letter, put it off, or drop it when it has nothing more to say."""
    person, household = one.recipient, one.notice.household
    these = Delivery.objects.filter(pk=one.pk)
    if person is None:
        return
    try:
        with override(language_of(person, household)), timezone.override(household.zone):
            letter = words.letter(one.notice, person, now) if person.is_active else None
            if letter is None:
                these.update(dropped_at=now)
                return
            trouble = _mail_letter(one, person, letter, connection)
    except DatabaseError:
        raise
    except Exception:
        # a letter that cannot be rendered must not hold up those to other people
        log.exception("letter %s", one.pk)
        trouble = Message.of(MessageCode.NOT_MADE)
    if trouble:
        log.warning("letter %s: %s", one.pk, trouble.english)
        _try_later([one], now)
        return
    these.update(sent_at=now)


def _mail_letter(
    one: Delivery, person: User, letter: Letter, connection: BaseEmailBackend | None
) -> Message:
    """Send one letter; return the problem, empty when a mail server took it."""
    if not settings.HAS_MAIL_SERVER:
        return Message.of(MessageCode.NO_MAIL_SERVER)
    if connection is None:  # no server answered a moment ago
        return Message.of(MessageCode.MAIL_NOT_TAKEN, problem="ConnectionError")
    headers = {
        # the same at each try
        "Message-ID": f"<letter-{one.pk}@{_host()}>",
        "Auto-Submitted": "auto-generated",
    }
    mail = EmailMessage(
        one_line(letter.subject, 150),
        letter.text,
        settings.DEFAULT_FROM_EMAIL,
        [person.email],
        headers=headers,
        connection=connection,
    )
    try:
        mail.send()
    except OSError as problem:  # smtplib's errors are among them
        with suppress(OSError):
            connection.close()  # the next letter opens it again
        return Message.of(MessageCode.MAIL_NOT_TAKEN, problem=type(problem).__name__)
    return NO_MESSAGE


def _taken(waiting: "QuerySet[Delivery]", now: datetime) -> list[Delivery]:
    """Return those that are due, put off for as long as they may be being sent."""
    rows = waiting.filter(due_at__lte=now)
    with transaction.atomic():
        pks = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        these = Delivery.objects.filter(pk__in=pks)
        these.update(due_at=now + BEING_SENT)
    return list(
        these.select_related("notice__household", "notice__job", "recipient").order_by(
            "notice__at", "pk"
        )
    )


def _may_receive(channel: Channel, due: Iterable[Delivery]) -> bool:
    """Is the channel still on, and the person still a member?"""
    if all(one.notice.topic == Topic.TEST for one in due):
        return True
    if not channel.is_on:
        return False
    user = channel.user
    if user is None:
        return True
    return user.is_active and channel.household.memberships.filter(user=user).exists()


def _try(channel: Channel, due: list[Delivery], words: Words, now: datetime) -> Message:
    """Send one message about all of these; return the problem, empty when it was sent. Raises
    SubscriptionGone.
    """
    if channel.device is not None:
        return _push(channel, channel.device, due, words, now)
    shown = sorted(due, key=lambda one: one.notice.topic not in URGENT)[:SHOWN]
    lines = [
        (sentence(one.notice), f"{settings.PUBLIC_URL}{words.path_of(one.notice, channel)}")
        for one in shown
    ]
    title = one_line(_title(channel.household, due), 120)
    values = {
        "lines": lines,
        "more": len(due) - len(shown),
        "household": channel.household,
        "standing": words.standing(channel.household),
        "all_at": f"{settings.PUBLIC_URL}{reverse('hubs')}",
        "settings_at": _address("notifications", channel.household_id),
    }
    if channel.is_service:
        text = render_to_string("mail/notices_short.txt", values)
        try:
            taken = send_by_service(provider_url(channel), title, text.strip())
        except DecryptionError:
            return Message.of(MessageCode.ADDRESS_SEALED)
        except ServiceUnusable as problem:
            return problem.message
        return NO_MESSAGE if taken else Message.of(MessageCode.NOT_TAKEN)
    if not settings.HAS_MAIL_SERVER:
        return Message.of(MessageCode.NO_MAIL_SERVER)
    off_at = _address("unsubscribe", unsubscribe_token(channel))
    return _mail(
        channel,
        title,
        render_to_string("mail/notices.txt", values | {"off_at": off_at, "kept_head": kept_head()}),
        off_at,
        due[0],
    )


def _mail(channel: Channel, title: str, text: str, off_at: str, first: Delivery) -> Message:
    headers = {
        "Message-ID": f"<notice-{first.pk}.{channel.pk}@{_host()}>",
        "Auto-Submitted": "auto-generated",
        # RFC 8058: one press in the mail program, which sends a POST
        "List-Unsubscribe": f"<{off_at}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    to = [channel.user.email] if channel.user is not None else []
    try:
        EmailMessage(title, text, settings.DEFAULT_FROM_EMAIL, to, headers=headers).send()
    except OSError as problem:  # smtplib's errors are among them
        return Message.of(MessageCode.MAIL_NOT_TAKEN, problem=type(problem).__name__)
    return NO_MESSAGE


def _push(
    channel: Channel, device: PushDevice, due: list[Delivery], words: Words, now: datetime
) -> Message:
    """Send one push message about all of these; return the problem, empty when it was sent."""
    shown = sorted(due, key=lambda one: one.notice.topic not in URGENT)
    lines = [sentence(one.notice) for one in shown[:SHOWN_ON_DEVICES]]
    if more := len(due) - len(lines):
        lines.append(gettext("And %(n)s more.") % {"n": more})
    notice = shown[0].notice
    message = PushMessage(
        title=_title(channel.household, due),
        lines=lines,
        path=words.path_of(notice, channel) if len(due) == 1 else reverse("hubs"),
        tag=f"n{channel.pk}x{due[0].pk}",
        language=channel.language,
        is_urgent=notice.topic in URGENT,
        not_tonight=words.not_tonight(notice, channel, now) if len(due) == 1 else "",
    )
    try:
        push_devices.send(device, message)
    except DecryptionError:
        return Message.of(MessageCode.PUSH_SEALED)
    except NotSent as problem:
        return problem.message
    return NO_MESSAGE


def _title(household: Household, due: list[Delivery]) -> str:
    if len(due) == 1:
        notice = due[0].notice
        hub = one_line(str(notice.facts.get("hub", "")), 60)
        if notice.hubs > 1:
            is_offer = notice.topic == Topic.NEW_FIRMWARE
            several = gettext("Firmware for several hubs") if is_offer else ""
            return f"{household}: {several or Topic(notice.topic).label}"
        is_older = notice.facts.get("older")
        label = gettext("Older firmware offered") if is_older else Topic(notice.topic).label
        return f"{hub or household}: {label}"
    topics = [
        (topic, len(list(group)))
        for topic, group in groupby(sorted(one.notice.topic for one in due))
    ]
    words = ", ".join(f"{n} × {Topic(topic).label}" for topic, n in topics)
    return f"{household}: {words}"


def _host() -> str:
    return urlsplit(settings.PUBLIC_URL).hostname or "localhost"


def _address(name: str, *args: Any) -> str:
    return f"{settings.PUBLIC_URL}{reverse(name, args=args)}"
