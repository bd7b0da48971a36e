"""A household with hubs in every state, and its pages."""

from django.utils import timezone

from devices.models import InstallOutcome, Role, State
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
)

HTMX = {"HX-Request": "true"}


class Home:
    """One household with hubs in every standing."""

    def __init__(self) -> None:
        self.household = make_household("Garden house", time_zone="Europe/Berlin")
        self.account = make_account(self.household)
        self.new = make_node(self.account, name="Vegetable beds")
        self.offer = make_offer(self.new)
        self.plain = make_node(self.account, name="Front door", fw_version="5.3.3")
        self.broken = make_node(self.account, name="Back porch")
        self.job = make_job(
            self.broken,
            state=State.UNVERIFIED,
            outcome=InstallOutcome.CLAIMED_SUCCESS_SAME_VERSION,
            cloud_word="success",
            cloud_meaning="success",
            success_at=timezone.now(),
            version_seen="5.3.2",
            version_seen_at=timezone.now(),
            is_online=True,
        )
        self.busy = make_node(self.account, name="Fire pit")
        self.running = make_job(self.busy, state=State.RUNNING)
        self.people = {
            role: make_user(role=role, household=self.household)
            for role in (Role.OWNER, Role.MEMBER, Role.VIEWER)
        }


def pages_of(home: Home) -> list[str]:
    return [
        "/",
        "/hubs/live/",
        f"/hubs/{home.new.pk}/",
        f"/hubs/{home.new.pk}/live/",
        f"/installs/{home.job.pk}/",
        f"/installs/{home.job.pk}/live/",
        f"/installs/{home.running.pk}/",
        "/history/",
        "/audit/",
        "/accounts/",
        "/profile/",
    ]
