"""Home Assistant in a household's settings: what it sees and may do, and how its line stands."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices import homelink
from devices.broker import BrokerUnusable
from devices.homelink_forms import HomeAssistantForm
from devices.models import Beat, HomeAssistantLink, LineState, Node, Unsealable
from devices.models.beat import BRIDGE
from devices.policies import Right
from devices.views.access import actor_in, household_for, person, signed_in
from devices.views.homeassistant_yaml import SECRETS, configuration
from devices.views.live import mark_of

SILENT_AFTER = timedelta(seconds=30)
TEST_GIVEN_UP_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class LineNow:
    """How the line to the broker is, for people: what is, what to do."""

    words: str
    tone: str
    icon: str
    sentence: str


TROUBLES = {
    "unreachable": gettext_lazy(
        "The broker does not answer. Is it running, and are address and port right?"
    ),
    "refused": gettext_lazy(
        "The broker answers and does not let us in: user name or password is wrong."
    ),
    "not_trusted": gettext_lazy(
        "The broker's certificate is not trusted, or it does not trust ours."
    ),
    "lost": gettext_lazy("The connection to the broker ended."),
    "unusable": gettext_lazy(
        "The broker's address or a certificate cannot be used: enter it again."
    ),
    "unsealable": gettext_lazy(
        "The stored address cannot be opened with this server's keys: enter it again."
    ),
    "no_broker": gettext_lazy("This server has no broker: name one of your own below."),
}
GOES_ON = gettext_lazy(
    "It is tried again by itself, at least once a minute. Installs and pages do not wait for it."
)


@sensitive_post_parameters("broker_url", "client_pem")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def home_assistant(request: HttpRequest, pk: int) -> HttpResponse:
    """What Home Assistant sees and may do."""
    household = household_for(request, pk, Right.PEOPLE)
    link = homelink.link_of(household)
    nodes = Node.objects.present().filter(account__household=household).order_by("name", "pk")
    posted = request.POST if request.method == "POST" else None
    form = HomeAssistantForm(posted, link=link, nodes=nodes)
    if form.is_valid():
        try:
            homelink.change(
                household,
                form.wishes(),
                user=person(request),
                actor=actor_in(request, household),
            )
        except homelink.NotPossible as problem:
            form.add_error(problem.field, str(problem))
        else:
            messages.success(request, gettext("Saved. Home Assistant follows within seconds."))
            return redirect("home_assistant", household.pk)
    values = _line(link) | {
        "form": form,
        "household": household,
        "is_off": not settings.MQTT_URL and not link.has_own_broker,
        "secrets": SECRETS,
        "configuration": configuration(nodes),
    }
    return render(request, "devices/home_assistant.html", values)


@require_safe
@signed_in
def home_assistant_live(request: HttpRequest, pk: int) -> HttpResponse:
    """How the line stands, as a fragment; 204 without a body when nothing changed."""
    household = household_for(request, pk, Right.PEOPLE)
    values = _line(homelink.link_of(household)) | {"household": household}
    if request.GET.get("v") == values["mark"]:
        return HttpResponse(status=204)
    return render(request, "devices/_home_assistant_line.html", values)


@require_POST
@signed_in
def home_assistant_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a message to the broker and wait for it to come back."""
    household = household_for(request, pk, Right.PEOPLE)
    link = homelink.link_of(household)
    if link.pk and link.is_on:
        homelink.ask_test(link)
    else:
        messages.warning(request, gettext("There is nothing to test: the hubs are not shown."))
    return redirect("home_assistant", household.pk)


def _line(link: HomeAssistantLink) -> dict[str, object]:
    asked_at, answered_at = link.test_asked_at, link.test_answered_at
    is_late = asked_at is not None and timezone.now() - asked_at > TEST_GIVEN_UP_AFTER
    took_s = None
    if not link.is_testing and asked_at is not None and answered_at is not None:
        took_s = (answered_at - asked_at).total_seconds()
    told = {
        "line": _stands(link, Beat.is_alive(BRIDGE, SILENT_AFTER)),
        "broker": _broker_name(link),
        "is_testing": link.is_testing and not is_late,
        "test_gave_up": link.is_testing and is_late,
        "test_took_s": took_s,
    }
    mark = mark_of(told, link.state, link.state_at, link.announced_hubs)
    return told | {"link": link, "mark": mark}


def _stands(link: HomeAssistantLink, is_alive: bool) -> LineNow:
    if not link.is_on:
        return LineNow(
            gettext("Off"), "quiet", "dash", gettext("Home Assistant sees none of these hubs.")
        )
    if not is_alive:
        return LineNow(
            gettext("The bridge is not running"),
            "attention",
            "alert",
            gettext(
                "It starts by itself, seconds after a broker was named. If it does not, ask "
                "whoever runs this server to restart it."
            ),
        )
    if link.state == LineState.CONNECTED:
        return LineNow(
            gettext("Connected"),
            "good",
            "check",
            gettext("Home Assistant is told of every change."),
        )
    if link.state == LineState.LOST:
        told = TROUBLES.get(link.trouble, TROUBLES["lost"])
        return LineNow(gettext("No connection"), "attention", "alert", f"{told} {GOES_ON}")
    return LineNow(
        gettext("Being connected"), "running", "clock", gettext("This takes a few seconds.")
    )


def _broker_name(link: HomeAssistantLink) -> str:
    """Return host and port, never more."""
    try:
        broker = homelink.broker_of(link)
    except (BrokerUnusable, Unsealable):
        return ""
    return str(broker) if broker is not None else ""
