"""Confirming means what was read: a form bound to exactly the offer it showed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from django.core import signing
from django.utils.translation import gettext

from devices.models import Node, Offer

SALT, SALT_OF_LIST = "devices.confirm", "devices.confirm.list"
# An approval is about what is on the screen now, not about last week's tab.
VALID_S = 30 * 60


class BindingError(Exception):
    """The form does not say what may be installed. str() is a sentence for the person."""


class BindingExpired(BindingError):
    """The form was open too long."""


class BindingBroken(BindingError):
    """The form was changed on its way, or made for another server."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What the person was shown."""

    node_id: int
    offer_id: int
    ota_job_id: str
    from_version: str
    to_version: str
    size_bytes: int | None
    md5: str

    def differences(self, other: "Binding") -> list[tuple[str, str, str]]:
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


def bind(node: Node, offer: Offer) -> Binding:
    """Return what a form shows for this hub and offer now."""
    return Binding(
        node_id=node.pk,
        offer_id=offer.pk,
        ota_job_id=offer.ota_job_id,
        from_version=node.fw_version,
        to_version=offer.fw_version,
        size_bytes=offer.size_bytes,
        md5=offer.md5,
    )


def sign(binding: Binding) -> str:
    """Return the text a form carries; valid for half an hour."""
    return signing.dumps(_values(binding), salt=SALT)


def sign_list(bindings: Sequence[Binding]) -> str:
    """Return the text of a form about several hubs, in this order; valid for half an hour."""
    return signing.dumps([_values(binding) for binding in bindings], salt=SALT_OF_LIST)


def read_binding(text: str) -> Binding:
    """Return what the form was bound to; raises BindingExpired or BindingBroken."""
    return _read(text, SALT, lambda values: Binding(**values))


def read_bindings(text: str) -> list[Binding]:
    """Return what the form of `sign_list` was bound to; raises as `read_binding`."""
    return _read(text, SALT_OF_LIST, lambda many: [Binding(**values) for values in many])


Read = TypeVar("Read")


def _read(text: str, salt: str, made: Callable[[Any], Read]) -> Read:
    try:
        return made(signing.loads(text, salt=salt, max_age=VALID_S))
    except signing.SignatureExpired as problem:
        raise BindingExpired(
            gettext(
                "This page was open for more than half an hour. Nothing was sent; "
                "please read the offer again and confirm."
            )
        ) from problem
    except (signing.BadSignature, TypeError) as problem:
        raise BindingBroken(
            gettext(
                "The confirmation could not be read. Nothing was sent; please open the page again."
            )
        ) from problem


def _values(binding: Binding) -> dict[str, Any]:
    return {field.name: getattr(binding, field.name) for field in fields(binding)}


def _text(value: object) -> str:
    return gettext("not given") if value in (None, "") else str(value)
