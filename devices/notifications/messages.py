"""The text of each notification."""

import logging

from django.utils.translation import gettext, ngettext

from devices.explanations.explain import explain_job
from devices.models import Notice, Topic
from devices.models.message import Message
from devices.models.text import one_line

log = logging.getLogger(__name__)


def sentence(notice: Notice) -> str:
    """Return one sentence about the event; for an install the text of its page now."""
    facts = {key: one_line(str(value)) for key, value in notice.facts.items() if key != "message"}
    hub, household = facts.get("hub", ""), str(notice.household)
    if "simulated" in facts:
        household = gettext("%(household)s, simulated") % {"household": household}
    if notice.job is not None:
        explained = explain_job(notice.job)
        title = f"{notice.job.outcome_title}." if notice.job.outcome else explained.headline
        return f"{hub} ({household}): {title} {explained.what}"
    if notice.topic == Topic.NEW_FIRMWARE:
        return _offered(notice, facts, household)
    if notice.topic == Topic.PLANNED:
        return _planned(notice, facts, household)
    if notice.topic == Topic.SIGNED_OUT and "message" not in notice.facts:
        return gettext(
            "%(household)s: Please sign in to the cloud account at %(cloud)s again. Until "
            "then, its hubs are not checked or updated."
        ) % {"household": household, "cloud": facts.get("cloud", "")}
    if notice.topic == Topic.TEST:
        words = gettext(
            "%(household)s: This is the test message you requested. It arrived, so "
            "notifications work."
        )
        return words % {"household": household}
    return f"{household}: {one_line(str(Message.read(notice.facts.get('message'))))}"


def _planned(notice: Notice, facts: dict[str, str], household: str) -> str:
    """Return the sentence about installs that may start in the coming night."""
    values: dict[str, object] = {
        "hub": facts.get("hub", ""),
        "household": household,
        "new": facts.get("to_version", ""),
        "start": facts.get("start", ""),
        "end": facts.get("end", ""),
        "n": notice.hubs,
    }
    if notice.hubs > 1:
        words = ngettext(
            "%(household)s: the update of %(n)s hub is planned for tonight.",
            "%(household)s: the updates of %(n)s hubs are planned for tonight.",
            notice.hubs,
        )
    elif "end" in facts:
        words = gettext(
            "%(hub)s (%(household)s): %(new)s is planned for tonight, between %(start)s and "
            "%(end)s."
        )
    else:
        words = gettext("%(hub)s (%(household)s): %(new)s is planned for tonight at %(start)s.")
    return words % values


def _offered(notice: Notice, facts: dict[str, str], household: str) -> str:
    """Return the sentence about offered firmware, for one hub or for several."""
    hubs = notice.hubs
    values: dict[str, object] = {
        "hub": facts.get("hub", ""),
        "household": household,
        "new": facts.get("to_version", ""),
        "runs": facts.get("from_version") or gettext("unknown version"),
        "n": hubs,
    }
    if "more" in facts and hubs > 1:
        words = ngettext(
            "%(household)s: firmware %(new)s is offered to %(n)s more hub.",
            "%(household)s: firmware %(new)s is offered to %(n)s more hubs.",
            hubs,
        )
    elif hubs > 1:
        words = ngettext(
            "%(household)s: firmware %(new)s is offered to %(n)s hub.",
            "%(household)s: firmware %(new)s is offered to %(n)s hubs.",
            hubs,
        )
    elif "older" in facts:
        words = gettext(
            "%(hub)s (%(household)s): the cloud offers %(new)s, which is older than the installed "
            "%(runs)s."
        )
    else:
        words = gettext("%(hub)s (%(household)s): new firmware %(new)s (installed: %(runs)s).")
    return words % values
