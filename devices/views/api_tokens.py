"""Personal tokens of a household: make one, see when each was last used, revoke."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from devices.forms.api_tokens import TokenForm
from devices.households import api_tokens
from devices.models import ApiToken, Household, Scope
from devices.permissions import Right, may
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    request_actor,
)
from devices.views.form_drafts import page_or_hubs

PER_PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required_here
def token_list(request: HttpRequest, pk: int) -> HttpResponse:
    """The tokens this person may see; a new one is shown once, in the answer that makes it."""
    household, user = get_household_or_404(request, pk), current_user(request)
    form = TokenForm(request.POST if request.method == "POST" else None)
    fresh = ""
    if form.is_valid():
        try:
            _, fresh = api_tokens.make(
                household,
                user=user,
                name=form.cleaned_data["name"],
                scope=Scope(form.cleaned_data["scope"]),
                actor=request_actor(request, household),
            )
            form = TokenForm()
        except api_tokens.TokenError as problem:
            form.add_error(None, str(problem))
    valid = _visible(request, household).filter(revoked_at=None)
    values = {
        "household": household,
        "listed": Paginator(valid, PER_PAGE).get_page(request.GET.get("page")),
        "form": form,
        "fresh": fresh,
    }
    return render(request, "devices/households/api_tokens.html", values)


@require_POST
@login_required_here
def token_revoke(request: HttpRequest, pk: int, token: int) -> HttpResponse:
    """End a token of one's own; an owner, any of the household."""
    household = get_household_or_404(request, pk)
    found = get_object_or_404(_visible(request, household), pk=token)
    api_tokens.revoke(found, actor=request_actor(request, household))
    messages.success(
        request, (gettext("“%(name)s” was revoked and no longer works.") % {"name": found.name})
    )
    return redirect(page_or_hubs(request))


def _visible(request: HttpRequest, household: Household) -> "QuerySet[ApiToken]":
    user = current_user(request)
    found = ApiToken.objects.filter(household=household).select_related("user", "household")
    if not may(user, Right.PEOPLE, household):
        found = found.filter(user=user)
    return found.order_by("-created_at", "-pk")
