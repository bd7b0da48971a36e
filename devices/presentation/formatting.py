"""Format times, spans, sizes and numbers in the reader's language."""

from datetime import date, datetime, timedelta
from functools import lru_cache

from django.urls import reverse
from django.utils import dateformat, timezone
from django.utils.formats import number_format
from django.utils.translation import (
    get_language,
    gettext,
    gettext_lazy,
    ngettext,
    pgettext,
    pgettext_lazy,
)

ROLE_WORDS = {
    "owner": gettext_lazy("owner"),
    "member": gettext_lazy("member"),
    "viewer": gettext_lazy("viewer"),
}
NEAR = {0: gettext_lazy("today"), 1: gettext_lazy("yesterday"), -1: gettext_lazy("tomorrow")}
PATTERNS = {
    "day": pgettext_lazy("date", "j M"),
    "day and year": pgettext_lazy("date", "j M Y"),
    "whole day": pgettext_lazy("date", "j F Y"),
}
NUMBERS = ["no", "one", "two", "three", "four", "five", "six"]
NUMBERS += ["seven", "eight", "nine", "ten", "eleven", "twelve"]


@lru_cache(maxsize=20_000)
def place(name: str, pk: int) -> str:
    """Return the address of a page about one thing. Cached, since lists need many."""
    return reverse(name, args=[pk])


def span(value: timedelta | float | None) -> str:
    """Return a length of time in words, such as "1 min 40 s"; at most two units."""
    if value is None:
        return ""
    seconds = int(value.total_seconds() if isinstance(value, timedelta) else value)
    if seconds < 0:
        seconds = 0
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 60:
        return f"{seconds} s"
    if minutes < 10 and seconds % 60:
        return f"{minutes} min {seconds % 60} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return days_words(days)


def brief_span(value: timedelta) -> str:
    """Return a length of time in one unit, such as "41 min", for narrow columns."""
    minutes = max(0, int(value.total_seconds()) // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else days_words(minutes // (24 * 60))


def days_words(days: int) -> str:
    return ngettext("%(n)s day", "%(n)s days", days) % {"n": days}


def roughly(value: timedelta | None) -> str:
    """Return a usual length of time, such as "4 minutes", without seconds."""
    if value is None:
        return ""
    seconds = int(value.total_seconds())  # cut off, as `span` does: the same on every page
    if seconds < 90:
        whole = max(1, seconds)
        return ngettext("%(n)s second", "%(n)s seconds", whole) % {"n": whole}
    minutes = round(seconds / 60)
    if minutes >= 120:
        return span(value)
    return ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": minutes}


def ago_words(at: datetime, now: datetime) -> str:
    """Return how long ago; from two days on the date."""
    gone = now - at
    if gone < timedelta(seconds=2):
        return gettext("just now")
    if gone >= timedelta(days=2):
        return day_words(at, now)
    return gettext("%(span)s ago") % {"span": span(gone)}


def day_words(at: datetime, now: datetime) -> str:
    """Return the day in words: "today", "yesterday", "3 Oct", "3 Oct 2024"."""
    zone = timezone.get_current_timezone()
    return _day_words(at.astimezone(zone).date(), now.astimezone(zone).date())


def _day_words(at: date, today: date) -> str:
    days = (today - at).days
    if days in NEAR:
        return str(NEAR[days])
    return day(at) if at.year == today.year else day_and_year(at)


def day(at: date) -> str:
    """Return "3 Oct"."""
    return dated(at, "day")


def day_and_year(at: date) -> str:
    """Return "3 Oct 2024"."""
    return dated(at, "day and year")


def day_hour_and_zone(at: datetime) -> str:
    """Return "3 October 2024, 14:02 CEST", for pages that may be read anywhere."""
    return dateformat.format(timezone.localtime(at), pgettext("date", "j F Y, H:i e"))


def dated(at: date, pattern: str) -> str:
    """Return a date as a key of PATTERNS says."""
    return _dated(date(at.year, at.month, at.day), pattern, get_language() or "en")


@lru_cache(maxsize=5_000)
def _dated(at: date, pattern: str, language: str) -> str:
    """Lists show the same few days many times. `language` only tells the answers apart."""
    return dateformat.format(at, str(PATTERNS[pattern]))


def days_from(at: datetime, now: datetime) -> int:
    """Return on how many days before today's this was, by the calendar of the page."""
    zone = timezone.get_current_timezone()
    return (now.astimezone(zone).date() - at.astimezone(zone).date()).days


def when_words(at: datetime) -> str:
    """Return the day, with the hour while that still matters."""
    zone = timezone.get_current_timezone()
    local, today = at.astimezone(zone), timezone.now().astimezone(zone).date()
    day = _day_words(local.date(), today)
    return f"{day} {local:%H:%M}" if (today - local.date()).days in NEAR else day


def size(value: int | None) -> str:
    """Return bytes as "240 KB" or "1.4 MB"; a KB is 1024 bytes, as the hubs' maker counts."""
    if value is None:
        return gettext("not given")
    if value < 1024:
        return ngettext("%(n)s byte", "%(n)s bytes", value) % {"n": value}
    number, unit = value / 1024, "KB"
    if number >= 1024:
        number, unit = number / 1024, "MB"
    whole = round(number, 1)
    return f"{number_format(whole, 0 if whole == int(whole) else 1)} {unit}"


def number(value: int) -> str:
    """Return a small number as an English word, a large one, and other languages, in digits."""
    is_english = (get_language() or "en").startswith("en")
    if is_english and 0 <= value < len(NUMBERS):
        return NUMBERS[value]
    return number_format(value, force_grouping=True)


def role_word(role: str) -> str:
    """Return a household role as a word within a sentence."""
    return str(ROLE_WORDS.get(role, role))
