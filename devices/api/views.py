"""The JSON API. django-ninja reads the parameters, writes the answers and generates the OpenAPI
document from the types below, so that the document cannot drift from what is served.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from ninja import NinjaAPI, Path, Query, Schema, Status
from ninja.parser import Parser
from ninja.renderers import JSONRenderer
from pydantic import ConfigDict, Field

from devices.api.auth import BearerToken, TokenRequest, actor_of
from devices.api.errors import STATUSES, ApiError, ErrorData, ReasonData, add_handlers, not_found
from devices.explanations.reasons import ReasonCode
from devices.installs import requests as install_requests
from devices.installs.confirmation import OfferSnapshot, snapshot_offer
from devices.installs.eligibility import why_unfit
from devices.models import ApiToken, Node, OtaJob, Plan, Scope, database_clock
from devices.models.install import OtaJobQuerySet
from devices.models.node import NodeQuerySet
from devices.models.plan import PlanQuerySet
from devices.permissions import cached_answers, mask_people
from devices.planning import dismissals, planner
from devices.planning.plans import PlanError, plan_install, read_timing
from devices.presentation.hold_text import why_held
from devices.presentation.serializers import Data, HubData, InstallData, PlanData, json_value

Row = TypeVar("Row", bound=Model)
# The library makes types of its own for each answer that it is given; for errors one is enough.
ERROR_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorData"}}}
MOST_HUBS = 500
# The largest number a database keeps as an id.
LARGEST_ID = 2**63 - 1
# The length of the database columns; NUL cannot be stored.
Named = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\u0000]+$")]
Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
After = Annotated[int, Query(ge=0, le=LARGEST_ID)]
Limit = Annotated[int, Query(ge=1, le=MOST_HUBS)]


class JsonOnly(Parser):
    """Reads bodies with the content type JSON."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != "application/json":
            sentence = "The body must be JSON, sent as application/json."
            raise ApiError(415, "not_json", f"{sentence} Nothing was sent to any hub.")
        return super().parse_body(request)


class Renderer(JSONRenderer):
    """Writes times as the terminal and Home Assistant do."""

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> str:
        return json.dumps(data, default=json_value)


api = NinjaAPI(
    title="Thermacell Web",
    version="2.0.0",
    description=(
        "The hubs of one household and their installs. A token is personal, belongs to one "
        "household, and may never do more than its person. Made and revoked on the household's "
        "page Tokens."
    ),
    servers=[{"url": settings.PUBLIC_URL}],
    # the document has a view of its own; the library's page of documentation loads a CDN's scripts
    openapi_url=None,
    docs_url=None,
    parser=JsonOnly(),
    renderer=Renderer(),
)
add_handlers(api)


def answers(status: int, data: Any, *errors: int) -> dict[str, Any]:
    """Return the possible answers of an operation, for django-ninja and the document."""
    responses: dict[int, dict[str, Any]] = {
        error: {"description": STATUSES[error], "content": ERROR_CONTENT}
        for error in (401, 405, 429, 503, *errors)
    }
    wait = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    responses[429]["headers"] = responses[503]["headers"] = wait
    if status == 201:
        responses[status] = {"headers": {"Location": {"schema": {"type": "string"}}}}
    return {"response": {status: data, 401: ErrorData}, "openapi_extra": {"responses": responses}}


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseholdData(Data):
    """A household."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HubsData(Data):
    """Some hubs of a household."""

    household: HouseholdData
    hubs: list[HubData]
    next: str | None
    """Where the hubs after these are, if there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubDetail(HubData):
    """One hub, and why it could not take its offer now."""

    why_not_now: list[ReasonData]
    """Empty when it could."""
    held: str | None
    """Why nothing starts the offered version by itself on this server; null when that is not so."""


class InstallWanted(Schema):
    """Exactly the offer that is to be installed."""

    model_config = ConfigDict(extra="forbid")

    node_id: Named
    ota_job_id: Named
    fw_version: Named


class DismissalWanted(Schema):
    """Whether the version that is offered is dismissed."""

    model_config = ConfigDict(extra="forbid")

    fw_version: Named
    everywhere: bool = False
    """On every hub of the household, not only on this one."""
    dismissed: bool = True
    """False undoes all that dismisses what this hub is offered."""


class SeenWanted(Schema):
    """Whether the end of an install counts as seen."""

    model_config = ConfigDict(extra="forbid")

    seen: bool = True


class PlanWanted(InstallWanted):
    """The offer, and when its install may start."""

    when: Annotated[str, Field(min_length=1, max_length=40)]
    """tonight, idle, online, or a time such as 2026-12-05T02:00 on the household's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlansData(Data):
    """The plans of a household that wait."""

    plans: list[PlanData]


@api.get(
    "/hubs/",
    auth=BearerToken(Scope.READ),
    operation_id="listHubs",
    summary="The household's hubs, with what each is offered",
    url_name="api_hubs",
    **answers(200, HubsData, 400),
)
def list_hubs(request: TokenRequest, after: After = 0, limit: Limit = MOST_HUBS) -> HubsData:
    """By id, five hundred at a time."""
    household = request.auth.household
    nodes = _nodes(request.auth).present_once().for_list().filter(pk__gt=after).order_by("pk")
    listed = list(nodes[: limit + 1])
    following = None
    if len(listed) > limit:
        following = f"{reverse('api_hubs')}?after={listed[limit - 1].pk}&limit={limit}"
    with cached_answers(request.auth.user):
        hubs = [_hub_data(request.auth, node) for node in listed[:limit]]
    return HubsData(
        household=HouseholdData(id=household.pk, name=household.name), hubs=hubs, next=following
    )


@api.get(
    "/hubs/{int:hub}/",
    auth=BearerToken(Scope.READ),
    operation_id="getHub",
    summary="One hub, and why it could not take its offer now",
    url_name="api_hub",
    **answers(200, HubDetail, 404),
)
def get_hub(request: TokenRequest, hub: Id) -> HubDetail:
    node = _found(_nodes(request.auth).for_list(), hub, "hub")
    data, reasons = _hub_data(request.auth, node), why_unfit(node, node.offer)
    return HubDetail(
        **{field.name: getattr(data, field.name) for field in fields(data)},
        why_not_now=[ReasonData.of(reason) for reason in reasons],
        held=(why_held(node, node.offer.fw_version) or None) if node.offer else None,
    )


@api.post(
    "/hubs/{int:hub}/dismissal/",
    auth=BearerToken(Scope.INSTALL),
    operation_id="dismiss",
    summary="Dismiss the version that is offered, for this hub or the household, or undo that",
    url_name="api_dismissal",
    **answers(200, HubDetail, 400, 403, 404, 409, 413, 415),
)
def dismiss(request: TokenRequest, hub: Id, wish: DismissalWanted) -> HubDetail:
    """Needs a token with the scope install."""
    token, actor = request.auth, actor_of(request.auth, request)
    node = _found(_nodes(token).for_list(), hub, "hub")
    try:
        if not wish.dismissed:
            dismissals.undo_all(node, actor=actor)
        else:
            dismissals.dismiss(
                node, wish.fw_version, user=token.user, actor=actor, everywhere=wish.everywhere
            )
    except dismissals.DismissalError as problem:
        raise ApiError(409, "offer_swapped", str(problem)) from problem
    return get_hub(request, hub)


@api.post(
    "/installs/{int:install}/seen/",
    auth=BearerToken(Scope.INSTALL),
    operation_id="markSeen",
    summary="Mark how an install ended as seen, or undo that",
    url_name="api_seen",
    **answers(200, InstallData, 400, 403, 404, 409, 413, 415),
)
def mark_seen(request: TokenRequest, install: Id, mark: SeenWanted) -> InstallData:
    """Needs a token with the scope install."""
    job = _found(_jobs(request.auth), install, "install")
    try:
        change = dismissals.mark_seen if mark.seen else dismissals.mark_unseen
        change(job, actor=actor_of(request.auth, request))
    except dismissals.DismissalError as problem:
        raise ApiError(409, "over", str(problem)) from problem
    return get_install(request, install)


@api.get(
    "/installs/{int:install}/",
    auth=BearerToken(Scope.READ),
    operation_id="getInstall",
    summary="One install: its state, its witnesses and its verdict",
    url_name="api_install",
    **answers(200, InstallData, 404),
)
def get_install(request: TokenRequest, install: Id) -> InstallData:
    job = _found(_jobs(request.auth), install, "install")
    return InstallData.of(mask_people(request.auth.user, job, job.household_id))


@api.post(
    "/installs/",
    auth=BearerToken(Scope.INSTALL),
    operation_id="install",
    summary="Install exactly this offer, as the form would",
    url_name="api_installs",
    **answers(201, InstallData, 400, 403, 404, 409, 413, 415),
)
def install(
    request: TokenRequest, response: HttpResponse, wanted: InstallWanted
) -> Status[InstallData]:
    """Needs a token with the scope install."""
    node, token = _wanted_node(request.auth, wanted), request.auth
    with _refused("Nothing was sent."):
        job = install_requests.request(
            user=token.user,
            node=node,
            binding=_binding(node, wanted),
            actor=actor_of(token, request),
        )
    response["Location"] = reverse("api_install", args=[job.pk])
    return Status(201, InstallData.of(job))


@api.get(
    "/plans/",
    auth=BearerToken(Scope.READ),
    operation_id="listPlans",
    summary="The installs that start later, and what each waits for",
    url_name="api_plans",
    **answers(200, PlansData),
)
def list_plans(request: TokenRequest) -> PlansData:
    """The first five hundred that wait, in the order in which they start."""
    waiting = _plans(request.auth).waiting()[:MOST_HUBS]
    with cached_answers(request.auth.user):
        return PlansData(plans=[_plan_data(request.auth, plan) for plan in waiting])


@api.post(
    "/plans/",
    auth=BearerToken(Scope.INSTALL),
    operation_id="plan",
    summary="Plan to install exactly this offer later, as the form would",
    url_name="api_plans",
    **answers(201, PlanData, 400, 403, 404, 409, 413, 415),
)
def make_plan(
    request: TokenRequest, response: HttpResponse, wanted: PlanWanted
) -> Status[PlanData]:
    """Needs a token with the scope install. A plan that the hub has already is replaced."""
    node, token = _wanted_node(request.auth, wanted), request.auth
    try:
        timing = read_timing(wanted.when, token.household, database_clock.now())
        if timing is None:
            raise PlanError("Use the address installs to install now.")
    except PlanError as problem:
        raise ApiError(400, "wrong_time", f"Nothing was planned. {problem}") from problem
    with _refused("Nothing was planned."):
        plan = plan_install(
            node, _binding(node, wanted), timing, user=token.user, actor=actor_of(token, request)
        )
    response["Location"] = reverse("api_plan", args=[plan.pk])
    return Status(201, _plan_data(request.auth, _plans(request.auth).get(pk=plan.pk)))


@api.get(
    "/plans/{int:plan}/",
    auth=BearerToken(Scope.READ),
    operation_id="getPlan",
    summary="One plan: when it starts, what it waits for, how it ended",
    url_name="api_plan",
    **answers(200, PlanData, 404),
)
def get_plan(request: TokenRequest, plan: Id) -> PlanData:
    return _plan_data(request.auth, _found(_plans(request.auth), plan, "plan"))


@api.post(
    "/plans/{int:plan}/cancel/",
    auth=BearerToken(Scope.INSTALL),
    operation_id="cancelPlan",
    summary="Cancel a plan that waits",
    url_name="api_plan_cancel",
    **answers(200, PlanData, 403, 404, 409),
)
def cancel_plan(request: TokenRequest, plan: Id) -> PlanData:
    """Needs a token with the scope install."""
    found = _found(_plans(request.auth), plan, "plan")
    try:
        actor = actor_of(request.auth, request)
        user = request.auth.user
        planner.cancel(found, user=user, actor=actor, now=database_clock.now())
    except PlanError as problem:
        raise ApiError(409, ReasonCode.OVER, str(problem)) from problem
    return _plan_data(request.auth, found)


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return api.get_openapi_schema(path_prefix="api/v1")


def _hub_data(token: ApiToken, node: Node) -> HubData:
    if node.latest_job is not None:
        mask_people(token.user, node.latest_job, token.household_id)
    if node.plan is not None:
        mask_people(token.user, node.plan, token.household_id)
    with timezone.override(token.household.zone):
        return HubData.of(node)


def _plan_data(token: ApiToken, plan: Plan) -> PlanData:
    with timezone.override(token.household.zone):
        return PlanData.of(mask_people(token.user, plan, token.household_id))


def _jobs(token: ApiToken) -> OtaJobQuerySet:
    return OtaJob.objects.filter(household=token.household).for_list()


def _plans(token: ApiToken) -> PlanQuerySet:
    return Plan.objects.filter(household=token.household).for_list()


def _found(rows: QuerySet[Row], pk: int, what: str) -> Row:
    row = rows.filter(pk=pk).first()
    if row is None:
        raise not_found(what)
    return row


@contextmanager
def _refused(nothing: str) -> Iterator[None]:
    """Answer a refused install with its reasons."""
    try:
        yield
    except install_requests.Refused as refused:
        sentence = f"{nothing} {refused}"
        raise ApiError(409, refused.reasons[0].code, sentence, refused.reasons) from refused


def _wanted_node(token: ApiToken, wanted: InstallWanted) -> Node:
    nodes = list(_nodes(token).present_once().for_list().filter(node_id=wanted.node_id))
    # one hub may be reached by two accounts: the one that has this offer counts
    nodes.sort(key=lambda node: node.offer is None or node.offer.ota_job_id != wanted.ota_job_id)
    if not nodes:
        raise not_found("hub")
    return nodes[0]


def _nodes(token: ApiToken) -> NodeQuerySet:
    return Node.objects.present().filter(account__household=token.household)


def _binding(node: Node, wanted: InstallWanted) -> OfferSnapshot:
    """Return the offer snapshot that the caller names; the other fields are the current offer's."""
    offer = node.offer
    shown = snapshot_offer(node, offer) if offer is not None else None
    return OfferSnapshot(
        node_pk=node.pk,
        offer_id=shown.offer_id if shown else 0,
        ota_job_id=wanted.ota_job_id,
        from_version=node.fw_version,
        to_version=wanted.fw_version,
        size_bytes=shown.size_bytes if shown else None,
        md5=shown.md5 if shown else "",
    )
