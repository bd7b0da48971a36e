"""Firmware files: request one, download one that was fetched."""

import re
from typing import cast

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from devices.fleet import firmware_files
from devices.models import FetchState, ImageFetch
from devices.permissions import Right
from devices.views.access import get_hub_or_404, login_required_here, request_actor


@require_POST
@login_required_here
def request_file(request: HttpRequest, pk: int) -> HttpResponse:
    """Request the file of the hub's offer; the worker fetches it."""
    node = get_hub_or_404(request, pk, Right.CHECK)
    if node.offer is None or not node.offer.has_link:
        messages.error(request, gettext("The cloud gives no link to this offer's file."))
    else:
        actor = request_actor(request, node.account.household)
        firmware_files.ask(node, node.offer, actor=actor, now=timezone.now())
    return redirect("hub", pk=node.pk)


@require_safe
@login_required_here
def download_file(request: HttpRequest, pk: int, fetch: int) -> HttpResponse:
    """Send the file, checked once more, as an attachment."""
    node = get_hub_or_404(request, pk)
    wish: ImageFetch | None = node.fetches.select_related("image").filter(pk=fetch).first()
    if wish is None or wish.image is None:
        raise Http404("no such file")
    if not wish.may_be_saved or not firmware_files.is_whole(wish.image):
        return render(
            request, "devices/hubs/file_gone.html", {"node": node, "fetch": wish}, status=410
        )
    wish.node = node
    if request.method == "GET":
        firmware_files.taken(wish, actor=request_actor(request, node.account.household))
    answer = FileResponse(
        firmware_files.path_of(wish.image).open("rb"),
        as_attachment=True,
        filename=_file_name(wish),
        content_type="application/octet-stream",
    )
    return cast(HttpResponse, answer)  # a streaming response


def _file_name(wish: ImageFetch) -> str:
    # the version comes from the cloud: only plain characters may enter a header
    version = re.sub(r"[^A-Za-z0-9._-]+", "-", wish.fw_version).strip(".-")[:40] or "firmware"
    doubt = "" if wish.state == FetchState.VERIFIED else "-not-verified"
    return f"hub-firmware-{version}{doubt}.bin"
