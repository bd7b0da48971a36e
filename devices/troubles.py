"""What is said to people when the cloud cannot be asked or says no: reviewed sentences, as data.

{text} is the words that came with the trouble, as a sentence or nothing. The cloud's numbers and
their meaning are from the RainMaker API (swaggerapis.rainmaker.espressif.com), which lists them at
GET and POST /user/nodes/ota_update and GET /user/nodes/ota_status.
"""

from devices.catalogue import GOES_ON, SUPPORT, Explanation, Tone

BY_ITSELF = "Nothing to do. We ask again by ourselves in a while."

TROUBLES: dict[str, Explanation] = {
    "busy": Explanation(
        "TW-T01",
        Tone.QUIET,
        "The cloud is busy with other hubs.",
        "It takes one hub after another for this update, and asks us to come back later. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    "too_many": Explanation(
        "TW-T02",
        Tone.QUIET,
        "The cloud asks us to slow down.",
        "It has had too many requests in a short time. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    "server_trouble": Explanation(
        "TW-T03",
        Tone.QUIET,
        "The cloud has a problem of its own.",
        "It answered that something went wrong on its side. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    "unreachable": Explanation(
        "TW-T04",
        Tone.QUIET,
        "The cloud cannot be reached.",
        "No connection came about, so this request was not sent. Either the internet here or the "
        "cloud is down. {text}",
        GOES_ON,
        "See whether the internet works here. We ask again by ourselves in a while.",
    ),
    "answer_lost": Explanation(
        "TW-T05",
        Tone.QUIET,
        "The cloud's answer was lost on the way.",
        "Our request went out, and no whole answer came back. It may have had its effect. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    "unreadable": Explanation(
        "TW-T06",
        Tone.QUIET,
        "Something answered, but not in the way the cloud promises.",
        "This can be a sign-in page of the network, a server on the way, or a change in the "
        "cloud. {text}",
        GOES_ON,
        "See whether the internet works here without a sign-in page. We ask again by ourselves. "
        + SUPPORT,
    ),
    "not_trusted": Explanation(
        "TW-T07",
        Tone.ATTENTION,
        "We stopped, because the server does not prove to be the cloud.",
        "Its certificate is not valid, it sent us elsewhere, or its address is not one to which "
        "a password may go. {text}",
        GOES_ON,
        "Do not enter your password here until this is cleared up. Check the network and the "
        "address of the cloud, or give support the code shown here.",
    ),
    "signed_out": Explanation(
        "TW-T08",
        Tone.ATTENTION,
        "The cloud account needs a new sign-in.",
        "The cloud no longer accepts the sign-in we were given, so we cannot ask about the hubs "
        "of this account. {text}",
        GOES_ON,
        "Sign in to the cloud account again.",
    ),
    "wrong_password": Explanation(
        "TW-T09",
        Tone.ATTENTION,
        "The cloud did not accept this e-mail address and password.",
        "They are the ones of the Thermacell app, not the ones of this dashboard. {text}",
        GOES_ON,
        "Try them in the Thermacell app first. If they work there, enter them here again.",
    ),
    "not_mine": Explanation(
        "TW-T10",
        Tone.ATTENTION,
        "The cloud says this hub is not in the account.",
        "It may have been removed or moved to another account. {text}",
        GOES_ON,
        "Look in the Thermacell app whether the hub is still in this account.",
    ),
    "image_not_found": Explanation(
        "TW-T11",
        Tone.QUIET,
        "The cloud names an update but cannot find its firmware.",
        "The firmware is missing in the cloud. Only the maker can put that right. {text}",
        GOES_ON,
        "Nothing to do on the hub. We check again by ourselves. " + SUPPORT,
    ),
    "refused": Explanation(
        "TW-T12",
        Tone.ATTENTION,
        "The cloud said no.",
        "It understood the request and turned it down. {text}",
        GOES_ON,
        "Try again in a while. " + SUPPORT,
    ),
    "our_bug": Explanation(
        "TW-T13",
        Tone.ATTENTION,
        "This dashboard made a mistake.",
        "The cloud says that our request was malformed. That is a fault in this dashboard, not in "
        "your hub. {text}",
        GOES_ON,
        "Give whoever runs this dashboard the code shown here.",
    ),
    "offer_swapped": Explanation(
        "TW-T14",
        Tone.ATTENTION,
        "The cloud no longer offers this update to the hub.",
        "Its offer has changed since we last looked. {text}",
        GOES_ON,
        "Check for firmware again and look at what is offered now.",
    ),
    "not_for_hub": Explanation(
        "TW-T15",
        Tone.ATTENTION,
        "The cloud says this update is not for this hub.",
        "It never was on offer for this hub, as the cloud sees it. {text}",
        GOES_ON,
        "Check for firmware again. " + SUPPORT,
    ),
    "hub_offline": Explanation(
        "TW-T16",
        Tone.ATTENTION,
        "The hub is offline, so the cloud did not send the update.",
        "The cloud can pass an update on only to a hub that is connected. {text}",
        "Yes. The cloud says it sent nothing to the hub.",
        "Plug the hub in, wait until it is shown as online, and try again.",
    ),
    "no_status": Explanation(
        "TW-T17",
        Tone.QUIET,
        "The cloud has nothing on record about this update yet.",
        "It knows no state of this update for this hub. {text}",
        GOES_ON,
        BY_ITSELF,
    ),
    "not_allowed": Explanation(
        "TW-T18",
        Tone.ATTENTION,
        "This dashboard is not set up to call this cloud.",
        "So nothing was asked and nothing was sent. {text}",
        GOES_ON,
        "Whoever runs this dashboard can allow it. If that was done already, the command or "
        "process that tells you this runs with other settings.",
    ),
}

OTHER_TROUBLE = Explanation(
    "TW-T99",
    Tone.ATTENTION,
    "The cloud could not be asked just now.",
    "This dashboard calls the reason “{trouble}” and has no explanation of it yet. {text}",
    GOES_ON,
    "Try again in a while. " + SUPPORT,
)

REFUSED_CHECK = "The cloud uses this number when it refuses a check; what for is not in our list."
FAULT_WHILE_SENDING = "The cloud had a fault of its own while it was to send the update."

# The cloud's error_code: which trouble it is, and what the number adds to that.
CLOUD_CODES: dict[int, tuple[str, str]] = {
    100001: ("server_trouble", "The cloud could not do this because of a fault of its own."),
    100004: ("refused", REFUSED_CHECK),
    100006: ("our_bug", "The cloud could not make sense of the request."),
    100010: ("not_mine", "The cloud says this hub does not belong to the account."),
    100070: ("too_many", "The cloud has had too many requests and asks for fewer."),
    102001: ("hub_offline", "The hub is offline."),
    103013: ("not_mine", "The cloud says this hub is not linked to the account."),
    103020: ("not_mine", "The cloud says this hub does not belong to the account."),
    104006: ("refused", REFUSED_CHECK),
    104015: (
        "image_not_found",
        "The cloud cannot find the firmware of this update. Only the maker can put that right.",
    ),
    105007: ("server_trouble", FAULT_WHILE_SENDING),
    105008: ("server_trouble", FAULT_WHILE_SENDING),
    105009: ("refused", REFUSED_CHECK),
    105010: ("server_trouble", FAULT_WHILE_SENDING),
    105011: ("server_trouble", FAULT_WHILE_SENDING),
    105014: ("our_bug", "The request did not name the update."),
    105017: ("refused", REFUSED_CHECK),
    105018: ("our_bug", "The request did not name the hub."),
    105019: ("refused", REFUSED_CHECK),
    105024: ("no_status", "The cloud has no state of this update for this hub."),
    105036: ("not_for_hub", "The update is not meant for this hub."),
    105061: ("offer_swapped", "The update is no longer the one that is available for this hub."),
    105076: ("refused", REFUSED_CHECK),
    105078: ("busy", "The cloud gives this update to one hub after another and is busy."),
}
