"""Template tags and filters: wrappers of `presentation.formatting`, and small pieces of HTML."""

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django import template
from django.template.loader import get_template
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, gettext, gettext_lazy

from devices.explanations.explain import explain_trouble
from devices.models.firmware_file import is_verifiable
from devices.models.text import isolate
from devices.presentation import hold_text, plan_text, proposal_text
from devices.presentation.addresses import version_address, version_link
from devices.presentation.badges import of_plan
from devices.presentation.charts import hubs_words
from devices.presentation.device_names import device_name
from devices.presentation.formatting import (
    ago_words,
    brief_span,
    dated,
    day,
    day_and_year,
    day_hour_and_zone,
    days_from,
    number,
    place,
    role_word,
    roughly,
    size,
    span,
    when_words,
)
from devices.presentation.install_story import start_of

register = template.Library()
register.simple_tag(place)
for words in (day, day_and_year, day_hour_and_zone, number, role_word, roughly, size, span):
    register.filter(words)
register.filter("numbers_in_words", hold_text.numbers_in_words)
register.filter("why_held", hold_text.reason_of)
register.filter(device_name)
register.filter("hubs", hubs_words)
register.filter("proposal_headline", proposal_text.headline)
register.filter("proposal_next_step", proposal_text.next_step)
register.filter("proposal_waiting", proposal_text.waiting)
register.filter("plan_starts", plan_text.long)
register.filter("plan_by", plan_text.by)
register.filter("start", start_of)
# The words of the list for the repellent's state.
REPELLENT = {
    "protected": gettext_lazy("<strong>in use</strong>"),
    "warming": gettext_lazy("<strong>warming up</strong>"),
    "off": gettext_lazy("repellent off"),
}

# Of text that may begin with tags.
FIRST_LETTER = re.compile(r"^((?:<[^>]*>)*)(\w)")


@register.simple_tag
@lru_cache(maxsize=64)
def icon(name: str) -> SafeString:
    """Return the SVG inline; screen readers skip it and read the word beside it."""
    return mark_safe(get_template(f"icons/{name}.svg").render())  # noqa: S308 our own file


@register.simple_tag
def key_sheet() -> SafeString:
    """Return the help sheet of the keys, which is the same on every page of a language."""
    return _key_sheet(get_language() or "en")


@lru_cache(maxsize=8)
def _key_sheet(language: str) -> SafeString:
    return mark_safe(get_template("components/keys.html").render())  # noqa: S308 our own file


@register.simple_tag
def badge(standing: Any) -> SafeString:
    """Return the HTML of a Badge: icon, words, colour. A tag, because lists show many."""
    since = f", {elapsed(standing.since)}" if standing.since else ""
    words = f"<span>{escape(standing.words)}{since}</span>"
    drawn = icon(standing.icon)
    return mark_safe(  # noqa: S308 tone, drawing and time are ours
        f'<span class="badge {standing.tone}">{drawn}{words}</span>'
    )


@register.simple_tag
def simulated(what: Any) -> SafeString:
    """Return the badge of a simulated account or event, "" for a real one."""
    if not what.is_simulated:
        return mark_safe("")
    drawn, words = icon("beaker"), gettext("Simulated")
    return format_html(' <span class="badge quiet">{}<span>{}</span></span>', drawn, words)


@register.simple_tag
def versions(node: Any) -> SafeString:
    """Return the installed and the offered version. A tag, because lists show many; no links,
    because a card on a phone leads to its hub wherever it is pressed.
    """
    runs, offer = node.fw_version or gettext("unknown"), node.new_offer
    if offer is None:
        return format_html("{}", runs)
    return format_html(
        '{} <span class="arrow" aria-hidden="true">→</span>'
        '<span class="hidden-visually"> {} </span> <span class="lit">{}</span>',
        runs,
        gettext("can be set back to") if offer.is_step_back else gettext("can be updated to"),
        offer.fw_version,
    )


@register.simple_tag
def planned(node: Any) -> SafeString:
    """Return when a planned install starts and by what it was planned, with what it waits for as
    the tooltip; "" without a plan. A tag, because lists show many.
    """
    plan = node.plan
    if plan is None:
        return mark_safe("")
    starts = of_plan(plan, node.account.household).words
    words = f"{starts} · {plan_text.cause(plan)}"
    return format_html('<span title="{}">{}</span>', f"{words}. {plan.reason}".strip(), words)


@register.simple_tag
def version_of(version: str, node: Any) -> SafeString:
    """Return a version of a hub as a link to its page."""
    if not version:
        return format_html("{}", gettext("unknown"))
    return version_link(version, node.model, is_simulated=node.account.is_simulated)


@register.simple_tag
def version_page(version: str, model: str, account: Any) -> str:
    """Return the address of the page of a version, of hubs like those of this account."""
    return version_address(version, model, is_simulated=account.is_simulated)


@register.simple_tag
def version_in(version: str, job: Any) -> SafeString:
    """Return a version of an install as a link to its page."""
    if not version:
        return mark_safe("?")
    simulated = job.node.account.is_simulated
    return version_link(version, job.hub_model, is_simulated=simulated)


@register.simple_tag
def hub_now(node: Any, is_first: bool = False) -> SafeString:
    """Return whether the hub is online and in use; what is as usual is marked as calm. is_first:
    nothing stands before it, so it begins with a capital. A tag, because lists show many.
    """
    calm = ""
    if node.is_being_checked and node.account.rests_until:
        words = gettext("the cloud is asked again %(at)s") % {"at": on(node.account.rests_until)}
    elif node.is_being_checked:
        words = gettext("checking…")
    elif node.is_online is False:
        words = _while_away(node)
    elif node.is_online:
        words, calm = "", gettext("online") + _online_since(node)
    else:
        words = gettext("online status unknown")
    if node.is_online is not False and node.repellent in REPELLENT:
        use = str(REPELLENT[node.repellent])
        if node.is_in_use:
            words = " · ".join(filter(None, (words, use)))
        else:
            calm = " · ".join(filter(None, (calm, use)))
    if calm:
        calm = f'<span class="calm">{calm}{" · " if words else ""}</span>'
    shown = calm + words
    if is_first:
        shown = FIRST_LETTER.sub(lambda found: found[1] + found[2].upper(), shown, count=1)
    return mark_safe(shown)  # noqa: S308 words and times of ours; none is user input


def _while_away(node: Any) -> str:
    job = node.latest_job
    if job is not None and job.is_restarting:
        return gettext("restarting, as expected")
    if job is not None and job.is_live:
        return ""  # it is watched until it is back
    if node.plan is not None:
        return gettext("is updated when it is back online")
    if node.new_offer and not node.new_offer.is_step_back:
        return gettext("can be updated once it is online")
    if node.heard_at:
        return gettext("last read from the cloud %(heard_at)s") % {"heard_at": ago(node.heard_at)}
    return ""


def _online_since(node: Any) -> str:
    job = node.latest_job
    if job is not None and job.is_live and job.last_news_at:
        report = gettext("last report %(last_news_at)s") % {"last_news_at": ago(job.last_news_at)}
        return f" · {report}"
    if node.online_changed_at:
        since = {"online_changed_at": on(node.online_changed_at)}
        return " " + gettext("since %(online_changed_at)s") % since
    return ""


@register.filter
def bdi(name: object) -> str:
    """Return a name as `isolate` sets it apart in a sentence."""
    return isolate(str(name))


@register.filter
def marked(spans: list[tuple[str, str]]) -> SafeString:
    """Return pieces of a text, each in its element: see presentation/whats_new.py."""
    parts = [format_html("<{0}>{1}</{0}>", kind, words) if kind else words for kind, words in spans]
    return format_html_join("", "{}", ((part,) for part in parts))


@register.filter
def breakable(text: object) -> SafeString:
    """Return an e-mail address, or a name, with a place to break the line before the "@"."""
    parts = str(text).split("@")
    return format_html_join(mark_safe("<wbr>@"), "{}", ((part,) for part in parts))


@register.simple_tag
def ago(at: datetime | None) -> SafeString | str:
    """Return "12 s ago" as a time element that the page's script keeps right."""
    if at is None:
        return gettext("never")
    now = timezone.now()
    is_ticking = now - at < timedelta(days=2)
    return _time(at, ago_words(at, now), mark_safe(" data-ago") if is_ticking else "")


@register.simple_tag
def brief(at: datetime | None) -> SafeString | str:
    """Return how long ago in one unit, such as "41 min", kept right by the page's script."""
    if at is None:
        return ""
    return _time(at, brief_span(timezone.now() - at), mark_safe(" data-brief"))


@register.simple_tag
def elapsed(since: datetime | None) -> SafeString | str:
    """Return "1 min 40 s" since then, kept right by the page's script."""
    if since is None:
        return ""
    return _time(since, span(timezone.now() - since), mark_safe(" data-elapsed"))


@register.simple_tag
def on(at: datetime | None) -> SafeString | str:
    """Return "today 14:02", or "3 Oct" when it is longer ago."""
    return _time(at, when_words(at)) if at is not None else ""


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
    title = f"{dated(local, 'whole day')}, {local:%H:%M:%S %Z}"
    return mark_safe(  # noqa: S308 dates and words of ours; none is user input
        f'<time datetime="{at.isoformat(timespec="seconds")}" title="{title}"{mark}>{words}</time>'
    )


@register.filter
def trouble_headline(code: str) -> str:
    """Return the headline of a cloud error code."""
    return explain_trouble(code).headline


@register.filter
def plain(value: float) -> str:
    """Return a number as a drawing needs it, in every language alike."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@register.filter
def drawing(svg: str) -> SafeString:
    """Return the SVG of a trusted library without its XML header, to include in a page."""
    return mark_safe(svg[svg.index("<svg") :])  # noqa: S308 no words of people are in it


@register.simple_tag
def checksum(md5: str, *, short: bool = False) -> SafeString:
    """Return the MD5 that the cloud gives, with a note when it is invalid; short: its ends."""
    if not md5:
        return format_html("{}", gettext("not given"))
    if is_verifiable(md5):
        shown = f"{md5[:8]}…{md5[-4:]}" if short else md5
        return format_html('<span class="mono" title="{}">{}</span>', md5, shown)
    remark = gettext("not a valid checksum, so the file cannot be verified")
    return format_html('<span class="mono">{}</span> <span class="quiet">({})</span>', md5, remark)


@register.simple_tag(takes_context=True)
def without(context: dict[str, Any], name: str) -> str:
    """Return the page's query string without one filter of a list, from its first page on."""
    return query(context, **dict.fromkeys((name, "page", "v", "o", "t")))


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """Return the page's query string with these values changed; None removes one."""
    values = context["request"].GET.copy()
    for name, value in changes.items():
        values.pop(name, None)
        if value not in (None, ""):
            values[name] = str(value)
    return f"?{values.urlencode()}"
