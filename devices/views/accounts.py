"""Cloud accounts: link, sign in again, forget a kept password, unlink."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.accounts import trial_cloud
from devices.accounts.auto_sign_in import forget_password
from devices.accounts.linking import link_account, unlink_account
from devices.explanations.cloud_messages import TroubleCode
from devices.explanations.error_codes import error_code
from devices.explanations.explain import Tone, explain_trouble
from devices.forms.accounts import LinkForm, ReconnectForm
from devices.models import AccountState, CloudAccount, Node, OtaJob
from devices.permissions import Right, accounts_for, households_for, households_of, mask_people
from devices.presentation.badges import of_account
from devices.rainmaker.errors import CloudError
from devices.request_scope import scope_of
from devices.views.access import (
    current_user,
    get_account_or_404,
    login_required_here,
    request_actor,
)
from devices.views.form_drafts import restore

PER_PAGE = 50


@require_safe
@login_required_here
def accounts(request: HttpRequest) -> HttpResponse:
    """Every cloud account of this person's households."""
    user = current_user(request)
    manageable = households_for(user, Right.MANAGE) or []
    found = accounts_for(user, within=scope_of(request).household_id)
    linked = found.exclude(state=AccountState.UNLINKED).order_by("household__name", "email", "pk")
    if is_signed_out := request.GET.get("show") == "signed_out":
        linked = linked.filter(state=AccountState.SIGNED_OUT)
    listed = Paginator(linked, PER_PAGE).get_page(request.GET.get("page"))
    present = Node.objects.filter(account__in=list(listed), gone_at__isnull=True)
    has_hubs = set(present.values_list("account_id", flat=True).distinct())
    shown = [
        (
            mask_people(user, account, account.household_id),
            of_account(account),
            explain_trouble(account.any_trouble, account.trouble_text)
            if account.any_trouble
            else None,
            account.synced_at is not None and account.pk not in has_hubs,
        )
        for account in listed
    ]
    values = {
        "accounts": shown,
        "listed": listed,
        "manageable": manageable,
        "is_signed_out": is_signed_out,
    }
    return render(request, "devices/accounts/list.html", values)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def account_link(request: HttpRequest) -> HttpResponse:
    """Link an account. The one page that waits for the cloud: its password enters no queue."""
    households = households_of(current_user(request), Right.MANAGE)
    if not households:
        return render(request, "403.html", {"sentence": NO_RIGHT}, status=403)
    form = LinkForm(request.POST or None, households=households, initial=restore(request))
    if request.method == "POST" and form.is_valid():
        household = form.household()
        linked = list(household.accounts.exclude(state=AccountState.UNLINKED))
        try:
            account = link_account(
                household=household,
                base_url=form.base_url(),
                email=form.cleaned_data["email"],
                password=form.cleaned_data["password"],
                keep_password=form.cleaned_data["keep_password"],
                actor=request_actor(request, household),
            )
        except CloudError as problem:
            form.add_error(None, _sentence(problem, NOT_LINKED))
        else:
            sentence = gettext("Account linked. Hubs appear as soon as the cloud lists them.")
            if account in linked:
                sentence = gettext(
                    "This account is already linked as %(email)s. It was signed in again."
                ) % {"email": account.email}
            messages.success(request, sentence)
            return redirect("hubs")
    values = {
        "form": form,
        "is_one": len(households) == 1,
        "is_first": not accounts_for(current_user(request))
        .exclude(state=AccountState.UNLINKED)
        .exists(),
        "may_try": trial_cloud.is_possible(),
    }
    return render(request, "devices/accounts/link.html", values)


@sensitive_post_parameters("password")
@require_POST
@login_required_here
def account_trial(request: HttpRequest) -> HttpResponse:
    """Link simulated hubs for a person who only wants to look; waits for their cloud to start."""
    households = households_of(current_user(request), Right.MANAGE)
    if not households:
        return render(request, "403.html", {"sentence": NO_RIGHT}, status=403)
    if not trial_cloud.is_possible():
        raise Http404
    # asked for only where there are several
    wanted = request.POST.get("household_id", str(households[0].pk))
    household = next((one for one in households if str(one.pk) == wanted), None)
    if household is None:
        raise Http404
    try:
        trial_cloud.begin(household, actor=request_actor(request, household))
    except trial_cloud.DoesNotStart:
        messages.error(request, NO_TRIAL)
    except CloudError as problem:
        messages.error(request, _sentence(problem, NOT_LINKED))
    else:
        messages.success(
            request,
            gettext(
                "You can try everything with simulated hubs; no real hub is affected. When you "
                "have finished, unlink their account under Accounts."
            ),
        )
        return redirect("hubs")
    return redirect("account_link")


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def account_reconnect(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign in to the cloud again with the same address."""
    account = get_account_or_404(request, pk)
    form = ReconnectForm(
        request.POST or None, initial={"keep_password": account.signs_in_by_itself}
    )
    if request.method == "POST" and form.is_valid():
        try:
            link_account(
                household=account.household,
                base_url=account.base_url,
                email=account.email,
                password=form.cleaned_data["password"],
                keep_password=form.cleaned_data["keep_password"],
                actor=request_actor(request, account.household),
            )
        except CloudError as problem:
            form.add_error(None, _sentence(problem, NOT_CHANGED))
        else:
            messages.success(request, gettext("Signed in again. Waiting tasks will continue."))
            return redirect("accounts")
    values = {"form": form, "account": account}
    return render(request, "devices/accounts/reconnect.html", values)


@require_POST
@login_required_here
def account_forget(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete the password that was kept to sign in without a person."""
    account = get_account_or_404(request, pk)
    forget_password(account, actor=request_actor(request, account.household))
    messages.success(request, gettext("Password deleted. The cloud session stays active."))
    return redirect("accounts")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def account_unlink(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what unlinking means, and do it."""
    account = get_account_or_404(request, pk)
    if request.method == "POST":
        unlink_account(account, actor=request_actor(request, account.household))
        messages.success(
            request,
            gettext(
                "Account unlinked. Its tokens and saved password were deleted; the history is kept."
            ),
        )
        return redirect("accounts")
    values = {"account": account, "running": _running(account)}
    return render(request, "devices/accounts/unlink.html", values)


NO_RIGHT = gettext_lazy("Only an owner of a household can link cloud accounts.")
NO_TRIAL = gettext_lazy(
    "The simulated hubs did not start, and nothing was linked. Try again. If it still fails, "
    "the administrator can find the reason in log/cloud.log in the data folder."
)


def _running(account: CloudAccount) -> int:
    return OtaJob.objects.live().filter(node__account=account).count()


# What happened to the account when the cloud could not be asked, and what to do then.
NOT_LINKED = gettext_lazy("Nothing was linked.")
NOT_CHANGED = gettext_lazy("Nothing was changed.")
LATER = gettext_lazy("Try again later.")
LOOK_FIRST = gettext_lazy("Check that the internet works here, and try again.")


def _sentence(problem: CloudError, standing: str | Promise) -> str:
    """Return why it did not work, and what to do. Elsewhere the worker retries what is quiet;
    here only a person can.
    """
    code = error_code(problem)
    explained = explain_trouble(code, str(problem))
    if explained.tone != Tone.QUIET:
        return f"{explained.headline} {explained.todo}"
    todo = LOOK_FIRST if code in {TroubleCode.UNREACHABLE, TroubleCode.UNREADABLE} else LATER
    return f"{explained.headline} {standing} {todo}"
