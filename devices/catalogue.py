"""What is said to people about installs and troubles: reviewed sentences, as data.

Placeholders: {hub} {from_version} {to_version} {version_seen}; {words} is what the hub's last words
mean, {answer} what the cloud answered to the push, {listening} whether a late word would still be
heard, {sight} whether the cloud showed the hub as connected, {text} the words that came with a
trouble. These five are whole sentences or nothing.

On what "is the hub safe" rests: new firmware is written beside the running one and started only
once it has arrived whole and passed its check (ESP-IDF programming guide, Over The Air Updates),
and a hub that cannot connect with it within 90 s goes back to the earlier one by itself
(esp-rainmaker firmware, esp_rmaker_ota.c and Kconfig.projbuild: on by default in its examples).
Unverified: that Thermacell LIV hubs keep those defaults; hence "built to" and "probably".
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from django.utils.translation import gettext

from devices.models.ota import State


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
GOES_ON = "Yes. This is about asking the cloud; the hub goes on by itself."
STILL_OLD = (
    "Yes, as far as we can see. New firmware is stored beside the old one, and a hub is built to "
    "change over only when all of it has arrived and passed its check."
)
NOT_TOUCHED = "Yes. The hub turned the update down before it changed anything."
INSTALLING = (
    "Yes. The hub keeps its earlier firmware until the new one has arrived whole, and is built to "
    "go back to it if the new one cannot connect."
)
PROBABLY = (
    "Probably. A hub that cannot start new firmware is built to go back to the old one by itself. "
    "{sight}"
)
WAIT_AND_LOOK = (
    "Leave it plugged in and see whether it works as usual. If it does not after half an hour, "
    "unplug it for ten seconds and plug it in again. {listening}"
)
CONFIRM_AGAIN = "Look at what the cloud offers now, and confirm again if you want it."
SUPPORT = "If it happens again, give support the code shown here."
OTHER_FIRMWARE = (
    "Do not try this update again: the cloud is not expected to offer it to this hub any more. "
    "Give support the code shown here."
)

# Live states first; the second part is the situation for them, the outcome code for verdicts.
# The empty one speaks for every code that has no sentence of its own.
JOBS: dict[tuple[State, str], Explanation] = {
    (State.REQUESTED, ""): Explanation(
        "TW-L01",
        Tone.RUNNING,
        "Confirmed: {hub} is about to get {to_version}.",
        "Your confirmation is stored. We ask the cloud once more what it offers, and send the "
        "update only if it is still the one you confirmed.",
        "Yes. Nothing has been sent to the hub yet.",
        "Nothing to do. Until it is sent you can still cancel.",
    ),
    (State.PUSHING, ""): Explanation(
        "TW-L02",
        Tone.RUNNING,
        "Sending {to_version} to {hub}.",
        "We are asking the cloud to pass the update on to the hub.",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.PUSHING, "push_unknown"): Explanation(
        "TW-L03",
        Tone.RUNNING,
        "Finding out whether {to_version} was sent to {hub}.",
        "We have no certain answer to our request to send the update. We now ask the cloud what "
        "became of it, and send again only if the cloud itself says that nothing was sent.",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.PUSHING, "restored"): Explanation(
        "TW-L10",
        Tone.RUNNING,
        "Finding out whether {to_version} was sent to {hub} before this server was restored.",
        "This server was restored from a backup that is older than what happened. The update may "
        "have been sent since the backup was made, so we ask the cloud what became of it. We do "
        "not send it again.",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.RUNNING, ""): Explanation(
        "TW-L04",
        Tone.RUNNING,
        "Installing. Nothing to do; keep the hub plugged in.",
        "{words}",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.RUNNING, "delayed"): Explanation(
        "TW-L05",
        Tone.RUNNING,
        "Waiting: {hub} has the update and starts it later by itself.",
        "{words}",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.RUNNING, "restarting"): Explanation(
        "TW-L06",
        Tone.RUNNING,
        "Restarting. Nothing to do; keep the hub plugged in.",
        "{words}",
        INSTALLING,
        "Keep the hub plugged in until it is back.",
    ),
    (State.RUNNING, "offline"): Explanation(
        "TW-L07",
        Tone.RUNNING,
        "{hub} is offline at the moment. Keep it plugged in.",
        "The cloud has lost sight of the hub while the update was under way. It may be "
        "restarting, or its Wi-Fi may be gone. {words}",
        INSTALLING,
        "Keep the hub plugged in and see that its Wi-Fi works. We go on asking.",
    ),
    (State.RETRYING, ""): Explanation(
        "TW-L08",
        Tone.RUNNING,
        "An attempt failed. {hub} may try again by itself.",
        "{words} One failed attempt is not the end, so we go on asking.",
        STILL_OLD,
        "Nothing to do yet; keep the hub plugged in and near its Wi-Fi.",
    ),
    (State.VERIFYING, ""): Explanation(
        "TW-L09",
        Tone.RUNNING,
        "Almost there: checking that {hub} really runs {to_version}.",
        "We now compare three things: what the cloud says, the version the hub itself reports, "
        "and whether it is back online. {words}",
        INSTALLING,
        "Nothing to do; keep the hub plugged in.",
    ),
    (State.VERIFIED, ""): Explanation(
        "TW-V01",
        Tone.GOOD,
        "Verified: {hub} runs {to_version}.",
        "The cloud says the update succeeded, the hub itself reports {to_version}, and it is back "
        "online.",
        "Yes. It runs the new firmware and is connected.",
        "Nothing to do.",
    ),
    (State.VERIFIED, "verified_late"): Explanation(
        "TW-V02",
        Tone.GOOD,
        "Verified after all: {hub} runs {to_version}.",
        "It took longer than we waited at first. By now the cloud says the update succeeded, the "
        "hub itself reports {to_version}, and it is back online.",
        "Yes. It runs the new firmware and is connected.",
        "Nothing to do.",
    ),
    (State.UNVERIFIED, ""): Explanation(
        "TW-U01",
        Tone.ATTENTION,
        "Not proven: we cannot confirm that {hub} runs {to_version}.",
        "What the cloud says about this update and what the hub reports do not fit together. "
        "{words}",
        "Probably. Nothing we heard points to damage, but we could not confirm it.",
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    (State.UNVERIFIED, "claimed_success_same_version"): Explanation(
        "TW-U02",
        Tone.ATTENTION,
        "Not proven: the cloud says done, but {hub} still reports {version_seen}.",
        "The cloud counts the update as a success, but the version that the hub itself reports "
        "has not changed.",
        "Yes, as far as we can see: its firmware has not changed.",
        "Unplug the hub for ten seconds, plug it in, and check for firmware in a few minutes. "
        + SUPPORT,
    ),
    (State.UNVERIFIED, "claimed_success_other_version"): Explanation(
        "TW-U03",
        Tone.ATTENTION,
        "Not proven: {hub} reports {version_seen}, not {to_version}.",
        "The cloud counts the update as a success, but what the hub itself reports does not prove "
        "it.",
        "Probably. Nothing we heard points to damage, but we could not confirm it.",
        "See whether the hub works as usual, and give support the code shown here.",
    ),
    (State.UNVERIFIED, "version_without_success"): Explanation(
        "TW-U04",
        Tone.ATTENTION,
        "{hub} reports {to_version}, but the cloud never said the update succeeded.",
        "The hub itself reports the version you confirmed. The final word from the cloud did not "
        "come, so we do not call it verified.",
        "Yes, as far as we can see: it reports the new version.",
        "See whether the hub works as usual. If it does, there is nothing more to do.",
    ),
    (State.UNVERIFIED, "version_despite_rejected"): Explanation(
        "TW-U05",
        Tone.ATTENTION,
        "{hub} reports {to_version}, although it is said to have refused the update.",
        "The cloud says the hub refused the update, and the hub reports the version you "
        "confirmed. Both cannot be the whole story. {words}",
        "Probably. It reports the new version, but its words do not fit together.",
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    (State.UNVERIFIED, "version_despite_failed"): Explanation(
        "TW-U06",
        Tone.ATTENTION,
        "{hub} reports {to_version}, although the update is said to have failed.",
        "The last word about the update was a failure, and the hub reports the version you "
        "confirmed. Both cannot be the whole story. {words}",
        "Probably. It reports the new version, but its words do not fit together.",
        "See whether the hub works as usual, then check for firmware again. " + SUPPORT,
    ),
    (State.UNVERIFIED, "not_seen_online"): Explanation(
        "TW-U07",
        Tone.ATTENTION,
        "Not proven: we have not seen {hub} back online since the update.",
        "Everything else about the update looked right, but the cloud has not shown the hub as "
        "connected since.",
        PROBABLY,
        "See that the hub is plugged in and its Wi-Fi works. The hub's page shows when it is back.",
    ),
    (State.REJECTED, ""): Explanation(
        "TW-R01",
        Tone.ATTENTION,
        "{hub} refused the update to {to_version}.",
        "{words}",
        "Yes, as far as we can see: a hub that refuses an update stays with the firmware it has.",
        "Nothing to do on the hub. Give support the code shown here.",
    ),
    (State.REJECTED, "rolled_back"): Explanation(
        "TW-R02",
        Tone.ATTENTION,
        "{hub} went back to {from_version} by itself.",
        "The new firmware was installed, but the hub could not connect with it or it did not pass "
        "the hub's own check. So the hub went back to the firmware it ran before.",
        "Yes. Going back by itself is what protects the hub, and it worked.",
        "Nothing to do on the hub. If its Wi-Fi was weak or down at the time, that may be the "
        "cause. The cloud is not expected to offer this update to it again; give support the code "
        "shown here.",
    ),
    (State.REJECTED, "project_name"): Explanation(
        "TW-R03",
        Tone.ATTENTION,
        "{hub} refused {to_version}: it is made for another product.",
        "The hub looked at the firmware before storing it, and the product named in it is not "
        "this one.",
        NOT_TOUCHED,
        OTHER_FIRMWARE,
    ),
    (State.REJECTED, "same_version"): Explanation(
        "TW-R04",
        Tone.ATTENTION,
        "{hub} refused the update: it says it already runs this version.",
        "The firmware that the cloud sent names the version that the hub runs already.",
        NOT_TOUCHED,
        "Check for firmware again, so that we see which version the hub reports. " + SUPPORT,
    ),
    (State.REJECTED, "secure_version"): Explanation(
        "TW-R05",
        Tone.ATTENTION,
        "{hub} refused {to_version}: its security level is too low.",
        "A hub never accepts firmware with a lower security level than it once had. This protects "
        "it from old weaknesses.",
        NOT_TOUCHED,
        OTHER_FIRMWARE,
    ),
    (State.REJECTED, "chip_revision"): Explanation(
        "TW-R06",
        Tone.ATTENTION,
        "{hub} refused {to_version}: it is made for another revision of its chip.",
        "The hub found while receiving the firmware that it does not fit its chip.",
        STILL_OLD,
        OTHER_FIRMWARE,
    ),
    (State.FAILED, ""): Explanation(
        "TW-F01",
        Tone.ATTENTION,
        "The update of {hub} to {to_version} failed.",
        "{words}",
        STILL_OLD,
        "See that the hub has good Wi-Fi, then try again. " + SUPPORT,
    ),
    (State.FAILED, "attempts_failed"): Explanation(
        "TW-F02",
        Tone.ATTENTION,
        "{hub} could not install {to_version}.",
        "Every attempt that we heard of failed, and we have stopped waiting for another. The "
        "last we heard: {words}",
        STILL_OLD,
        "Move the hub nearer to its Wi-Fi or see that the internet works, then try again. It may "
        "also still try by itself. " + SUPPORT,
    ),
    (State.FAILED, "window_lapsed"): Explanation(
        "TW-F03",
        Tone.ATTENTION,
        "Too late: the time for this update of {hub} is over.",
        "The maker set a date until which this update could start, and it has passed.",
        "Yes. The hub did not begin the update.",
        "Nothing to do on the hub. Check for firmware again later; a new offer may come.",
    ),
    (State.FAILED, "bad_window"): Explanation(
        "TW-F04",
        Tone.ATTENTION,
        "{hub} could not start the update: it is set up wrongly in the cloud.",
        "The times at which this update may start make no sense to the hub. Only the maker can "
        "put that right.",
        "Yes. The hub did not begin the update.",
        "Trying again will not help. Give support the code shown here.",
    ),
    (State.FAILED, "bad_payload"): Explanation(
        "TW-F05",
        Tone.ATTENTION,
        "{hub} could not start the update: what the cloud sent to it was incomplete.",
        "The hub got the order to update but not all it needs for it. {words}",
        "Yes. The hub did not begin the update.",
        "Try once more. " + SUPPORT,
    ),
    (State.LOST, ""): Explanation(
        "TW-S01",
        Tone.ATTENTION,
        "No word from {hub} about the update to {to_version}.",
        "We have stopped waiting without learning how the update ended. {words}",
        PROBABLY,
        WAIT_AND_LOOK,
    ),
    (State.LOST, "silent"): Explanation(
        "TW-S02",
        Tone.ATTENTION,
        "No word from {hub} since the update was sent.",
        "The cloud took the update for the hub, and the hub has not said anything about it since. "
        "It may never have got it.",
        PROBABLY,
        WAIT_AND_LOOK,
    ),
    (State.LOST, "stuck"): Explanation(
        "TW-S03",
        Tone.ATTENTION,
        "{hub} stopped reporting during the update.",
        "There had been words about the update, and then no more came. The last we heard: {words}",
        PROBABLY,
        WAIT_AND_LOOK,
    ),
    (State.LOST, "never_ended"): Explanation(
        "TW-S09",
        Tone.ATTENTION,
        "{hub} has been at the update for too long.",
        "It kept reporting, but the update never came to an end. The last we heard: {words}",
        PROBABLY,
        WAIT_AND_LOOK,
    ),
    (State.LOST, "went_offline"): Explanation(
        "TW-S04",
        Tone.ATTENTION,
        "{hub} went offline during the update and has not come back.",
        "The cloud has not seen the hub connected for longer than a restart takes. It may have "
        "lost its power or its Wi-Fi. {words}",
        PROBABLY,
        "See that it is plugged in and its Wi-Fi works. " + WAIT_AND_LOOK,
    ),
    (State.LOST, "no_answer_from_cloud"): Explanation(
        "TW-S05",
        Tone.ATTENTION,
        "The cloud stopped answering, so we do not know how the update of {hub} ended.",
        "The update was on its way, and then we could no longer ask the cloud about it. The hub "
        "may well have finished. {words}",
        PROBABLY,
        "See whether the hub works as usual, and check for firmware when the cloud answers again. "
        "{listening}",
    ),
    (State.LOST, "push_unknown"): Explanation(
        "TW-S06",
        Tone.ATTENTION,
        "We never learned whether {to_version} was sent to {hub}.",
        "We got no certain answer to our request to send the update, and asking the cloud "
        "afterwards did not settle it. So nothing was sent a second time.",
        PROBABLY,
        "Check for firmware in an hour: then the hub's version shows what happened. {listening}",
    ),
    (State.LOST, "signed_out"): Explanation(
        "TW-S07",
        Tone.ATTENTION,
        "We were signed out of the cloud, so we do not know how the update of {hub} ended.",
        "The update was on its way when the sign-in for this cloud account ended, and without it "
        "we cannot ask. The hub may well have finished. {words}",
        PROBABLY,
        "Sign in to the cloud account again, then check for firmware. {listening}",
    ),
    (State.CANCELLED, ""): Explanation(
        "TW-N01",
        Tone.QUIET,
        "Cancelled before anything was sent to {hub}.",
        "The update to {to_version} was called off in time.",
        NOTHING_SENT,
        "Nothing to do. You can confirm the update again whenever you like.",
    ),
    (State.EXPIRED, ""): Explanation(
        "TW-N02",
        Tone.QUIET,
        "Not sent in time: {hub} stays as it is.",
        "The update could not be sent within the time for which your confirmation counts, so it "
        "was dropped and will not start later as a surprise.",
        NOTHING_SENT,
        CONFIRM_AGAIN,
    ),
    (State.EXPIRED, "restored_unsent"): Explanation(
        "TW-N15",
        Tone.QUIET,
        "Not sent: {hub} stays as it is.",
        "This server was restored from a backup. The cloud itself says that the update was not "
        "sent, and a confirmation from before the restore does not count any more.",
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
    (State.REFUSED, "offer_swapped"): Explanation(
        "TW-N04",
        Tone.QUIET,
        "Nothing was sent: the cloud now offers {hub} something else.",
        "Just before sending we asked the cloud again, and its offer was no longer the one you "
        "confirmed.",
        NOTHING_SENT,
        CONFIRM_AGAIN,
    ),
    (State.REFUSED, "offer_withdrawn"): Explanation(
        "TW-N05",
        Tone.QUIET,
        "Nothing was sent: the cloud no longer offers {to_version} to {hub}.",
        "Just before sending we asked the cloud again, and the offer was gone.",
        NOTHING_SENT,
        "Nothing to do. If the cloud offers new firmware again, it shows on the hub's page.",
    ),
    (State.REFUSED, "already_installed"): Explanation(
        "TW-N06",
        Tone.QUIET,
        "Nothing was sent: {hub} already runs {to_version}.",
        "Just before sending, the hub was found to report this version.",
        NOTHING_SENT,
        "Nothing to do.",
    ),
    (State.REFUSED, "hub_offline"): Explanation(
        "TW-N07",
        Tone.QUIET,
        "Nothing was sent: {hub} is offline.",
        "The cloud can pass an update on only to a hub that is connected.",
        NOTHING_SENT,
        "Plug the hub in, wait until it is shown as online, and confirm again.",
    ),
    (State.REFUSED, "not_current"): Explanation(
        "TW-N08",
        Tone.QUIET,
        "Nothing was sent: for {hub} this is no longer the current update.",
        "The cloud turned the request down, because this is not the update it would send to the "
        "hub now. {answer}",
        NOTHING_SENT,
        "Check for firmware again. " + CONFIRM_AGAIN,
    ),
    (State.REFUSED, "not_for_hub"): Explanation(
        "TW-N09",
        Tone.QUIET,
        "Nothing was sent: the cloud says this update is not for {hub}.",
        "The cloud turned the request down, because the update is not meant for this hub. {answer}",
        NOTHING_SENT,
        "Check for firmware again. " + SUPPORT,
    ),
    (State.REFUSED, "not_mine"): Explanation(
        "TW-N10",
        Tone.QUIET,
        "Nothing was sent: {hub} is not in this cloud account.",
        "The cloud says that the linked account may not act for this hub. It may have been "
        "removed or moved to another account. {answer}",
        NOTHING_SENT,
        "Look in the Thermacell app whether the hub is still in this account.",
    ),
    (State.REFUSED, "refused_by_cloud"): Explanation(
        "TW-N11",
        Tone.QUIET,
        "Nothing was sent: the cloud refused to send {to_version} to {hub}.",
        "The cloud turned the request down. {answer}",
        NOTHING_SENT,
        "Check for firmware again in a while. " + SUPPORT,
    ),
    (State.REFUSED, "account_unlinked"): Explanation(
        "TW-N12",
        Tone.QUIET,
        "Nothing was sent: the cloud account of {hub} was unlinked.",
        "Without a linked account we may not talk to the cloud about this hub.",
        NOTHING_SENT,
        "Link the cloud account again if you still want the update.",
    ),
    (State.REFUSED, "hub_gone"): Explanation(
        "TW-N13",
        Tone.QUIET,
        "Nothing was sent: {hub} is no longer in the cloud account.",
        "The cloud does not list this hub any more. It may have been removed in the Thermacell "
        "app.",
        NOTHING_SENT,
        "Add the hub again in the Thermacell app if you still use it.",
    ),
    (State.REFUSED, "signed_out"): Explanation(
        "TW-N14",
        Tone.QUIET,
        "Nothing was sent: we are signed out of the cloud account of {hub}.",
        "The sign-in for this account ended before the update could be sent.",
        NOTHING_SENT,
        "Sign in to the cloud account again, then confirm the update again.",
    ),
}
# Outcome codes that say no more than their state, and so share its sentences.
PLAIN: dict[State, str] = {
    State.VERIFIED: "verified",
    State.REJECTED: "rejected",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "not_sent_in_time",
}
