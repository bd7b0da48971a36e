"""Proposing an install, and deciding on one: signed in, or by a link that needs no account.

Looking at a link decides nothing: mail scanners look too.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices import proposals as verbs
from devices.confirm import BindingError, bind, read_binding, sign
from devices.forms import ProposalForm
from devices.mail import send
from devices.middleware import origin
from devices.models import Actor, Node, Proposal, User
from devices.policies import Right, households_for, may, may_answer, why_unfit
from devices.views.access import (
    actor_in,
    hub_for,
    person,
    proposal_for,
    refuse,
    signed_in,
)
from devices.views.limits import limited
from devices.views.standing import of_proposal

PER_PAGE = 50
MOST_NOTICES = 3


@dataclass(frozen=True, slots=True)
class Waiting:
    """The proposals that the Hubs page speaks of."""

    shown: list[Proposal]
    more: int = 0
    """How many it has no room for."""


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@limited("invite")
def propose(request: HttpRequest, pk: int) -> HttpResponse:
    """Prepare an install for the household to decide on."""
    node = hub_for(request, pk, Right.PROPOSE)
    form = ProposalForm(request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        return _propose_page(request, node, form)
    try:
        proposal, token = verbs.propose(
            node,
            user=person(request),
            binding=read_binding(request.POST.get("agreed", "")),
            words=form.cleaned_data["words"],
            recipients=_recipients(node),
            actor=actor_in(request, node.account.household),
        )
    except (BindingError, verbs.NotPossible) as why:
        return _propose_page(request, node, form, problem=str(why))
    _mail(proposal, token)
    messages.success(
        request, (gettext("Proposed. %(household)s decides.") % {"household": proposal.household})
    )
    return redirect("proposal", proposal.pk)


def _recipients(node: Node) -> list[User]:
    return verbs.recipients_of(node.account.household) if settings.HAS_MAIL_SERVER else []


def _mail(proposal: Proposal, token: str) -> None:
    link = settings.PUBLIC_URL + reverse("decide", args=[token])
    with timezone.override(proposal.household.zone):
        for one in _recipients(proposal.node):
            subject = gettext("New firmware for %(hub_name)s: now, tonight, or not?") % {
                "hub_name": proposal.hub_name
            }
            send(one.email, subject, "mail/proposal.txt", {"proposal": proposal, "link": link})


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
        "agreed": sign(bind(node, offer)) if offer is not None and is_new else "",
        "recipients": [verbs.masked(one.email) for one in _recipients(node)],
    }
    return render(request, "devices/propose.html", values, status=409 if problem else 200)


@require_safe
@signed_in
def proposals(request: HttpRequest) -> HttpResponse:
    """What was proposed to the households that this person may see."""
    ids = households_for(person(request))
    found = Proposal.objects.for_list()
    found = found if ids is None else found.filter(household_id__in=ids)
    listed = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    rows = [(proposal, of_proposal(proposal)) for proposal in listed]
    return render(request, "devices/proposals.html", {"listed": listed, "rows": rows})


def waiting_proposals(request: HttpRequest, within: int | None) -> Waiting:
    """Return what waits in the households in which this person may install. One query; none for
    whoever may not, nor for staff, who cannot answer.
    """
    user = person(request)
    ids = [] if user.staff_role else households_for(user, Right.INSTALL, within)
    if not ids:
        return Waiting([])
    mine = Proposal.objects.filter(household_id__in=ids).for_notices(timezone.now())
    shown: list[Any] = list(mine[:MOST_NOTICES])
    return Waiting(shown, shown[0].many - len(shown) if shown else 0)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def proposal(request: HttpRequest, pk: int) -> HttpResponse:
    """One proposal, and the answer of whoever may install here."""
    found = proposal_for(request, pk)
    user, household = person(request), found.household
    if request.method == "POST":
        if not may_answer(user, household):
            refuse(request, Right.INSTALL, household, found.node)
        problem = _decide(request, found, user, actor_in(request, household))
        if problem:
            return render(
                request, "devices/proposal.html", _values(request, found, problem), status=409
            )
        return redirect("install", found.job_id) if found.job_id else redirect("proposal", pk)
    return render(request, "devices/proposal.html", _values(request, found))


def _values(request: HttpRequest, found: Proposal, problem: str = "") -> dict[str, object]:
    user = person(request)
    return _facts(found, problem) | {
        "may_decide": may(user, Right.INSTALL, found.household)
        and not verbs.why_not_decide(found, user, timezone.now()),
        "may_withdraw": found.is_undecided and may(user, Right.PROPOSE, found.household),
        "may_link": found.is_open and may_answer(user, found.household),
    }


def _facts(found: Proposal, problem: str = "") -> dict[str, object]:
    now = timezone.now()
    begins, _ends = verbs.tonight(found.household, now)
    return {
        "proposal": found,
        "problem": problem,
        "reasons": why_unfit(found.node, found.node.offer, now) if found.is_open else [],
        "night_begins": begins,
        "is_night": begins <= now,
    }


def _decide(request: HttpRequest, found: Proposal, user: User | None, actor: Actor) -> str:
    """Carry out the answer in the form; return why it could not be, or ""."""
    try:
        decision = verbs.Decision(request.POST.get("decision", ""))
    except ValueError:
        return gettext("That is no answer: choose one of the three.")
    try:
        verbs.decide(found, decision, user=user, actor=actor)
    except verbs.NotPossible as why:
        return str(why)
    return ""


@require_POST
@signed_in
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """End a proposal that was not carried out yet."""
    found = proposal_for(request, pk, Right.PROPOSE)
    try:
        verbs.withdraw(found, actor=actor_in(request, found.household))
        messages.success(request, gettext("Withdrawn. Its links no longer work."))
    except verbs.NotPossible as why:
        messages.warning(request, str(why))
    return redirect("proposal", pk)


@never_cache
@require_POST
@signed_in
def link(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a fresh link for somebody of the household who has no account."""
    found = proposal_for(request, pk, Right.INSTALL)
    if not may_answer(person(request), found.household):
        refuse(request, Right.INSTALL, found.household, found.node)
    try:
        token = verbs.renew_link(found, actor=actor_in(request, found.household))
    except verbs.NotPossible as why:
        messages.warning(request, str(why))
        return redirect("proposal", pk)
    address = settings.PUBLIC_URL + reverse("decide", args=[token])
    return render(request, "devices/proposal_link.html", {"proposal": found, "link": address})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@limited("link")
def decide(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind a link: now, tonight, or not this one. No account is needed."""
    found = verbs.by_token(token)
    if found is None:
        return render(request, "devices/proposal_over.html", status=410)
    user = request.user if isinstance(request.user, User) else None
    with timezone.override(found.household.zone):
        problem = ""
        if request.method == "POST":
            problem = _decide(request, found, user, _holder(request, found, user))
        why_not = verbs.why_not_decide(found, user, timezone.now())
        values = _facts(found, problem) | {"may_decide": not why_not, "why_not": why_not}
        return render(request, "devices/decide.html", values, status=409 if problem else 200)


def _holder(request: HttpRequest, found: Proposal, user: User | None) -> Actor:
    """Return who answers: somebody signed in, or whoever had the link."""
    if user is not None:
        return Actor(user.email, user.pk, "link", "link", **origin(request))
    whose = f" sent to {found.mailed_to}" if found.mailed_to else ""
    return Actor(f"Whoever had the link{whose}"[:254], None, "link", "link", **origin(request))
