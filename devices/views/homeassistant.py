"""Home Assistant in a household's settings: what it sees and may do, and its connection."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.forms.home_assistant import HomeAssistantForm
from devices.homeassistant import settings as homeassistant_settings
from devices.homeassistant.broker import BrokerUnusable
from devices.homeassistant.snapshot import home_of
from devices.models import Beat, HomeAssistantLink, LineState, Node
from devices.models.lease import BRIDGE
from devices.models.parsing import parse_pks
from devices.permissions import Right
from devices.security.encryption import DecryptionError
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    request_actor,
)
from devices.views.homeassistant_yaml import SECRETS, configuration, left_out
from devices.views.partials import etag_of

HUBS_PER_PAGE = 100
SILENT_AFTER = timedelta(seconds=30)
TEST_GIVEN_UP_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class ConnectionNow:
    """The state of the connection to the broker, for people, and what to do."""

    words: str
    tone: str
    icon: str
    sentence: str


TROUBLES = {
    "unreachable": gettext_lazy(
        "The broker does not answer. Check that it is running and that the address and port "
        "are correct."
    ),
    "refused": gettext_lazy("The broker refused the connection. Check the user name and password."),
    "not_trusted": gettext_lazy(
        "The broker's certificate is not trusted, or the broker does not trust ours."
    ),
    "lost": gettext_lazy("The connection to the broker was lost."),
    "unusable": gettext_lazy("The broker's address or a certificate is not valid. Enter it again."),
    "unsealable": gettext_lazy(
        "The stored address cannot be decrypted with this server's keys. Enter it again."
    ),
    "no_broker": gettext_lazy("This server has no broker. Enter your own below."),
}
GOES_ON = gettext_lazy(
    "We retry automatically at least once a minute. Installs and pages are not affected."
)


@sensitive_post_parameters("broker_url", "client_pem")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def home_assistant(request: HttpRequest, pk: int) -> HttpResponse:
    """What Home Assistant sees and may do."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    link = homeassistant_settings.link_of(household)
    nodes = (
        Node.objects.present_once(is_oldest=True)
        .filter(account__household=household)
        .order_by("name", "pk")
    )
    posted = request.POST if request.method == "POST" else None
    listed = Paginator(nodes, HUBS_PER_PAGE).get_page(request.GET.get("page"))
    shown = [node.pk for node in listed]
    if "shown" in request.POST:  # what the form showed: meanwhile the list may have changed
        shown = parse_pks(request.POST["shown"].split(","))[:HUBS_PER_PAGE]
    form = HomeAssistantForm(posted, link=link, nodes=nodes, shown=shown)
    if form.is_valid():
        try:
            homeassistant_settings.change(
                household,
                form.wishes(),
                user=current_user(request),
                actor=request_actor(request, household),
            )
        except homeassistant_settings.SettingsError as problem:
            form.add_error(problem.field, str(problem))
        else:
            messages.success(request, gettext("Saved. The changes will be sent to Home Assistant."))
            return redirect(request.get_full_path())
    values = _connection(link) | {
        "form": form,
        "listed": listed,
        "household": household,
        "is_off": not settings.MQTT_URL and not link.has_own_broker,
        "secrets": SECRETS,
        "configuration": configuration(nodes),
        "left_out": left_out(nodes),
        "access_rules": home_of(link).access_rules() if link.is_on else "",
    }
    return render(request, "devices/home_assistant/settings.html", values)


@require_safe
@login_required_here
def home_assistant_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The state of the connection, as a fragment; 204 without a body when nothing changed."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    values = _connection(homeassistant_settings.link_of(household)) | {"household": household}
    if request.GET.get("v") == values["mark"]:
        return HttpResponse(status=204)
    return render(request, "devices/home_assistant/partials/connection.fragment.html", values)


@require_POST
@login_required_here
def home_assistant_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a message to the broker and wait for it to come back."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    link = homeassistant_settings.link_of(household)
    if link.pk and link.is_on:
        homeassistant_settings.ask_test(link)
    else:
        messages.warning(
            request, gettext("Nothing to test: the connection to Home Assistant is off.")
        )
    return redirect("home_assistant", household.pk)


def _connection(link: HomeAssistantLink) -> dict[str, object]:
    asked_at, answered_at = link.test_asked_at, link.test_answered_at
    is_late = asked_at is not None and timezone.now() - asked_at > TEST_GIVEN_UP_AFTER
    took_s = None
    if not link.is_testing and asked_at is not None and answered_at is not None:
        took_s = (answered_at - asked_at).total_seconds()
    values = {
        "line": _state(link, Beat.is_alive(BRIDGE, SILENT_AFTER)),
        "broker": _broker_name(link),
        "is_testing": link.is_testing and not is_late,
        "test_gave_up": link.is_testing and is_late,
        "test_took_s": took_s,
    }
    mark = etag_of(values, link.state, link.state_at, link.announced_hubs)
    return values | {"link": link, "mark": mark}


def _state(link: HomeAssistantLink, is_alive: bool) -> ConnectionNow:
    if not link.is_on:
        return ConnectionNow(
            gettext("Off"), "quiet", "dash", gettext("Home Assistant sees none of these hubs.")
        )
    if not is_alive:
        return ConnectionNow(
            gettext("The bridge is not running"),
            "attention",
            "alert",
            gettext(
                "It starts automatically a few seconds after a broker is set. If it does not, "
                "ask the administrator to restart this server."
            ),
        )
    if link.state == LineState.CONNECTED:
        return ConnectionNow(
            gettext("Connected"),
            "good",
            "check",
            gettext("Every change is sent to Home Assistant."),
        )
    if link.state == LineState.LOST:
        trouble = TROUBLES.get(link.trouble, TROUBLES["lost"])
        return ConnectionNow(gettext("No connection"), "attention", "alert", f"{trouble} {GOES_ON}")
    return ConnectionNow(
        gettext("Connecting"), "running", "clock", gettext("This takes a few seconds.")
    )


def _broker_name(link: HomeAssistantLink) -> str:
    """Return host and port, never more."""
    try:
        broker = homeassistant_settings.broker_of(link)
    except (BrokerUnusable, DecryptionError):
        return ""
    return str(broker) if broker is not None else ""
