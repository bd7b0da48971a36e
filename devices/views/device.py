"""This device: what a person can turn on there, and the devices with push messages."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext, override
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.forms.notifications import ChannelForm
from devices.models import Actor, Channel, Household, PushDevice, User
from devices.models.message import NO_MESSAGE, Message
from devices.notifications import channels, push_devices, push_key
from devices.notifications.delivery import ask_test
from devices.permissions import memberships_of
from devices.presentation.device_names import device_name
from devices.security.device_cookie import device_of, remember_device
from devices.security.rate_limits import limited
from devices.security.request_origin import origin
from devices.taskqueue.wakeups import wake_notices
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    request_actor,
)


@dataclass(slots=True)
class Listed:
    """A device as its line shows it."""

    device: PushDevice
    places: list[tuple[Household, Channel]]
    sent_at: datetime | None = None
    trouble: Message = NO_MESSAGE
    trouble_at: datetime | None = None
    can_test: bool = False


@require_safe
@login_required_here
def this_device(request: HttpRequest) -> HttpResponse:
    """What a person can turn on here, and the devices on which they get push messages."""
    user = current_user(request)
    here = device_of(request)
    values = {
        "public_key": push_key.public_key(),
        "here": here if here is not None and here.user_id == user.pk else None,
        "devices": [_listed(user, device) for device in push_devices.listed(user)],
        "may_keep": not user.staff_role,
    }
    return render(request, "devices/device/device.html", values)


def _listed(user: User, device: PushDevice) -> Listed:
    channels_by_home = {one.household_id: one for one in device.channels.all()}
    places = [
        (one.household, channels_by_home.get(one.household_id) or Channel(is_on=False))
        for one in memberships_of(user)
    ]
    known = [channel for _, channel in places if channel.pk]
    troubled = next((one for one in known if one.trouble), None)
    return Listed(
        device,
        places,
        sent_at=max((one.sent_at for one in known if one.sent_at), default=None),
        trouble=troubled.trouble if troubled is not None else NO_MESSAGE,
        trouble_at=troubled.trouble_at if troubled is not None else None,
        can_test=bool(known),
    )


@sensitive_post_parameters("endpoint", "p256dh", "auth")
@require_POST
@login_required_here
@limited("push")
def push_add(request: HttpRequest) -> HttpResponse:
    """Take what the browser gave, so that this device gets push messages."""
    user, browser = current_user(request), request.headers.get("User-Agent", "")
    answer = redirect("this_device")
    with override(settings.LANGUAGE_CODE):  # the trail is kept in one language
        name = device_name(browser)
    given = [request.POST.get(part, "") for part in ("endpoint", "p256dh", "auth")]
    try:
        if not memberships_of(user):
            raise channels.ChannelError(gettext("Only members of a household get notifications."))
        device = push_devices.add(
            user,
            push_devices.read_subscription(*given),
            name=name,
            browser=browser,
            actor=request_actor(request),
        )
    except channels.ChannelError as problem:
        messages.warning(request, str(problem))
        return answer
    messages.success(request, gettext("Notifications are on for this device. Send a test."))
    remember_device(answer, device)
    return answer


@sensitive_post_parameters("old", "endpoint", "p256dh", "auth")
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@limited("push")
def push_renew(request: HttpRequest) -> HttpResponse:
    """Take the address that a browser gave its push device by itself; 404 for any other browser.

    The cookie says which device this browser is. It opens nothing alone: the browser names the old
    address too, which only it and we know, or its person is signed in. A GET answers what the
    service worker needs for that: the key to subscribe with, and the token of a form.
    """
    device = device_of(request)
    if device is None or not device.user.is_active:
        raise Http404("no device of ours")
    if request.method != "POST":
        return JsonResponse({"key": push_key.public_key(), "token": get_token(request)})
    old = request.POST.get("old", "")
    is_known = push_devices.is_address_of(device, old) if old else request.user == device.user
    if not is_known:
        raise Http404("another device")
    given = [request.POST.get(part, "") for part in ("endpoint", "p256dh", "auth")]
    actor = Actor.person(device.user, role=device.user.staff_role, via="push", **origin(request))
    try:
        device = push_devices.renew(device, push_devices.read_subscription(*given), actor=actor)
    except channels.ChannelError as problem:
        return HttpResponse(str(problem), status=409, content_type="text/plain; charset=utf-8")
    answer = HttpResponse(status=204)
    remember_device(answer, device)
    return answer


@require_POST
@login_required_here
def push_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """End the push messages to a device of one's own."""
    device = get_object_or_404(PushDevice, pk=pk, user=current_user(request))
    push_devices.remove(device, actor=request_actor(request))
    messages.success(request, gettext("Removed. Nothing more is sent there."))
    return redirect("this_device")


@require_POST
@login_required_here
@limited("push")
def push_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a test to a device of one's own."""
    user = current_user(request)
    device = get_object_or_404(PushDevice, pk=pk, user=user)
    ids = [one.household_id for one in memberships_of(user)]
    channel = device.channels.filter(household__in=ids).select_related("household").first()
    if channel is None:
        raise Http404("a device without a household")
    ask_test(channel, timezone.now())
    wake_notices()
    messages.success(request, gettext("Sending a test message. Any problem will be shown here."))
    return redirect("this_device")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def notification_device(request: HttpRequest, pk: int, device: int) -> HttpResponse:
    """What one device shows about one household, and when."""
    household, user = get_household_or_404(request, pk), current_user(request)
    found = get_object_or_404(PushDevice, pk=device, user=user)
    if household.pk not in {one.household_id for one in memberships_of(user)}:
        raise Http404("no such channel")
    channel = push_devices.channel_for(household, found)
    form = ChannelForm(request.POST if request.method == "POST" else None, channel=channel)
    if form.is_valid():
        channels.keep(channel, form.wishes(), actor=request_actor(request, household))
        messages.success(request, gettext("Saved."))
        return redirect("this_device")
    name = device_name(found.browser) or found.name
    values = {"household": household, "form": form, "name": name}
    return render(request, "devices/notifications/device.html", values)
