"""What people read when the cloud cannot be asked or refuses: reviewed sentences, as data.

{text} is the text that came with the trouble, as a sentence or nothing. The cloud's numbers and
their meaning are from the RainMaker API (swaggerapis.rainmaker.espressif.com), which lists them at
GET and POST /user/nodes/ota_update and GET /user/nodes/ota_status.
"""

from enum import StrEnum

from devices.explanations.install_messages import GOES_ON, SUPPORT, Explanation, Tone

BY_ITSELF = "Nothing to do. We will try again automatically."


class TroubleCode(StrEnum):
    """Why the cloud could not be asked or refused; stored with accounts, hubs and installs."""

    BUSY = "busy"
    TOO_MANY = "too_many"
    SERVER_TROUBLE = "server_trouble"
    UNREACHABLE = "unreachable"
    ANSWER_LOST = "answer_lost"
    UNREADABLE = "unreadable"
    NOT_TRUSTED = "not_trusted"
    SIGNED_OUT = "signed_out"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    NOT_MINE = "not_mine"
    IMAGE_NOT_FOUND = "image_not_found"
    REFUSED = "refused"
    OUR_BUG = "our_bug"
    OFFER_SWAPPED = "offer_swapped"
    NOT_FOR_HUB = "not_for_hub"
    HUB_OFFLINE = "hub_offline"
    NO_STATUS = "no_status"
    NOT_ALLOWED = "not_allowed"
    CALL_REFUSED = "call_refused"
    NOT_PERMITTED = "not_permitted"
    ANOTHER_USER = "another_user"
    LIST_CONTRADICTS = "list_contradicts"
    LIST_TOO_LONG = "list_too_long"
    LIST_UNREADABLE = "list_unreadable"
    TOO_LATE = "too_late"


CLOUD_ERRORS: dict[str, Explanation] = {
    TroubleCode.BUSY: Explanation(
        "TW-T01",
        Tone.QUIET,
        "The cloud is busy with other hubs.",
        "It sends this update to one hub at a time and asks us to try again later. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    TroubleCode.TOO_MANY: Explanation(
        "TW-T02",
        Tone.QUIET,
        "The cloud asks us to slow down.",
        "It received too many requests in a short time. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    TroubleCode.SERVER_TROUBLE: Explanation(
        "TW-T03",
        Tone.QUIET,
        "The cloud has a problem.",
        "It reported an error on its side. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    TroubleCode.UNREACHABLE: Explanation(
        "TW-T04",
        Tone.QUIET,
        "The cloud cannot be reached.",
        "We could not connect, so the request was not sent. The internet connection here or "
        "the cloud may be down. {text}",
        GOES_ON,
        "Check that the internet works here. We will try again automatically.",
    ),
    TroubleCode.ANSWER_LOST: Explanation(
        "TW-T05",
        Tone.QUIET,
        "No complete answer from the cloud.",
        "We asked the cloud, and its answer broke off or did not come. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    TroubleCode.UNREADABLE: Explanation(
        "TW-T06",
        Tone.QUIET,
        "The answer was not what the cloud normally sends.",
        "This may be a sign-in page of the network, a server in between, or a change in the "
        "cloud. {text}",
        GOES_ON,
        "Check that the internet works here without a sign-in page. We will try again "
        "automatically. " + SUPPORT,
    ),
    TroubleCode.NOT_TRUSTED: Explanation(
        "TW-T07",
        Tone.ATTENTION,
        "We stopped because the server could not prove that it is the cloud.",
        "Its certificate is not valid, it redirected us elsewhere, or passwords must not be "
        "sent to its address. {text}",
        GOES_ON,
        "Do not enter your password here until this is resolved. Check the network and the "
        "cloud address, or give support the code shown here.",
    ),
    TroubleCode.SIGNED_OUT: Explanation(
        "TW-T08",
        Tone.ATTENTION,
        "The cloud account is signed out.",
        "The cloud no longer accepts our session, so we cannot check the hubs of this account. "
        "{text}",
        GOES_ON,
        "Sign in to the cloud account again.",
    ),
    TroubleCode.WRONG_PASSWORD: Explanation(
        "TW-T09",
        Tone.ATTENTION,
        "The cloud did not accept this e-mail address and password.",
        "Use your Thermacell app sign-in, not the one for this dashboard. {text}",
        GOES_ON,
        "Try them in the Thermacell app first. If they work there, enter them here again.",
    ),
    TroubleCode.NOT_MINE: Explanation(
        "TW-T10",
        Tone.ATTENTION,
        "According to the cloud, this hub is not in this account.",
        "It may have been removed or moved to another account. {text}",
        GOES_ON,
        "Check in the Thermacell app whether the hub is still in this account.",
    ),
    TroubleCode.IMAGE_NOT_FOUND: Explanation(
        "TW-T11",
        Tone.QUIET,
        "The cloud offers an update but cannot find its firmware.",
        "The firmware is missing from the cloud. Only the manufacturer can fix this. {text}",
        GOES_ON,
        "Nothing to do on the hub. We will check again automatically. " + SUPPORT,
    ),
    TroubleCode.REFUSED: Explanation(
        "TW-T12",
        Tone.ATTENTION,
        "The cloud refused the request.",
        "It understood the request but did not accept it. {text}",
        GOES_ON,
        "Try again later. " + SUPPORT,
    ),
    TroubleCode.OUR_BUG: Explanation(
        "TW-T13",
        Tone.ATTENTION,
        "This dashboard made a mistake.",
        "The cloud reports that our request was malformed. This is an error in this dashboard, "
        "not in your hub. {text}",
        GOES_ON,
        "Give the administrator the code shown here.",
    ),
    TroubleCode.OFFER_SWAPPED: Explanation(
        "TW-T14",
        Tone.ATTENTION,
        "The cloud no longer offers this update to this hub.",
        "The offer has changed since the last check. {text}",
        GOES_ON,
        "Check for firmware again and review the current offer.",
    ),
    TroubleCode.NOT_FOR_HUB: Explanation(
        "TW-T15",
        Tone.ATTENTION,
        "According to the cloud, this update is not for this hub.",
        "According to the cloud, it was never offered to this hub. {text}",
        GOES_ON,
        "Check for firmware again. " + SUPPORT,
    ),
    TroubleCode.HUB_OFFLINE: Explanation(
        "TW-T16",
        Tone.ATTENTION,
        "The hub is offline, so the cloud did not send the update.",
        "The cloud can send an update only to a connected hub. {text}",
        "Yes. The cloud reports that nothing was sent to the hub.",
        "Plug in the hub, wait until it is shown as online, and try again.",
    ),
    TroubleCode.NO_STATUS: Explanation(
        "TW-T17",
        Tone.QUIET,
        "The cloud has no record of this update yet.",
        "It has no status for this update on this hub. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    TroubleCode.NOT_ALLOWED: Explanation(
        "TW-T18",
        Tone.ATTENTION,
        "This dashboard is not set up to use this cloud.",
        "Nothing was requested and nothing was sent. {text}",
        GOES_ON,
        "The administrator can allow it. If this was already done, the command or process "
        "showing this message uses other settings.",
    ),
    TroubleCode.CALL_REFUSED: Explanation(
        "TW-T19",
        Tone.QUIET,
        "The cloud refused a call.",
        "It, or a firewall in between, did not allow this one call (401 or 403). The account stays "
        "signed in. {text}",
        GOES_ON,
        "Nothing to do. We will try again automatically. If this stays for a day, sign in to the "
        "cloud account again.",
    ),
    TroubleCode.NOT_PERMITTED: Explanation(
        "TW-T20",
        Tone.ATTENTION,
        "The cloud does not allow this account to do that.",
        "This cloud account may not have the right to update this hub. An account to which the hub "
        "was only shared may need the main account of the hub for updates. {text}",
        GOES_ON,
        "Ask the person who set up the hub in the Thermacell app to install the update, or to link "
        "their account here.",
    ),
    TroubleCode.ANOTHER_USER: Explanation(
        "TW-T21",
        Tone.ATTENTION,
        "The cloud answered for another user.",
        "We asked for the session of the linked account and received that of another cloud user. "
        "It was not used, and nothing was changed. {text}",
        GOES_ON,
        "Sign in to the cloud account again. If this address now belongs to another account, "
        "unlink it here and link it again. " + SUPPORT,
    ),
    TroubleCode.LIST_CONTRADICTS: Explanation(
        "TW-T22",
        Tone.QUIET,
        "The cloud's list of hubs contradicts itself.",
        "It gives one number of hubs and lists another, or it does not end. Hubs that it leaves "
        "out stay here as they were. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    TroubleCode.LIST_TOO_LONG: Explanation(
        "TW-T23",
        Tone.ATTENTION,
        "The cloud lists more hubs than this server keeps for one account.",
        "The hubs beyond the limit are not shown. {text}",
        GOES_ON,
        "If the account really has so many hubs, link them through several accounts. " + SUPPORT,
    ),
    TroubleCode.LIST_UNREADABLE: Explanation(
        "TW-T24",
        Tone.ATTENTION,
        "Some entries of the cloud's list of hubs cannot be read.",
        "They name no hub in a form that this server understands, so they are not shown. {text}",
        GOES_ON,
        BY_ITSELF + " " + SUPPORT,
    ),
    TroubleCode.TOO_LATE: Explanation(
        "TW-T25",
        Tone.QUIET,
        "The cloud could not be asked within ten minutes.",
        "The hub, its cloud account or another install was in the way, and this is not done long "
        "after it was asked for. {text}",
        GOES_ON,
        "Ask for it again when the hub is online.",
    ),
}
OTHER_CLOUD_ERROR = Explanation(
    "TW-T99",
    Tone.ATTENTION,
    "The request to the cloud failed.",
    "The reason is “{trouble}”, which is not explained here yet. {text}",
    GOES_ON,
    "Try again later. " + SUPPORT,
)
REFUSED_CHECK = (
    "The cloud uses this number when it refuses a check; the exact reason is not in our list."
)
FAULT_WHILE_SENDING = "The cloud had an internal error when it was due to send the update."
# The cloud's error_code: which trouble it is, and what the number adds to that.
CLOUD_CODES: dict[int, tuple[TroubleCode, str]] = {
    100001: (
        TroubleCode.SERVER_TROUBLE,
        "The cloud could not do this because of an internal error.",
    ),
    100004: (TroubleCode.REFUSED, REFUSED_CHECK),
    100006: (TroubleCode.OUR_BUG, "The cloud did not understand the request."),
    100010: (
        TroubleCode.NOT_MINE,
        "According to the cloud, this hub does not belong to this account.",
    ),
    100070: (TroubleCode.TOO_MANY, "The cloud has received too many requests and asks for fewer."),
    102001: (TroubleCode.HUB_OFFLINE, "The hub is offline."),
    103013: (
        TroubleCode.NOT_MINE,
        "According to the cloud, this hub is not linked to this account.",
    ),
    103020: (
        TroubleCode.NOT_MINE,
        "According to the cloud, this hub does not belong to this account.",
    ),
    104006: (TroubleCode.REFUSED, REFUSED_CHECK),
    104015: (
        TroubleCode.IMAGE_NOT_FOUND,
        "The cloud cannot find the firmware for this update. Only the manufacturer can fix this.",
    ),
    105007: (TroubleCode.SERVER_TROUBLE, FAULT_WHILE_SENDING),
    105008: (TroubleCode.SERVER_TROUBLE, FAULT_WHILE_SENDING),
    105009: (TroubleCode.REFUSED, REFUSED_CHECK),
    105010: (TroubleCode.SERVER_TROUBLE, FAULT_WHILE_SENDING),
    105011: (TroubleCode.SERVER_TROUBLE, FAULT_WHILE_SENDING),
    105014: (TroubleCode.OUR_BUG, "The update was missing from the request."),
    105017: (TroubleCode.REFUSED, REFUSED_CHECK),
    105018: (TroubleCode.OUR_BUG, "The hub was missing from the request."),
    105019: (TroubleCode.REFUSED, REFUSED_CHECK),
    105024: (TroubleCode.NO_STATUS, "The cloud has no status for this update on this hub."),
    105036: (TroubleCode.NOT_FOR_HUB, "This update is not meant for this hub."),
    105061: (TroubleCode.OFFER_SWAPPED, "This update is no longer the one available for this hub."),
    105076: (TroubleCode.REFUSED, REFUSED_CHECK),
    105078: (TroubleCode.BUSY, "The cloud sends this update to one hub at a time and is busy."),
}
