"""Named views of the list of hubs. The address of the list says all that a view holds."""

from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from devices.forms.names import NameField
from devices.models import SavedView
from devices.models.saved_view import MOST_VIEWS
from devices.views.access import current_user, login_required_here
from devices.views.form_drafts import page_or_hubs
from devices.views.hub_filters import HubFilter


class ViewForm(forms.Form):
    """The name of a view, and whether staff share it."""

    name = NameField(max_length=40)
    is_shared = forms.BooleanField(required=False)


@require_POST
@login_required_here
def view_save(request: HttpRequest) -> HttpResponse:
    """Keep the filters and the order of the page this was sent from, under a name; the same name
    again takes the place of the earlier one.
    """
    user, page = current_user(request), page_or_hubs(request)
    form = ViewForm(request.POST)
    asked = urlsplit(page)
    is_list = asked.path == reverse("hubs")
    wish = HubFilter.read(QueryDict(asked.query if is_list else ""))
    query = wish.query(with_page=False)
    mine = SavedView.objects.filter(user=user)
    if not form.is_valid():
        messages.warning(request, gettext("The view needs a name of up to 40 characters."))
    elif not mine.filter(name=form.cleaned_data["name"]).exists() and mine.count() >= MOST_VIEWS:
        words = gettext("You can keep up to %(n)s views. Remove one first.")
        messages.warning(request, words % {"n": MOST_VIEWS})
    else:
        is_shared = form.cleaned_data["is_shared"] and bool(user.staff_role)
        view, _ = mine.update_or_create(
            user=user,
            name=form.cleaned_data["name"],
            defaults={"query": query, "is_shared": is_shared},
        )
        messages.success(request, gettext("Saved as “%(name)s”.") % {"name": view})
    return redirect(page)


@require_POST
@login_required_here
def view_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget one of this person's own views."""
    view = get_object_or_404(SavedView, pk=pk, user=current_user(request))
    view.delete()
    messages.success(request, gettext("“%(name)s” is removed.") % {"name": view})
    return redirect(reverse("hubs"))
