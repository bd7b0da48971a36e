"""The sentences about a proposal."""

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from devices.models import Delivery, Proposal, ProposalState, When
from devices.presentation import plan_text
from devices.presentation.formatting import when_words

HEADLINES: dict[str, str | Promise] = {
    ProposalState.OPEN: gettext_lazy("%(hub_name)s: waiting for the household's answer."),
    ProposalState.TONIGHT: gettext_lazy("%(to_version)s for %(hub_name)s: planned."),
    ProposalState.ACCEPTED: gettext_lazy("Accepted: %(to_version)s for %(hub_name)s."),
    ProposalState.DECLINED: gettext_lazy("Not this version: %(hub_name)s stays as it is."),
    ProposalState.WITHDRAWN: gettext_lazy("Withdrawn: nothing is installed on %(hub_name)s."),
    ProposalState.EXPIRED: gettext_lazy("No answer in time: nothing is installed on %(hub_name)s."),
    ProposalState.MISSED: gettext_lazy(
        "Not possible in time: nothing was installed on %(hub_name)s."
    ),
    ProposalState.OVERTAKEN: gettext_lazy("Already done: %(hub_name)s reports %(to_version)s."),
    ProposalState.RESTORED: gettext_lazy(
        "This server was restored from a backup. It is not known what happened to "
        "%(to_version)s for %(hub_name)s since then."
    ),
}
# What to do once the answer is given; the other states need nothing.
NEXT_STEPS: dict[str, str | Promise] = {
    ProposalState.TONIGHT: gettext_lazy(
        "It starts at that time as soon as the hub is online and not in use, or not at all. Keep "
        "the hub plugged in."
    ),
    ProposalState.ACCEPTED: gettext_lazy(
        "Keep the hub plugged in. Members can sign in here to follow the install."
    ),
}


def headline(proposal: Proposal) -> str:
    """Return the state of a proposal as a sentence."""
    return str(HEADLINES[proposal.state]) % _names(proposal)


def next_step(proposal: Proposal) -> str:
    """Return what the household does after its answer; "" when there is nothing to do."""
    return str(NEXT_STEPS.get(proposal.state, ""))


def waiting(proposal: Proposal) -> str:
    """Return what an undecided proposal waits for: an answer, the night, or a free moment."""
    names = _names(proposal)
    if proposal.is_open:
        return gettext("%(proposed_by_name)s proposes %(to_version)s for %(hub_name)s.") % names
    if proposal.begins_at is not None and proposal.plan.when == When.TONIGHT:
        names["begins_at"] = f"{timezone.localtime(proposal.begins_at):%H:%M}"
        return (
            gettext("%(to_version)s is planned for %(hub_name)s tonight, from %(begins_at)s.")
            % names
        )
    plan = getattr(proposal, "plan", None)
    if plan is not None and plan.when != When.TONIGHT:
        names["starts"] = plan_text.long(plan)
        return gettext("%(to_version)s is planned for %(hub_name)s: %(starts)s.") % names
    return gettext("%(to_version)s is planned for %(hub_name)s tonight, when not in use.") % names


def mailed(proposal: Proposal) -> str:
    """Return the sentence about its letters: who gets one, and whether a mail server took them; ""
    when there is nothing to say of any. One query.
    """
    names = {"mailed_to": proposal.mailed_to}
    if not proposal.mailed_to:
        return ""
    if proposal.notice_id is None:  # of before letters had their place in the outbox
        return gettext("The link is sent by e-mail to %(mailed_to)s.") % names
    letters = list(Delivery.objects.filter(notice=proposal.notice_id, channel=None))
    sent = [one.sent_at for one in letters if one.sent_at is not None]
    waiting = [one for one in letters if one.is_waiting]
    if any(one.tries for one in waiting):
        return gettext("No mail server took the e-mail with the link so far. It is tried again.")
    if waiting:
        return gettext("The link goes by e-mail to %(mailed_to)s in a moment.") % names
    if sent:
        names["sent_at"] = when_words(max(sent))
        return gettext("The link was sent by e-mail to %(mailed_to)s (%(sent_at)s).") % names
    if proposal.is_open:
        return gettext(
            "The link could not be sent by e-mail. The household sees the proposal here."
        )
    return ""


def _names(proposal: Proposal) -> dict[str, str]:
    return {
        "hub_name": proposal.hub_name,
        "to_version": proposal.to_version,
        "proposed_by_name": proposal.proposed_by_name,
    }
