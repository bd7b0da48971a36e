"""The state of a household in plain words with support codes, to paste into a mail.

The sentences are those of the pages; nothing is said here that they do not say.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils.translation import get_language, gettext, override

from devices.explanations.explain import Explanation, explain_job, explain_trouble
from devices.fleet.attention import count, hubs_in
from devices.models import AccountState, CloudAccount, Household, OtaJob, Plan, Proposal
from devices.models.install import LIVE, went_wrong
from devices.presentation import plan_text, proposal_text
from devices.presentation.formatting import day_hour_and_zone
from devices.presentation.headlines import of_counts

# Installs that ended badly are named for so long, and at most so many lines of each kind.
NAMED_FOR = timedelta(days=30)
MOST = 5


def language_for(household: Household) -> str:
    """Return the language of the household, else that of the reader."""
    known = dict(settings.LANGUAGES)
    if household.language in known:
        return household.language
    return get_language() or settings.LANGUAGE_CODE


def summary_of(household: Household, now: datetime) -> str:
    """Return how the household's hubs are, what went wrong, whether they are safe and what to do,
    in its language. Six queries, however many hubs it has.
    """
    with override(language_for(household)):
        return "\n\n".join(_paragraphs(household, now))


def _paragraphs(household: Household, now: datetime) -> Iterator[str]:
    counts = count(hubs_in(household))
    standing = of_counts(counts) if counts.total else gettext("No hubs here yet.")
    as_of = gettext("As of %(at)s.") % {"at": day_hour_and_zone(now)}
    yield f"{household}: {standing}\n{as_of}"
    jobs = OtaJob.objects.filter(household=household, is_latest=True)
    bad = went_wrong() & Q(ended_at__gt=now - NAMED_FOR)
    named = jobs.filter(bad) | jobs.filter(state__in=sorted(LIVE))
    rows = list(named.select_related("node__account").order_by("-requested_at", "-pk")[: MOST + 1])
    if not rows:
        words = gettext("No install from here went wrong in the last %(n)s days.")
        yield words % {"n": NAMED_FOR.days}
    for job in rows[:MOST]:
        yield _of_job(job)
    if len(rows) > MOST:
        yield gettext("More installs are on the page of the household.")
    yield from _of_clouds(household)
    yield from _of_plans(household, now)


def _of_job(job: OtaJob) -> str:
    """Return what became of one install."""
    explained = explain_job(job)
    values = {
        "from": job.from_version or "?",
        "to": job.to_version,
        "at": day_hour_and_zone(job.ended_at or job.requested_at),
    }
    which = gettext("%(from)s → %(to)s, %(at)s") % values
    return _lines(job.node.account.marked(job.hub_name), explained, which)


def _lines(name: str, explained: Explanation, which: str = "") -> str:
    """Return an explanation as a few lines, with its support code."""
    lines = [f"{name}: {explained.headline}", explained.what]
    if explained.is_safe:
        lines.append(gettext("Is the hub safe? %(answer)s") % {"answer": explained.is_safe})
    if explained.todo:
        lines.append(gettext("What to do: %(todo)s") % {"todo": explained.todo})
    code = gettext("Support code: %(code)s") % {"code": explained.code}
    lines.append(f"{code} ({which})" if which else code)
    return "\n".join(line for line in lines if line)


def _of_clouds(household: Household) -> Iterator[str]:
    """Yield what keeps the cloud, or single hubs, from being asked."""
    accounts = CloudAccount.objects.filter(household=household)
    for account in accounts.exclude(state=AccountState.UNLINKED).order_by("pk")[:MOST]:
        if account.state == AccountState.SIGNED_OUT:
            words = gettext(
                "%(household)s: Please sign in to the cloud account at %(cloud)s again. Until "
                "then, its hubs are not checked or updated."
            )
            yield words % {"household": household, "cloud": account.cloud_host}
        elif account.any_trouble:
            explained = explain_trouble(account.any_trouble, account.trouble_text)
            yield _lines(account.cloud_host, explained)
    hubs = hubs_in(household).exclude(check_trouble="").order_by("check_trouble", "name", "pk")
    seen: set[str] = set()
    for node in hubs.select_related("account")[:MOST]:
        if node.check_trouble not in seen:
            seen.add(node.check_trouble)
            trouble = explain_trouble(node.check_trouble, node.check_trouble_text)
            yield _lines(node.marked_name, trouble)


def _of_plans(household: Household, now: datetime) -> Iterator[str]:
    """Yield what is planned, and what waits for the household's answer."""
    plans = Plan.objects.waiting().filter(household=household).order_by("not_before", "pk")
    lines = []
    for plan in plans[: MOST + 1]:
        values = {
            "to_version": plan.to_version,
            "hub_name": plan.hub_name,
            "starts": plan_text.long(plan),
        }
        lines.append(gettext("%(to_version)s is planned for %(hub_name)s: %(starts)s.") % values)
    waiting = Proposal.objects.undecided(now).filter(household=household, plan=None)
    lines_of_proposals = [
        proposal_text.headline(one) for one in waiting.order_by("hub_name", "pk")[: MOST + 1]
    ]
    for found in (lines, lines_of_proposals):
        if len(found) > MOST:
            found[MOST:] = [gettext("More of this is on the page of the household.")]
        if found:
            yield "\n".join(found)
