"""How politely a cloud account is asked: the calls of today, what comes next, what waits."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from devices.fleet.looking import pause_of
from devices.models import Node, database_clock
from devices.permissions import Right, mask_people
from devices.presentation.cloud_calls import asked_next, back_offs, calls_today
from devices.views.access import current_user, get_account_or_404, login_required_here
from devices.worker.runner import THREADS_PER_ACCOUNT


@require_safe
@login_required_here
def account_calls(request: HttpRequest, pk: int) -> HttpResponse:
    """Everything that is stored about the calls of one account; no cloud is asked for it."""
    account, now = get_account_or_404(request, pk, Right.LOOK), database_clock.now()
    mask_people(current_user(request), account, account.household_id)
    calls = calls_today(account, now)
    hubs = Node.objects.present().filter(account=account).count()
    values = {
        "account": account,
        "calls": calls,
        "total": sum(n for _, n in calls),
        "next": asked_next(account, now),
        "back_offs": back_offs(account, now),
        "at_once": THREADS_PER_ACCOUNT,
        "pause": pause_of(account, hubs, now),
    }
    return render(request, "devices/accounts/calls.html", values)
