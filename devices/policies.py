"""Pure questions: may this person, and is this hub fit now? Nothing here writes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import wraps
from typing import TypeVar, cast

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext

from devices.models import (
    AccountState,
    CloudAccount,
    Household,
    Membership,
    Node,
    Offer,
    OtaJob,
    Role,
    StaffRole,
    State,
    User,
)
from devices.models.node import NodeQuerySet
from devices.models.ota import OtaJobQuerySet

Answer = TypeVar("Answer")


class Right(StrEnum):
    LOOK = "look"
    REVIEW = "review"  # read the audit trail
    CHECK = "check"  # ask the cloud for new firmware
    PROPOSE = "propose"  # prepare an install for the household to decide on
    INSTALL = "install"  # confirm, retry and cancel installs
    MANAGE = "manage"  # link and unlink cloud accounts
    PEOPLE = "people"  # invite, change roles, change the household's settings


RIGHTS: dict[str, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.MEMBER: frozenset({Right.LOOK, Right.REVIEW, Right.CHECK, Right.INSTALL}),
    Role.VIEWER: frozenset({Right.LOOK, Right.REVIEW}),
    StaffRole.SUPPORT: frozenset({Right.LOOK, Right.REVIEW, Right.CHECK, Right.PROPOSE}),
    StaffRole.AUDITOR: frozenset({Right.REVIEW}),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why something cannot be done now: a code for machines, a sentence for people.

    str() is the sentence in the language of whoever reads it; `sentence` is that of the record.
    """

    code: str
    text: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return gettext(self.text) % self.values if self.values else gettext(self.text)

    @property
    def sentence(self) -> str:
        return self.text % self.values if self.values else self.text


def told_together(reasons: Iterable[Reason]) -> str:
    """Return all of them as one text, in the language it is read in."""
    reasons = list(reasons)
    return cast(str, format_lazy(" ".join("{}" for _ in reasons), *reasons))


def role_in(user: User, household: Household) -> str:
    """Return the role by which this person may enter the household, or "" for a stranger.

    A membership counts before a staff role. At most one query.
    """
    membership = Membership.objects.filter(user=user, household=household).first()
    if membership is not None:
        return membership.role
    if user.staff_role == StaffRole.SUPPORT and _lets_support_in(household):
        return StaffRole.SUPPORT
    return _staff_role_everywhere(user)


def _lets_support_in(household: Household) -> bool:
    return household.support_until is not None and household.support_until > timezone.now()


def _staff_role_everywhere(user: User) -> str:
    if user.staff_role == StaffRole.AUDITOR:
        return StaffRole.AUDITOR
    if user.staff_role == StaffRole.SUPPORT and settings.SUPPORT_SEES_ALL_HOUSEHOLDS:
        return StaffRole.SUPPORT
    return ""


def may(user: User, right: Right, household: Household) -> bool:
    """May this person do this in this household?"""
    role = role_in(user, household)
    if role == StaffRole.SUPPORT and right == Right.INSTALL:
        return user.is_active and household.support_may_install and _lets_support_in(household)
    return user.is_active and right in RIGHTS.get(role, frozenset())


def administers(user: User) -> bool:
    """May this person manage the people of this server? It opens no household and no hub."""
    return user.is_active and user.staff_role == StaffRole.ADMINISTRATOR


def why_staff(household: Household, role: str) -> str:
    """Return why somebody of the staff may enter this household, for the trail."""
    if role == StaffRole.SUPPORT and _lets_support_in(household):
        return "the household lets support in for now"
    if role == StaffRole.SUPPORT:
        return "this server lets support see every household"
    return "an auditor reads every trail"


def may_see_unknown(user: User) -> bool:
    """May this person read what hubs and clouds said that nobody has explained yet?

    It is about firmware, not about any household: those who keep this server see it.
    """
    return user.is_active and user.staff_role in {StaffRole.SUPPORT, StaffRole.ADMINISTRATOR}


def households_for(
    user: User, right: Right = Right.LOOK, within: int | None = None
) -> "list[int] | None":
    """Return the ids of the households in which this person has the right; None means all.

    within narrows this, and every question below, to one household. At most two queries; none when
    anything of the kind was asked before while `answering_once` for this person.
    """
    if right in RIGHTS.get(_staff_role_everywhere(user), frozenset()):
        return None if within is None else [within]
    return [
        household
        for household, rights in _rights_by_household(user).items()
        if right in rights and within in {None, household}
    ]


@contextmanager
def answering_once(user: User) -> Iterator[None]:
    """Look up once where this person belongs and what they may do: for pages that only look."""
    user._answers = {}  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del user._answers  # type: ignore[attr-defined]


def _once(question: Callable[[User], Answer]) -> Callable[[User], Answer]:
    """Keep the answer while `answering_once` for the person it is about."""

    @wraps(question)
    def asked(user: User) -> Answer:
        answers = getattr(user, "_answers", None)
        if answers is None:
            return question(user)
        if question not in answers:
            answers[question] = question(user)
        return cast(Answer, answers[question])

    return asked


@_once
def memberships_of(user: User) -> list[Membership]:
    """Return where this person belongs, with the households, by their names. One query at most."""
    mine = Membership.objects.filter(user=user).select_related("household")
    return list(mine.order_by("household__name", "pk"))


@_once
def _rights_by_household(user: User) -> dict[int, frozenset[Right]]:
    held = {one.household_id: RIGHTS.get(one.role, frozenset()) for one in memberships_of(user)}
    if user.staff_role == StaffRole.SUPPORT:
        open_now = Household.objects.filter(support_until__gt=timezone.now())
        for household, may_install in open_now.values_list("pk", "support_may_install"):
            # a membership counts before the staff role
            held.setdefault(
                household,
                RIGHTS[StaffRole.SUPPORT] | ({Right.INSTALL} if may_install else frozenset()),
            )
    return held


def nodes_for(user: User, right: Right = Right.LOOK, within: int | None = None) -> NodeQuerySet:
    """Return the hubs this person may see (or do more with), those gone from their cloud too."""
    ids = households_for(user, right, within)
    nodes = Node.objects.all()
    return nodes if ids is None else nodes.filter(account__household_id__in=ids)


def jobs_for(user: User, right: Right = Right.LOOK, within: int | None = None) -> OtaJobQuerySet:
    """Return the installs this person may see."""
    ids = households_for(user, right, within)
    jobs = OtaJob.objects.all()
    return jobs if ids is None else jobs.filter(household_id__in=ids)


def accounts_for(
    user: User, right: Right = Right.LOOK, within: int | None = None
) -> "QuerySet[CloudAccount]":
    """Return the cloud accounts of the households in which this person has the right."""
    ids = households_for(user, right, within)
    accounts = CloudAccount.objects.select_related("household").order_by("household__name", "email")
    return accounts if ids is None else accounts.filter(household_id__in=ids)


@dataclass(frozen=True, slots=True)
class TrailScope:
    """Which rows of the audit trail somebody may review: those of these households (None: all),
    and their own that belong to no household, such as signing in.
    """

    household_ids: list[int] | None
    own_user_id: int | None

    @property
    def sees_all(self) -> bool:
        return self.household_ids is None

    @property
    def own(self) -> list[Q]:
        if self.own_user_id is None or self.sees_all:
            return []
        return [Q(actor_user_id=self.own_user_id, household_id=None)]

    @property
    def visible(self) -> Q:
        """Return the condition under which a row may be seen."""
        if self.household_ids is None:
            return Q()
        seen = Q(household_id__in=self.household_ids)
        return seen | self.own[0] if self.own else seen


def trail_scope(user: User, within: int | None = None) -> TrailScope:
    """Return which rows of the audit trail this person may review."""
    return TrailScope(
        households_for(user, Right.REVIEW, within), user.pk if within is None else None
    )


def roles_of(user: User) -> str:
    """Return every role this person holds now, such as "owner, viewer"; "person" without any."""
    held = Membership.objects.filter(user=user).values_list("role", flat=True)
    roles = [role for role in Role.values if role in set(held)]
    return ", ".join([user.staff_role, *roles] if user.staff_role else roles) or "person"


def being_installed(nodes: Iterable[Node]) -> set[tuple[str, str]]:
    """Return (cloud host, node id) of those physical hubs on which an install runs. One query."""
    ids = [node.node_id for node in nodes]
    live = OtaJob.objects.live().filter(cloud_node_id__in=ids)
    return set(live.values_list("cloud_host", "cloud_node_id"))


def why_unfit(
    node: Node, offer: Offer | None, now: datetime, busy: set[tuple[str, str]] | None = None
) -> list[Reason]:
    """Return why this hub cannot take this offer now, whoever asks; empty when it can. One query,
    unless told which hubs are busy (see `being_installed`).
    """
    reasons = []
    if node.gone_at is not None:
        reasons.append(Reason("hub_gone", "The cloud account no longer has this hub."))
    if node.account.state == AccountState.UNLINKED:
        reasons.append(Reason("account_unlinked", "The cloud account of this hub is unlinked."))
    elif node.account.state == AccountState.SIGNED_OUT:
        reasons.append(
            Reason("signed_out", "The cloud account of this hub has to sign in again first.")
        )
    if offer is None or offer.ended_at is not None:
        reasons.append(Reason("no_offer", "There is no new firmware for this hub right now."))
    elif node.fw_version and node.fw_version == offer.fw_version:
        reasons.append(
            Reason(
                "already_installed",
                "The hub already runs %(version)s.",
                {"version": offer.fw_version},
            )
        )
    if node.is_online is False:
        reasons.append(
            Reason("hub_offline", "The hub is offline. It must be online to take new firmware.")
        )
    if (node.account.cloud_host, node.node_id) in (
        being_installed([node]) if busy is None else busy
    ):
        reasons.append(Reason("job_running", "An install is already running on this hub."))
    return reasons


def why_not_reset(household: Household, user: User) -> list[Reason]:
    """Return why an owner of this household cannot let this person set a new password.

    Whoever has the link could sign in as that person: it must open no other door.
    """
    reasons = []
    if user.staff_role:
        reasons.append(Reason("is_staff", "They belong to the staff of this server."))
    if user.memberships.exclude(household=household).exists():
        reasons.append(Reason("other_household", "They belong to another household too."))
    if not user.is_active:
        reasons.append(Reason("closed", "Their sign-in is closed."))
    return reasons


def may_answer(user: User, household: Household) -> bool:
    """May this person answer what is proposed to the household? Staff never do, at home neither."""
    return not user.staff_role and may(user, Right.INSTALL, household)


def why_not_install(user: User, node: Node, offer: Offer | None, now: datetime) -> list[Reason]:
    """Return why this person cannot install this offer on this hub now; empty when they can."""
    reasons = []
    if not may(user, Right.INSTALL, node.account.household):
        reasons.append(
            Reason("no_right", "Your role here may look, but not install. Ask a member or owner.")
        )
    return reasons + why_unfit(node, offer, now)


def why_not_cancel(user: User, job: OtaJob) -> list[Reason]:
    """Return why this person cannot cancel this install; empty when they can."""
    reasons = []
    if not may(user, Right.INSTALL, job.household):
        reasons.append(Reason("no_right", "Your role here may look, but not cancel."))
    if job.state != State.REQUESTED:
        reasons.append(
            Reason("already_sent", "It is too late to cancel: it has been sent or is over.")
        )
    return reasons
