"""The one sentence at the top of a page that answers what people came to ask."""

from collections import Counter
from collections.abc import Mapping, Sequence

from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from devices.explanations.reasons import Reason
from devices.fleet.attention import Clouds, HubCounts, count, hubs_in
from devices.models import Batch, BatchState, Household, Plan, PolicyMode, State, UpdatePolicy
from devices.models.message import Message, MessageCode
from devices.planning.policy_rules import Hub
from devices.presentation.charts import Column
from devices.presentation.formatting import number


def of_hubs(counts: HubCounts, clouds: Clouds) -> str:
    """Return how the hubs are."""
    total = counts.total
    if not total:
        reading = gettext("Loading your hubs.")
        return reading if clouds.unread else gettext("No hubs here yet.")
    return of_counts(counts)


def of_counts(counts: HubCounts) -> str:
    """Return how these hubs are; there is at least one."""
    total = counts.total
    new, running, bad = counts.new, counts.running, counts.attention
    # how many; the texts for one hub, for both, for all, for some of them, and for some when the
    # sentence already gives the total
    kinds = [
        (
            new,
            gettext("your hub has new firmware available"),
            gettext("both hubs have new firmware available"),
            gettext("all %(all)s hubs have new firmware available"),
            ngettext(
                "%(some)s of %(all)s hubs has new firmware available",
                "%(some)s of %(all)s hubs have new firmware available",
                new,
            ),
            "",
        ),
        (
            running,
            gettext("your hub is installing"),
            gettext("both hubs are installing"),
            gettext("all %(all)s hubs are installing"),
            ngettext(
                "%(some)s of %(all)s hubs is installing",
                "%(some)s of %(all)s hubs are installing",
                running,
            ),
            ngettext("%(some)s is installing", "%(some)s are installing", running),
        ),
        (
            bad,
            gettext("your hub needs attention"),
            gettext("both hubs need attention"),
            gettext("all %(all)s hubs need attention"),
            ngettext(
                "%(some)s of %(all)s hubs needs attention",
                "%(some)s of %(all)s hubs need attention",
                bad,
            ),
            ngettext("%(some)s needs attention", "%(some)s need attention", bad),
        ),
        (
            counts.older,
            gettext("your hub is offered an older version than it runs"),
            gettext("both hubs are offered an older version than they run"),
            gettext("all %(all)s hubs are offered an older version than they run"),
            ngettext(
                "%(some)s of %(all)s hubs is offered an older version than it runs",
                "%(some)s of %(all)s hubs are offered an older version than they run",
                counts.older,
            ),
            ngettext(
                "%(some)s is offered an older version",
                "%(some)s are offered an older version",
                counts.older,
            ),
        ),
        (
            counts.planned,
            gettext("your hub has a planned update"),
            gettext("both hubs have a planned update"),
            gettext("all %(all)s hubs have a planned update"),
            ngettext(
                "%(some)s of %(all)s hubs has a planned update",
                "%(some)s of %(all)s hubs have a planned update",
                counts.planned,
            ),
            ngettext(
                "%(some)s has a planned update", "%(some)s have a planned update", counts.planned
            ),
        ),
    ]
    parts: list[str] = []
    for n, one, both, every, some, some_more in kinds:
        if n == total and not parts:
            parts.append(_all(total, one, both, every))
        elif n:
            parts.append(_count(some_more if parts else some, n, total))
    if len(parts) == 3:
        names = dict(zip(("first", "second", "third"), parts, strict=True))
        return _sentence(gettext("%(first)s, %(second)s, and %(third)s") % names)
    if parts:
        return _sentence(", ".join(parts))
    if counts.unchecked == total:
        one, both = (
            gettext("Your hub has not been checked yet."),
            gettext("Neither hub has been checked yet."),
        )
        return _all(total, one, both, gettext("None of the %(n)s hubs has been checked yet."))
    if counts.stored:
        words = ngettext(
            "Nothing to do: %(n)s hub is stored for winter.",
            "Nothing to do: %(n)s hubs are stored for winter.",
            counts.stored,
        )
        return words % {"n": number(counts.stored)}
    if counts.dismissed:
        words = ngettext(
            "Nothing to do. You dismissed the update of %(n)s hub.",
            "Nothing to do. You dismissed the updates of %(n)s hubs.",
            counts.dismissed,
        )
        return words % {"n": number(counts.dismissed)}
    one, both = gettext("Your hub is up to date."), gettext("Both hubs are up to date.")
    return _all(total, one, both, gettext("All %(n)s hubs are up to date."))


def standing_of(household: Household) -> str:
    """Return how the household's hubs are now, as the top of their list says it. One query; ""
    when it has none.
    """
    counts = count(hubs_in(household))
    return of_counts(counts) if counts.total else ""


def _all(n: int, one: str, both: str, every: str) -> str:
    return one if n == 1 else both if n == 2 else every % {"n": number(n), "all": number(n)}


def _count(words: str, some: int, total: int) -> str:
    return words % {"some": number(some), "all": number(total)}


def _sentence(words: str) -> str:
    return f"{capfirst(words)}."


def of_planned(waiting: int) -> str:
    """Return how many installs start later."""
    if not waiting:
        return gettext("Nothing is planned.")
    words = ngettext("%(n)s install is planned.", "%(n)s installs are planned.", waiting)
    return capfirst(words % {"n": number(waiting)})


def of_policy(
    policy: UpdatePolicy, modes: Mapping[Hub, PolicyMode], against: Sequence[Reason]
) -> str:
    """Return the sentence at the top of the page of an update policy."""
    if PolicyMode.INSTALL not in {policy.mode, *modes.values()}:
        return gettext("New firmware is installed when you say so.")
    if against:
        return gettext("New firmware may install itself, but nothing starts now.")
    if policy.mode == PolicyMode.INSTALL:
        return gettext("New firmware installs itself.")
    return gettext("New firmware installs itself on some hubs.")


def of_queue(batch: Batch, items: list[Plan]) -> str:
    """Return how the queue stands: what stopped it, then its hubs. Each hub counts once."""
    counts = Counter(_kind_in_queue(item) for item in items)
    total, verified = len(items), counts["verified"]
    if verified == total:
        one, both = gettext("The update is verified."), gettext("Both updates are verified.")
        return _all(total, one, both, gettext("All %(n)s updates are verified."))
    parts = []
    if verified:
        words = gettext("%(some)s of %(all)s verified")
        parts.append(words % {"some": number(verified), "all": number(total)})
    if n := counts["running"]:
        words = ngettext("%(some)s is installing", "%(some)s are installing", n)
        parts.append(words % {"some": number(n)})
    if n := counts["attention"]:
        words = ngettext("%(some)s needs attention", "%(some)s need attention", n)
        parts.append(words % {"some": number(n)})
    if n := counts["unsent"]:
        words = ngettext("%(some)s was not sent", "%(some)s were not sent", n)
        parts.append(words % {"some": number(n)})
    waiting = counts["waiting"]
    if batch.state == BatchState.STOPPED:
        sentences = [_why_stopped(batch.why_stopped)]
        if waiting:
            words = ngettext(
                "%(n)s hub is still waiting.", "%(n)s hubs are still waiting.", waiting
            )
            sentences.append(capfirst(words % {"n": number(waiting)}))
        if parts:
            sentences.append(_sentence(", ".join(parts)))
        return " ".join(sentences)
    if waiting:
        words = ngettext("%(some)s is waiting", "%(some)s are waiting", waiting)
        parts.append(words % {"some": number(waiting)})
    return _sentence(", ".join(parts))


def _kind_in_queue(item: Plan) -> str:
    if item.job is None:
        return "waiting" if item.is_waiting else "unsent"
    if item.job.is_live:
        return "running"
    if item.job.state == State.VERIFIED:
        return "verified"
    return "attention" if item.job.needs_person else "unsent"


def _why_stopped(why: Message) -> str:
    """Return what stopped a queue, in one short sentence."""
    code, params = why.parts[0] if why.parts else (None, {})
    if code == MessageCode.QUEUE_HUB_FAILED:
        return gettext("Stopped: %(hub)s was not verified.") % params
    if code == MessageCode.QUEUE_SIGNED_OUT:
        return gettext("Stopped: the cloud account is signed out.")
    return str(why) if why else gettext("Stopped.")


def of_weeks(weeks: list[Column]) -> str:
    """Return the sentences about the last weeks."""
    running = sum(week.counts["running"] for week in weeks)
    if not running:
        return _verdicts(weeks)
    words = ngettext("One is running.", "%(n)s are running.", running)
    return f"{_verdicts(weeks)} {capfirst(words % {'n': number(running)})}"


def _verdicts(weeks: list[Column]) -> str:
    ended = sum(week.counts["verified"] + week.counts["attention"] for week in weeks)
    verified = sum(week.counts["verified"] for week in weeks)
    if not ended:
        return gettext("No finished installs in the last twelve weeks.")
    if ended == verified:
        one = gettext("One install in the last twelve weeks, and it was verified.")
        both = gettext("Both installs in the last twelve weeks were verified.")
        every = gettext("All %(n)s installs in the last twelve weeks were verified.")
        return _all(ended, one, both, every)
    words = ngettext(
        "%(some)s of %(all)s installs in the last twelve weeks was verified.",
        "%(some)s of %(all)s installs in the last twelve weeks were verified.",
        verified,
    )
    return capfirst(_count(words, verified, ended))
