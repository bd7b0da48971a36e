"""How often a cloud account is asked, what is asked next, and what waits after a failure. All of it
is read from the database: showing it asks no cloud.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from devices.explanations.explain import explain_trouble
from devices.models import CloudAccount, FetchState, ImageFetch, Node, OtaJob, Tally

# What each call of the client is for. Source: the RainMaker API definition 3.8.0, by path.
KINDS: dict[str, str | Promise] = {
    "GET /v1/user/nodes": gettext_lazy("List of hubs"),
    "GET /v1/user/nodes/ota_update": gettext_lazy("Look for firmware"),
    "GET /v1/user/nodes/ota_status": gettext_lazy("Follow an install"),
    "GET /v1/user/nodes/config": gettext_lazy("Version of a hub"),
    "GET /v1/user/nodes/status": gettext_lazy("Is a hub online?"),
    "PUT /v1/user/nodes/params": gettext_lazy("Put settings back"),
    "POST /v1/user/nodes/ota_update": gettext_lazy("Send an install"),
    "POST /v1/login2": gettext_lazy("Sign in, or extend the session"),
    "GET /v1/user": gettext_lazy("Whose session it is"),
}
OTHER = gettext_lazy("Other")
MOST_HUBS = 20


@dataclass(frozen=True, slots=True)
class Next:
    """What is asked next."""

    what: str
    at: datetime | None
    """None: now, or as soon as its turn comes."""
    about: str = ""


@dataclass(frozen=True, slots=True)
class BackOff:
    """What waits after a failure, until when, and why."""

    what: str
    until: datetime | None
    why: str
    hub: int | None = None
    """Our own key of the hub that it is about."""


def calls_today(account: CloudAccount, now: datetime) -> list[tuple[str, int]]:
    """Return (kind, calls) of this day in UTC, the most frequent first. One query."""
    kinds: Counter[str] = Counter()
    for endpoint, count in Tally.calls_of(account.pk, now).items():
        kinds[str(KINDS.get(endpoint, OTHER))] += count
    return kinds.most_common()


def asked_next(account: CloudAccount, now: datetime) -> list[Next]:
    """Return what is asked next, the first first. Four queries; nothing while the account is signed
    out and cannot sign in by itself.
    """
    if not account.is_linked:
        if not account.signs_in_by_itself:
            return []
        return [Next(gettext("Sign in again"), _later(account.next_sign_in_at, account, now))]
    found = list(_of_linked(account, now))
    return sorted(found, key=lambda one: one.at or now)


def _of_linked(account: CloudAccount, now: datetime) -> Iterator[Next]:
    yield Next(str(KINDS["GET /v1/user/nodes"]), _later(account.next_sync_at, account, now))
    hubs = Node.objects.present().filter(account=account)
    checks = hubs.aggregate(first=Min("next_check_at"), n=Count("pk"))
    if checks["n"]:
        words = gettext("%(n)s hubs in turn, each about once a day")
        about = words % {"n": checks["n"]} if checks["n"] > 1 else gettext("about once a day")
        what = str(KINDS["GET /v1/user/nodes/ota_update"])
        yield Next(what, _later(checks["first"], account, now), about)
    jobs = OtaJob.objects.filter(node__account=account, next_poll_at__isnull=False)
    polls = jobs.aggregate(first=Min("next_poll_at"))
    if polls["first"] is not None:
        yield Next(gettext("Follow an install"), _later(polls["first"], account, now))
    files = ImageFetch.objects.filter(node__account=account, state=FetchState.WAITING)
    first = files.aggregate(first=Min("next_try_at"))["first"]
    if first is not None:
        yield Next(gettext("Download a firmware file"), _later(first, account, now))


def _later(at: datetime | None, account: CloudAccount, now: datetime) -> datetime | None:
    """Return when something is really asked: not while the account rests; None: now."""
    times = [one for one in (at, account.resume_at) if one is not None and one > now]
    return max(times, default=None)


def back_offs(account: CloudAccount, now: datetime) -> list[BackOff]:
    """Return what waits longer after a failure: the account, its session, its hubs. Three queries
    at most.
    """
    found = []
    if account.is_linked and account.any_trouble:
        why = explain_trouble(account.any_trouble, account.trouble_text)
        until = account.resume_at if account.is_resting(now) else account.next_sync_at
        found.append(BackOff(gettext("The account"), until, why.headline))
    if account.extend_after is not None and account.extend_after > now:
        words = gettext("It was extended, or could not be, a short while ago.")
        found.append(BackOff(gettext("Extending the session"), account.extend_after, words))
    troubled = Node.objects.present().filter(account=account).exclude(check_trouble="")
    for node in troubled.order_by("name", "pk")[:MOST_HUBS]:
        why = explain_trouble(node.check_trouble, node.check_trouble_text)
        found.append(BackOff(str(node), node.next_check_at, why.headline, node.pk))
    jobs = OtaJob.objects.live().filter(node__account=account, failed_rounds__gt=0)
    for job in jobs.order_by("pk")[:MOST_HUBS]:
        words = gettext("The last answers about its install could not be read.")
        found.append(BackOff(job.hub_name, job.next_poll_at, words, job.node_id))
    return found
