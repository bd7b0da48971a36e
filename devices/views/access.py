"""Who may enter which page: the one place that decides, fetches and refuses.

Someone else's object is 404, a missing right 403 and in the trail. Everything fetched here comes
with its account and household, and times on the page are the household's from then on.
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import tzinfo
from functools import wraps
from hashlib import sha256
from typing import cast
from urllib.parse import urlencode

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.translation import gettext
from django_htmx.http import HttpResponseClientRedirect

from devices.audit import log as audit_log
from devices.fleet.looking import note_look
from devices.models import (
    Actor,
    AuditAction,
    Batch,
    CloudAccount,
    Household,
    Membership,
    Node,
    OtaJob,
    Outcome,
    Plan,
    Proposal,
    StaffRole,
    User,
)
from devices.permissions import (
    SENTENCES,
    Right,
    accounts_for,
    administers,
    cached_answers,
    households_for,
    jobs_for,
    mask_people,
    may,
    memberships_of,
    nodes_for,
    plans_for,
    proposals_for,
    queues_for,
    role_in,
    why_staff,
)
from devices.request_scope import scope_of
from devices.security.factor_proof import has_second_factor, is_fresh
from devices.security.request_origin import origin
from devices.views.form_drafts import page_of, save

_LOOKED = "looked"
View = Callable[..., HttpResponseBase]


def login_required_here(view: View) -> View:
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
        once = cached_answers(current_user(request)) if only_looks else nullcontext()
        with once, timezone.override(home_zone(request)):
            if only_looks:
                _note_look(request)
            return view(request, *args, **values)

    return guarded


def _note_look(request: HttpRequest) -> None:
    """Note whose hubs this person looks at: those the lists are narrowed to, else their own."""
    chosen = scope_of(request).household_id
    mine = [one.household for one in memberships_of(current_user(request))]
    looked_at = [one for one in mine if chosen in {None, one.pk}]
    if chosen is not None and not looked_at:
        looked_at = list(Household.objects.filter(pk=chosen))
    note_look(looked_at, timezone.now())


class HouseholdZone:
    """Middleware: show times in the household's zone on the sign-in library's pages too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()

    def process_view(self, request: HttpRequest, view: View, *_: object) -> None:
        if view.__module__.startswith("allauth.") and request.user.is_authenticated:
            timezone.activate(home_zone(request))


def current_user(request: HttpRequest) -> User:
    """Return who is signed in; for views behind `login_required_here`."""
    return cast(User, request.user)


def request_actor(request: HttpRequest, household: Household | None = None) -> Actor:
    """Return this person as an actor in the household, with where the request comes from."""
    user = current_user(request)
    return Actor.person(
        user,
        role=role_in(user, household) if household is not None else user.staff_role,
        via="web",
        **origin(request),
    )


def get_hub_or_404(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Node:
    """Return the hub with what a row shows; 404 for a stranger's, 403 without the right."""
    node = nodes_for(current_user(request)).for_list().filter(pk=pk).first()
    if node is None:
        raise Http404("no such hub")
    _enter(request, node.account.household, right, node=node)
    mask_people(current_user(request), node.account, node.account.household_id)
    return node


def get_job_or_404(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> OtaJob:
    """Return the install; 404 for a stranger's, 403 without the right."""
    jobs = jobs_for(current_user(request)).select_related("node__account__household", "household")
    job = jobs.filter(pk=pk).first()
    if job is None:
        raise Http404("no such install")
    _enter(request, job.household, right, node=job.node)
    return mask_people(current_user(request), job, job.household_id)


def get_account_or_404(request: HttpRequest, pk: int, right: Right = Right.MANAGE) -> CloudAccount:
    """Return the cloud account; 404 for a stranger's, 403 without the right."""
    found = [account for account in accounts_for(current_user(request)) if account.pk == pk]
    if not found:
        raise Http404("no such cloud account")
    _enter(request, found[0].household, right)
    return found[0]


def get_household_or_404(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Household:
    """Return the household; 404 for a stranger's, 403 without the right."""
    if not households_for(current_user(request), within=pk):
        raise Http404("no such household")
    household = Household.objects.filter(pk=pk).first()
    if household is None:
        raise Http404("no such household")
    _enter(request, household, right)
    return household


def get_member_or_404(request: HttpRequest, pk: int, user_pk: int, right: Right) -> Membership:
    """Return a person's membership; 404 for a stranger's, 403 without the right."""
    household = get_household_or_404(request, pk, right)
    found = household.memberships.select_related("user", "household").filter(user=user_pk).first()
    if found is None:
        raise Http404("no such member")
    return found


def get_queue_or_404(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Batch:
    """Return the queue; 404 for a stranger's, 403 without the right."""
    batch = queues_for(current_user(request)).filter(pk=pk).first()
    if batch is None:
        raise Http404("no such queue")
    _enter(request, batch.household, right)
    return mask_people(current_user(request), batch, batch.household_id)


def get_plan_or_404(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Plan:
    """Return the plan; 404 for a stranger's, 403 without the right."""
    plan = plans_for(current_user(request)).loaded().filter(pk=pk).first()
    if plan is None:
        raise Http404("no such plan")
    _enter(request, plan.household, right, node=plan.node)
    return mask_people(current_user(request), plan, plan.household_id)


def get_proposal_or_404(request: HttpRequest, pk: int, right: Right = Right.LOOK) -> Proposal:
    """Return the proposal; 404 for a stranger's, 403 without the right."""
    proposal = proposals_for(current_user(request)).filter(pk=pk).first()
    if proposal is None:
        raise Http404("no such proposal")
    _enter(request, proposal.household, right, node=proposal.node)
    return mask_people(current_user(request), proposal, proposal.household_id)


def refuse(request: HttpRequest, right: Right, household: Household, node: Node | None) -> None:
    """Record that this person may not, and raise PermissionDenied with a sentence for them."""
    if _is_news(request):
        audit_log.record(
            request_actor(request, household),
            AuditAction.ACCESS_REFUSED,
            f"{current_user(request).email} may not {SENTENCES[right]} in {household}.",
            household=household,
            node=node,
            outcome=Outcome.REFUSED,
            why="the role does not include this right",
            detail={"right": right.value, "method": request.method or "", "path": request.path},
        )
    words = gettext("Your role in %(household)s does not let you %(action)s.")
    raise PermissionDenied(words % {"household": household, "action": gettext(SENTENCES[right])})


def _is_news(request: HttpRequest) -> bool:
    """Was this person not refused the same within the last minute? Else the trail would fill up."""
    asked = f"{current_user(request).pk} {request.method} {request.path}"
    return bool(cache.add(f"refused:{sha256(asked.encode()).hexdigest()}", 1, 60))


def admin_required(view: View) -> View:
    """Let only administrators of the server through; a refusal is in the trail."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **values: object) -> HttpResponseBase:
        user = current_user(request)
        if not administers(user):
            if _is_news(request):
                audit_log.record(
                    request_actor(request),
                    AuditAction.ACCESS_REFUSED,
                    f"{user.email} may not manage the people of this server.",
                    outcome=Outcome.REFUSED,
                    why="not an administrator",
                    detail={"method": request.method or "", "path": request.path},
                )
            raise PermissionDenied(
                gettext("Only an administrator can manage the people of this server.")
            )
        return view(request, *args, **values)

    return login_required_here(guarded)


def fresh_factor_required(page: str) -> Callable[[View], View]:
    """Let only a person through who showed the second factor within the last minutes; else ask for
    it, and lead back to that page. For views behind `login_required_here`.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: object, **values: object) -> HttpResponseBase:
            if not is_fresh(request, current_user(request)):
                words = gettext("Use your second factor once more, then press the button again.")
                messages.info(request, words)
                return _elsewhere(request, "mfa_reauthenticate", resolve_url(page))
            return view(request, *args, **values)

        return guarded

    return decorate


def _note_staff(request: HttpRequest, household: Household) -> None:
    """Write into the household's own trail that staff looked, once a day and session."""
    user = current_user(request)
    if user.staff_role not in {StaffRole.SUPPORT, StaffRole.AUDITOR}:
        return
    today, seen = timezone.now().date().isoformat(), request.session.get(_LOOKED, {})
    if seen.get(str(household.pk)) == today:  # asked first: it costs no query
        return
    role = role_in(user, household)
    if role not in StaffRole.values:
        return
    # days that are over are forgotten, so that the session stays small
    seen = {key: day for key, day in seen.items() if day == today}
    request.session[_LOOKED] = seen | {str(household.pk): today}
    audit_log.record(
        request_actor(request, household),
        AuditAction.ACCESS_STAFF,
        f"{user.email} of {role} looked into {household}.",
        household=household,
        why=why_staff(household, role),
        detail={"path": request.path},
    )


def _note_lists(request: HttpRequest) -> None:
    """The lists show households that let support in, which is looking into them."""
    if current_user(request).staff_role == StaffRole.SUPPORT:
        for household in Household.objects.filter(support_until__gt=timezone.now()):
            _note_staff(request, household)


def _enter(
    request: HttpRequest, household: Household, right: Right, node: Node | None = None
) -> None:
    _note_staff(request, household)
    note_look([household], timezone.now())
    timezone.activate(household.zone)  # login_required_here puts it back afterwards
    if right is not Right.LOOK and not may(current_user(request), right, household):
        refuse(request, right, household, node)


def home_zone(request: HttpRequest) -> tzinfo:
    """Return the zone of the household the lists show, else of the one joined first; for staff who
    joined none, the one that all households they see have in common.
    """
    if (within := scope_of(request).household_id) is not None:
        household = Household.objects.filter(pk=within).first()
    else:
        mine = memberships_of(current_user(request))
        first = min(mine, key=lambda one: (one.joined_at, one.pk), default=None)
        household = first.household if first is not None else _alike(current_user(request))
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
        wanted = save(request) if request.method == "POST" else request.get_full_path()
    return _elsewhere(request, settings.LOGIN_URL, wanted)


def _missing_factor(request: HttpRequest) -> HttpResponse | None:
    """Return the way to the second factor for staff whose session has shown none, else None."""
    user = current_user(request)
    used = (one.get("method") for one in get_authentication_records(request, user))
    if not user.staff_role or "mfa" in used:
        return None
    wanted = page_of(request) if request.method == "POST" else request.get_full_path()
    if has_second_factor(user):
        return _elsewhere(request, "mfa_reauthenticate", wanted)
    messages.warning(request, gettext("Staff need two-step sign-in. Set it up to continue."))
    return _elsewhere(request, "mfa_index", "")


def _elsewhere(request: HttpRequest, page: str, wanted: str) -> HttpResponse:
    address = resolve_url(page) + (f"?{urlencode({'next': wanted})}" if wanted else "")
    if getattr(request, "htmx", None):
        whole: HttpResponse = HttpResponseClientRedirect(address)
        return whole
    return HttpResponseRedirect(address)
