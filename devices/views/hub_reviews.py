"""The review of several hubs: what can be installed or proposed at once, and what is left out.

In households where a person may install, the review confirms installs, one household at a time.
In those where they may only propose, one press proposes to all of them.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.fields.json import KT
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext

from devices.explanations.reasons import Reason
from devices.fleet.attention import ATTENTION_OF, hubs_of
from devices.forms.proposals import ProposalForm
from devices.installs.confirmation import (
    OfferSnapshot,
    is_still_offered,
    read_snapshots,
    sign_list,
    snapshot_offer,
)
from devices.installs.eligibility import against_plan, busy_hubs, can_wait, why_unfit
from devices.models import Household, Node, Proposal
from devices.models.node import NodeQuerySet
from devices.models.parsing import parse_pks
from devices.models.text import mask_emails
from devices.permissions import Right, households_for, nodes_for
from devices.planning import queues
from devices.planning.proposals import already_proposed, recipients_in, why_not_propose
from devices.request_scope import scope_of
from devices.views.access import current_user, refuse
from devices.views.hub_filters import HubFilter, narrow
from devices.views.moments import Moment, choices_of, chosen_in, time_in


@dataclass(frozen=True, slots=True)
class Choice:
    """One hub on the list: the offer it would install, or why it is left out."""

    node: Node
    reasons: list[Reason]

    @property
    def can_wait(self) -> bool:
        """Is it only offline, so that it can be planned?"""
        return can_wait(self.reasons)


@dataclass(frozen=True, slots=True)
class Section:
    """The chosen hubs of one household: one confirmation."""

    household: Household
    choices: list[Choice]
    agreed: str
    """What the form carries: all that it shows of the hubs that can take it now or later."""
    fit: int
    """How many can take it now."""
    can_wait: int
    """How many are offline and can take it later."""

    @property
    def moments(self) -> list[Moment]:
        return choices_of(self.household, is_online=self.fit > 0, with_online=self.can_wait > 0)


@dataclass(frozen=True, slots=True)
class ProposalSection:
    """The chosen hubs of one household that decides itself."""

    household: Household
    choices: list[Choice]
    recipients: list[str]
    """Who is mailed the links, masked."""


@dataclass(frozen=True, slots=True)
class Proposing:
    """What is proposed with one press, to several households."""

    sections: list[ProposalSection]
    agreed: str
    """What the form carries: all that it shows of the hubs that are proposed."""
    n: int
    """How many hubs those are."""


def chosen(request: HttpRequest) -> list[Node]:
    """Return the hubs that the address names, or all that the list's filters match."""
    if request.GET.get("all"):
        return _all_new(request)
    named = request.GET.getlist("hub")[: queues.MOST_HUBS + 1]
    return fetch(request, parse_pks(named), Right.INSTALL, Right.PROPOSE)


def posted(request: HttpRequest, right: Right) -> list[Node]:
    """Return the hubs that the form showed, to show them again."""
    named = request.POST.getlist("hub")[: queues.MOST_HUBS + 1]
    return fetch(request, parse_pks(named), right)


def fetch(request: HttpRequest, ids: Collection[int], *rights: Right) -> list[Node]:
    """Return these hubs by household and name; 404 for unknown hubs, 403 where the person has none
    of these rights.
    """
    user = current_user(request)
    nodes = list(_in_order(nodes_for(user).filter(pk__in=ids)))
    if len(nodes) != len(set(ids)):
        raise Http404("no such hub")
    able = _households(request, *rights) if nodes else None
    for household in {node.account.household for node in nodes}:
        if able is not None and household.pk not in able:
            refuse(request, rights[0], household, None)
    return nodes


def agreed(request: HttpRequest) -> dict[int, OfferSnapshot]:
    """Return what the form was bound to, by hub: of those whose tick was left. Raises
    SnapshotError.
    """
    bindings = {one.node_pk: one for one in read_snapshots(request.POST.get("agreed", ""))}
    if "ticks" not in request.POST:
        return bindings
    ticked = parse_pks(request.POST.getlist("tick"))
    return {pk: binding for pk, binding in bindings.items() if pk in ticked}


def swapped(nodes: Iterable[Node], bindings: dict[int, OfferSnapshot]) -> str:
    """Return which of these hubs are offered something else by now, as a sentence, or ""."""
    names = [str(one) for one in nodes if not is_still_offered(bindings[one.pk], one, one.offer)]
    if not names:
        return ""
    words = gettext(
        "Nothing was sent: the cloud's offer for %(names)s has changed. Please "
        "review the list again."
    )
    return words % {"names": ", ".join(names)}


def review(request: HttpRequest, nodes: list[Node], *, problem: str = "") -> HttpResponse:
    """Return the page: a form for each household that installs, one for all that decide."""
    too_many = len(nodes) > queues.MOST_HUBS
    nodes = nodes[: queues.MOST_HUBS]
    busy, able = busy_hubs(nodes), _households(request, Right.INSTALL)
    installs = [node for node in nodes if able is None or node.account.household_id in able]
    sections = [
        _section(household, [Choice(node, why_unfit(node, node.offer, busy)) for node in mine])
        for household, mine in _by_household(installs)
    ]
    values = {
        "sections": sections,
        "proposing": _proposing([node for node in nodes if node not in installs], busy),
        "form": ProposalForm(request.POST or None),
        "problem": problem,
        "total": sum(section.fit + section.can_wait for section in sections),
        "some_wait": any(section.fit and section.can_wait for section in sections),
        "too_many": queues.MOST_HUBS if too_many else 0,
        "at_once": queues.AT_ONCE,
        "chosen": chosen_in(request),
        "at": time_in(request),
    }
    return render(request, "devices/queues/new.html", values, status=409 if problem else 200)


def _households(request: HttpRequest, *rights: Right) -> set[int] | None:
    """Return the households in which this person has one of these rights; None means all."""
    found: set[int] = set()
    for right in rights:
        ids = households_for(current_user(request), right)
        if ids is None:
            return None
        found |= set(ids)
    return found


def _all_new(request: HttpRequest) -> list[Node]:
    """Return the hubs of the Hubs page with new firmware that its filters match; those offline are
    left out by name, and what is proposed already comes last.
    """
    user, within = current_user(request), scope_of(request).household_id
    asked = HubFilter.read(request.GET)
    hubs = narrow(hubs_of(user, within), asked).filter(Q(attention__in=ATTENTION_OF["new"]))
    ids = _households(request, Right.INSTALL, Right.PROPOSE)
    if ids is not None:
        hubs = hubs.filter(account__household_id__in=ids)
    undecided = Proposal.objects.undecided(timezone.now()).alias(version=KT("binding__to_version"))
    same = undecided.filter(node=OuterRef("pk"), version=OuterRef("open_offer__fw_version"))
    ordered = hubs.order_by(Exists(same), F("attention"), "pk")
    pks = list(ordered.values_list("pk", flat=True)[: queues.MOST_HUBS + 1])
    first, more = pks[: queues.MOST_HUBS], pks[queues.MOST_HUBS :]
    # one more than a review holds, and last, says that there are more
    return [*_in_order(hubs.filter(pk__in=first)), *hubs.filter(pk__in=more)]


def _in_order(hubs: NodeQuerySet) -> NodeQuerySet:
    order = ("account__household__name", "account__household_id", "name", "pk")
    return hubs.with_offers().with_accounts_once().order_by(*order)


def _by_household(nodes: list[Node]) -> list[tuple[Household, list[Node]]]:
    grouped = groupby(nodes, key=lambda node: node.account.household)
    return [(household, list(mine)) for household, mine in grouped]


def _section(household: Household, choices: list[Choice]) -> Section:
    bound = _bound(one for one in choices if not against_plan(one.reasons))
    waiting = sum(choice.can_wait for choice in choices)
    return Section(household, choices, sign_list(bound), len(bound) - waiting, waiting)


def _bound(choices: Iterable[Choice]) -> list[OfferSnapshot]:
    offered = ((one.node, one.node.offer) for one in choices)
    return [snapshot_offer(node, offer) for node, offer in offered if offer is not None]


def _proposing(nodes: list[Node], busy: set[tuple[str, str]]) -> Proposing | None:
    if not nodes:
        return None
    proposed = already_proposed(nodes, timezone.now())
    groups = _by_household(nodes)
    recipients = recipients_in([one for one, _ in groups]) if settings.HAS_MAIL_SERVER else {}
    sections = [
        ProposalSection(
            household,
            [Choice(node, why_not_propose(node, busy, proposed)) for node in mine],
            [mask_emails(one.email) for one in recipients.get(household.pk, [])],
        )
        for household, mine in groups
    ]
    choices = [choice for section in sections for choice in section.choices]
    bound = _bound(choice for choice in choices if not choice.reasons)
    return Proposing(sections, sign_list(bound), len(bound))
