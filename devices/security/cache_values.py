"""How values are kept in Redis: as JSON, so that a person who can write there cannot run code."""

import json
from typing import Any


class Json:
    """A serializer for Django's Redis cache. Its usual one is pickle."""

    def dumps(self, value: Any) -> bytes | int:
        """Return what is stored; whole numbers stay numbers, which Redis can count up."""
        return value if type(value) is int else json.dumps(value).encode()

    def loads(self, stored: bytes) -> Any:
        """Return the value."""
        return json.loads(stored)
