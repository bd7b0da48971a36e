"""What every page shows besides its own subject."""

from typing import Any

from django.http import HttpRequest


def page(request: HttpRequest) -> dict[str, Any]:
    """Return the values for base.html."""
    return {}
