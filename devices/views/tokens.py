"""Personal tokens of a household: make one, see when each was last used, revoke."""

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from devices import tokens
from devices.homelink_forms import TokenForm
from devices.models import ApiToken, Household, Scope
from devices.policies import Right, may
from devices.views.access import actor_in, household_for, person, signed_in


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def token_list(request: HttpRequest, pk: int) -> HttpResponse:
    """The tokens this person may see; a new one is shown once, in the answer that makes it."""
    household, user = household_for(request, pk), person(request)
    form = TokenForm(request.POST if request.method == "POST" else None)
    fresh = ""
    if form.is_valid():
        try:
            _, fresh = tokens.make(
                household,
                user=user,
                name=form.cleaned_data["name"],
                scope=Scope(form.cleaned_data["scope"]),
                actor=actor_in(request, household),
            )
            form = TokenForm()
        except tokens.NotPossible as problem:
            form.add_error(None, str(problem))
    values = {
        "household": household,
        "listed": _visible(request, household).filter(revoked_at=None),
        "form": form,
        "fresh": fresh,
    }
    return render(request, "devices/tokens.html", values)


@require_POST
@signed_in
def token_revoke(request: HttpRequest, pk: int, token: int) -> HttpResponse:
    """End a token of one's own; an owner, any of the household."""
    household = household_for(request, pk)
    found = get_object_or_404(_visible(request, household), pk=token)
    tokens.revoke(found, actor=actor_in(request, household))
    messages.success(
        request,
        (gettext("“%(name)s” is revoked: it opens nothing any more.") % {"name": found.name}),
    )
    return redirect("tokens", household.pk)


def _visible(request: HttpRequest, household: Household) -> "QuerySet[ApiToken]":
    user = person(request)
    found = ApiToken.objects.filter(household=household).select_related("user", "household")
    if not may(user, Right.PEOPLE, household):
        found = found.filter(user=user)
    return found.order_by("-created_at", "-pk")
