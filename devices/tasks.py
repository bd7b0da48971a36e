"""The four functions a worker may run. Their names are stored in queued tasks: keep them.

None takes arguments. One that is lost, late or run twice does no harm. The allow-list is in
taskqueue/wakeups.py.
"""

from devices.audit.maintenance import run_due
from devices.backup import schedule
from devices.fleet.attention import forget_wrong_attention
from devices.models import database_clock
from devices.models.lease import TRAIL as TRAIL_BEAT
from devices.notifications import delivery
from devices.notifications.delivery import Words
from devices.planning import announcements, policy_links, tonight
from devices.presentation.headlines import standing_of
from devices.presentation.proposal_mail import letter_of
from devices.taskqueue.leases import SHARED_LEASE, held
from devices.taskqueue.wakeups import wake_installs, wake_notices, wake_sync
from devices.worker import clock_changes, stop_flag, upkeep
from devices.worker.cloud_tasks import (
    advance_chores,
    advance_installs,
    chores_are_idle,
    find_chores,
    find_installs,
    installs_are_idle,
)
from devices.worker.runner import Runner


def installs_loop() -> None:
    """Push what was confirmed and follow what was sent, until nothing is under way."""
    runner = Runner(
        "installs",
        find_installs,
        installs_are_idle,
        clock_changes.shift_install_deadlines,
        advance_installs,
        is_stopping=stop_flag.is_raised,
        wake=wake_installs,
    )
    if runner.run():
        wake_installs()


def chores_loop() -> None:
    """Read the accounts and check the hubs that are due."""
    runner = Runner(
        "chores",
        find_chores,
        chores_are_idle,
        clock_changes.shift_sync_deadlines,
        advance_chores,
        is_stopping=stop_flag.is_raised,
        wake=wake_sync,
    )
    if runner.run():
        wake_sync()


def trail_upkeep() -> None:
    """Start a backup that is due or asked for. Publish the audit trail's head, prune old entries
    and verify, as far as due. Delete what is over and was kept for long enough.

    Each part renews the lease, so that another machine goes on soon after this one has vanished.
    """
    with held(TRAIL_BEAT, SHARED_LEASE) as lease:
        if lease is None:
            return
        now = database_clock.now()
        schedule.start_if_due(now)
        run_due(now, may_go_on=lease.renew)
        if lease.renew():
            upkeep.delete_what_is_over(now)
            forget_wrong_attention()
        if lease.renew():
            schedule.start_if_due(database_clock.now())  # asked for meanwhile


def send_notices() -> None:
    """Announce what is planned for the night, and send the notifications that are due."""
    now = database_clock.now()
    tonight.announce(now)
    words = Words(
        is_moot=announcements.is_moot,
        standing=standing_of,
        path_of=policy_links.path_of,
        not_tonight=tonight.link_for,
        letter=letter_of,
    )
    if delivery.send_due(now, words=words):
        wake_notices()
