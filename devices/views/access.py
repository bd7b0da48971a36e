"""Who may enter which page: the one place that decides, fetches and refuses.

Someone else's object is 404, a missing right 403 and in the trail. Everything fetched here comes
with its account and household, and times on the page are the household's from then on.
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import tzinfo
from functools import wraps
from typing import cast
from urllib.parse import urlencode

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django_htmx.http import HttpResponseClientRedirect

from devices.context import chosen
from devices.middleware import origin
from devices.models import (
    Actor,
    Batch,
    CloudAccount,
    Household,
    Membership,
    Node,
    OtaJob,
    Outcome,
    Proposal,
    StaffRole,
    User,
    audit,
)
from devices.policies import (
    Right,
    accounts_for,
    administers,
    answering_once,
    households_for,
    jobs_for,
    may,
    memberships_of,
    nodes_for,
    role_in,
    why_staff,
)
from devices.views.typed import keep, page_of

_LOOKED = "looked"
View = Callable[..., HttpResponseBase]


def signed_in(view: View) -> View:
    """Let only people who are signed in through, and show times in their household's zone.

    A fragment of a page whose session is over is answered with a redirect of the whole page.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **values: object) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _to_login(request)
        if (missing := _missing_factor(request)) is not None:
            return missing
        _note_lists(request)
        only_looks = request.method in {"GET", "HEAD"}
        once = answering_once(person(request)) if only_looks else nullcontext()
        with once, timezone.override(_home_zone(request)):
            return view(request, *args, **values)

    return guarded


def person(request: HttpRequest) -> User:
    """Return who is signed in; for views behind `signed_in`."""
    return cast(User, request.user)


def actor_in(request: HttpRequest, household: Household | None = None) -> Actor:
    """Return this person as an actor in the household, with where the request comes from."""
    user = person(request)
    return Actor.person(
        user,
        role=role_in(user, household) if household is not None else user.staff_role,
        via="web",
        **origin(request),
    )


def hub_for(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Node:
    """Return the hub with what a row shows; 404 for a stranger's, 403 without the right."""
    node = nodes_for(person(request)).for_list().filter(pk=pk).first()
    if node is None:
        raise Http404("no such hub")
    _enter(request, node.account.household, right, node=node)
    return node


def job_for(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> OtaJob:
    """Return the install; 404 for a stranger's, 403 without the right."""
    jobs = jobs_for(person(request)).select_related("node__account__household", "household")
    job = jobs.filter(pk=pk).first()
    if job is None:
        raise Http404("no such install")
    _enter(request, job.household, right, node=job.node)
    return job


def account_for(request: HttpRequest, pk: int, right: Right = Right.MANAGE) -> CloudAccount:
    """Return the cloud account; 404 for a stranger's, 403 without the right."""
    found = [account for account in accounts_for(person(request)) if account.pk == pk]
    if not found:
        raise Http404("no such cloud account")
    _enter(request, found[0].household, right)
    return found[0]


def household_for(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Household:
    """Return the household; 404 for a stranger's, 403 without the right."""
    if not households_for(person(request), within=pk):
        raise Http404("no such household")
    household = Household.objects.filter(pk=pk).first()
    if household is None:
        raise Http404("no such household")
    _enter(request, household, right)
    return household


def member_for(request: HttpRequest, pk: int, user_pk: int, right: Right) -> Membership:
    """Return somebody's membership; 404 for a stranger's, 403 without the right."""
    household = household_for(request, pk, right)
    found = household.memberships.select_related("user", "household").filter(user=user_pk).first()
    if found is None:
        raise Http404("no such member")
    return found


def batch_for(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Batch:
    """Return the queue; 404 for a stranger's, 403 without the right."""
    ids = households_for(person(request))
    batches = Batch.objects.select_related("household")
    batch = (batches if ids is None else batches.filter(household_id__in=ids)).filter(pk=pk).first()
    if batch is None:
        raise Http404("no such queue")
    _enter(request, batch.household, right)
    return batch


def proposal_for(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Proposal:
    """Return the proposal; 404 for a stranger's, 403 without the right."""
    ids = households_for(person(request))
    proposals = Proposal.objects.for_list()
    found = proposals if ids is None else proposals.filter(household_id__in=ids)
    proposal = found.filter(pk=pk).first()
    if proposal is None:
        raise Http404("no such proposal")
    _enter(request, proposal.household, right, node=proposal.node)
    return proposal


def households_of(user: User, right: Right = Right.LOOK) -> list[Household]:
    """Return the households in which this person has the right, by name."""
    ids = households_for(user, right)
    households = Household.objects.order_by("name", "pk")
    return list(households if ids is None else households.filter(pk__in=ids))


def refuse(request: HttpRequest, right: Right, household: Household, node: Node | None) -> None:
    """Record that this person may not, and raise PermissionDenied with a sentence for them."""
    audit.record(
        actor_in(request, household),
        "access.refused",
        f"{person(request).email} may not {SENTENCES[right]} in {household}.",
        household=household,
        node=node,
        outcome=Outcome.REFUSED,
        why="the role does not include this right",
        detail={"right": right.value, "method": request.method or "", "path": request.path},
    )
    words = gettext("Your role in %(household)s does not let you %(deed)s.")
    raise PermissionDenied(words % {"household": household, "deed": gettext(SENTENCES[right])})


SENTENCES = {
    Right.LOOK: gettext_noop("look at hubs"),
    Right.REVIEW: gettext_noop("read the audit trail"),
    Right.CHECK: gettext_noop("ask for a check"),
    Right.PROPOSE: gettext_noop("propose an install"),
    Right.INSTALL: gettext_noop("install firmware"),
    Right.MANAGE: gettext_noop("manage cloud accounts"),
    Right.PEOPLE: gettext_noop("change its people and settings"),
}


def administrator(view: View) -> View:
    """Let only administrators of the server through; a refusal is in the trail."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **values: object) -> HttpResponseBase:
        user = person(request)
        if not administers(user):
            audit.record(
                actor_in(request),
                "access.refused",
                f"{user.email} may not manage the people of this server.",
                outcome=Outcome.REFUSED,
                why="not an administrator",
                detail={"method": request.method or "", "path": request.path},
            )
            raise PermissionDenied(
                gettext("Only an administrator manages the people of this server.")
            )
        return view(request, *args, **values)

    return signed_in(guarded)


def _note_staff(request: HttpRequest, household: Household) -> None:
    """Write into the household's own trail that staff looked, once a day and session."""
    user = person(request)
    if user.staff_role not in {StaffRole.SUPPORT, StaffRole.AUDITOR}:
        return
    role, today = role_in(user, household), timezone.now().date().isoformat()
    if role not in StaffRole.values:
        return
    seen = request.session.get(_LOOKED, {})
    if seen.get(str(household.pk)) == today:
        return
    # days that are over are forgotten, so that the session stays small
    seen = {key: day for key, day in seen.items() if day == today}
    request.session[_LOOKED] = seen | {str(household.pk): today}
    audit.record(
        actor_in(request, household),
        "access.staff",
        f"{user.email} of {role} looked into {household}.",
        household=household,
        why=why_staff(household, role),
        detail={"path": request.path},
    )


def _note_lists(request: HttpRequest) -> None:
    """The lists show households that let support in, which is looking into them."""
    if person(request).staff_role == StaffRole.SUPPORT:
        for household in Household.objects.filter(support_until__gt=timezone.now()):
            _note_staff(request, household)


def _enter(
    request: HttpRequest, household: Household, right: Right, node: Node | None = None
) -> None:
    _note_staff(request, household)
    timezone.activate(household.zone)  # signed_in puts it back afterwards
    if right is not Right.LOOK and not may(person(request), right, household):
        refuse(request, right, household, node)


def _home_zone(request: HttpRequest) -> tzinfo:
    """Return the zone of the household the lists show, else of the one joined first; for staff who
    joined none, the one that all households they see have in common.
    """
    if (within := chosen(request)) is not None:
        household = Household.objects.filter(pk=within).first()
    else:
        mine = memberships_of(person(request))
        first = min(mine, key=lambda one: (one.joined_at, one.pk), default=None)
        household = first.household if first is not None else _alike(person(request))
    return household.zone if household is not None else timezone.get_default_timezone()


def _alike(user: User) -> Household | None:
    """Return one of the households this person sees, if all of them have the same zone."""
    ids = households_for(user)
    seen = Household.objects.all() if ids is None else Household.objects.filter(pk__in=ids)
    zones = seen.values_list("time_zone", flat=True).distinct()[:2]
    return seen.first() if len(zones) == 1 else None


def _to_login(request: HttpRequest) -> HttpResponse:
    htmx = getattr(request, "htmx", None)
    if htmx:
        wanted = htmx.current_url_abs_path or ""
    else:
        wanted = keep(request) if request.method == "POST" else request.get_full_path()
    return _elsewhere(request, settings.LOGIN_URL, wanted)


def _missing_factor(request: HttpRequest) -> HttpResponse | None:
    """Return the way to the second factor for staff whose session has shown none, else None."""
    user = person(request)
    used = (one.get("method") for one in get_authentication_records(request, user))
    if not user.staff_role or "mfa" in used:
        return None
    wanted = page_of(request) if request.method == "POST" else request.get_full_path()
    if is_mfa_enabled(user, [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]):
        return _elsewhere(request, "mfa_reauthenticate", wanted)
    messages.warning(
        request, gettext("Staff sign in with a second factor too. Set one up to go on.")
    )
    return _elsewhere(request, "mfa_index", "")


def _elsewhere(request: HttpRequest, page: str, wanted: str) -> HttpResponse:
    address = resolve_url(page) + (f"?{urlencode({'next': wanted})}" if wanted else "")
    if getattr(request, "htmx", None):
        whole: HttpResponse = HttpResponseClientRedirect(address)
        return whole
    return HttpResponseRedirect(address)
