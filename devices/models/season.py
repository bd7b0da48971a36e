"""Stored for winter: the one place that says whether a household rests, and which of its hubs.

Plans wait while their household is stored (`planning.waits`). A hub of it that is offline is put
away: it needs no attention (`models.attention`), and no notice is about it
(`notifications.outbox`).
"""

from django.db.models import Q

from devices.models.household import Household
from devices.models.node import Node


def is_stored(household: Household) -> bool:
    """Is the household stored for winter?"""
    return household.stored_at is not None


def is_put_away(node: Node) -> bool:
    """Is the hub offline while its household is stored? Reads account and household."""
    return node.is_online is False and is_stored(node.account.household)


def put_away(prefix: str = "") -> Q:
    """Return the same as a condition on hubs; prefix leads to the hub."""
    return Q(
        **{f"{prefix}is_online": False, f"{prefix}account__household__stored_at__isnull": False}
    )
