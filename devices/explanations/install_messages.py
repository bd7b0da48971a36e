"""The sentences for people about installs: reviewed, as data.

Placeholders: {hub} {from_version} {to_version} {version_seen}; {words} explains the hub's last
report, {answer} quotes the cloud's answer to the push, {listening} says whether a later report
still counts, {sight} whether the cloud showed the hub as connected, {asked} when the cloud was last
asked, {text} quotes what came with a trouble. These six are whole sentences or nothing.

What "is the hub safe" rests on: new firmware is written beside the running one and started only
once it has arrived whole and passed its check (ESP-IDF programming guide, Over The Air Updates),
and a hub that cannot connect with it within 90 s goes back to the earlier one on its own
(esp-rainmaker firmware, esp_rmaker_ota.c and Kconfig.projbuild: on by default in its examples).
Unverified: that Thermacell LIV hubs keep those defaults; hence "built to" and "probably".
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from django.utils.translation import gettext

from devices.models.install import State
from devices.models.outcome import InstallOutcome


class Tone(StrEnum):
    GOOD = "good"
    RUNNING = "running"
    ATTENTION = "attention"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Explanation:
    code: str
    """Short support code, unique and stable: staff search for it."""
    tone: Tone
    headline: str
    """The verdict in one sentence."""
    what: str
    is_safe: str
    todo: str

    def filled(self, **values: str) -> "Explanation":
        """Return it in the reader's language, its placeholders replaced by these values."""

        def fill(text: str) -> str:
            return " ".join(gettext(text).format(**values).split()) if text else ""

        return replace(
            self,
            headline=fill(self.headline),
            what=fill(self.what),
            is_safe=fill(self.is_safe),
            todo=fill(self.todo),
        )


NOTHING_SENT = "Yes. Nothing was sent to the hub."
GOES_ON = "Yes. This concerns our request to the cloud, not the hub itself."
STILL_OLD = (
    "Yes, as far as we can see. New firmware is stored next to the old one, and a hub is "
    "designed to switch only when it has fully arrived and passed its check."
)
NOT_TOUCHED = "Yes, as far as we can see: the hub refused the update before changing anything."
INSTALLING = (
    "Yes. A hub is designed to keep its previous firmware until the new one has fully arrived, "
    "and to roll back to it if the new one cannot connect."
)
PROBABLY = (
    "Probably. If new firmware cannot start, a hub is designed to roll back to the old one on "
    "its own. {sight}"
)
NOT_SEEN = (
    "We do not know yet. If new firmware cannot start, a hub is designed to roll back to the old "
    "one on its own. {sight}"
)
MAYBE_NOT_RECEIVED = (
    "It may not have received the update. If new firmware cannot start, a hub is designed to roll "
    "back to the old one on its own. {sight}"
)
WAIT_AND_LOOK = (
    "Leave it plugged in and see whether it works as usual. If it still does not after half an "
    "hour, unplug it for ten seconds and plug it in again. {listening}"
)
CONFIRM_AGAIN = "Look at what the cloud offers now, and confirm again if you want it."
SUPPORT = "If it happens again, give support the code shown here."
OTHER_FIRMWARE = "Do not try this update again. Give support the code shown here."
# Live states first; the second part is the situation for them, the outcome for verdicts.
# The empty one speaks for every code that has no sentence of its own.
JOBS: dict[tuple[State, str], Explanation] = {
    (State.REQUESTED, ""): Explanation(
        "TW-L01",
        Tone.RUNNING,
        "{to_version} is confirmed for {hub}, but not sent yet.",
        "What was agreed to is saved. We ask the cloud once more, and send the update only if it "
        "is still the same one.",
        "Yes. Nothing has been sent to the hub yet.",
        "Nothing to do. You can still cancel until it is sent.",
    ),
    (State.PUSHING, ""): Explanation(
        "TW-L02",
        Tone.RUNNING,
        "Sending {to_version} to {hub}.",
        "We are asking the cloud to send the update to the hub.",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.PUSHING, "push_unknown"): Explanation(
        "TW-L03",
        Tone.RUNNING,
        "Checking whether {to_version} was sent to {hub}.",
        "We got no clear answer when we asked the cloud to send the update. We are checking "
        "with the cloud. We do not send it a second time.",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.PUSHING, "restored"): Explanation(
        "TW-L10",
        Tone.RUNNING,
        "Checking whether {to_version} was sent to {hub} before this server was restored.",
        "This server was restored from an older backup. The update may have been sent after "
        "that backup was made, so we ask the cloud. We do not send it again.",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.RUNNING, ""): Explanation(
        "TW-L04",
        Tone.RUNNING,
        "Installing. Keep the hub plugged in.",
        "{words}",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.RUNNING, "delayed"): Explanation(
        "TW-L05",
        Tone.RUNNING,
        "Waiting: {hub} has the update and starts it later on its own.",
        "{words}",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.RUNNING, "restarting"): Explanation(
        "TW-L06",
        Tone.RUNNING,
        "Restarting, as expected. Keep the hub plugged in.",
        "{words} Being offline for a while is part of every update.",
        INSTALLING,
        "Keep the hub plugged in until it is back online.",
    ),
    (State.RUNNING, "offline"): Explanation(
        "TW-L07",
        Tone.RUNNING,
        "{hub} is offline at the moment. Keep it plugged in.",
        "The cloud shows the hub as offline during the update. It may be restarting, which is part "
        "of every update, or its Wi-Fi may be down. {words}",
        INSTALLING,
        "Keep the hub plugged in and make sure its Wi-Fi works. We keep checking.",
    ),
    (State.RUNNING, "unasked"): Explanation(
        "TW-L11",
        Tone.RUNNING,
        "We cannot ask about {hub} at the moment. Keep it plugged in.",
        "The update was sent. We could not ask the cloud about it lately, so we do not know how "
        "far it is. {asked}",
        INSTALLING,
        "Keep the hub plugged in. We ask again as soon as the cloud can be asked.",
    ),
    (State.RETRYING, ""): Explanation(
        "TW-L08",
        Tone.RUNNING,
        "An attempt failed. {hub} may try again on its own.",
        "{words} The hub may try again, so we keep checking.",
        STILL_OLD,
        "Nothing to do yet; keep the hub plugged in and near its Wi-Fi.",
    ),
    (State.VERIFYING, ""): Explanation(
        "TW-L09",
        Tone.RUNNING,
        "Checking whether {hub} runs {to_version}.",
        "We compare three things: the cloud's status, the version the hub reports, and whether "
        "it is back online. {words}",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.VERIFYING, "offline"): Explanation(
        "TW-L12",
        Tone.RUNNING,
        "Waiting until {hub} is back online. Keep it plugged in.",
        "The cloud reports success, and the hub is offline. Being offline for a while is part of "
        "every update: it restarts with the new firmware. {words}",
        INSTALLING,
        "Keep the hub plugged in until it is back online.",
    ),
    (State.VERIFIED, ""): Explanation(
        "TW-V01",
        Tone.GOOD,
        "Verified: {hub} was updated to {to_version}.",
        "The cloud reported success, the hub reported {version_seen}, and it was back online.",
        "Yes. It reported the new firmware and was connected.",
        "Nothing to do.",
    ),
    (State.VERIFIED, InstallOutcome.VERIFIED_LATE): Explanation(
        "TW-V02",
        Tone.GOOD,
        "Verified after all: {hub} was updated to {to_version}.",
        "This took longer than expected. In the end the cloud reported success, the hub "
        "reported {version_seen}, and it was back online.",
        "Yes. It reported the new firmware and was connected.",
        "Nothing to do.",
    ),
    (State.VERIFIED, "fell_back"): Explanation(
        "TW-V03",
        Tone.ATTENTION,
        "{hub} ran {to_version}, but later reported {from_version} again.",
        "The update was verified. After that, the hub reported its earlier version again. It may "
        "have rolled back on its own, or another update installed the earlier version.",
        "Probably. It reports the version it ran before.",
        "See whether the hub works as usual. You can confirm the update again while the cloud "
        "offers it. " + SUPPORT,
    ),
    (State.UNVERIFIED, ""): Explanation(
        "TW-U01",
        Tone.ATTENTION,
        "Not verified: we cannot confirm that {hub} runs {to_version}.",
        "The cloud's status and the hub's reports do not match. {words}",
        "Probably. No report points to damage, but we could not confirm it.",
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    # Of every state that is not VERIFIED: the hub itself reported the version after all.
    (State.UNVERIFIED, "arrived_late"): Explanation(
        "TW-U13",
        Tone.QUIET,
        "{hub} runs {to_version} after all.",
        "The install ended as “{ended}”. After that, the hub itself reported {to_version}. Below "
        "is what was seen until the install ended.",
        "Yes. It reports the version that was confirmed.",
        "Nothing to do.",
    ),
    (State.UNVERIFIED, InstallOutcome.CLAIMED_SUCCESS_SAME_VERSION): Explanation(
        "TW-U02",
        Tone.ATTENTION,
        "Not verified: the cloud reports success, but {hub} still reports {version_seen}.",
        "The cloud reports success, but the hub still reports the old version.",
        "Yes, as far as we can see: it still reports the old version.",
        "Unplug the hub for ten seconds, plug it in again, and check for firmware in a few "
        "minutes. " + SUPPORT,
    ),
    (State.UNVERIFIED, InstallOutcome.CLAIMED_SUCCESS_OTHER_VERSION): Explanation(
        "TW-U03",
        Tone.ATTENTION,
        "Not verified: {hub} reports {version_seen}, not {to_version}.",
        "The cloud reports success, but the version the hub reports does not confirm it.",
        "Probably. No report points to damage, but we could not confirm it.",
        "See whether the hub works as usual, and give support the code shown here.",
    ),
    (State.UNVERIFIED, InstallOutcome.VERSION_WITHOUT_SUCCESS): Explanation(
        "TW-U04",
        Tone.ATTENTION,
        "{hub} reports {to_version}, but the cloud did not report success.",
        "The hub reports the version you confirmed. The cloud did not report success, so the "
        "update does not count as verified.",
        "Yes, as far as we can see: it reports the new version.",
        "See whether the hub works as usual. If it does, there is nothing more to do.",
    ),
    (State.UNVERIFIED, InstallOutcome.VERSION_DESPITE_REJECTED): Explanation(
        "TW-U05",
        Tone.ATTENTION,
        "{hub} reports {to_version}, but the cloud reports that it refused the update.",
        "The cloud reports that the hub refused the update, but the hub reports the version "
        "you confirmed. These reports contradict each other. {words}",
        "Probably. It reports the new version, but the reports contradict each other.",
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    (State.UNVERIFIED, InstallOutcome.VERSION_DESPITE_FAILED): Explanation(
        "TW-U06",
        Tone.ATTENTION,
        "{hub} reports {to_version}, but the cloud reports that the update failed.",
        "The last report was a failure, but the hub reports the version you confirmed. These "
        "reports contradict each other. {words}",
        "Probably. It reports the new version, but the reports contradict each other.",
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    (State.UNVERIFIED, InstallOutcome.NOT_SEEN_ONLINE): Explanation(
        "TW-U07",
        Tone.ATTENTION,
        "Not verified: we have not seen {hub} back online since the update.",
        "The cloud reports success and the hub reported the new version, but the cloud has not "
        "shown the hub as connected since the update.",
        NOT_SEEN,
        "Make sure the hub is plugged in and its Wi-Fi works. The hub's page shows when it is "
        "back online.",
    ),
    (State.UNVERIFIED, InstallOutcome.VERSION_NOT_REPORTED): Explanation(
        "TW-U08",
        Tone.ATTENTION,
        "Not verified: {hub} does not say which version it runs.",
        "The cloud reports success, but the hub's description names no version that can be read.",
        NOT_SEEN,
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    (State.UNVERIFIED, InstallOutcome.VERSION_STATUS_NOT_READ): Explanation(
        "TW-U09",
        Tone.ATTENTION,
        "{hub} reports {to_version}, but the cloud's status of the update cannot be read.",
        "The hub reports the version you confirmed and is online. The cloud's own report about "
        "this update could not be read, so the update does not count as verified.",
        "Yes, as far as we can see: it reports the new version.",
        "See whether the hub works as usual. If it does, there is nothing more to do.",
    ),
    (State.UNVERIFIED, InstallOutcome.STEP_VERSION): Explanation(
        "TW-U10",
        Tone.ATTENTION,
        "{hub} now reports {version_seen}, a version on the way to {to_version}.",
        "The hub reports a version between {from_version} and {to_version}. The manufacturer may "
        "update it in steps. {words}",
        "Probably. It reports a version newer than before.",
        "Check for firmware again later. If {to_version} is still offered, you can confirm it.",
    ),
    (State.UNVERIFIED, InstallOutcome.NEWER_VERSION): Explanation(
        "TW-U11",
        Tone.ATTENTION,
        "{hub} reports {version_seen}, which is newer than {to_version}.",
        "While this update was under way, the hub came to report a newer version. Another update "
        "was probably sent to it, by the manufacturer or with another app. {words}",
        "Yes, as far as we can see: it reports a newer version.",
        "See whether the hub works as usual. If it does, there is nothing more to do.",
    ),
    (State.UNVERIFIED, InstallOutcome.OTHER_VERSION): Explanation(
        "TW-U12",
        Tone.ATTENTION,
        "{hub} reports {version_seen}, which is neither the old version nor {to_version}.",
        "The cloud did not report the end of this update, and the hub reports another version "
        "than the one you confirmed. {words}",
        "Probably. No report points to damage, but we could not confirm it.",
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    (State.REJECTED, ""): Explanation(
        "TW-R01",
        Tone.ATTENTION,
        "{hub} refused the update to {to_version}.",
        "{words}",
        "Yes, as far as we can see: a hub that refuses an update keeps its firmware.",
        "Give support the code shown here.",
    ),
    (State.REJECTED, InstallOutcome.ROLLED_BACK): Explanation(
        "TW-R02",
        Tone.ATTENTION,
        "{hub} rolled back to {from_version}.",
        "The new firmware was installed, but the hub could not connect with it or it did not "
        "pass the hub's own check. The hub reports that it rolled back to its previous "
        "firmware.",
        "Yes. The hub protected itself by rolling back to its previous firmware.",
        "Check the Wi-Fi where the hub is: weak or missing Wi-Fi may be the cause. Give support "
        "the code shown here.",
    ),
    (State.REJECTED, InstallOutcome.PROJECT_NAME): Explanation(
        "TW-R03",
        Tone.ATTENTION,
        "{hub} refused {to_version}: it is for a different product.",
        "The hub checked the firmware: it names a different product.",
        NOT_TOUCHED,
        OTHER_FIRMWARE,
    ),
    (State.REJECTED, InstallOutcome.SAME_VERSION): Explanation(
        "TW-R04",
        Tone.ATTENTION,
        "{hub} refused the update: it reports that it already runs this version.",
        "According to the hub, the firmware from the cloud has the version it already runs.",
        NOT_TOUCHED,
        "Check for firmware again to see which version the hub reports. " + SUPPORT,
    ),
    (State.REJECTED, InstallOutcome.SECURE_VERSION): Explanation(
        "TW-R05",
        Tone.ATTENTION,
        "{hub} refused {to_version}: its security level is too low.",
        "A hub does not accept firmware with a lower security level than it already had. This "
        "protects it from old security flaws.",
        NOT_TOUCHED,
        OTHER_FIRMWARE,
    ),
    (State.REJECTED, InstallOutcome.CHIP_REVISION): Explanation(
        "TW-R06",
        Tone.ATTENTION,
        "{hub} refused {to_version}: it is for a different revision of its chip.",
        "While receiving the firmware, the hub found that it does not fit its chip.",
        STILL_OLD,
        OTHER_FIRMWARE,
    ),
    (State.FAILED, ""): Explanation(
        "TW-F01",
        Tone.ATTENTION,
        "The update of {hub} to {to_version} failed.",
        "{words}",
        STILL_OLD,
        "Make sure the hub has good Wi-Fi, then try again. " + SUPPORT,
    ),
    (State.FAILED, InstallOutcome.ATTEMPTS_FAILED): Explanation(
        "TW-F02",
        Tone.ATTENTION,
        "{hub} could not install {to_version}.",
        "All reported attempts failed, and we are no longer waiting for another. Last report: "
        "{words}",
        STILL_OLD,
        "Move the hub closer to the Wi-Fi router or check the internet connection, then try "
        "again. The hub may also try again on its own. " + SUPPORT,
    ),
    (State.FAILED, InstallOutcome.WINDOW_LAPSED): Explanation(
        "TW-F03",
        Tone.QUIET,
        "The update of {hub} failed: its deadline has passed.",
        "The manufacturer's deadline for starting this update has passed.",
        "Yes. The hub did not start the update.",
        "Nothing to do on the hub. Check for firmware again later; there may be a new offer.",
    ),
    (State.FAILED, InstallOutcome.BAD_WINDOW): Explanation(
        "TW-F04",
        Tone.ATTENTION,
        "{hub} could not start the update: it is set up incorrectly in the cloud.",
        "The hub cannot use the start times set for this update. Only the manufacturer can fix "
        "this.",
        "Yes. The hub did not start the update.",
        "Trying again will not help. Give support the code shown here.",
    ),
    (State.FAILED, InstallOutcome.BAD_PAYLOAD): Explanation(
        "TW-F05",
        Tone.ATTENTION,
        "{hub} could not start the update: the data from the cloud was incomplete.",
        "The hub received the update request, but not all the data it needs. {words}",
        "Yes. The hub did not start the update.",
        "Try once more. " + SUPPORT,
    ),
    (State.LOST, ""): Explanation(
        "TW-S01",
        Tone.ATTENTION,
        "No final report from {hub} about the update to {to_version}.",
        "We stopped waiting and do not know how the update ended. {words}",
        PROBABLY,
        WAIT_AND_LOOK,
    ),
    (State.LOST, InstallOutcome.SILENT): Explanation(
        "TW-S02",
        Tone.ATTENTION,
        "No report from {hub} since the update was sent.",
        "The cloud accepted the update for the hub, but the hub has not reported anything "
        "about it since. It may never have received it.",
        MAYBE_NOT_RECEIVED,
        WAIT_AND_LOOK,
    ),
    (State.LOST, InstallOutcome.STUCK): Explanation(
        "TW-S03",
        Tone.ATTENTION,
        "{hub} stopped reporting during the update.",
        "The hub reported at first and then stopped. Last report: {words}",
        PROBABLY,
        WAIT_AND_LOOK,
    ),
    (State.LOST, InstallOutcome.NEVER_ENDED): Explanation(
        "TW-S09",
        Tone.ATTENTION,
        "The update of {hub} took too long.",
        "The hub kept reporting, but did not report the end of the update. Last report: {words}",
        PROBABLY,
        WAIT_AND_LOOK,
    ),
    (State.LOST, InstallOutcome.WENT_OFFLINE): Explanation(
        "TW-S04",
        Tone.ATTENTION,
        "{hub} went offline during the update and did not come back.",
        "The cloud showed the hub as offline for longer than a restart takes. It may have lost "
        "power or Wi-Fi. {words}",
        PROBABLY,
        "Make sure it is plugged in and its Wi-Fi works. " + WAIT_AND_LOOK,
    ),
    (State.LOST, InstallOutcome.NO_ANSWER_FROM_CLOUD): Explanation(
        "TW-S05",
        Tone.ATTENTION,
        "The cloud stopped answering, so we do not know how the update of {hub} ended.",
        "During the update the cloud stopped answering our questions about it. The hub may "
        "have finished. {words}",
        PROBABLY,
        "See whether the hub works as usual. Check for firmware when the cloud answers again. "
        "{listening}",
    ),
    (State.LOST, InstallOutcome.PUSH_UNKNOWN): Explanation(
        "TW-S06",
        Tone.ATTENTION,
        "We do not know whether {to_version} was sent to {hub}.",
        "We got no clear answer when we asked the cloud to send the update, and checking with "
        "the cloud did not help. We did not send it a second time.",
        MAYBE_NOT_RECEIVED,
        "Check for firmware in an hour. The hub's version can then show what happened. If the "
        "update is still offered then, you can confirm it again. {listening}",
    ),
    (State.LOST, InstallOutcome.SIGNED_OUT): Explanation(
        "TW-S07",
        Tone.ATTENTION,
        "We were signed out of the cloud, so we do not know how the update of {hub} ended.",
        "The session with this cloud account ended during the update, so we could no longer "
        "check it. The hub may have finished. {words}",
        PROBABLY,
        "Sign in to the cloud account again, then check for firmware. {listening}",
    ),
    (State.LOST, InstallOutcome.STATUS_NOT_READ): Explanation(
        "TW-S10",
        Tone.ATTENTION,
        "The cloud's status of the update of {hub} cannot be read.",
        "The cloud answers, but its report about this update could not be read for a long time. "
        "Last version the hub reported: {version_seen}.",
        PROBABLY,
        "See whether the hub works as usual, then check for firmware again. {listening} " + SUPPORT,
    ),
    (State.LOST, InstallOutcome.VERSION_NOT_READ): Explanation(
        "TW-S11",
        Tone.ATTENTION,
        "The cloud reports success, but the version of {hub} cannot be read.",
        "The cloud reports success, but did not give a readable answer about the version the hub "
        "runs, so we cannot confirm the update.",
        PROBABLY,
        "See whether the hub works as usual, then check for firmware again. {listening}",
    ),
    (State.LOST, InstallOutcome.HUB_LEFT): Explanation(
        "TW-S12",
        Tone.ATTENTION,
        "{hub} left the cloud account during the update.",
        "The cloud answers that this hub is no longer in the linked account, so we cannot see how "
        "the update ended. The hub may have been removed or moved to another account.",
        PROBABLY,
        "Check in the Thermacell app whether the hub is still in this account. {listening}",
    ),
    (State.LOST, InstallOutcome.STILL_DELAYED): Explanation(
        "TW-S13",
        Tone.QUIET,
        "{hub} has not started the update to {to_version} yet.",
        "The hub has the update and still waits to start it; we stopped waiting. {words}",
        "Yes, as far as we can see: it has not started the update.",
        "Nothing to do on the hub. It may still start the update on its own; its page then shows "
        "the new version. {listening}",
    ),
    (State.CANCELLED, ""): Explanation(
        "TW-N01",
        Tone.QUIET,
        "Cancelled before anything was sent to {hub}.",
        "The update to {to_version} was cancelled before it was sent.",
        NOTHING_SENT,
        "Nothing to do. You can confirm the update again while the cloud offers it.",
    ),
    (State.EXPIRED, ""): Explanation(
        "TW-N02",
        Tone.QUIET,
        "The update for {hub} expired before it was sent.",
        "The update could not be sent before your confirmation expired. It will not start "
        "later on its own.",
        NOTHING_SENT,
        CONFIRM_AGAIN,
    ),
    (State.EXPIRED, InstallOutcome.RESTORED_UNSENT): Explanation(
        "TW-N15",
        Tone.QUIET,
        "The update for {hub} was not sent.",
        "This server was restored from a backup. The cloud reports that the update was not "
        "sent, and confirmations from before the restore are no longer valid.",
        NOTHING_SENT,
        CONFIRM_AGAIN,
    ),
    (State.REFUSED, ""): Explanation(
        "TW-N03",
        Tone.QUIET,
        "Nothing was sent to {hub}.",
        "The update to {to_version} could not be sent. {answer}",
        NOTHING_SENT,
        CONFIRM_AGAIN + " " + SUPPORT,
    ),
    (State.REFUSED, InstallOutcome.OFFER_SWAPPED): Explanation(
        "TW-N04",
        Tone.QUIET,
        "Nothing was sent: the cloud offered {hub} something else.",
        "Just before sending, we asked the cloud again. Its offer was no longer the one you "
        "confirmed.",
        NOTHING_SENT,
        CONFIRM_AGAIN,
    ),
    (State.REFUSED, InstallOutcome.OFFER_WITHDRAWN): Explanation(
        "TW-N05",
        Tone.QUIET,
        "Nothing was sent: the cloud no longer offered {to_version} to {hub}.",
        "Just before sending, we asked the cloud again. The offer was gone.",
        NOTHING_SENT,
        "Nothing to do. If the cloud offers new firmware, the hub's page will show it.",
    ),
    (State.REFUSED, InstallOutcome.ALREADY_INSTALLED): Explanation(
        "TW-N06",
        Tone.QUIET,
        "Nothing was sent: {hub} already had {to_version}.",
        "Just before sending, the hub already reported this version.",
        NOTHING_SENT,
        "Nothing to do.",
    ),
    (State.REFUSED, InstallOutcome.HUB_OFFLINE): Explanation(
        "TW-N07",
        Tone.QUIET,
        "Nothing was sent: {hub} was offline.",
        "The cloud can send an update only to a connected hub.",
        NOTHING_SENT,
        "Plug the hub in, wait until it is shown as online, and confirm again.",
    ),
    (State.REFUSED, InstallOutcome.HUB_IN_USE): Explanation(
        "TW-N16",
        Tone.QUIET,
        "Nothing was sent: {hub} was in use.",
        "It was planned for a time at which the repellent is off. The repellent was on, or had "
        "been on until a short time before.",
        NOTHING_SENT,
        "Nothing to do while its plan waits. Otherwise confirm again.",
    ),
    (State.REFUSED, InstallOutcome.NOT_CURRENT): Explanation(
        "TW-N08",
        Tone.QUIET,
        "Nothing was sent: this was no longer the current update for {hub}.",
        "The cloud refused the request because this is no longer the current update for the "
        "hub. {answer}",
        NOTHING_SENT,
        "Check for firmware again. " + CONFIRM_AGAIN,
    ),
    (State.REFUSED, InstallOutcome.NOT_FOR_HUB): Explanation(
        "TW-N09",
        Tone.QUIET,
        "Nothing was sent: according to the cloud, this update is not for {hub}.",
        "The cloud refused the request because the update is not for this hub. {answer}",
        NOTHING_SENT,
        "Check for firmware again. " + SUPPORT,
    ),
    (State.REFUSED, InstallOutcome.NOT_MINE): Explanation(
        "TW-N10",
        Tone.QUIET,
        "Nothing was sent: {hub} was not in this cloud account.",
        "According to the cloud, the linked account has no access to this hub. The hub may "
        "have been removed or moved to another account. {answer}",
        NOTHING_SENT,
        "Check in the Thermacell app whether the hub is still in this account.",
    ),
    (State.REFUSED, InstallOutcome.REFUSED_BY_CLOUD): Explanation(
        "TW-N11",
        Tone.QUIET,
        "Nothing was sent: the cloud refused to send {to_version} to {hub}.",
        "The cloud refused the request. {answer}",
        NOTHING_SENT,
        "Check for firmware again later. " + SUPPORT,
    ),
    (State.REFUSED, InstallOutcome.ACCOUNT_UNLINKED): Explanation(
        "TW-N12",
        Tone.QUIET,
        "Nothing was sent: the cloud account of {hub} was unlinked.",
        "Without a linked account, we cannot ask the cloud about this hub.",
        NOTHING_SENT,
        "Link the cloud account again if you still want the update.",
    ),
}
# Outcome codes that say no more than their state, and so share its sentences.
PLAIN: dict[State, InstallOutcome] = {
    State.VERIFIED: InstallOutcome.VERIFIED,
    State.REJECTED: InstallOutcome.REJECTED,
    State.FAILED: InstallOutcome.FAILED,
    State.CANCELLED: InstallOutcome.CANCELLED,
    State.EXPIRED: InstallOutcome.NOT_SENT_IN_TIME,
}
