"""Notification settings for e-mail and services, and the unsubscribe link of a message."""

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from devices.forms.notifications import ChannelForm, ServiceForm
from devices.models import Actor, Channel, Household
from devices.notifications import channels
from devices.notifications.delivery import ask_test, channel_of
from devices.notifications.providers import kind_of
from devices.permissions import Right, may
from devices.security.rate_limits import limited
from devices.security.request_origin import origin
from devices.taskqueue.wakeups import wake_notices
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    request_actor,
)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def notifications(request: HttpRequest, pk: int) -> HttpResponse:
    """The person's e-mail notifications; for owners, the household's services too."""
    household, user = get_household_or_404(request, pk), current_user(request)
    belongs = household.memberships.filter(user=user).exists()
    channel = channels.mail_channel(household, user)
    form = ChannelForm(request.POST if request.method == "POST" else None, channel=channel)
    if request.method == "POST" and not belongs:
        raise Http404("no such channel")
    if form.is_valid():
        channels.keep(channel, form.wishes(), actor=request_actor(request, household))
        messages.success(request, gettext("Saved."))
        return redirect("notifications", household.pk)
    may_change = may(user, Right.PEOPLE, household)
    values = {
        "household": household,
        "form": form if belongs else None,
        "channel": channel,
        "email": user.email,
        "has_mail_server": settings.HAS_MAIL_SERVER,
        "may_change": may_change,
        "services": channels.services_of(household) if may_change else [],
    }
    return render(request, "devices/notifications/settings.html", values)


@sensitive_post_parameters("url")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def service_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Add a service that receives the household's notifications."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    return _service(request, Channel(household=household))


@sensitive_post_parameters("url")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def service(request: HttpRequest, pk: int, channel: int) -> HttpResponse:
    """Which notifications a service receives, and when."""
    return _service(request, _service_of(get_household_or_404(request, pk, Right.PEOPLE), channel))


@require_POST
@login_required_here
def service_remove(request: HttpRequest, pk: int, channel: int) -> HttpResponse:
    """Remove a service and its address."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    found = _service_of(household, channel)
    channels.remove(found, actor=request_actor(request, household))
    messages.success(
        request, (gettext("“%(name)s” was removed and its address deleted.") % {"name": found})
    )
    return redirect("notifications", household.pk)


@require_POST
@login_required_here
@limited("invite")
def test(request: HttpRequest, pk: int, channel: int) -> HttpResponse:
    """Send a test message by e-mail, or as an owner through a service."""
    household, user = get_household_or_404(request, pk), current_user(request)
    mine = Channel.objects.filter(household=household, user=user, pk=channel).first()
    found = mine or _service_of(get_household_or_404(request, pk, Right.PEOPLE), channel)
    ask_test(found, timezone.now())
    wake_notices()
    messages.success(request, gettext("Sending a test message. Any problem will be shown here."))
    return redirect("notifications", household.pk)


@csrf_exempt  # mail programs post it without our form (RFC 8058); the token is the permission
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@limited("link")
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Unsubscribe by the link of a message. A GET changes nothing: mail scanners open links too."""
    channel = channel_of(token)
    if channel is None or channel.user is None:
        return render(
            request, "devices/notifications/unsubscribe.html", {"channel": None}, status=410
        )
    if request.method == "POST":
        actor = Actor.person(channel.user, role="", via="link", **origin(request))
        channels.switch_off(channel, actor=actor)
    return render(request, "devices/notifications/unsubscribe.html", {"channel": channel})


def _service_of(household: Household, pk: int) -> Channel:
    found = Channel.objects.filter(household=household, user=None, pk=pk).first()
    if found is None:
        raise Http404("no such service")
    return found


def _service(request: HttpRequest, channel: Channel) -> HttpResponse:
    household = channel.household
    form = ServiceForm(request.POST if request.method == "POST" else None, channel=channel)
    if form.is_valid():
        try:
            channels.keep(channel, form.wishes(), actor=request_actor(request, household))
        except channels.ChannelError as problem:
            form.add_error(None, str(problem))
        else:
            kind = kind_of(form.cleaned_data["url"])
            saved = (
                (gettext("Saved: %(name)s.") % {"name": kind.name}) if kind else gettext("Saved.")
            )
            messages.success(
                request, (gettext("%(saved)s Send a test to check it.") % {"saved": saved})
            )
            return redirect("notifications", household.pk)
    values = {"household": household, "channel": channel, "form": form}
    return render(request, "devices/notifications/service.html", values)
