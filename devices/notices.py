"""Notices as sentences, and sending what waits in the outbox.

One sender works at a time (a lease). A delivery is marked when it was taken; one that was cut off
in between goes out again, under the same Message-ID.
"""

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.db import DatabaseError
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, override

from devices.explain import explain_job
from devices.hubwords import one_line
from devices.models import (
    Beat,
    Channel,
    Delivery,
    Household,
    Notice,
    Topic,
    Unsealable,
    tell,
)
from devices.models.beat import NOTICES
from devices.services import ServiceUnusable, send_by_service
from devices.stored import told_again

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=2)
# With these waits a day passes; what could not be sent by then is no news any more.
MOST_TRIES = 18
KEEP = timedelta(days=30)
# More than these are summed up in one line.
SHOWN = 20
SALT = "notifications-off"


def sentence(notice: Notice) -> str:
    """Return what happened, in one sentence; of an install what its page says now."""
    facts = {key: one_line(str(value)) for key, value in notice.facts.items()}
    hub, household = facts.get("hub", ""), str(notice.household)
    if "simulated" in facts:
        household = gettext("%(household)s, simulated") % {"household": household}
    if notice.job is not None:
        told = explain_job(notice.job)
        return f"{hub} ({household}): {told.headline} {told.what}"
    if notice.topic == Topic.NEW_FIRMWARE:
        said = {"hub": hub, "household": household, "new": facts.get("to_version", "")}
        said["runs"] = facts.get("from_version") or gettext("an unknown version")
        return gettext("%(hub)s (%(household)s): new firmware %(new)s; it runs %(runs)s.") % said
    if notice.topic == Topic.SIGNED_OUT:
        return gettext(
            "%(household)s: the cloud at %(cloud)s asks to sign in again. Until then its hubs are "
            "neither checked nor updated."
        ) % {"household": household, "cloud": facts.get("cloud", "")}
    if notice.topic == Topic.TEST:
        words = gettext("%(household)s: this is the test message you asked for. All is well.")
        return words % {"household": household}
    return f"{household}: {told_again(facts.get('words', ''))}"


def ask_test(channel: Channel, now: datetime) -> None:
    """Send a message through this channel, whatever it wants otherwise and at whatever hour."""
    tell(
        Topic.TEST,
        household=channel.household,
        path=reverse("notifications", args=[channel.household_id]),
        now=now,
        only=channel,
    )


def off_token(channel: Channel) -> str:
    """Return the secret part of the link that ends these mails; it opens nothing else."""
    return signing.dumps(channel.pk, salt=SALT)


def channel_of(token: str) -> Channel | None:
    """Return whose mails such a link ends; None for no link of ours. Services have none: whoever
    reads along in a chat is not asked to end it for everybody.
    """
    try:
        pk = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        return None
    mails = Channel.objects.filter(user__isnull=False).select_related("household", "user")
    return mails.filter(pk=pk).first()


def send_due(now: datetime, *, limit_s: float = 60) -> bool:
    """Send what is due; True when time ran out before everything was sent."""
    holder = uuid.uuid4().hex
    if not Beat.take(NOTICES, holder, now, LEASE):
        return False
    by = monotonic() + limit_s
    try:
        due = Delivery.waiting().filter(due_at__lte=now)
        for pk in list(due.order_by("channel_id").values_list("channel_id", flat=True).distinct()):
            if monotonic() > by or not Beat.renew(NOTICES, holder, timezone.now(), LEASE):
                return True
            channel = Channel.objects.select_related("household", "user").filter(pk=pk).first()
            if channel is not None:  # removed a moment ago, with all that waited for it
                _send(channel, now)
        Notice.objects.filter(at__lt=now - KEEP).exclude(deliveries__in=Delivery.waiting()).delete()
    finally:
        Beat.give_back(NOTICES, holder)
    return False


def _send(channel: Channel, now: datetime) -> None:
    """Send all that is due through this channel as one message."""
    due = list(
        Delivery.waiting()
        .filter(channel=channel, due_at__lte=now)
        .select_related("notice__household", "notice__job")
        .order_by("notice__at", "pk")
    )
    these = Delivery.objects.filter(pk__in=[one.pk for one in due])
    if not due:
        return
    if not _may_be_told(channel, due):
        these.update(dropped_at=now)
        return
    try:
        with override(channel.language):
            trouble = _try(channel, due)
    except DatabaseError:
        raise
    except Exception:
        # one message that cannot be made must not keep every other household's from going out
        log.exception("channel %s", channel.pk)
        trouble = "The message could not be made. That is a fault of ours; the log has more."
    if trouble:
        log.warning("channel %s: %s", channel.pk, trouble)
        Channel.objects.filter(pk=channel.pk).update(trouble=trouble[:300], trouble_at=now)
        for one in due:
            one.tries += 1
            wait = min(FIRST_WAIT * 2 ** min(one.tries - 1, 10), LONGEST_WAIT)
            one.due_at = now + wait
            if one.tries >= MOST_TRIES:
                one.dropped_at = now
            one.save(update_fields=["tries", "due_at", "dropped_at"])
        return
    these.update(sent_at=now)
    Channel.objects.filter(pk=channel.pk).update(sent_at=now, trouble="", trouble_at=None)


def _may_be_told(channel: Channel, due: Iterable[Delivery]) -> bool:
    """Does this channel still want it, and does the person still belong?"""
    if all(one.notice.topic == Topic.TEST for one in due):
        return True
    if not channel.is_on:
        return False
    user = channel.user
    if user is None:
        return True
    return user.is_active and channel.household.memberships.filter(user=user).exists()


def _try(channel: Channel, due: list[Delivery]) -> str:
    """Send one message about all of these; return what was wrong, or ""."""
    told = [(sentence(one.notice), f"{settings.PUBLIC_URL}{one.notice.path}") for one in due]
    title = one_line(_title(channel.household, due), 120)
    values = {
        "told": told[:SHOWN],
        "more": max(0, len(told) - SHOWN),
        "all_at": f"{settings.PUBLIC_URL}{reverse('hubs')}",
        "settings_at": _address("notifications", channel.household_id),
    }
    if not channel.is_mail:
        text = render_to_string("mail/notices_short.txt", values)
        try:
            taken = send_by_service(channel.url(), title, text.strip())
        except Unsealable:
            return "Its address cannot be opened with this server's keys: enter it again."
        except ServiceUnusable as problem:
            with override(settings.LANGUAGE_CODE):  # it is stored, and told again to each reader
                return str(problem)
        return "" if taken else "The service did not take the message, or did not answer."
    if not settings.HAS_MAIL_SERVER:
        return "This server has no mail server: whoever runs it can name one with EMAIL_URL."
    off_at = _address("notification_off", off_token(channel))
    return _mail(
        channel,
        title,
        render_to_string("mail/notices.txt", values | {"off_at": off_at}),
        off_at,
        due[0],
    )


def _mail(channel: Channel, title: str, text: str, off_at: str, first: Delivery) -> str:
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    headers = {
        "Message-ID": f"<notice-{first.pk}.{channel.pk}@{host}>",
        "Auto-Submitted": "auto-generated",
        # RFC 8058: one press in the mail program, which sends a POST
        "List-Unsubscribe": f"<{off_at}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    to = [channel.user.email] if channel.user is not None else []
    try:
        EmailMessage(title, text, settings.DEFAULT_FROM_EMAIL, to, headers=headers).send()
    except OSError as problem:  # smtplib's errors are among them
        return f"The mail server did not take it ({type(problem).__name__})."
    return ""


def _title(household: Household, due: list[Delivery]) -> str:
    if len(due) == 1:
        notice = due[0].notice
        hub = one_line(str(notice.facts.get("hub", "")), 60)
        return f"{hub or household}: {Topic(notice.topic).label}"
    topics = [
        (topic, len(list(group)))
        for topic, group in groupby(sorted(one.notice.topic for one in due))
    ]
    words = ", ".join(f"{n} × {Topic(topic).label}" for topic, n in topics)
    return f"{household}: {words}"


def _address(name: str, *args: Any) -> str:
    return f"{settings.PUBLIC_URL}{reverse(name, args=args)}"
