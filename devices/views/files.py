"""Firmware files: ask for one, take one that was fetched."""

import re
from typing import cast

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from devices import images
from devices.models import FetchState, ImageFetch
from devices.policies import Right
from devices.views.access import actor_in, hub_for, signed_in


@require_POST
@signed_in
def file_ask(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for the file of what the hub is offered; the worker fetches it."""
    node = hub_for(request, pk, Right.CHECK)
    if node.offer is None or not node.offer.has_link:
        messages.error(request, gettext("The cloud gives no link to a file of this offer."))
    else:
        actor = actor_in(request, node.account.household)
        images.ask(node, node.offer, actor=actor, now=timezone.now())
    return redirect("hub", pk=node.pk)


@require_safe
@signed_in
def file_take(request: HttpRequest, pk: int, fetch: int) -> HttpResponse:
    """Send the file, looked through once more, as an attachment."""
    node = hub_for(request, pk)
    wish: ImageFetch | None = node.fetches.select_related("image").filter(pk=fetch).first()
    if wish is None or wish.image is None:
        raise Http404("no such file")
    if not wish.may_be_saved or not images.is_whole(wish.image):
        return render(request, "devices/file_gone.html", {"node": node, "fetch": wish}, status=410)
    wish.node = node
    if request.method == "GET":
        images.taken(wish, actor=actor_in(request, node.account.household))
    answer = FileResponse(
        images.path_of(wish.image).open("rb"),
        as_attachment=True,
        filename=_file_name(wish),
        content_type="application/octet-stream",
    )
    return cast(HttpResponse, answer)  # a response like any other, only that it streams


def _file_name(wish: ImageFetch) -> str:
    # the version is the cloud's word: nothing of it but plain characters enters a header
    version = re.sub(r"[^A-Za-z0-9._-]+", "-", wish.fw_version).strip(".-")[:40] or "firmware"
    doubt = "" if wish.state == FetchState.VERIFIED else "-not-verified"
    return f"hub-firmware-{version}{doubt}.bin"
