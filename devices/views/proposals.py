"""Proposing installs, and the pages of proposals. How they are answered: proposal_answers.py."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.forms.proposals import ProposalForm
from devices.installs.confirmation import (
    OfferSnapshot,
    SnapshotError,
    read_snapshot,
    sign,
    snapshot_offer,
)
from devices.models import Household, Node, Proposal, ProposalState, User
from devices.models.text import mask_emails
from devices.permissions import Right, households_for, mask_people, may, may_answer, proposals_for
from devices.planning import proposals as installs_proposals
from devices.planning.proposals import ToPropose, already_proposed
from devices.presentation import proposal_text
from devices.presentation.badges import of_proposal
from devices.presentation.formatting import number
from devices.request_scope import scope_of
from devices.security.rate_limits import limited
from devices.views.access import (
    current_user,
    get_hub_or_404,
    get_proposal_or_404,
    login_required_here,
    refuse,
    request_actor,
)
from devices.views.hub_reviews import agreed, fetch, posted, review, swapped
from devices.views.proposal_answers import facts_of, give_answer

PER_PAGE = 50
MOST_NOTICES = 3


@dataclass(frozen=True, slots=True)
class Waiting:
    """The proposals that the Hubs page shows."""

    shown: list[Proposal]
    more: int = 0
    """How many it has no room for."""
    together: Sequence[Household] = ()
    """Where several wait for an answer, which can be given on one page."""


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def propose(request: HttpRequest, pk: int) -> HttpResponse:
    """Prepare an install for the household to decide on."""
    node = get_hub_or_404(request, pk, Right.PROPOSE)
    if request.method == "POST":
        return _propose(request, node)
    return _propose_page(request, node, ProposalForm())


@limited("invite")
def _propose(request: HttpRequest, node: Node) -> HttpResponse:
    form = ProposalForm(request.POST)
    if not form.is_valid():
        return _propose_page(request, node, form)
    try:
        proposal = installs_proposals.propose(
            node,
            user=current_user(request),
            binding=read_snapshot(request.POST.get("agreed", "")),
            words=form.cleaned_data["words"],
            recipients=_recipients(node),
            actor=request_actor(request, node.account.household),
        )
    except (SnapshotError, installs_proposals.ProposalError) as why:
        return _propose_page(request, node, form, problem=str(why))
    messages.success(
        request,
        (gettext("Proposal created. %(household)s decides.") % {"household": proposal.household}),
    )
    return redirect("proposal", proposal.pk)


@require_POST
@login_required_here
@limited("invite")
def propose_several(request: HttpRequest) -> HttpResponse:
    """Propose what the review of several hubs showed, each household's to itself."""
    form = ProposalForm(request.POST)
    try:
        bindings = agreed(request)
    except SnapshotError as why:
        return review(request, posted(request, Right.PROPOSE), problem=str(why))
    nodes = fetch(request, bindings, Right.PROPOSE)
    proposed = already_proposed(nodes, timezone.now())
    nodes = [node for node in nodes if node.pk not in proposed]
    if not nodes:
        words = gettext("No hub was selected.")
        return review(request, posted(request, Right.PROPOSE), problem=words)
    if problem := swapped(nodes, bindings):
        return review(request, nodes, problem=problem)
    if not form.is_valid():
        return review(request, nodes, problem=gettext("The message is too long."))
    try:
        made = installs_proposals.propose_all(
            _wanted(request, nodes, bindings),
            user=current_user(request),
            words=form.cleaned_data["words"],
        )
    except installs_proposals.ProposalError as why:
        return review(request, nodes, problem=str(why))
    words = ngettext("Proposed for %(n)s hub.", "Proposed for %(n)s hubs.", len(made))
    messages.success(request, words % {"n": number(len(made))})
    return redirect("proposals")


def _wanted(
    request: HttpRequest, nodes: list[Node], bindings: dict[int, OfferSnapshot]
) -> list[ToPropose]:
    """Return what is proposed to each household; nodes come by household."""
    households = [(one, list(mine)) for one, mine in groupby(nodes, lambda n: n.account.household)]
    recipients = _recipients_in([one for one, _ in households])
    return [
        ToPropose(
            household,
            [(node, bindings[node.pk]) for node in mine],
            recipients[household.pk],
            request_actor(request, household),
        )
        for household, mine in households
    ]


def _recipients(node: Node) -> list[User]:
    household = node.account.household
    return _recipients_in([household])[household.pk]


def _recipients_in(households: list[Household]) -> dict[int, list[User]]:
    """Return who is mailed, by household; no one without a mail server."""
    if not settings.HAS_MAIL_SERVER:
        return {household.pk: [] for household in households}
    return installs_proposals.recipients_in(households)


def _propose_page(
    request: HttpRequest, node: Node, form: ProposalForm, problem: str = ""
) -> HttpResponse:
    offer = node.offer
    is_new = node.new_offer is not None
    values = {
        "node": node,
        "offer": offer,
        "form": form,
        "problem": problem,
        "agreed": sign(snapshot_offer(node, offer)) if offer is not None and is_new else "",
        "recipients": [mask_emails(one.email) for one in _recipients(node)],
    }
    return render(request, "devices/proposals/propose.html", values, status=409 if problem else 200)


@require_safe
@login_required_here
def proposals(request: HttpRequest) -> HttpResponse:
    """What was proposed to the households that this person may see."""
    found = proposals_for(current_user(request), scope_of(request).household_id)
    is_open = request.GET.get("show") == "open"
    if is_open:
        found = found.unanswered(timezone.now())
    listed = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    user = current_user(request)
    rows = [
        (mask_people(user, proposal, proposal.household_id), of_proposal(proposal))
        for proposal in listed
    ]
    values = {"listed": listed, "rows": rows, "is_open": is_open}
    return render(request, "devices/proposals/list.html", values)


def waiting_proposals(request: HttpRequest, within: int | None) -> Waiting:
    """Return what waits in the households in which this person may install. One query; none for
    people who may not, nor for staff, who cannot answer.
    """
    user = current_user(request)
    ids = [] if user.staff_role else households_for(user, Right.INSTALL, within)
    if not ids:
        return Waiting([])
    mine = Proposal.objects.filter(household_id__in=ids).for_notices(timezone.now())
    shown: list[Any] = list(mine[:MOST_NOTICES])
    asked = Counter(one.household for one in shown if one.is_open)
    together = [household for household, n in asked.items() if n > 1]
    return Waiting(shown, shown[0].many - len(shown) if shown else 0, together)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def proposal(request: HttpRequest, pk: int) -> HttpResponse:
    """One proposal, and the answer of a person who may install here."""
    found = get_proposal_or_404(request, pk)
    user, household = current_user(request), found.household
    if request.method == "POST":
        if not may_answer(user, household):
            refuse(request, Right.INSTALL, household, found.node)
        problem = give_answer(request, found, user, request_actor(request, household))
        if problem:
            return render(
                request,
                "devices/proposals/proposal.html",
                _values(request, found, problem),
                status=409,
            )
        return redirect("install", found.job_id) if found.job_id else redirect("proposal", pk)
    return render(request, "devices/proposals/proposal.html", _values(request, found))


def _values(request: HttpRequest, found: Proposal, problem: str = "") -> dict[str, object]:
    user, now = current_user(request), timezone.now()
    may_decide = may(
        user, Right.INSTALL, found.household
    ) and not installs_proposals.why_not_decide(found, user, now)
    open_here = Proposal.objects.filter(
        household=found.household_id, state=ProposalState.OPEN, expires_at__gt=now
    )
    return facts_of(found, problem) | {
        "mailed": proposal_text.mailed(found),
        "may_decide": may_decide,
        "others": open_here.exclude(pk=found.pk).count() if may_decide else 0,
        "may_withdraw": found.is_undecided and may(user, Right.PROPOSE, found.household),
        "may_link": found.is_open and may_answer(user, found.household),
    }


@require_POST
@login_required_here
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """End a proposal that was not carried out yet."""
    found = get_proposal_or_404(request, pk, Right.PROPOSE)
    try:
        installs_proposals.withdraw(found, actor=request_actor(request, found.household))
        messages.success(request, gettext("Proposal withdrawn. Its links no longer work."))
    except installs_proposals.ProposalError as why:
        messages.warning(request, str(why))
    return redirect("proposal", pk)


@never_cache
@require_POST
@login_required_here
def link(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a new link for a person of the household who has no account."""
    found = get_proposal_or_404(request, pk, Right.INSTALL)
    if not may_answer(current_user(request), found.household):
        refuse(request, Right.INSTALL, found.household, found.node)
    try:
        path = installs_proposals.renew_link(
            found, maker=current_user(request), actor=request_actor(request, found.household)
        )
    except installs_proposals.ProposalError as why:
        messages.warning(request, str(why))
        return redirect("proposal", pk)
    values = {"proposal": found, "link": settings.PUBLIC_URL + path}
    return render(request, "devices/proposals/link.html", values)
