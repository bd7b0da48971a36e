"""Each hub of a queue and each answer "tonight" becomes a plan; those that wait go on waiting."""

from datetime import time

from django.db import migrations
from django.utils import timezone

NIGHT = {"window_start": time(22), "window_end": time(5)}
REPLACED = '[{"code": "plan_replaced", "params": {}}]'
# How a proposal ended that was planned for a night.
NIGHTS = {"accepted": "started", "missed": "expired", "overtaken": "done", "withdrawn": "cancelled"}


def nights(apps, planned):
    """Yield a plan for each proposal that was answered with "tonight"."""
    Plan = apps.get_model("devices", "Plan")
    Proposal = apps.get_model("devices", "Proposal")
    answered = Proposal.objects.exclude(try_until=None).order_by("-pk")
    for proposal in answered.iterator():
        is_waiting = proposal.state == "tonight"
        state = "waiting" if is_waiting else NIGHTS.get(proposal.state, "dropped")
        decided_at = proposal.decided_at or proposal.created_at
        if is_waiting:
            planned.add(proposal.node_id)
        yield Plan(
            household_id=proposal.household_id,
            node_id=proposal.node_id,
            hub_name=proposal.hub_name,
            binding=proposal.binding,
            proposal_id=proposal.pk,
            requested_by_id=proposal.decided_by_id,
            requested_by_name=proposal.decided_by_name,
            requested_role=proposal.decided_role,
            requested_via="proposal",
            requested_at=decided_at,
            when="tonight",
            **NIGHT,
            not_before=decided_at,
            expires_at=proposal.try_until,
            needs_idle=True,
            state=state,
            drop_reason="restored" if state == "dropped" else "",
            reason=proposal.why_not,
            next_look_at=proposal.next_try_at or timezone.now() if is_waiting else None,
            ended_at=None if is_waiting else proposal.try_until,
            job_id=proposal.job_id if state == "started" else None,
        )


def members(apps, planned):
    """Yield a plan for each hub of a queue, newest queue first. A hub has one plan that waits: one
    of the night counts before a queue, and a newer queue before an older one.
    """
    Plan = apps.get_model("devices", "Plan")
    items = apps.get_model("devices", "BatchItem").objects.select_related("batch")
    for item in items.order_by("-batch__requested_at", "-batch_id", "position").iterator():
        batch, state, drop_reason, reason = item.batch, item.state, "", item.reason
        if state == "skipped":
            state, drop_reason = "dropped", "refused"
        elif state == "dropped" or (state == "waiting" and batch.state == "finished"):
            state = "expired"
        elif state == "waiting" and item.node_id in planned:
            state, drop_reason, reason = "dropped", "replaced", REPLACED
        is_waiting = state == "waiting"
        if is_waiting:
            planned.add(item.node_id)
        yield Plan(
            household_id=batch.household_id,
            node_id=item.node_id,
            hub_name=item.hub_name,
            binding=item.binding,
            batch_id=batch.pk,
            position=item.position,
            requested_by_id=batch.requested_by_id,
            requested_by_name=batch.requested_by_name,
            requested_via="queue",
            requested_at=batch.requested_at,
            when="now",
            not_before=batch.requested_at,
            expires_at=batch.expires_at,
            needs_idle=False,
            state=state,
            drop_reason=drop_reason,
            reason=reason,
            next_look_at=timezone.now() if is_waiting else None,
            ended_at=None if is_waiting else item.settled_at or batch.requested_at,
            job_id=item.job_id,
        )


def make_plans(apps, schema_editor):
    Plan = apps.get_model("devices", "Plan")
    planned = set()
    jobs = set()
    for rows in (nights, members):
        plans = list(rows(apps, planned))
        for plan in plans:
            if plan.job_id in jobs:
                plan.job_id = None
            elif plan.job_id is not None:
                jobs.add(plan.job_id)
        Plan.objects.bulk_create(plans, batch_size=500)


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0041_plans'),
    ]

    operations = [migrations.RunPython(make_plans, migrations.RunPython.noop)]
