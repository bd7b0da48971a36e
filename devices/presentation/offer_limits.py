"""Whether a hub installs what is offered already, and when it may: the limits of the job."""

from datetime import datetime, time

from django.utils.formats import time_format
from django.utils.translation import gettext

from devices.models import Offer
from devices.presentation.formatting import day_hour_and_zone, when_words


def limits_of(offer: Offer, now: datetime) -> list[str]:
    """Return a sentence for each limit in time of this offer; empty when it has none.

    The first one says so when the hub is at work on it already.
    """
    limits = []
    if offer.is_being_installed(now) and offer.installing_at is not None:
        words = gettext(
            "As of %(when)s, the cloud says that the hub is already installing this update. It was "
            "not started from here: the vendor or the app can start it too."
        )
        limits.append(words % {"when": when_words(offer.installing_at)})
    if offer.window_start_min is not None and offer.window_end_min is not None:
        between = {"start": _clock(offer.window_start_min), "end": _clock(offer.window_end_min)}
        words = gettext("The hub installs it only between %(start)s and %(end)s of its own time.")
        limits.append(words % between)
    if offer.valid_from is not None and offer.valid_from > now:
        words = gettext("The hub does not install it before %(date)s.")
        limits.append(words % {"date": day_hour_and_zone(offer.valid_from)})
    if offer.valid_until is not None:
        words = gettext("The hub installs it only until %(date)s.")
        if offer.valid_until <= now:
            words = gettext("Its deadline passed %(date)s, so the hub will not install it.")
        limits.append(words % {"date": day_hour_and_zone(offer.valid_until)})
    if offer.has_other_limits:
        limits.append(
            gettext(
                "The cloud sets limits in time that cannot be read here. The hub may wait, or "
                "refuse the update."
            )
        )
    return limits


def _clock(minutes: int) -> str:
    return time_format(time(minutes // 60 % 24, minutes % 60), "TIME_FORMAT")
