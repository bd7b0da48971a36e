"""Why a version is held, in plain words and numbers."""

from django.utils.translation import gettext, ngettext

from devices.fleet.holds import ROLLED_BACK, Numbers, Standing, hold_of, standing_of
from devices.models import Node, State
from devices.presentation.formatting import number


def why_held(node: Node, version: str) -> str:
    """Return why this version is held for this hub's model; "" when it is not. One query, or four
    where it is held.
    """
    if hold_of(node, version) is None:
        return ""
    is_simulated = node.account.is_simulated
    return reason_of(standing_of(node.model, version, is_simulated=is_simulated))


def reason_of(standing: Standing) -> str:
    """Return why the version is held, as a sentence; the words of staff are quoted."""
    hold = standing.hold
    if hold is not None and hold.is_by_hand:
        words = gettext("By the people who run this server: %(reason)s")
        return words % {"reason": hold.reason}
    words = gettext("How it went on this server: %(numbers)s")
    return words % {"numbers": numbers_in_words(standing.numbers)}


def numbers_in_words(numbers: Numbers) -> str:
    """Return how many hubs tried it and how that went, as a sentence."""
    if not numbers.tried:
        return gettext("No hub has tried it here.")
    words = {
        ROLLED_BACK: gettext("%(n)s rolled back"),
        State.REJECTED: gettext("%(n)s refused it"),
        State.FAILED: gettext("%(n)s failed"),
        State.UNVERIFIED: gettext("%(n)s not verified"),
        State.LOST: gettext("%(n)s stopped reporting"),
        State.VERIFIED: gettext("%(n)s verified"),
    }
    counts = [*numbers.bad, (State.VERIFIED, numbers.verified)]
    parts = [words[kind] % {"n": number(n)} for kind, n in counts if n]
    tried = ngettext(
        "Of %(n)s hub that tried it: %(parts)s.",
        "Of %(n)s hubs that tried it: %(parts)s.",
        numbers.tried,
    )
    return tried % {"n": number(numbers.tried), "parts": ", ".join(parts)}
