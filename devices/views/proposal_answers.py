"""Answering proposals, one or several at once: signed in, or by a link that needs no account.

Looking at a link decides nothing: mail scanners look too.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from devices.installs.eligibility import busy_hubs, why_unfit
from devices.models import Actor, Household, Node, Proposal, User, When
from devices.models.parsing import parse_pks
from devices.permissions import Right, mask_people, may_answer, proposals_for, who_answers
from devices.planning.plans import PlanError, Timing, read_timing, tonight
from devices.planning.proposal_links import Link, open_link
from devices.planning.proposals import (
    Answers,
    Decision,
    ProposalError,
    decide,
    decide_all,
    why_not_decide,
)
from devices.presentation.badges import of_proposal
from devices.presentation.formatting import number
from devices.security.rate_limits import limited
from devices.security.request_origin import origin
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    refuse,
    request_actor,
)
from devices.views.moments import choices_of, chosen_in, posted_when, time_in

# A household that is proposed more at once answers the first of them first.
MOST = 100


def facts_of(found: Proposal, problem: str = "") -> dict[str, object]:
    """Return what a page shows of one proposal and its answers."""
    now = timezone.now()
    begins, _ends = tonight(found.household, now)
    return {
        "proposal": found,
        "problem": problem,
        "reasons": why_unfit(found.node, found.node.offer) if found.is_open else [],
        "night_begins": begins,
        "is_night": begins <= now,
        "choices": [
            one
            for one in choices_of(found.household, is_online=True, with_now=False, with_online=True)
            if one.value != When.TONIGHT
        ],
    }


def give_answer(
    request: HttpRequest, found: Proposal, user: User, actor: Actor, token: str = ""
) -> str:
    """Carry out the answer in the form; return why it could not be, or ""."""
    try:
        decision = Decision(request.POST.get("decision", ""))
    except ValueError:
        return gettext("Choose one of the three answers.")
    timing = None
    try:
        if decision is Decision.LATER:
            timing = read_timing(posted_when(request), found.household, timezone.now())
        decide(found, decision, user=user, actor=actor, token=token, timing=timing)
    except (ProposalError, PlanError) as why:
        return str(why)
    return ""


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@limited("link")
def answer(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind a link: now, tonight, or not this version. No account is needed."""
    opened = open_link(token)
    if opened is None:
        return render(request, "devices/proposals/link_expired.html", status=410)
    household = opened.household
    user = who_answers(request.user, opened.answers_as, household)
    name = user.email if user == request.user else opened.name
    actor = Actor(name[:254], user.pk, "link", "link", **origin(request))
    with timezone.override(household.zone):
        if len(opened.proposals) > 1:
            return _answer_several(request, opened, user, actor, token)
        found, problem = opened.proposals[0], ""
        if request.method == "POST":
            problem = give_answer(request, found, user, actor, token)
        why_not = why_not_decide(found, user, timezone.now())
        values = facts_of(found, problem) | {"may_decide": not why_not, "why_not": why_not}
        return render(
            request, "devices/proposals/decide.html", values, status=409 if problem else 200
        )


def _answer_several(
    request: HttpRequest, opened: Link, user: User, actor: Actor, token: str
) -> HttpResponse:
    """The page behind a link to several proposals."""
    problem, answers = "", Answers()
    if request.method == "POST":
        problem, answers = _give_answers(request, opened.proposals, user, actor, token)
    values = _several(request, opened.household, opened.proposals, user, problem, answers)
    values |= {"is_link": True, "answered": len(answers.given)}
    return render(request, "devices/proposals/several.html", values, status=values["status"])


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def household_proposals(request: HttpRequest, pk: int) -> HttpResponse:
    """All proposals to one household that wait for an answer, to be answered together."""
    household, user = get_household_or_404(request, pk), current_user(request)
    waiting = proposals_for(user).filter(household=household).undecided(timezone.now())
    found = list(waiting.order_by("hub_name", "pk")[:MOST])
    problem, answers = "", Answers()
    if request.method == "POST":
        if not may_answer(user, household):
            refuse(request, Right.INSTALL, household, None)
        actor = request_actor(request, household)
        problem, answers = _give_answers(request, found, user, actor)
        if answers.given:
            n = len(answers.given)
            words = ngettext("Answered for %(n)s hub.", "Answered for %(n)s hubs.", n)
            messages.success(request, words % {"n": number(n)})
        if not problem and not answers.problems:
            if answers.queue is not None:
                return redirect("queue", answers.queue.pk)
            return redirect("household_proposals", household.pk)
    for one in found:
        mask_people(user, one, household.pk)
    values = _several(request, household, found, user, problem, answers)
    return render(request, "devices/proposals/several.html", values, status=values["status"])


def _give_answers(
    request: HttpRequest, found: Sequence[Proposal], user: User, actor: Actor, token: str = ""
) -> tuple[str, Answers]:
    """Carry out the answer in the form for the proposals whose tick was left. Return why nothing
    was done, or "", and what became of each.
    """
    ticked = parse_pks(request.POST.getlist("tick"))
    chosen = [one for one in found if one.pk in ticked and one.is_open]
    if not chosen:
        return gettext("No hub was selected."), Answers()
    try:
        decision, timing = _decision(request, chosen[0].household)
    except PlanError as why:
        return str(why), Answers()
    given = decide_all(chosen, decision, user=user, actor=actor, token=token, timing=timing)
    return "", given


def _decision(request: HttpRequest, household: Household) -> tuple[Decision, Timing | None]:
    """Return the answer in the form, and when it may start. Raises PlanError."""
    asked = request.POST.get("decision", "")
    if asked not in {"yes", Decision.NO}:
        raise PlanError(gettext("Choose one of the three answers."))
    if asked == Decision.NO:
        return Decision.NO, None
    when = posted_when(request)
    if when == When.TONIGHT:  # this night, as the button of one proposal says
        return Decision.TONIGHT, None
    timing = read_timing(when, household, timezone.now())
    return (Decision.NOW, None) if timing is None else (Decision.LATER, timing)


def _several(
    request: HttpRequest,
    household: Household,
    found: Sequence[Proposal],
    user: User,
    problem: str,
    answers: Answers,
) -> dict[str, Any]:
    """Return what the page of several proposals shows. Three queries."""
    now = timezone.now()
    # ticks that were taken away stay away when the form is shown again
    ticked = set(parse_pks(request.POST.getlist("tick"))) if request.method == "POST" else None
    nodes = Node.objects.with_offers().in_bulk([one.node_id for one in found])
    busy = busy_hubs(nodes.values())
    waiting = [one for one in found if one.is_open and one.expires_at > now]
    may_decide = bool(waiting) and not why_not_decide(waiting[0], user, now)
    choices = [
        replace(one, about=gettext("one after the other")) if one.value == When.NOW else one
        for one in choices_of(household, is_online=True, with_online=True)
    ]
    return {
        "household": household,
        "waiting": [
            {
                "proposal": one,
                "node": nodes[one.node_id],
                "is_ticked": ticked is None or one.pk in ticked,
                "problem": answers.problems.get(one.pk, ""),
                "reasons": why_unfit(nodes[one.node_id], nodes[one.node_id].offer, busy),
            }
            for one in waiting
        ],
        "decided": [(one, of_proposal(one)) for one in found if one not in waiting],
        "first": found[0] if found else None,
        "words": list(dict.fromkeys(one.words for one in waiting if one.words)),
        "why_not": why_not_decide(found[0], user, now) if found and not may_decide else [],
        "may_decide": may_decide,
        "is_staff": bool(user.staff_role),
        "problem": problem,
        "choices": choices,
        "chosen": chosen_in(request, choices),
        "at": time_in(request),
        "status": 409 if problem or answers.problems else 200,
    }
