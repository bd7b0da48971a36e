"""What an audit row can be about: one closed set, grouped by the part of the product.

A value is "group.what". Rows hold it as text, which the hash chain covers: a value never changes.
"""

from enum import StrEnum

from django.db import models
from django.utils.translation import gettext_lazy


class AuditGroup(models.TextChoices):
    """The beginnings of the actions, with the words of the trail's filter."""

    INSTALL = "install", gettext_lazy("Installs")
    QUEUE = "queue", gettext_lazy("Queues")
    PLAN = "plan", gettext_lazy("Plans")
    PROPOSAL = "proposal", gettext_lazy("Proposals")
    OFFER = "offer", gettext_lazy("Offers")
    CHECK = "check", gettext_lazy("Checks")
    IMAGE = "image", gettext_lazy("Firmware files")
    VERSION = "version", gettext_lazy("Versions")
    HUB = "hub", gettext_lazy("Hubs added or removed")
    ACCOUNT = "account", gettext_lazy("Cloud accounts")
    PERSON = "person", gettext_lazy("Sign-ins")
    ACCESS = "access", gettext_lazy("Access")
    HOUSEHOLD = "household", gettext_lazy("Households")
    NOTIFICATIONS = "notifications", gettext_lazy("Notifications")
    KEYS = "keys", gettext_lazy("Keys")
    TOKEN = "token", gettext_lazy("Tokens")
    BACKUP = "backup", gettext_lazy("Backups")
    TRAIL = "trail", gettext_lazy("Audit trail")
    WORKER = "worker", gettext_lazy("System")
    CLOCK = "clock", gettext_lazy("The server's clock")

    @property
    def prefix(self) -> str:
        """Return how every action of this group begins."""
        return f"{self.value}."


class AuditAction(StrEnum):
    # one for each state that an install comes to
    INSTALL_REQUESTED = "install.requested"
    INSTALL_PUSHING = "install.pushing"
    INSTALL_RUNNING = "install.running"
    INSTALL_RETRYING = "install.retrying"
    INSTALL_VERIFYING = "install.verifying"
    INSTALL_VERIFIED = "install.verified"
    INSTALL_UNVERIFIED = "install.unverified"
    INSTALL_REJECTED = "install.rejected"
    INSTALL_FAILED = "install.failed"
    INSTALL_LOST = "install.lost"
    INSTALL_CANCELLED = "install.cancelled"
    INSTALL_EXPIRED = "install.expired"
    INSTALL_REFUSED = "install.refused"
    # and what happens to one without moving it
    INSTALL_REQUEST_REFUSED = "install.request_refused"
    INSTALL_CANCEL_REFUSED = "install.cancel_refused"
    INSTALL_TAKEN_UP = "install.taken_up"
    INSTALL_PUSH_UNKNOWN = "install.push_unknown"
    INSTALL_SETTINGS_CHANGED = "install.settings_changed"
    INSTALL_PUT_BACK_ASKED = "install.put_back_asked"
    INSTALL_PUT_BACK = "install.put_back"
    INSTALL_SEEN = "install.seen"
    INSTALL_UNSEEN = "install.unseen"
    INSTALL_ASKED_AFTER_RESTORE = "install.asked_after_restore"

    QUEUE_REQUESTED = "queue.requested"
    QUEUE_STOPPED = "queue.stopped"
    QUEUE_RESUMED = "queue.resumed"
    QUEUE_EXPIRED = "queue.expired"
    QUEUE_FINISHED = "queue.finished"

    PLAN_MADE = "plan.made"
    PLAN_CHANGED = "plan.changed"
    PLAN_WAITS_AGAIN = "plan.waits_again"
    # one for each state that a plan comes to; a started one is the install's own entry
    PLAN_DONE = "plan.done"
    PLAN_EXPIRED = "plan.expired"
    PLAN_CANCELLED = "plan.cancelled"
    PLAN_DROPPED = "plan.dropped"

    PROPOSAL_MADE = "proposal.made"
    PROPOSAL_LINK_MADE = "proposal.link_made"
    PROPOSAL_ANSWER_REFUSED = "proposal.answer_refused"
    PROPOSAL_ACCEPTED = "proposal.accepted"
    PROPOSAL_TONIGHT = "proposal.tonight"
    PROPOSAL_DECLINED = "proposal.declined"
    PROPOSAL_WITHDRAWN = "proposal.withdrawn"
    PROPOSAL_EXPIRED = "proposal.expired"
    PROPOSAL_MISSED = "proposal.missed"
    PROPOSAL_OVERTAKEN = "proposal.overtaken"

    OFFER_DISMISSED = "offer.dismissed"
    OFFER_WANTED = "offer.wanted"  # a dismissal was undone
    OFFER_SEEN = "offer.seen"
    OFFER_INSTALLED = "offer.installed"
    OFFER_SWAPPED = "offer.swapped"
    OFFER_WITHDRAWN = "offer.withdrawn"

    CHECK_ASKED = "check.asked"

    IMAGE_ASKED = "image.asked"
    IMAGE_VERIFIED = "image.verified"
    IMAGE_UNVERIFIED = "image.unverified"
    IMAGE_REFUSED = "image.refused"
    IMAGE_FAILED = "image.failed"
    IMAGE_TAKEN = "image.taken"
    IMAGE_DROPPED = "image.dropped"

    VERSION_INSTALL = "version.install"
    VERSION_LATE = "version.late"
    VERSION_OUTSIDE = "version.outside"
    VERSION_DURING = "version.during"
    VERSION_FALLBACK = "version.fallback"
    VERSION_HELD = "version.held"  # nothing starts it by itself
    VERSION_RELEASED = "version.released"

    HUB_FOUND = "hub.found"
    HUB_LEFT = "hub.left"
    HUB_BACK = "hub.back"
    HUB_CARRIED_OVER = "hub.carried_over"
    HUB_REHEARSED = "hub.rehearsed"  # a simulated one plays trouble, or no longer

    ACCOUNT_LINK = "account.link"  # an attempt that failed
    ACCOUNT_LINKED = "account.linked"
    ACCOUNT_RECONNECTED = "account.reconnected"
    ACCOUNT_UNLINKED = "account.unlinked"
    ACCOUNT_SIGNED_OUT = "account.signed_out"
    ACCOUNT_SIGN_IN_FAILED = "account.sign_in_failed"
    ACCOUNT_OTHER_USER = "account.other_user"
    ACCOUNT_PASSWORD_FORGOTTEN = "account.password_forgotten"  # noqa: S105

    PERSON_CREATED = "person.created"
    PERSON_STAFF_ROLE = "person.staff_role"
    PERSON_CLOSED = "person.closed"
    PERSON_REOPENED = "person.reopened"
    PERSON_SESSIONS_ENDED = "person.sessions_ended"
    PERSON_SIGNED_IN = "person.signed_in"
    PERSON_SIGN_IN_FAILED = "person.sign_in_failed"
    PERSON_SIGNED_OUT = "person.signed_out"
    PERSON_SESSION_OVER = "person.session_over"
    PERSON_PASSWORD_CHANGED = "person.password_changed"  # noqa: S105
    PERSON_PASSWORD_RESET = "person.password_reset"  # noqa: S105
    PERSON_RESET_LINK = "person.reset_link"
    PERSON_ADDRESS_PROVEN = "person.address_proven"
    PERSON_IDENTITY_LINKED = "person.identity_linked"
    PERSON_IDENTITY_UNLINKED = "person.identity_unlinked"
    PERSON_FACTOR_CODE = "person.factor_code"
    PERSON_FACTOR_ADDED = "person.factor_added"
    PERSON_FACTOR_REMOVED = "person.factor_removed"
    PERSON_FACTOR_RESET = "person.factor_reset"
    PERSON_FACTOR_FAILED = "person.factor_failed"

    ACCESS_REFUSED = "access.refused"
    ACCESS_STAFF = "access.staff"
    ACCESS_EXPORTED = "access.exported"

    HOUSEHOLD_CREATED = "household.created"
    HOUSEHOLD_SETTINGS_CHANGED = "household.settings_changed"
    HOUSEHOLD_SUPPORT = "household.support"
    HOUSEHOLD_POLICY_CHANGED = "household.policy_changed"
    HOUSEHOLD_POLICY_RESTS = "household.policy_rests"
    HOUSEHOLD_INVITED = "household.invited"
    HOUSEHOLD_INVITATION_WITHDRAWN = "household.invitation_withdrawn"
    HOUSEHOLD_JOINED = "household.joined"
    HOUSEHOLD_ROLE_CHANGED = "household.role_changed"
    HOUSEHOLD_LEFT = "household.left"
    HOUSEHOLD_REMOVED = "household.removed"
    HOUSEHOLD_STORED = "household.stored"  # for winter
    HOUSEHOLD_WOKEN = "household.woken"
    HOUSEHOLD_HOME_ASSISTANT_CHANGED = "household.home_assistant_changed"
    HOUSEHOLD_HOME_ASSISTANT_ON = "household.home_assistant_on"

    NOTIFICATIONS_CHANGED = "notifications.changed"
    NOTIFICATIONS_REMOVED = "notifications.removed"
    NOTIFICATIONS_OFF = "notifications.off"
    NOTIFICATIONS_DEVICE_ADDED = "notifications.device_added"
    NOTIFICATIONS_DEVICE_RENEWED = "notifications.device_renewed"
    NOTIFICATIONS_DEVICE_REMOVED = "notifications.device_removed"

    KEYS_ADDED = "keys.added"
    KEYS_ROTATED = "keys.rotated"
    KEYS_DROPPED = "keys.dropped"
    KEYS_ADOPTED = "keys.adopted"

    TOKEN_MADE = "token.made"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105

    BACKUP_MADE = "backup.made"
    BACKUP_RESTORED = "backup.restored"
    BACKUP_ASKED = "backup.asked"
    BACKUP_TAKEN = "backup.taken"

    TRAIL_TAMPERED = "trail.tampered"
    TRAIL_PRUNED = "trail.pruned"
    TRAIL_EXPORTED = "trail.exported"
    TRAIL_EXPLAINED = "trail.explained"  # the marks outside the database start again

    WORKER_RESTARTED = "worker.restarted"
    WORKER_SET_ASIDE = "worker.set_aside"
    WORKER_REFUSED = "worker.refused"  # tasks in the database that are not the worker's own

    CLOCK_SET_BACK = "clock.set_back"

    @property
    def group(self) -> AuditGroup:
        return AuditGroup(self.value.partition(".")[0])
