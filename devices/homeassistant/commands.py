"""One press in Home Assistant: the same request or plan as of the form, bound to what was shown.

Home Assistant sends back exactly the text an entity was announced with. That text is signed and
contains the offer that was shown and the number of the press: it counts once, for that offer.
"""

from datetime import datetime, timedelta

from django.core import signing
from django.utils.translation import override

from devices.audit import log as audit_log
from devices.explanations.reasons import Reason, ReasonCode
from devices.fleet.checks import ask_check
from devices.fleet.sync import ask_reading
from devices.homeassistant.discovery import when_of
from devices.installs import requests as install_requests
from devices.installs.confirmation import OfferSnapshot, snapshot_offer
from devices.installs.eligibility import why_not_install
from devices.models import (
    Actor,
    AuditAction,
    HomeAssistantHub,
    HomeAssistantLink,
    Node,
    Offer,
    OtaJob,
    Outcome,
    Plan,
    When,
)
from devices.models.homeassistant import VIA
from devices.models.household import language_of
from devices.models.message import NO_MESSAGE, Message, MessageCode
from devices.permissions import Right, all_of, may
from devices.planning import plans

SALT = "devices.homeassistant.press"
RETAINED = Reason(ReasonCode.RETAINED, MessageCode.PRESS_RETAINED)
UNREADABLE = Reason(ReasonCode.UNREADABLE, MessageCode.PRESS_UNREADABLE)
USED = Reason(ReasonCode.ALREADY_USED, MessageCode.PRESS_USED)
NOT_ALLOWED = Reason(ReasonCode.NOT_ALLOWED, MessageCode.PRESS_NOT_ALLOWED)
NO_LONGER_ALLOWED = Reason(ReasonCode.NO_LONGER_ALLOWED, MessageCode.PRESS_NO_LONGER_ALLOWED)
OFFER_CHANGED = Reason(ReasonCode.OFFER_CHANGED, MessageCode.PRESS_OFFER_CHANGED)
CHANGES = {
    "from_version": MessageCode.CHANGED_FROM_VERSION,
    "to_version": MessageCode.CHANGED_TO_VERSION,
    "ota_job_id": MessageCode.CHANGED_JOB,
    "size_bytes": MessageCode.CHANGED_SIZE,
    "md5": MessageCode.CHANGED_MD5,
}
# A reading this old no longer says whether the hub is in use.
USE_IS_KNOWN_FOR = timedelta(seconds=10)
IN_USE = Reason(ReasonCode.HUB_IN_USE, MessageCode.PRESS_HUB_IN_USE)


def is_allowed_still(link: HomeAssistantLink) -> bool:
    """Return whether the person who allowed installing still owns the household."""
    user = link.allowed_by
    return user is not None and may(user, Right.PEOPLE, link.household)


def actor_of(link: HomeAssistantLink) -> Actor:
    """Return Home Assistant as the trail names it."""
    return Actor(name=f"Home Assistant ({link.household})", role=VIA, via=VIA)


def payload_for(node: Node, offer: Offer | None, presses: int) -> str:
    """Return what pressing install sends while exactly this is shown, always the same text. Without
    an offer such a press can only be refused.
    """
    shown = snapshot_offer(node, offer) if offer is not None else _nothing(node)
    return signing.Signer(salt=SALT).sign_object(shown.dump() | {"press": presses})


def press(
    link: HomeAssistantLink, node: Node, payload: str, *, is_retained: bool, now: datetime
) -> OtaJob | Plan | None:
    """Request or plan the install that the entity showed, as the hub's "Install when" says; None
    when it was refused. The reason is kept for Home Assistant and in the audit trail. Safe to
    repeat: a second time the press is already used.
    """
    shown, when = None if is_retained else _read(payload), HomeAssistantHub.when_of(node)
    reasons = [RETAINED] if is_retained else _why_not(link, node, shown, when, now)
    if reasons or shown is None or link.allowed_by is None:
        refuse(link, node, reasons or [UNREADABLE], now)
        return None
    user, binding, actor = link.allowed_by, shown[0], actor_of(link)
    made: OtaJob | Plan
    try:
        if when == When.NOW:
            made = install_requests.request(
                user=user, node=node, binding=binding, actor=actor, now=now
            )
        else:
            timing = plans.timing_of(when, link.household, now)
            made = plans.plan_install(node, binding, timing, user=user, actor=actor, now=now)
    except install_requests.Refused as refused:  # something changed meanwhile; already recorded
        _keep(node, refused.reasons, now)
        return None
    HomeAssistantHub.keep_refusal(node, "", NO_MESSAGE, now)
    return made


def should_ask_first(node: Node, now: datetime) -> bool:
    """Return whether a press would be refused for use of the hub on a reading that is too old.

    Readings are minutes apart, and people turn the repellent off right before they press. What is
    planned waits for that by itself.
    """
    if not node.is_in_use or HomeAssistantHub.when_of(node) != When.NOW:
        return False
    is_old = node.heard_at is None or now - node.heard_at > USE_IS_KNOWN_FOR
    return is_old and node.account.is_linked


def check(link: HomeAssistantLink, node: Node, now: datetime) -> None:
    """Ask the cloud about this hub as soon as possible: its offer and its state."""
    if not node.is_being_checked:
        ask_check([node], actor=actor_of(link), now=now)
    ask_reading(node.account, now)


def choose_when(link: HomeAssistantLink, node: Node, words: str, now: datetime) -> None:
    """Keep the moment that the next press on this hub is for. Words that name none change nothing,
    and neither does anything where Home Assistant may not install now, or who allowed it may not.
    """
    with override(language_of(None, link.household)):
        when = when_of(words)
    if when is not None and link.lets_install_on(node) and is_allowed_still(link):
        HomeAssistantHub.choose(node, when, now)


def refuse(link: HomeAssistantLink, node: Node, reasons: list[Reason], now: datetime) -> None:
    """Keep why a press was refused, and record it in the audit trail."""
    audit_log.record(
        actor_of(link),
        AuditAction.INSTALL_REQUEST_REFUSED,
        f"An install on {node} was refused: {_message(reasons).english}",
        node=node,
        outcome=Outcome.REFUSED,
        at=now,
        detail={"reasons": list(dict.fromkeys(reason.code for reason in reasons))},
    )
    _keep(node, reasons, now)


def _keep(node: Node, reasons: list[Reason], now: datetime) -> None:
    HomeAssistantHub.keep_refusal(node, reasons[0].code, _message(reasons), now)


def _message(reasons: list[Reason]) -> Message:
    return Message.join([all_of(reasons), Message.of(MessageCode.PRESS_SENT_NOTHING)])


def _why_not(
    link: HomeAssistantLink,
    node: Node,
    shown: tuple[OfferSnapshot, int] | None,
    when: When,
    now: datetime,
) -> list[Reason]:
    """Return why this press is refused. A press that is readable and allowed is used up by this."""
    if shown is None or shown[0].node_pk != node.pk:
        return [UNREADABLE]
    if not link.lets_install_on(node):
        return [NOT_ALLOWED]
    user, offer, (binding, presses) = link.allowed_by, node.offer, shown
    if user is None or not is_allowed_still(link):
        return [NO_LONGER_ALLOWED]
    # used up also when it is refused for another reason: a recorded message never counts later
    if not HomeAssistantHub.count_press(node, presses):
        return [USED]
    if offer is not None and (changes := _changes(binding, snapshot_offer(node, offer))):
        return changes
    if when != When.NOW:
        return plans.why_not_plan(user, node, binding)
    reasons = why_not_install(user, node, offer)
    return [*reasons, IN_USE] if node.is_in_use else reasons


def _changes(shown: OfferSnapshot, now: OfferSnapshot) -> list[Reason]:
    """Return what differs between the offer that was shown and the present one, if anything."""
    details = [
        Reason(ReasonCode.OFFER_CHANGED, code, {"before": before, "after": after})
        for name, code in CHANGES.items()
        if (before := str(getattr(shown, name) or "–")) != (after := str(getattr(now, name) or "–"))
    ]
    return [OFFER_CHANGED, *details] if details else []


def _nothing(node: Node) -> OfferSnapshot:
    return OfferSnapshot(node.pk, 0, "", node.fw_version, "", None, "")


def _read(payload: str) -> tuple[OfferSnapshot, int] | None:
    try:
        values = signing.Signer(salt=SALT).unsign_object(payload)
        presses = int(values.pop("press"))
        return OfferSnapshot.load(values), presses
    except (signing.BadSignature, ValueError, TypeError, KeyError, AttributeError):
        return None
