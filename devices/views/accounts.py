"""Cloud accounts: link, sign in again, forget a kept password, unlink."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices import trial
from devices.accounts import link_account, trouble_code, unlink_account
from devices.cloud.errors import CloudError
from devices.context import chosen
from devices.explain import Tone, explain_trouble
from devices.forms import LinkForm, ReconnectForm
from devices.models import AccountState, CloudAccount, OtaJob
from devices.policies import Right, accounts_for, households_for
from devices.unattended import forget_password
from devices.views.access import account_for, actor_in, households_of, person, signed_in
from devices.views.typed import typed


@require_safe
@signed_in
def accounts(request: HttpRequest) -> HttpResponse:
    """Every cloud account of this person's households."""
    user = person(request)
    manageable = households_for(user, Right.MANAGE) or []
    shown = [
        (
            account,
            explain_trouble(account.trouble, account.trouble_text) if account.trouble else None,
        )
        for account in accounts_for(user, within=chosen(request))
        if account.state != AccountState.UNLINKED
    ]
    values = {"accounts": shown, "manageable": manageable}
    return render(request, "devices/accounts.html", values)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def account_link(request: HttpRequest) -> HttpResponse:
    """Link an account. The one page that waits for the cloud: its password enters no queue."""
    households = households_of(person(request), Right.MANAGE)
    if not households:
        return render(request, "403.html", {"sentence": NO_RIGHT}, status=403)
    form = LinkForm(request.POST or None, households=households, initial=typed(request))
    if request.method == "POST" and form.is_valid():
        household = form.household()
        try:
            link_account(
                household=household,
                base_url=form.base_url(),
                email=form.cleaned_data["email"],
                password=form.cleaned_data["password"],
                keep_password=form.cleaned_data["keep_password"],
                actor=actor_in(request, household),
            )
        except CloudError as problem:
            form.add_error(None, _sentence(problem, NOT_LINKED))
        else:
            messages.success(
                request, gettext("Linked. The hubs appear as soon as the cloud lists them.")
            )
            return redirect("hubs")
    values = {
        "form": form,
        "is_one": len(households) == 1,
        "is_first": not accounts_for(person(request)).exclude(state=AccountState.UNLINKED).exists(),
        "may_try": trial.is_possible(),
    }
    return render(request, "devices/account_link.html", values)


@sensitive_post_parameters("password")
@require_POST
@signed_in
def account_try(request: HttpRequest) -> HttpResponse:
    """Link simulated hubs for who only wants to look; waits for their cloud to start."""
    households = households_of(person(request), Right.MANAGE)
    if not households:
        return render(request, "403.html", {"sentence": NO_RIGHT}, status=403)
    if not trial.is_possible():
        raise Http404
    # asked for only where there are several
    wanted = request.POST.get("household_id", str(households[0].pk))
    household = next((one for one in households if str(one.pk) == wanted), None)
    if household is None:
        raise Http404
    try:
        trial.begin(household, actor=actor_in(request, household))
    except trial.DoesNotStart:
        messages.error(request, NO_TRIAL)
    except CloudError as problem:
        messages.error(request, _sentence(problem, NOT_LINKED))
    else:
        messages.success(
            request,
            gettext(
                "Simulated hubs are yours to try things out with; nothing real is touched. "
                "When you have seen enough, unlink their account under Accounts."
            ),
        )
        return redirect("hubs")
    return redirect("account_link")


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def account_reconnect(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign in to the cloud again with the same address."""
    account = account_for(request, pk)
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
                actor=actor_in(request, account.household),
            )
        except CloudError as problem:
            form.add_error(None, _sentence(problem, NOT_CHANGED))
        else:
            messages.success(request, gettext("Signed in again. Everything that waited goes on."))
            return redirect("accounts")
    values = {"form": form, "account": account}
    return render(request, "devices/account_reconnect.html", values)


@require_POST
@signed_in
def account_forget(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete the password that was kept to sign in without a person."""
    account = account_for(request, pk)
    forget_password(account, actor=actor_in(request, account.household))
    messages.success(
        request, gettext("The password is deleted. The session with the cloud goes on.")
    )
    return redirect("accounts")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def account_unlink(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what unlinking means, and do it."""
    account = account_for(request, pk)
    if request.method == "POST":
        unlink_account(account, actor=actor_in(request, account.household))
        messages.success(request, gettext("Unlinked. Its secrets are wiped; the history stays."))
        return redirect("accounts")
    values = {"account": account, "running": _running(account)}
    return render(request, "devices/account_unlink.html", values)


NO_RIGHT = gettext_lazy("Only an owner of a household links cloud accounts.")
NO_TRIAL = gettext_lazy(
    "The simulated hubs did not start, and nothing was linked. Try once more; if it stays so, "
    "whoever runs this server finds the reason in the file log/cloud.log of its data folder."
)


def _running(account: CloudAccount) -> int:
    return OtaJob.objects.live().filter(node__account=account).count()


# What is to be said of the account when the cloud could not be asked, and what to do then.
NOT_LINKED = gettext_lazy("Nothing was linked.")
NOT_CHANGED = gettext_lazy("Nothing was changed.")
LATER = gettext_lazy("Try again in a while.")
LOOK_FIRST = gettext_lazy("See whether the internet works here, and try again.")


def _sentence(problem: CloudError, standing: str | Promise) -> str:
    """Return why it did not work out. A trouble that passes is quiet: elsewhere the worker asks
    again by itself, and here only a person does.
    """
    code = trouble_code(problem)
    told = explain_trouble(code, str(problem))
    if told.tone != Tone.QUIET:
        return f"{told.headline} {told.todo}"
    todo = LOOK_FIRST if code in {"unreachable", "unreadable"} else LATER
    return f"{told.headline} {standing} {todo}"
