"""How an install ended: one closed set for engine, pages, interfaces and tests.

The label is the one name of the outcome everywhere: lists, history, trail, mails, Home Assistant,
API and CLI. Its placeholders are fields of the job. What each outcome means and what to do about it
is in `explanations.install_messages`.
"""

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from devices.models.choices import NamedChoices

if TYPE_CHECKING:
    from devices.models.install import OtaJob


class InstallOutcome(NamedChoices):
    # verified
    VERIFIED = _("Verified")
    VERIFIED_LATE = _("Verified after all")
    # unverified: the cloud and the hub do not agree
    CLAIMED_SUCCESS_SAME_VERSION = _("Success reported, hub still reports {job.from_version}")
    CLAIMED_SUCCESS_OTHER_VERSION = _("Success reported, hub reports {job.version_seen}")
    VERSION_WITHOUT_SUCCESS = _("No success reported, hub reports {job.to_version}")
    VERSION_DESPITE_REJECTED = _("Refusal reported, hub reports {job.to_version}")
    VERSION_DESPITE_FAILED = _("Failure reported, hub reports {job.to_version}")
    NOT_SEEN_ONLINE = _("Not seen online since the update")
    VERSION_NOT_REPORTED = _("Success reported, hub does not say its version")
    VERSION_STATUS_NOT_READ = _("Hub reports {job.to_version}, cloud status unreadable")
    STEP_VERSION = _("Stopped on the way at {job.version_seen}")
    NEWER_VERSION = _("Hub reports a newer version, {job.version_seen}")
    OTHER_VERSION = _("Hub reports another version, {job.version_seen}")
    # rejected by the hub
    REJECTED = _("Refused by the hub")
    ROLLED_BACK = _("Rolled back to {job.from_version}")
    PROJECT_NAME = _("Refused: for a different product")
    SAME_VERSION = _("Refused: hub reports this version already")
    SECURE_VERSION = _("Refused: security level too low")
    CHIP_REVISION = _("Refused: for a different chip")
    # failed
    FAILED = _("Install failed")
    ATTEMPTS_FAILED = _("All reported attempts failed")
    WINDOW_LAPSED = _("Too late for this update")
    BAD_WINDOW = _("Failed: set up incorrectly in the cloud")
    BAD_PAYLOAD = _("Failed: incomplete data from the cloud")
    # lost
    SILENT = _("No report from the hub")
    STUCK = _("Stopped reporting")
    WENT_OFFLINE = _("Went offline during the update")
    NEVER_ENDED = _("Took too long")
    NO_ANSWER_FROM_CLOUD = _("The cloud stopped answering")
    PUSH_UNKNOWN = _("Unknown whether it was sent")
    SIGNED_OUT = _("Signed out before it ended")
    STATUS_NOT_READ = _("The cloud's status cannot be read")
    VERSION_NOT_READ = _("Success reported, version cannot be read")
    HUB_LEFT = _("Left the account during the update")
    STILL_DELAYED = _("Still waiting to start")
    # never sent
    CANCELLED = _("Cancelled")
    NOT_SENT_IN_TIME = _("Expired, not sent")
    RESTORED_UNSENT = _("Not sent: server was restored")
    OFFER_SWAPPED = _("Not sent: offer changed")
    OFFER_WITHDRAWN = _("Not sent: no longer offered")
    ALREADY_INSTALLED = _("Not sent: already on the hub")
    HUB_OFFLINE = _("Not sent: hub was offline")
    HUB_IN_USE = _("Not sent: hub was in use")
    NOT_CURRENT = _("Not sent: no longer the current update")
    NOT_FOR_HUB = _("Not sent: not for this hub")
    NOT_MINE = _("Not sent: hub not in the account")
    REFUSED_BY_CLOUD = _("Not sent: refused by the cloud")
    ACCOUNT_UNLINKED = _("Not sent: account unlinked")

    def title_of(self, job: "OtaJob") -> str:
        """Return the name of this job's outcome, in the reader's language."""
        return str(self.label).format(job=job)
