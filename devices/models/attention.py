"""What a hub needs: the one definition that every page, interface and message uses.

It is decided in the database and kept with the hub (`Node.known_attention`), so that ten thousand
hubs stay quick. Every change that a page shows goes through `Node.touch`, which raises the hub's
revision; from then on it is decided at each reading, until the worker has stored it for that
revision (`fleet.attention`).
"""

from enum import IntEnum
from functools import cache

from django.db.models import (
    Case,
    F,
    FilteredRelation,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)

from devices.models.account import AccountState
from devices.models.install import LIVE, needs_person
from devices.models.node import Node, NodeQuerySet
from devices.models.plan import PlanState
from devices.models.queue import BatchState
from devices.models.season import put_away


class Attention(IntEnum):
    """Why a hub stands where it stands on the list; the first comes first."""

    TROUBLE = 0  # its last install needs a person
    SIGNED_OUT = 1
    RUNNING = 2
    NEW = 3
    WAITING = 4  # new firmware, but the hub is offline
    OLDER = 5  # an older version than it runs is offered
    PLANNED = 6  # its install starts later by itself
    STORED = 7  # offline, and its household is stored for winter
    DISMISSED = 8  # what it is offered is not wanted
    NONE = 9

    @property
    def needs_person(self) -> bool:
        """Must a person look at such a hub?"""
        return self in {Attention.TROUBLE, Attention.SIGNED_OUT}


# What is kept of a hub is what it needs now.
IS_KNOWN = Q(known_at_revision=F("revision"))


def with_attention(nodes: NodeQuerySet) -> NodeQuerySet:
    """Return hubs with `attention`, a value of Attention, in the same query.

    Beside it the aliases `latest`, the newest install, `open_offer` and `waiting_plan`.
    """
    if "attention" in nodes.query.annotations:
        return nodes
    decided = Subquery(_decided_of_outer(), output_field=IntegerField())
    # in a dictionary: a row has this attribute only where it was asked for
    attention = {"attention": Case(When(IS_KNOWN, then=F("known_attention")), default=decided)}
    return _with_related(nodes).annotate(**attention)


@cache
def _decided_of_outer() -> "QuerySet[Node, tuple[int]]":
    """Return what an outer query's hub needs. Built once: that takes long, and it never changes."""
    return decide(Node.objects.filter(pk=OuterRef("pk"))).values_list(F("decided"))


def decide(nodes: NodeQuerySet) -> NodeQuerySet:
    """Return hubs with `decided`: what each needs, whatever is kept."""
    is_settled = (
        Q(latest__to_version=F("fw_version"))
        # the hub spells the version in its own way
        | Q(latest__version_agreed_at__isnull=False, latest__version_seen=F("fw_version"))
    ) | (
        Q(open_offer__first_seen_at__gt=F("latest__requested_at"))
        & ~Q(open_offer__ota_job_id=F("latest__ota_job_id"))
    )
    is_open = ~is_settled & needs_person("latest__")
    is_live = Q(latest__state__in=sorted(LIVE))
    # what waits in a stopped queue needs a person
    is_planned = Q(waiting_plan__isnull=False) & ~Q(waiting_plan__batch__state=BatchState.STOPPED)
    is_away = Q(gone_at__isnull=False) | Q(account__state=AccountState.UNLINKED)
    decided = {
        "decided": Case(
            _when(is_away, Attention.NONE),
            _when(is_planned & Q(account__state=AccountState.LINKED) & ~is_live, Attention.PLANNED),
            _when(is_open, Attention.TROUBLE),
            _when(Q(account__state=AccountState.SIGNED_OUT), Attention.SIGNED_OUT),
            _when(is_live, Attention.RUNNING),
            _when(put_away(), Attention.STORED),
            _when(Q(open_offer__dismissal__isnull=False), Attention.DISMISSED),
            _when(Q(open_offer__is_step_back=True), Attention.OLDER),
            _when(Q(open_offer__isnull=False, is_online=False), Attention.WAITING),
            _when(Q(open_offer__isnull=False), Attention.NEW),
            default=Value(Attention.NONE.value),
            output_field=IntegerField(),
        )
    }
    return _with_related(nodes).annotate(**decided)


def _with_related(nodes: NodeQuerySet) -> NodeQuerySet:
    return nodes.annotate(
        waiting_plan=FilteredRelation("plans", condition=Q(plans__state=PlanState.WAITING)),
        latest=FilteredRelation("jobs", condition=Q(jobs__is_latest=True)),
        open_offer=FilteredRelation("offers", condition=Q(offers__ended_at__isnull=True)),
    )


def _when(condition: Q, attention: Attention) -> When:
    return When(condition, then=Value(attention.value))
