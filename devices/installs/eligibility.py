"""Decide whether a hub can take an update now or once more, and whether a person may start or
cancel it.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum

from devices.explanations.reasons import Reason, ReasonCode
from devices.models import AccountState, Household, Node, Offer, OtaJob, State, UpdatePolicy, User
from devices.models.install import NOT_AGAIN
from devices.models.message import MessageCode
from devices.models.version_text import is_same_version
from devices.permissions import Right, may


class OfferSince(StrEnum):
    """What is known of the cloud's offer since an install ended."""

    IRRELEVANT = ""  # it runs, it went well, or a newer one tells more
    CHECKING = "checking"
    UNKNOWN = "unknown"
    NONE = "none"
    SAME = "same"
    OTHER = "other"


def busy_hubs(nodes: Iterable[Node]) -> set[tuple[str, str]]:
    """Return (cloud host, node id) of those physical hubs on which an install runs. One query."""
    ids = [node.node_id for node in nodes]
    live = OtaJob.objects.live().filter(cloud_node_id__in=ids)
    return set(live.values_list("cloud_host", "cloud_node_id"))


def against_plan(reasons: Iterable[Reason]) -> list[Reason]:
    """Return which of these reasons against an install now are against a plan too: that the hub is
    offline is what a plan waits for.
    """
    return [reason for reason in reasons if reason.code != ReasonCode.HUB_OFFLINE]


def can_wait(reasons: Collection[Reason]) -> bool:
    """Can the install be planned, although it cannot start now?"""
    return bool(reasons) and not against_plan(reasons)


def why_in_use(node: Node, household: Household, now: datetime) -> Reason | None:
    """Return why a planned install that waits for the repellent does not go now: it is on, or has
    been off for less than the household's idle time. None when it may.

    One query, unless the household was fetched with its update policy.
    """
    if node.is_in_use:
        return Reason(ReasonCode.IN_USE, MessageCode.HUB_IN_USE)
    since = node.idle_since
    if since is not None and now < since + UpdatePolicy.of(household).idle_time:
        return Reason(ReasonCode.IN_USE, MessageCode.HUB_USED_LATELY)
    return None


def why_unfit(
    node: Node, offer: Offer | None, busy: set[tuple[str, str]] | None = None
) -> list[Reason]:
    """Return why this hub cannot take this offer now, for any person; empty when it can.

    One query, unless `busy` is given (see `busy_hubs`).
    """
    reasons = []
    if node.gone_at is not None:
        reasons.append(Reason(ReasonCode.HUB_GONE, MessageCode.HUB_GONE))
    if node.account.is_unlinked:
        reasons.append(Reason(ReasonCode.ACCOUNT_UNLINKED, MessageCode.ACCOUNT_UNLINKED))
    elif node.account.state == AccountState.SIGNED_OUT:
        reasons.append(Reason(ReasonCode.SIGNED_OUT, MessageCode.ACCOUNT_SIGNED_OUT))
    if offer is None or offer.ended_at is not None:
        reasons.append(_why_no_offer(node))
    elif is_same_version(node.fw_version, offer.fw_version):
        reasons.append(
            Reason(
                ReasonCode.ALREADY_INSTALLED,
                MessageCode.ALREADY_INSTALLED,
                {"version": offer.fw_version},
            )
        )
    elif offer.dismissal_id is not None:
        version = {"version": offer.fw_version}
        reasons.append(Reason(ReasonCode.DISMISSED, MessageCode.DISMISSED, version))
    if node.is_online is False:
        reasons.append(Reason(ReasonCode.HUB_OFFLINE, MessageCode.HUB_OFFLINE))
    if (node.account.cloud_host, node.node_id) in (busy_hubs([node]) if busy is None else busy):
        reasons.append(Reason(ReasonCode.JOB_RUNNING, MessageCode.JOB_RUNNING))
    return reasons


def _why_no_offer(node: Node) -> Reason:
    if node.check_trouble:
        return Reason(ReasonCode.OFFER_UNKNOWN, MessageCode.OFFER_UNKNOWN)
    if node.checked_at is None:
        return Reason(ReasonCode.OFFER_UNKNOWN, MessageCode.NOT_CHECKED)
    return Reason(ReasonCode.NO_OFFER, MessageCode.NO_OFFER)


def why_not_install(user: User, node: Node, offer: Offer | None) -> list[Reason]:
    """Return why this person cannot install this offer on this hub now; empty when they can."""
    reasons = []
    if not may(user, Right.INSTALL, node.account.household):
        reasons.append(Reason(ReasonCode.NO_RIGHT, MessageCode.MAY_NOT_INSTALL))
    return reasons + why_unfit(node, offer)


def why_not_cancel(user: User, job: OtaJob) -> list[Reason]:
    """Return why this person cannot cancel this install; empty when they can."""
    reasons = []
    if not may(user, Right.INSTALL, job.household):
        reasons.append(Reason(ReasonCode.NO_RIGHT, MessageCode.MAY_NOT_CANCEL))
    if job.state != State.REQUESTED:
        reasons.append(Reason(ReasonCode.ALREADY_SENT, MessageCode.SENT_OR_OVER))
    return reasons


def offer_since(job: OtaJob) -> OfferSince:
    """Return what is known of the offer since this install ended."""
    node, offer = job.node, job.node.new_offer
    is_good = job.state == State.VERIFIED and job.fell_back_at is None
    if job.is_live or is_good or job.arrived_late_at is not None or not job.is_latest:
        return OfferSince.IRRELEVANT
    if node.is_being_checked:
        return OfferSince.CHECKING
    if node.checked_at is None or (job.ended_at is not None and node.checked_at < job.ended_at):
        return OfferSince.UNKNOWN
    if offer is None:
        return OfferSince.NONE
    is_same = is_same_version(offer.fw_version, job.to_version)
    return OfferSince.SAME if is_same else OfferSince.OTHER


def can_retry(job: OtaJob) -> bool:
    """Is there something to try once more? Not what such a hub refuses each time (NOT_AGAIN)."""
    since = offer_since(job)
    if since == OfferSince.IRRELEVANT or job.node.new_offer is None:
        return False
    return since != OfferSince.SAME or job.outcome not in NOT_AGAIN
