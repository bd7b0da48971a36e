"""One press of install in Home Assistant: the same verb as the form, bound to what was shown.

Home Assistant sends back, word for word, the text an entity was announced with. That text is
signed and says which offer the entity showed and which press it is: it counts once, for that offer.
"""

from dataclasses import asdict
from datetime import datetime

from django.core import signing

from devices import installs
from devices.confirm import Binding, bind
from devices.models import (
    Actor,
    HomeAssistantHub,
    HomeAssistantLink,
    Node,
    Offer,
    OtaJob,
    Outcome,
    audit,
)
from devices.policies import Reason, Right, may, why_not_install

SALT = "devices.homeassistant.press"
VIA = "home-assistant"

NOTHING_SENT = "This press sent nothing to the hub."
RETAINED = Reason(
    "retained",
    "A stored install command was found at the broker and thrown away: only a fresh press counts.",
)
UNREADABLE = Reason("unreadable", "The command was not one that this entity was announced with.")
USED = Reason("already_used", "This press was used before; press again if you mean it.")
NOT_ALLOWED = Reason(
    "not_allowed",
    "Home Assistant may not install on this hub: an owner of the household can allow it on its "
    "page Home Assistant here.",
)
NO_LONGER_ALLOWED = Reason(
    "no_longer_allowed",
    "Whoever allowed Home Assistant to install no longer owns this household: an owner has to "
    "allow it again.",
)
IN_USE = Reason(
    "hub_in_use",
    "The hub is protecting somebody right now, and installing would stop it: turn the repellent "
    "off first, or install from the hub's page here.",
)


def actor_of(link: HomeAssistantLink) -> Actor:
    """Return Home Assistant as the trail names it."""
    return Actor(name=f"Home Assistant ({link.household})", role=VIA, via=VIA)


def payload_for(node: Node, offer: Offer | None, presses: int) -> str:
    """Return what pressing install sends while exactly this is shown; without an offer it can
    only be refused. The same text every time.
    """
    shown = bind(node, offer) if offer is not None else _nothing(node)
    return signing.Signer(salt=SALT).sign_object(asdict(shown) | {"press": presses})


def press(
    link: HomeAssistantLink, node: Node, payload: str, *, is_retained: bool, now: datetime
) -> OtaJob | None:
    """Install what the entity showed; None when that was refused, and why is kept where Home
    Assistant shows it and in the trail. Safe on repeat: the second time it is a used press.
    """
    shown = None if is_retained else _read(payload)
    reasons = [RETAINED] if is_retained else _why_not(link, node, shown, now)
    if reasons or shown is None or link.allowed_by is None:
        refuse(link, node, reasons or [UNREADABLE], now)
        return None
    try:
        job = installs.request(
            user=link.allowed_by,
            node=node,
            binding=shown[0],
            actor=actor_of(link),
            now=now,
            retry_of=_retried(node),
        )
    except installs.Refused as refused:  # somebody was faster; it is in the trail already
        _keep(node, refused.reasons, now)
        return None
    HomeAssistantHub.keep_refusal(node, "", "", now)
    return job


def refuse(link: HomeAssistantLink, node: Node, reasons: list[Reason], now: datetime) -> None:
    """Keep why a press was refused, and record it."""
    audit.record(
        actor_of(link),
        "install.request_refused",
        f"An install on {node} was refused: {_sentences(reasons)}",
        node=node,
        outcome=Outcome.REFUSED,
        at=now,
        detail={"reasons": [reason.code for reason in reasons]},
    )
    _keep(node, reasons, now)


def _keep(node: Node, reasons: list[Reason], now: datetime) -> None:
    HomeAssistantHub.keep_refusal(node, reasons[0].code, _sentences(reasons), now)


def _sentences(reasons: list[Reason]) -> str:
    return " ".join([*(reason.sentence for reason in reasons), NOTHING_SENT])


def _why_not(
    link: HomeAssistantLink, node: Node, shown: tuple[Binding, int] | None, now: datetime
) -> list[Reason]:
    """Return why this press does not count; one that was readable and allowed is used by it."""
    if shown is None or shown[0].node_id != node.pk:
        return [UNREADABLE]
    if not link.lets_install_on(node):
        return [NOT_ALLOWED]
    user, offer, (binding, presses) = link.allowed_by, node.offer, shown
    if user is None or not may(user, Right.PEOPLE, link.household):
        return [NO_LONGER_ALLOWED]
    # once, also when it is refused for another reason: what was overheard never counts later
    if not HomeAssistantHub.count_press(node, presses):
        return [USED]
    if offer is not None and (changes := binding.differences(bind(node, offer))):
        told = "; ".join(f"{what}: {before}, now {after}" for what, before, after in changes)
        return [
            Reason(
                "offer_changed",
                "What is offered changed since it was shown (%(told)s).",
                {"told": told},
            )
        ]
    reasons = why_not_install(user, node, offer, now)
    return [*reasons, IN_USE] if node.is_in_use else reasons


def _nothing(node: Node) -> Binding:
    return Binding(node.pk, 0, "", node.fw_version, "", None, "")


def _read(payload: str) -> tuple[Binding, int] | None:
    try:
        values = signing.Signer(salt=SALT).unsign_object(payload)
        presses = int(values.pop("press"))
        return Binding(**values), presses
    except (signing.BadSignature, ValueError, TypeError, KeyError, AttributeError):
        return None


def _retried(node: Node) -> OtaJob | None:
    job = node.latest_job
    return job if job is not None and not job.is_live else None
