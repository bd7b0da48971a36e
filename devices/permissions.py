"""What a person may do, and which rows they may see. Nothing here writes."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import TypeVar, cast

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop

from devices.explanations.reasons import Reason
from devices.models import (
    Batch,
    CloudAccount,
    Household,
    Membership,
    Node,
    OtaJob,
    Plan,
    Proposal,
    Role,
    StaffRole,
    User,
)
from devices.models.install import OtaJobQuerySet
from devices.models.message import NO_MESSAGE, Message
from devices.models.node import NodeQuerySet
from devices.models.plan import PlanQuerySet
from devices.models.proposal import ProposalQuerySet
from devices.models.text import mask_emails

Answer = TypeVar("Answer")
Row = TypeVar("Row")


class Right(StrEnum):
    LOOK = "look"
    REVIEW = "review"  # read the audit trail
    CHECK = "check"  # ask the cloud for new firmware
    PROPOSE = "propose"  # prepare an install for the household to decide on
    INSTALL = "install"  # confirm, retry and cancel installs
    MANAGE = "manage"  # link and unlink cloud accounts
    PEOPLE = "people"  # invite, change roles, change the household's settings
    AUTOMATE = "automate"  # set the rule by which installs start by themselves


RIGHTS: dict[str, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.MEMBER: frozenset({Right.LOOK, Right.REVIEW, Right.CHECK, Right.INSTALL}),
    Role.VIEWER: frozenset({Right.LOOK, Right.REVIEW}),
    StaffRole.SUPPORT: frozenset({Right.LOOK, Right.REVIEW, Right.CHECK, Right.PROPOSE}),
    StaffRole.AUDITOR: frozenset({Right.REVIEW}),
}


def all_of(reasons: Iterable[Reason]) -> Message:
    """Return all of them as one text."""
    return Message.join(reason.message for reason in reasons)


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


def looks_only(user: User) -> frozenset[int]:
    """Return the households in which this person is a viewer: other people's e-mail addresses are
    masked there.
    """
    return frozenset(one.household_id for one in memberships_of(user) if one.role == Role.VIEWER)


# What may hold a person's e-mail address, of every kind of row.
NAMES = (
    "requested_by_name",
    "proposed_by_name",
    "decided_by_name",
    "invited_by_name",
    "asked_by_name",
    "seen_by_name",
    "put_back_by_name",
    "set_by_name",
    "dismissed_by_name",
    "stored_by_name",
    "email",
)


MESSAGES = ("reason", "why_stopped")


def mask_people(user: User, row: Row, household_id: int) -> Row:
    """Return the row with the names of others as this person may read them; it is not saved."""
    if household_id in looks_only(user):
        for name in NAMES:
            text = getattr(row, name, "")
            if text and text != user.email:
                setattr(row, name, mask_emails(text))
        for name in MESSAGES:
            if message := getattr(row, name, NO_MESSAGE):
                setattr(row, name, message.masked())
    return row


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
    """Return why staff may enter this household, for the trail."""
    if role == StaffRole.SUPPORT and _lets_support_in(household):
        return "the household lets support in for now"
    if role == StaffRole.SUPPORT:
        return "this server lets support see every household"
    return "an auditor reads every trail"


def may_see_unknown(user: User) -> bool:
    """May this person read what hubs and clouds reported that is not explained yet?

    It is about firmware, not about any household: those who run this server see it.
    """
    return user.is_active and user.staff_role in {StaffRole.SUPPORT, StaffRole.ADMINISTRATOR}


def may_hold(user: User) -> bool:
    """May this person hold and release firmware versions of this server? Those who run it may."""
    return may_see_unknown(user)


@dataclass(frozen=True, slots=True)
class VersionScope:
    """From which hubs and installs a person may be shown how firmware versions did."""

    nodes: NodeQuerySet
    jobs: OtaJobQuerySet
    readable: NodeQuerySet
    """The hubs whose own rows this person may open, too."""
    household_ids: "list[int] | None"
    """Those of the readable hubs; None means all."""
    sees_all: bool
    """Are these all of the server?"""

    @property
    def may_open(self) -> bool:
        """Do the lists show this person every row that is counted?"""
        return not self.sees_all or self.household_ids is None


def version_scope(user: User, within: int | None = None) -> VersionScope:
    """Return it. How firmware went concerns no household: staff see it of all of them, as numbers,
    unless they narrow the lists to one.
    """
    ids = households_for(user, within=within)
    mine, jobs = nodes_for(user, within=within), jobs_for(user, within=within)
    if user.is_active and user.staff_role and within is None:
        return VersionScope(Node.objects.all(), OtaJob.objects.all(), mine, ids, sees_all=True)
    return VersionScope(mine, jobs, mine, ids, sees_all=False)


def households_for(
    user: User, right: Right = Right.LOOK, within: int | None = None
) -> "list[int] | None":
    """Return the ids of the households in which this person has the right; None means all.

    within narrows this, and every question below, to one household. At most two queries; none when
    they were asked before within `cached_answers` for this person.
    """
    if right in RIGHTS.get(_staff_role_everywhere(user), frozenset()):
        return None if within is None else [within]
    return [
        household
        for household, rights in _rights_by_household(user).items()
        if right in rights and within in {None, household}
    ]


@contextmanager
def cached_answers(user: User) -> Iterator[None]:
    """Look up once where this person belongs and what they may do: for pages that only look."""
    user._answers = {}  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del user._answers  # type: ignore[attr-defined]


def _once(question: Callable[[User], Answer]) -> Callable[[User], Answer]:
    """Keep the answer while `cached_answers` is open for the person it is about."""

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


def queues_for(user: User, within: int | None = None) -> "QuerySet[Batch]":
    """Return the queues this person may see."""
    ids = households_for(user, within=within)
    queues = Batch.objects.select_related("household")
    return queues if ids is None else queues.filter(household_id__in=ids)


def plans_for(user: User, within: int | None = None) -> PlanQuerySet:
    """Return the plans this person may see."""
    ids = households_for(user, within=within)
    plans = Plan.objects.all()
    return plans if ids is None else plans.filter(household_id__in=ids)


def proposals_for(user: User, within: int | None = None) -> ProposalQuerySet:
    """Return the proposals to the households this person may see."""
    ids = households_for(user, within=within)
    proposals = Proposal.objects.for_list()
    return proposals if ids is None else proposals.filter(household_id__in=ids)


@dataclass(frozen=True, slots=True)
class TrailScope:
    """Which rows of the audit trail a person may review: those of these households (None: all),
    and their own that belong to no household, such as signing in.
    """

    household_ids: list[int] | None
    own_user_id: int | None
    masked_ids: frozenset[int] = frozenset()
    """Households in which this person only looks: e-mail addresses are masked there."""

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
    ids = households_for(user, Right.REVIEW, within)
    own_user_id = user.pk if within is None else None
    return TrailScope(ids, own_user_id, looks_only(user) if ids is not None else frozenset())


def roles_of(user: User) -> str:
    """Return every role this person holds now, such as "owner, viewer"; "person" without any."""
    held = Membership.objects.filter(user=user).values_list("role", flat=True)
    roles = [role for role in Role.values if role in set(held)]
    return ", ".join([user.staff_role, *roles] if user.staff_role else roles) or "person"


def may_answer(user: User, household: Household) -> bool:
    """May this person answer a proposal to the household? Staff never may, even as members."""
    return not user.staff_role and may(user, Right.INSTALL, household)


def who_answers(signed_in: object, member: User, household: Household) -> User:
    """Return who answers by a link of this member: the person who is signed in, if they belong to
    the household or are staff, else the member.
    """
    if isinstance(signed_in, User) and (signed_in.staff_role or role_in(signed_in, household)):
        return signed_in
    return member


def households_seen(user: User, right: Right = Right.LOOK) -> "QuerySet[Household]":
    """Return the households in which this person has the right, by name."""
    ids = households_for(user, right)
    households = Household.objects.order_by("name", "pk")
    return households if ids is None else households.filter(pk__in=ids)


def households_of(user: User, right: Right = Right.LOOK) -> list[Household]:
    """Return the households in which this person has the right, by name."""
    return list(households_seen(user, right))


SENTENCES = {
    Right.LOOK: gettext_noop("view hubs"),
    Right.REVIEW: gettext_noop("read the audit trail"),
    Right.CHECK: gettext_noop("check hubs"),
    Right.PROPOSE: gettext_noop("propose an install"),
    Right.INSTALL: gettext_noop("install firmware"),
    Right.MANAGE: gettext_noop("manage cloud accounts"),
    Right.PEOPLE: gettext_noop("manage people and settings"),
    Right.AUTOMATE: gettext_noop("set the update policy"),
}
