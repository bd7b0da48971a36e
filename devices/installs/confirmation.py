"""Bind a confirmation form to exactly the offer that it showed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from django.core import signing
from django.utils.translation import gettext

from devices.models import Node, Offer

# What open forms are signed with: these stay as they are, wherever this module moves.
SALT, SALT_OF_LIST = "devices.confirm", "devices.confirm.list"
# A confirmation is about what is on the screen now, not about last week's tab.
VALID_S = 30 * 60


class SnapshotError(Exception):
    """The form cannot be used. str() is a sentence for the person."""


class SnapshotExpired(SnapshotError):
    """The form was open too long."""


class SnapshotBroken(SnapshotError):
    """The form was changed on its way, or made for another server."""


@dataclass(frozen=True, slots=True)
class OfferSnapshot:
    """Exactly what the person was shown."""

    node_pk: int
    offer_id: int
    ota_job_id: str
    from_version: str
    to_version: str
    size_bytes: int | None
    md5: str

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> "OfferSnapshot":
        """Return a stored or signed snapshot. Raises TypeError when it is something else.

        Until version 0.1.0 our own key was stored as `node_id`.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"a snapshot is a mapping, not {type(values).__name__}")
        return cls(**{"node_pk" if name == "node_id" else name: values[name] for name in values})

    def dump(self) -> dict[str, Any]:
        """Return what is stored with a queue or proposal, and signed into forms."""
        return asdict(self)

    def differences(self, other: "OfferSnapshot") -> list[tuple[str, str, str]]:
        """Return (what, was shown, is now) for each thing that changed."""
        names = {
            "from_version": gettext("Installed version"),
            "to_version": gettext("New version"),
            "ota_job_id": gettext("Cloud job"),
            "size_bytes": gettext("Size in bytes"),
            "md5": "MD5",
        }
        mine, theirs = asdict(self), asdict(other)
        return [
            (words, _text(mine[name]), _text(theirs[name]))
            for name, words in names.items()
            if mine[name] != theirs[name]
        ]


def is_still_offered(binding: OfferSnapshot, node: Node, offer: Offer | None) -> bool:
    """Is this what the form showed? A new row of ours with the same content is no difference."""
    return (
        offer is not None
        and binding.node_pk == node.pk
        and not binding.differences(snapshot_offer(node, offer))
    )


def snapshot_offer(node: Node, offer: Offer) -> OfferSnapshot:
    """Return what a form shows for this hub and offer now."""
    return OfferSnapshot(
        node_pk=node.pk,
        offer_id=offer.pk,
        ota_job_id=offer.ota_job_id,
        from_version=node.fw_version,
        to_version=offer.fw_version,
        size_bytes=offer.size_bytes,
        md5=offer.md5,
    )


def sign(snapshot: OfferSnapshot) -> str:
    """Return the text a form carries; valid for half an hour."""
    return signing.dumps(snapshot.dump(), salt=SALT)


def sign_list(snapshots: Sequence[OfferSnapshot]) -> str:
    """Return the text of a form about several hubs, in this order; valid for half an hour."""
    return signing.dumps([snapshot.dump() for snapshot in snapshots], salt=SALT_OF_LIST)


def read_snapshot(text: str) -> OfferSnapshot:
    """Return what the form was bound to; raises SnapshotExpired or SnapshotBroken."""
    return _read(text, SALT, OfferSnapshot.load)


def read_snapshots(text: str) -> list[OfferSnapshot]:
    """Return what the form of `sign_list` was bound to; raises as `read_snapshot`."""
    return _read(text, SALT_OF_LIST, lambda many: [OfferSnapshot.load(values) for values in many])


Read = TypeVar("Read")


def _read(text: str, salt: str, made: Callable[[Any], Read]) -> Read:
    try:
        return made(signing.loads(text, salt=salt, max_age=VALID_S))
    except signing.SignatureExpired as problem:
        raise SnapshotExpired(
            gettext(
                "This page was open for more than half an hour. Nothing was sent. Read the "
                "offer again and confirm."
            )
        ) from problem
    except (signing.BadSignature, TypeError, AttributeError) as problem:
        raise SnapshotBroken(
            gettext("The confirmation was not valid. Nothing was sent. Open the page again.")
        ) from problem


def _text(value: object) -> str:
    return gettext("not given") if value in (None, "") else str(value)
