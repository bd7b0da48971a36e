"""The page of one household: what happened, what notifications it got, and what can be done."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language_info
from django.views.decorators.http import require_safe

from devices.households.last_contact import last_contact
from devices.models import Plan, Proposal
from devices.permissions import Right, looks_only, mask_people, may, may_answer
from devices.presentation.badges import of_account, of_plan, of_proposal
from devices.presentation.support_summary import language_for, summary_of
from devices.presentation.timeline import Place, household_timeline
from devices.views.access import current_user, get_household_or_404, login_required_here

MOST = 10


@require_safe
@login_required_here
def household(request: HttpRequest, pk: int) -> HttpResponse:
    """Everything about one household that helps to help it."""
    found, user, now = get_household_or_404(request, pk), current_user(request), timezone.now()
    place = Place.read(request.GET.get("before", ""))
    page = household_timeline(found, place)
    is_masked = found.pk in looks_only(user)
    proposals = Proposal.objects.undecided(now).filter(household=found, plan=None)
    plans = Plan.objects.waiting().filter(household=found).for_list()
    language = language_for(found)
    contact = last_contact(found)
    values = {
        "household": found,
        "lines": [line.masked() for line in page.lines] if is_masked else page.lines,
        "older": page.older,
        "is_first": place is None,
        "contact": contact,
        "accounts": [
            (mask_people(user, one, found.pk), of_account(one)) for one in contact.accounts
        ],
        "proposals": [
            (mask_people(user, one, found.pk), of_proposal(one))
            for one in proposals.order_by("hub_name", "pk")[: MOST + 1]
        ],
        "plans": [
            (mask_people(user, one, found.pk), of_plan(one, found)) for one in plans[: MOST + 1]
        ],
        "most": MOST,
        # no page but the first needs them
        "summary": summary_of(found, now) if place is None else "",
        "summary_language": get_language_info(language)["name_local"],
        "summary_code": language,
        "may_propose": bool(user.staff_role) and may(user, Right.PROPOSE, found),
        "may_answer": may_answer(user, found),
        "lets_support_in": found.support_until is not None and found.support_until > now,
    }
    return render(request, "devices/households/household.html", values)
