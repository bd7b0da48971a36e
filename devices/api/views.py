"""The JSON addresses."""

import json
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from devices import installs
from devices.api.gate import actor_of, for_token, not_a_verb, problem
from devices.api.openapi import document
from devices.api.show import hub_json, install_json, reasons_json
from devices.confirm import Binding, bind
from devices.models import ApiToken, Node, OtaJob, Scope
from devices.models.node import NodeQuerySet
from devices.policies import why_unfit

MOST_HUBS = 500
# The largest number a database keeps as an id.
LARGEST_ID = 2**63 - 1
SAFE = ("GET", "HEAD")


@for_token(Scope.READ, methods=SAFE)
def hubs(request: HttpRequest, token: ApiToken) -> JsonResponse:
    """The household's hubs by id, five hundred at a time."""
    after, limit = request.GET.get("after", "0"), request.GET.get("limit", str(MOST_HUBS))
    start, most = _number(after), _number(limit)
    if start is None or most is None or not 1 <= most <= MOST_HUBS:
        sentence = f"after must be the id of a hub, and limit a number from 1 to {MOST_HUBS}."
        return problem(400, "bad_request", sentence)
    listed = list(_nodes(token).for_list().filter(pk__gt=start).order_by("pk")[: most + 1])
    following = None
    if len(listed) > most:
        following = f"{reverse('api_hubs')}?after={listed[most - 1].pk}&limit={most}"
    household = {"id": token.household.pk, "name": token.household.name}
    found = [hub_json(node) for node in listed[:most]]
    return JsonResponse({"household": household, "hubs": found, "next": following})


@for_token(Scope.READ, methods=SAFE)
def hub(request: HttpRequest, token: ApiToken, pk: str) -> JsonResponse:
    """One hub, with why it could not take its offer now."""
    number = _number(pk)
    node = _nodes(token).for_list().filter(pk=number).first() if number else None
    if node is None:
        return _no_such("hub")
    reasons = why_unfit(node, node.offer, timezone.now())
    return JsonResponse(hub_json(node) | {"why_not_now": reasons_json(reasons)})


@for_token(Scope.READ, methods=SAFE)
def install(request: HttpRequest, token: ApiToken, pk: str) -> JsonResponse:
    """One install."""
    number = _number(pk)
    jobs = OtaJob.objects.filter(household=token.household)
    job = jobs.filter(pk=number).first() if number else None
    return JsonResponse(install_json(job)) if job is not None else _no_such("install")


@for_token(Scope.INSTALL, methods=("POST",))
def install_new(request: HttpRequest, token: ApiToken) -> JsonResponse:
    """Install exactly the offer that is named: the same verb as the form."""
    wanted = _wanted(request)
    if isinstance(wanted, str):
        return problem(400, "bad_request", f"{wanted} Nothing was sent to any hub.")
    nodes = list(_nodes(token).for_list().filter(node_id=wanted["node_id"]))
    # one hub may be reached by two accounts: the one that has this offer counts
    nodes.sort(key=lambda node: node.offer is None or node.offer.ota_job_id != wanted["ota_job_id"])
    if not nodes:
        return _no_such("hub")
    node = nodes[0]
    try:
        job = installs.request(
            user=token.user,
            node=node,
            binding=_binding(node, wanted),
            actor=actor_of(token, request),
            retry_of=node.latest_job if node.latest_job and not node.latest_job.is_live else None,
        )
    except installs.Refused as refused:
        return problem(
            409, refused.reasons[0].code, f"Nothing was sent. {refused}", refused.reasons
        )
    answer = JsonResponse(install_json(job), status=201)
    answer["Location"] = reverse("api_install", args=[job.pk])
    return answer


@csrf_exempt
def openapi(request: HttpRequest) -> JsonResponse:
    """The description of these addresses, for programs."""
    if request.method not in SAFE:
        return not_a_verb(SAFE)
    return JsonResponse(document())


@csrf_exempt
def nothing(request: HttpRequest, rest: str = "") -> JsonResponse:
    """Whatever else is asked for below /api/."""
    return _no_such("address")


def _nodes(token: ApiToken) -> NodeQuerySet:
    return Node.objects.present().filter(account__household=token.household)


def _no_such(what: str) -> JsonResponse:
    return problem(404, "not_found", f"There is no such {what} in this household.")


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    number = int(text)
    return number if number <= LARGEST_ID else None


def _wanted(request: HttpRequest) -> dict[str, str] | str:
    """Return what the body names, or what is wrong with it."""
    if request.content_type != "application/json":
        return "The body must be JSON, sent as application/json."
    try:
        told: Any = json.loads(request.body)
    except (ValueError, RecursionError):
        return "The body is not JSON."
    names = ("node_id", "ota_job_id", "version")
    is_whole = isinstance(told, dict) and set(told) == set(names)
    if not is_whole or not all(isinstance(told[name], str) and told[name] for name in names):
        return "The body must name node_id, ota_job_id and version, each as text, and nothing else."
    if any("\x00" in told[name] or len(told[name]) > 128 for name in names):
        return "node_id, ota_job_id and version have at most 128 characters."
    return dict(told)


def _binding(node: Node, wanted: dict[str, str]) -> Binding:
    """Return what the caller names, as a form would have shown it; the rest as it is offered."""
    offer = node.offer
    shown = bind(node, offer) if offer is not None else None
    return Binding(
        node_id=node.pk,
        offer_id=shown.offer_id if shown else 0,
        ota_job_id=wanted["ota_job_id"],
        from_version=node.fw_version,
        to_version=wanted["version"],
        size_bytes=shown.size_bytes if shown else None,
        md5=shown.md5 if shown else "",
    )
