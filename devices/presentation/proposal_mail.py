"""The letter about what was proposed to a household at once: one mail, with one link, a person."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.translation import gettext

from devices.models import Notice, Proposal, User
from devices.notifications.delivery import Letter
from devices.planning.proposal_links import common_link, make_common_link, make_link
from devices.presentation.formatting import day_hour_and_zone, number


def letter_of(notice: Notice, person: User, now: datetime) -> Letter | None:
    """Return the mail to this person; None when nothing waits for an answer any more, or the link
    would not work. Some ten queries, however many hubs.
    """
    maker = User.objects.filter(proposals_made__notice=notice).first()
    link = common_link(notice, maker=maker, recipient=person) if maker is not None else None
    if link is None or not link.is_backed:
        return None
    waiting = [one for one in link.proposals if one.is_open and one.expires_at > now]
    if not waiting:
        return None
    if len(notice.facts["links"]) == 1:
        path = make_link(waiting[0], maker=link.maker, recipient=person)
    else:
        path = make_common_link(notice, link)
    if len(waiting) == 1:
        words = gettext("New firmware for %(hub_name)s: now, tonight, or not?")
        subject, template = words % {"hub_name": waiting[0].hub_name}, "mail/proposal.txt"
    else:
        words = gettext("New firmware for %(n)s hubs: now, tonight, or not?")
        subject, template = words % {"n": number(len(waiting))}, "mail/proposals.txt"
    values = mail_values(waiting, f"{settings.PUBLIC_URL}{path}")
    return Letter(subject, render_to_string(template, values))


def mail_values(proposals: Sequence[Proposal], link: str) -> dict[str, object]:
    """Return what the mail about these proposals, at least one, says."""
    first = proposals[0]
    return {
        "proposed_by_name": first.proposed_by_name,
        "hub_name": first.hub_name,
        "household": first.household,
        "from_version": first.from_version,
        "to_version": first.to_version,
        "is_simulated": all(one.node.account.is_simulated for one in proposals),
        "words": first.words,
        "expires_at": day_hour_and_zone(min(one.expires_at for one in proposals)),
        "proposed": proposals,
        "n": number(len(proposals)),
        "link": link,
    }
