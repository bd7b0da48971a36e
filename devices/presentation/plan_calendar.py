"""The plans of a household as an iCalendar file (RFC 5545) that calendar apps subscribe to.

Written by hand: of the format this needs two rules for text, `_line` and `_text` below. A library
would bring its own tables of time zones; tests read the file back with one.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext

from devices.models import Household, Plan
from devices.models.text import one_line
from devices.planning.next_start import Start, next_start
from devices.presentation.plan_text import long

# RFC 5545, 3.1: "Lines of text SHOULD NOT be longer than 75 octets, excluding the line break."
LONGEST_LINE = 75
# So many days are between the sequence numbers of a plan and of the same one changed.
CHANGE = 10_000
ASKED_EVERY = "PT1H"


def calendar_of(household: Household, plans: Iterable[Plan], now: datetime) -> str:
    """Return the calendar of these waiting plans, in the active language. Read them with
    `for_list`.
    """
    name = gettext("Firmware: %(household)s") % {"household": household}
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Thermacell Web//Planned installs//EN",
        "METHOD:PUBLISH",
        # RFC 7986, and what apps read that are older
        f"NAME:{_text(name)}",
        f"X-WR-CALNAME:{_text(name)}",
        f"REFRESH-INTERVAL;VALUE=DURATION:{ASKED_EVERY}",
        f"X-PUBLISHED-TTL:{ASKED_EVERY}",
    ]
    for plan in plans:
        if (start := next_start(plan, now)) is not None:
            lines += _event(plan, start, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{_line(line)}\r\n" for line in lines)


def _event(plan: Plan, start: Start, now: datetime) -> Iterator[str]:
    """Yield the lines of one plan: the time in which it may start, or the day when it has none."""
    words = {"version": plan.to_version, "hub": plan.marked_name}
    about = [gettext("May start %(when)s.") % {"when": long(plan)}, str(plan.reason)]
    days = (start.begins_at - plan.not_before).days
    yield "BEGIN:VEVENT"
    yield f"UID:plan-{plan.pk}@{urlsplit(settings.PUBLIC_URL).hostname}"
    yield f"DTSTAMP:{_utc(now)}"
    # it grows with each change, and when a night passed without a start
    yield f"SEQUENCE:{plan.changes * CHANGE + max(0, days)}"
    if start.is_any_time:
        today = start.begins_at.astimezone(plan.household.zone).date()
        yield f"DTSTART;VALUE=DATE:{today:%Y%m%d}"
        yield f"DTEND;VALUE=DATE:{today + timedelta(days=1):%Y%m%d}"
    else:
        yield f"DTSTART:{_utc(start.begins_at)}"
        yield f"DTEND:{_utc(start.ends_at)}"
    yield f"SUMMARY:{_text(gettext('Firmware %(version)s on %(hub)s') % words)}"
    yield f"DESCRIPTION:{_text(' '.join(one for one in about if one))}"
    yield f"URL:{settings.PUBLIC_URL}{reverse('planned')}"
    yield "TRANSP:TRANSPARENT"  # the time is not taken
    yield "END:VEVENT"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    """Return a value of type TEXT: on one line, with its separators escaped (RFC 5545, 3.3.11)."""
    text = one_line(value, 1000)
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")


def _line(line: str) -> str:
    """Return the line folded: no piece is longer than allowed, and no character is cut."""
    folded, room = "", LONGEST_LINE
    for char in line:
        size = len(char.encode())
        if size > room:
            folded, room = f"{folded}\r\n ", LONGEST_LINE - 1
        folded, room = folded + char, room - size
    return folded
