"""What a device needs beside the pages: the manifest and the worker of the app, and what it shows
without a connection.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext, override, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from devices.fleet.attention import ATTENTION_OF, SHOWN, hubs_of
from devices.models import Node
from devices.models.attention import Attention
from devices.views.access import current_user, login_required_here

MOST_KEPT = 200
PAPER = "#f8f5ef"
ICONS = (
    ("app-192.png", "192x192", "any"),
    ("app-512.png", "512x512", "any"),
    ("app-maskable-512.png", "512x512", "maskable"),
)


@dataclass(frozen=True, slots=True)
class KeptRow:
    """One hub as the kept list shows it."""

    node: Node
    standing: str


@require_safe
def offline(request: HttpRequest) -> HttpResponse:
    """The page that a device shows without a connection when it keeps no list."""
    return render(request, "devices/device/offline.html")


@require_safe
@never_cache
@login_required_here
def offline_list(request: HttpRequest) -> HttpResponse:
    """The list of hubs that a device keeps for times without a connection.

    The header says for whom, so that the device deletes it when another person signs in there.
    """
    user = current_user(request)
    if user.staff_role:
        raise PermissionDenied(gettext("Staff keep no lists of hubs on their devices."))
    hubs = hubs_of(user)
    nodes = hubs.for_list().order_by("account__household__name", "name", "pk")[:MOST_KEPT]
    rows = [KeptRow(node, _standing_then(node)) for node in nodes]
    more = hubs.count() - len(rows) if len(rows) == MOST_KEPT else 0
    values = {"rows": rows, "more": more, "now": timezone.now()}
    answer = render(request, "devices/device/offline_list.html", values)
    whose = f"{user.pk}:{user.access_epoch}"
    answer["Kept-For"] = salted_hmac("kept list", whose, algorithm="sha256").hexdigest()[:32]
    return answer


def _standing_then(node: Node) -> str:
    """Return how a hub is, in words that stay true of that moment: no "today", no "ago"."""
    attention = Attention(getattr(node, "attention", Attention.NONE))
    kind = next((key for key, kinds in ATTENTION_OF.items() if attention in kinds), "")
    online = {True: pgettext("hub", "Online"), False: str(SHOWN["offline"])}
    words = [online.get(node.is_online) if node.is_online is not None else ""]
    words.append(str(SHOWN[kind]) if kind else "")
    return " · ".join(filter(None, words)) or gettext("online status unknown")


@require_safe
def manifest(request: HttpRequest, language: str) -> HttpResponse:
    """What a device needs to install the pages as an app, in this language."""
    if language not in dict(settings.LANGUAGES):
        raise Http404("no such language")
    with override(language):
        values = {
            "id": "/",
            "lang": language,
            "name": f"{gettext('Hubs')} · Thermacell Web",
            "short_name": gettext("Hubs"),
            "description": gettext("The firmware of your Thermacell hubs."),
            "start_url": reverse("hubs"),
            "scope": "/",
            "display": "standalone",
            "background_color": PAPER,
            "theme_color": PAPER,
            "icons": [
                {"src": static(f"icons/{name}"), "sizes": sizes, "purpose": purpose}
                | {"type": "image/png"}
                for name, sizes, purpose in ICONS
            ],
            "shortcuts": [{"name": gettext("Planned"), "url": reverse("planned")}],
        }
    return JsonResponse(values, content_type="application/manifest+json")


@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """The script that shows push messages and the page without a connection; for all pages, so it
    stands at the top.
    """
    answer = HttpResponse(_script(), content_type="text/javascript; charset=utf-8")
    answer["Cache-Control"] = "no-cache"
    return answer


@lru_cache(maxsize=1)
def _script() -> str:
    return Path(settings.BASE_DIR, "static", "sw.js").read_text()
