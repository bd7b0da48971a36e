"""What people are told, by e-mail or a service; and the link in a message that ends it."""

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

from devices import channels
from devices.channel_forms import ChannelForm, ServiceForm
from devices.middleware import origin
from devices.models import Actor, Channel, Household
from devices.notices import ask_test, channel_of
from devices.policies import Right, may
from devices.services import kind_of
from devices.views.access import actor_in, household_for, person, signed_in
from devices.views.limits import limited
from devices.wake import wake_notices


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def notifications(request: HttpRequest, pk: int) -> HttpResponse:
    """What this person is told by e-mail; for owners, the household's services too."""
    household, user = household_for(request, pk), person(request)
    belongs = household.memberships.filter(user=user).exists()
    channel = channels.mail_channel(household, user)
    form = ChannelForm(request.POST if request.method == "POST" else None, channel=channel)
    if request.method == "POST" and not belongs:
        raise Http404("no such channel")
    if form.is_valid():
        channels.keep(channel, form.wishes(), actor=actor_in(request, household))
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
    return render(request, "devices/notifications.html", values)


@sensitive_post_parameters("url")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def service_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Name a service that carries the household's notices."""
    household = household_for(request, pk, Right.PEOPLE)
    return _service(request, Channel(household=household))


@sensitive_post_parameters("url")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def service(request: HttpRequest, pk: int, channel: int) -> HttpResponse:
    """What a service carries, and when."""
    return _service(request, _service_of(household_for(request, pk, Right.PEOPLE), channel))


@require_POST
@signed_in
def service_remove(request: HttpRequest, pk: int, channel: int) -> HttpResponse:
    """Forget a service and its address."""
    household = household_for(request, pk, Right.PEOPLE)
    found = _service_of(household, channel)
    channels.remove(found, actor=actor_in(request, household))
    messages.success(
        request, (gettext("“%(name)s” is removed; its address is forgotten.") % {"name": found})
    )
    return redirect("notifications", household.pk)


@require_POST
@signed_in
@limited("invite")
def test(request: HttpRequest, pk: int, channel: int) -> HttpResponse:
    """Send a test message: to oneself, or as an owner through a service."""
    household, user = household_for(request, pk), person(request)
    mine = Channel.objects.filter(household=household, user=user, pk=channel).first()
    found = mine or _service_of(household_for(request, pk, Right.PEOPLE), channel)
    ask_test(found, timezone.now())
    wake_notices()
    messages.success(
        request, gettext("A test message is on its way. What goes wrong is shown here.")
    )
    return redirect("notifications", household.pk)


@csrf_exempt  # a mail program sends it without a form of ours (RFC 8058); the token is the right
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@limited("link")
def switch_off(request: HttpRequest, token: str) -> HttpResponse:
    """End what a message's link belongs to. Looking at it ends nothing: mail scanners look too."""
    channel = channel_of(token)
    if channel is None or channel.user is None:
        return render(request, "devices/notification_off.html", {"channel": None}, status=410)
    if request.method == "POST":
        actor = Actor.person(channel.user, role="", via="link", **origin(request))
        channels.switch_off(channel, actor=actor)
    return render(request, "devices/notification_off.html", {"channel": channel})


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
            channels.keep(channel, form.wishes(), actor=actor_in(request, household))
        except channels.NotPossible as problem:
            form.add_error(None, str(problem))
        else:
            kind = kind_of(form.cleaned_data["url"])
            saved = (
                (gettext("Saved: %(name)s.") % {"name": kind.name}) if kind else gettext("Saved.")
            )
            messages.success(
                request, (gettext("%(saved)s Send a test to be sure.") % {"saved": saved})
            )
            return redirect("notifications", household.pk)
    values = {"household": household, "channel": channel, "form": form}
    return render(request, "devices/notification_service.html", values)
