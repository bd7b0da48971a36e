"""Let a hub that came back under another node id keep its history, settings and identity."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    AuditAction,
    Dismissal,
    HubPolicy,
    ImageFetch,
    Node,
    Offer,
    OfferEnd,
    OtaJob,
    Plan,
    Proposal,
    VersionChange,
)

# What a reading of the account fills in: it goes with the node id. All else stays with the row.
STAYS = {"id", "continued_in", "first_seen_at", "revision", "changed_at"}
STAYS |= {"known_attention", "known_at_revision"}
CLOUD_FACTS = [field.attname for field in Node._meta.concrete_fields if field.name not in STAYS]


def may_continue(old: Node, new: Node) -> bool:
    """Can `new` continue the row of `old`: the same device, gone under its old node id?

    The lists agreed twice that the old one is gone, and nothing runs or waits on either. Three
    queries at most.
    """
    is_same = bool(old.serial) and (old.serial, old.account.household_id) == (
        new.serial,
        new.account.household_id,
    )
    is_gone = old.gone_at is not None or old.account.is_unlinked
    if not (is_same and is_gone and new.is_listed and old.continued_in_id is None):
        return False
    rows = [old.pk, new.pk]
    return not (
        OtaJob.objects.live().filter(node__in=rows).exists()
        or Proposal.objects.undecided(timezone.now()).filter(node__in=rows).exists()
        or Plan.objects.waiting().filter(node__in=rows).exists()
    )


def carry_over(old: Node, new: Node, *, actor: Actor, now: datetime) -> bool:
    """Give the row of the old node id the new node id, with all that was recorded for either;
    False, and nothing is changed, when that is not possible.

    Pages, settings and Home Assistant know a hub by its row, so they go on. The other row keeps
    the old node id, marked as gone, and leads to the first. Installs keep the node id they were
    made with.
    """
    with audit_log.locked(), transaction.atomic():
        rows = Node.objects.select_for_update().select_related("account__household")
        found = rows.in_bulk([old.pk, new.pk])
        if len(found) != 2 or not may_continue(found[old.pk], found[new.pk]):
            return False
        kept, left = found[old.pk], found[new.pk]
        Offer.objects.filter(node=kept, ended_at=None).update(
            ended_at=now, end_reason=OfferEnd.WITHDRAWN
        )
        if OtaJob.objects.filter(node=left, is_latest=True).exists():
            OtaJob.objects.filter(node=kept, is_latest=True).update(is_latest=False)
        for model in (Offer, VersionChange, OtaJob, ImageFetch, Dismissal):
            model.objects.filter(node=left).update(node=kept)
        # what was chosen for the hub under its new node id is the newer choice
        if chosen := HubPolicy.objects.filter(node=left).first():
            HubPolicy.objects.filter(node=kept).delete()
            HubPolicy.objects.filter(pk=chosen.pk).update(node=kept)
        mine = {name: getattr(kept, name) for name in CLOUD_FACTS}
        theirs = {name: getattr(left, name) for name in CLOUD_FACTS}
        # two rows of one account never hold the same node id, not even for a moment
        Node.objects.filter(pk=left.pk).update(node_id=f"-{left.pk}")
        kept.touch(now, **theirs)
        left.touch(now, **mine | {"gone_at": mine["gone_at"] or now, "continued_in_id": kept.pk})
        audit_log.record(
            actor,
            AuditAction.HUB_CARRIED_OVER,
            f"{actor.name} let {kept} continue: its node id is now {theirs['node_id']} instead of "
            f"{mine['node_id']}, the serial number {kept.serial} is the same.",
            node=kept,
            why=f"role {actor.role}",
            at=now,
            detail={
                "from_node_id": mine["node_id"],
                "to_node_id": theirs["node_id"],
                "other_row": left.pk,
            },
        )
    return True
