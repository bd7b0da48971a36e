"""How pages say times, spans, sizes and states."""

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from django import template
from django.template.loader import get_template
from django.urls import reverse
from django.utils import dateformat, timezone
from django.utils.formats import number_format
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import (
    get_language,
    gettext,
    gettext_lazy,
    ngettext,
    pgettext,
    pgettext_lazy,
)

from devices import stored
from devices.images import is_verifiable

register = template.Library()

ROLE_WORDS = {
    "owner": gettext_lazy("owner"),
    "member": gettext_lazy("member"),
    "viewer": gettext_lazy("viewer"),
}
NEAR = {
    0: gettext_lazy("today"),
    1: gettext_lazy("yesterday"),
    -1: gettext_lazy("tomorrow"),
}
PATTERNS = {
    "day": pgettext_lazy("date", "j M"),
    "day and year": pgettext_lazy("date", "j M Y"),
    "whole day": pgettext_lazy("date", "j F Y"),
}
# What a hub does besides being there, as the list says it.
REPELLENT = {
    "protected": gettext_lazy("<strong>in use</strong>"),
    "warming": gettext_lazy("<strong>warming up</strong>"),
    "off": gettext_lazy("repellent off"),
}
NUMBERS = ["no", "one", "two", "three", "four", "five", "six"]
NUMBERS += ["seven", "eight", "nine", "ten", "eleven", "twelve"]


@register.simple_tag
@lru_cache(maxsize=64)
def icon(name: str) -> SafeString:
    """Return the drawing inline; it says nothing to a screen reader, the word beside it does."""
    return mark_safe(get_template(f"icons/{name}.svg").render())  # noqa: S308 our own file


@register.simple_tag
def badge(standing: Any) -> SafeString:
    """Return the badge of a Standing: a shape, a word, a colour. A tag, since lists show many."""
    since = f", {elapsed(standing.since)}" if standing.since else ""
    words = f"<span>{escape(standing.words)}{since}</span>"
    drawn = icon(standing.icon)
    return mark_safe(  # noqa: S308 tone, drawing and time are ours
        f'<span class="badge {standing.tone}">{drawn}{words}</span>'
    )


@register.simple_tag
def simulated(what: Any) -> SafeString:
    """Return the badge of a simulated account or deed, nothing for a real one; a tag for lists."""
    return _simulated(get_language()) if what.is_simulated else mark_safe("")


@lru_cache(maxsize=16)
def _simulated(_language: str | None) -> SafeString:
    drawn, words = icon("beaker"), gettext("Simulated")
    return format_html(' <span class="badge quiet">{}<span>{}</span></span>', drawn, words)


@register.simple_tag
def versions(node: Any) -> SafeString:
    """Return what the hub runs and what it could be given; a tag, since lists show many."""
    runs, offer = node.fw_version or gettext("not known"), node.new_offer
    if offer is None:
        return format_html("{}", runs)
    return format_html(
        '{} <span class="arrow" aria-hidden="true">→</span>'
        '<span class="hidden-visually"> {} </span> <span class="lit">{}</span>',
        runs,
        gettext("can go to"),
        offer.fw_version,
    )


@register.simple_tag
def hub_now(node: Any) -> SafeString:
    """Return whether the hub is there and in use. A tag, since lists show many; all words and
    times are ours.
    """
    if node.is_being_checked:
        words = gettext("checking…")
    elif node.is_online is False:
        words = _while_away(node)
    elif node.is_online:
        words = gettext("online") + _online_since(node)
    else:
        words = gettext("not known whether online")
    if node.is_online is not False and node.repellent in REPELLENT:
        words += f" · {REPELLENT[node.repellent]}"
    return mark_safe(words)  # noqa: S308 words and times of ours; nobody typed them


def _while_away(node: Any) -> str:
    if node.offer:
        return gettext("waits until it is back")
    if node.heard_at:
        return gettext("last read %(heard_at)s") % {"heard_at": ago(node.heard_at)}
    return ""


def _online_since(node: Any) -> str:
    job = node.latest_job
    if job is not None and job.is_live and job.last_news_at:
        told = gettext("last news %(last_news_at)s") % {"last_news_at": ago(job.last_news_at)}
        return f" · {told}"
    if node.online_changed_at:
        since = {"online_changed_at": on(node.online_changed_at)}
        return " " + gettext("since %(online_changed_at)s") % since
    return ""


@register.simple_tag
@lru_cache(maxsize=20_000)
def place(name: str, pk: int) -> str:
    """Return the address of a page about one thing; where many stand in a row, it is worth it."""
    return reverse(name, args=[pk])


@register.filter
def breakable(text: object) -> SafeString:
    """Return an e-mail address, or a name, with a place to break the line before the "@"."""
    parts = str(text).split("@")
    return format_html_join(mark_safe("<wbr>@"), "{}", ((part,) for part in parts))


@register.filter
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


def days_words(days: int) -> str:
    return ngettext("%(n)s day", "%(n)s days", days) % {"n": days}


@register.filter
def roughly(value: timedelta | None) -> str:
    """Return a usual length of time, such as "4 minutes": nobody needs its seconds."""
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
    """Return how long ago; from two days on the date says more."""
    gone = now - at
    if gone < timedelta(seconds=2):
        return gettext("just now")
    if gone >= timedelta(days=2):
        return day_words(at, now)
    return gettext("%(span)s ago") % {"span": span(gone)}


@register.simple_tag
def ago(at: datetime | None) -> SafeString | str:
    """Return "12 s ago" as a time element that the page's script keeps right."""
    if at is None:
        return gettext("never")
    now = timezone.now()
    is_ticking = now - at < timedelta(days=2)
    return _time(at, ago_words(at, now), mark_safe(" data-ago") if is_ticking else "")


@register.simple_tag
def elapsed(since: datetime | None) -> SafeString | str:
    """Return "1 min 40 s" since then, kept right by the page's script."""
    if since is None:
        return ""
    return _time(since, span(timezone.now() - since), mark_safe(" data-elapsed"))


def day_words(at: datetime, now: datetime) -> str:
    """Return the day as people say it: "today", "yesterday", "3 Oct", "3 Oct 2024"."""
    zone = timezone.get_current_timezone()
    return _day_words(at.astimezone(zone).date(), now.astimezone(zone).date())


def _day_words(at: date, today: date) -> str:
    days = (today - at).days
    if days in NEAR:
        return str(NEAR[days])
    return day(at) if at.year == today.year else day_and_year(at)


@register.filter
def day(at: date) -> str:
    """Return "3 Oct"."""
    return _dated(at, "day")


@register.filter
def day_and_year(at: date) -> str:
    """Return "3 Oct 2024"."""
    return _dated(at, "day and year")


@register.filter
def day_hour_and_zone(at: datetime) -> str:
    """Return "3 October 2024, 14:02 CEST", for pages that may be read anywhere."""
    return dateformat.format(timezone.localtime(at), pgettext("date", "j F Y, H:i e"))


def _dated(at: date, pattern: str) -> str:
    """Return a date as a key of PATTERNS says."""
    return _dated_in(date(at.year, at.month, at.day), pattern, get_language())


@lru_cache(maxsize=4000)
def _dated_in(at: date, pattern: str, _language: str | None) -> str:
    """The few days that a page speaks of are many times on it."""
    return dateformat.format(at, str(PATTERNS[pattern]))


def days_from(at: datetime, now: datetime) -> int:
    """Return on how many days before today's this was, by the calendar of the page."""
    zone = timezone.get_current_timezone()
    return (now.astimezone(zone).date() - at.astimezone(zone).date()).days


@register.simple_tag
def on(at: datetime | None) -> SafeString | str:
    """Return "today 14:02", or "3 Oct" when it is longer ago."""
    return _time(at, when_words(at)) if at is not None else ""


def when_words(at: datetime) -> str:
    """Return the day, with the hour while that still matters."""
    zone = timezone.get_current_timezone()
    local, today = at.astimezone(zone), timezone.now().astimezone(zone).date()
    day = _day_words(local.date(), today)
    return f"{day} {local:%H:%M}" if (today - local.date()).days in NEAR else day


@register.simple_tag
def moment(at: datetime | None) -> SafeString | str:
    """Return day, hour, minute and second: for history and evidence."""
    if at is None:
        return ""
    local = timezone.localtime(at)
    return _time(at, f"{day_and_year(local)}, {local:%H:%M:%S}")


@register.simple_tag
def clock(at: datetime | None) -> SafeString | str:
    """Return hour, minute and second."""
    return _time(at, f"{timezone.localtime(at):%H:%M:%S}") if at is not None else ""


@register.simple_tag
def clock_beside(at: datetime | None, other: datetime) -> SafeString | str:
    """Return hour, minute and second, and the day too when it is not the other's."""
    return clock(at) if at is None or days_from(at, other) == 0 else moment(at)


def _time(at: datetime, words: str, mark: Any = "") -> SafeString:
    local = timezone.localtime(at)
    title = f"{_dated(local, 'whole day')}, {local:%H:%M:%S %Z}"
    return mark_safe(  # noqa: S308 dates and words of ours; nobody typed them
        f'<time datetime="{at.isoformat(timespec="seconds")}" title="{title}"{mark}>{words}</time>'
    )


@register.filter
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


@register.filter
def number(value: int) -> str:
    """Return a small number as a word, a large one in digits; digits alone where words bend."""
    is_english = (get_language() or "en").startswith("en")
    if is_english and 0 <= value < len(NUMBERS):
        return NUMBERS[value]
    return number_format(value, force_grouping=True)


@register.filter
def role_word(role: str) -> str:
    """Return a household role as a word within a sentence."""
    return str(ROLE_WORDS.get(role, role))


@register.filter
def told_again(text: str) -> str:
    """Return a sentence that was stored, in the language of whoever reads it now."""
    return stored.told_again(text)


@register.filter
def plain(value: float) -> str:
    """Return a number as a drawing needs it, whatever the language of the page."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@register.filter
def drawing(svg: str) -> SafeString:
    """Return an SVG file's text, made by a library of ours, as it may stand inside a page."""
    return mark_safe(svg[svg.index("<svg") :])  # noqa: S308 no words of people are in it


@register.simple_tag
def checksum(md5: str, *, short: bool = False) -> SafeString:
    """Return what the cloud gives as the MD5, and that it is none if so; short: only its ends, the
    whole one in the title.
    """
    if not md5:
        return format_html("{}", gettext("not given"))
    if is_verifiable(md5):
        shown = f"{md5[:8]}…{md5[-4:]}" if short else md5
        return format_html('<span class="mono" title="{}">{}</span>', md5, shown)
    remark = gettext("no MD5: no file can be checked against it")
    return format_html('<span class="mono">{}</span> <span class="quiet">({})</span>', md5, remark)


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """Return the page's query string with these values changed; None removes one."""
    values = context["request"].GET.copy()
    for name, value in changes.items():
        values.pop(name, None)
        if value not in (None, ""):
            values[name] = str(value)
    return f"?{values.urlencode()}"
