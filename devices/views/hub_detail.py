"""One hub: what is known of it, what it is offered, and everything that happened to it."""

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from devices.accounts.linking import unlinked_at
from devices.fleet.attention import attention_of
from devices.fleet.carry_over import carry_over, may_continue
from devices.installs.eligibility import can_wait, why_unfit
from devices.models import Node
from devices.models.attention import Attention
from devices.models.parsing import parse_pk
from devices.models.season import is_put_away
from devices.permissions import Right, looks_only, mask_people, may, may_answer
from devices.presentation.badges import of_fetch, of_job
from devices.presentation.hold_text import why_held
from devices.presentation.offer_limits import limits_of
from devices.presentation.plan_text import tried_next_at
from devices.presentation.timeline import TimelineEvent, timeline_of
from devices.views.access import current_user, get_hub_or_404, login_required_here, request_actor
from devices.views.partials import layout_etag, live

VERSIONS = 8
FILES = 10


@require_safe
@login_required_here
def hub(request: HttpRequest, pk: int) -> HttpResponse:
    """The hub's page."""
    return render(request, "devices/hubs/hub.html", _hub(request, get_hub_or_404(request, pk)))


@require_safe
@login_required_here
def hub_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    node = get_hub_or_404(request, pk)
    mark = _mark(request, node)
    return live(
        request, mark, "devices/hubs/partials/hub.fragment.html", lambda: _hub(request, node)
    )


def _other_rows(node: Node, may_manage: bool) -> dict[str, object]:
    """Return the other rows of the same device: what it was known as before, or is known as now;
    and the row whose history and settings an owner may carry over.
    """
    others, shared = node.known_as(), node.twins().present().select_related("account")
    earlier = others if node.is_listed else []
    return {
        "earlier": earlier,
        "now_known_as": next((other for other in others if other.is_listed), None),
        "carried": next((one for one in earlier if may_manage and may_continue(one, node)), None),
        "shared_by": list(shared.order_by("account__email")),
    }


def _mark(request: HttpRequest, node: Node) -> str:
    return f"{node.revision}.{layout_etag(request)}"


def _hub(request: HttpRequest, node: Node) -> dict[str, object]:
    user, household, offer = current_user(request), node.account.household, node.offer
    job, attention = node.latest_job, attention_of([node])[node.pk]
    files = list(node.fetches.select_related("image").order_by("-asked_at")[:FILES])
    is_unlinked, now, is_new = node.account.is_unlinked, timezone.now(), node.new_offer is not None
    if (dismissed := node.dismissed_offer) is not None:
        mask_people(user, dismissed.dismissal, household.pk)
    may_install = may(user, Right.INSTALL, household)
    may_check = may(user, Right.CHECK, household) and not is_unlinked
    reasons, plan = why_unfit(node, offer) if is_new else [], node.plan
    if plan is not None:
        mask_people(user, plan, household.pk)
    return {
        "node": node,
        "mark": _mark(request, node),
        "offer": offer,
        "is_new": is_new,
        "is_step_back": is_new and offer is not None and offer.is_step_back,
        **_other_rows(node, may(user, Right.MANAGE, household)),
        "job": job,
        "attention": attention,
        "dismissed": dismissed,
        "is_sole_hub": is_new and not _has_more(node),
        "is_trouble": attention == Attention.TROUBLE,
        "held": why_held(node, offer.fw_version) if is_new and offer is not None else "",
        "tried": node.tried_job if is_new else None,
        "job_standing": of_job(job) if job is not None else None,
        "is_unlinked": is_unlinked,
        "unlinked_at": unlinked_at(node.account),
        "reasons": reasons,
        "can_wait": can_wait(reasons),
        "is_put_away": is_put_away(node),
        "plan": plan,
        "tried_next_at": tried_next_at(plan) if plan is not None else None,
        "is_at_work": is_new and offer is not None and offer.is_being_installed(now),
        "limits": limits_of(offer, now) if is_new and offer is not None else [],
        "runtime": timedelta(minutes=node.runtime_minutes or 0),
        "may_check": may_check,
        "may_install": may_install,
        "may_rehearse": node.account.is_simulated
        and node.is_listed
        and may(user, Right.PROPOSE, household),
        "may_answer": may_answer(user, household),
        "may_propose": bool(user.staff_role) and may(user, Right.PROPOSE, household),
        "proposal": node.proposals.undecided(now).first() if is_new else None,
        "files": [(mask_people(user, fetch, household.pk), of_fetch(fetch)) for fetch in files],
        "may_fetch": offer is not None and offer.has_link and may_check and node.gone_at is None,
        "is_fetching": any(fetch.is_waiting for fetch in files),
        "happenings": _happenings(request, node),
        "versions": list(node.version_changes.order_by("-at")[:VERSIONS])[::-1],
    }


def _has_more(node: Node) -> bool:
    """Has the household another hub on its list?"""
    mine = Node.objects.present().filter(account__household=node.account.household)
    return mine.exclude(node_id=node.node_id).exists()


def _happenings(request: HttpRequest, node: Node) -> list[TimelineEvent]:
    lines = timeline_of(node)
    if node.account.household_id in looks_only(current_user(request)):
        lines = [line.masked() for line in lines]
    return lines


@require_POST
@login_required_here
def hub_carry_over(request: HttpRequest, pk: int) -> HttpResponse:
    """Let the hub continue the row it had under its earlier node id."""
    node = get_hub_or_404(request, pk, Right.MANAGE)
    wanted = parse_pk(request.POST.get("from"))
    old = next((other for other in node.known_as() if other.pk == wanted), None)
    actor = request_actor(request, node.account.household)
    if old is None or not carry_over(old, node, actor=actor, now=timezone.now()):
        messages.warning(request, gettext("This is not possible right now. Nothing was changed."))
        return redirect("hub", node.pk)
    messages.success(request, gettext("History and settings continue here."))
    return redirect("hub", old.pk)
