"""Closed sets whose members are stored by their own names: NAME = _("What people read")."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.enums import ChoicesType

if TYPE_CHECKING:  # for types they are what every set of choices is
    NamedChoices = models.TextChoices
else:

    class _ByName(ChoicesType):
        def __new__(mcs, name: str, bases: tuple[type, ...], members: Any, **options: Any) -> Any:
            for key in members._member_names:
                # an enum's own dictionary takes a name once
                dict.__setitem__(members, key, (key.lower(), members[key]))
            return super().__new__(mcs, name, bases, members, **options)

    class NamedChoices(models.TextChoices, metaclass=_ByName):
        """The value of NAME is "name", its label the text that it is given."""
