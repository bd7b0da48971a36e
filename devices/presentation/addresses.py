"""Addresses of lists with their filters, and of the pages of firmware versions."""

from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

# What stands in an address for a model, or a version, that is not known.
UNKNOWN = "?"
# What stands between several versions there.
BUT = "|"


def address(page: str, **query: Any) -> str:
    """Return the address of a page with these filters; empty ones are left out."""
    given = {name: value for name, value in query.items() if value}
    return f"{reverse(page)}?{urlencode(given)}" if given else reverse(page)


@lru_cache(maxsize=20_000)
def version_address(version: str, model: str, *, is_simulated: bool = False) -> str:
    """Return the address of the page of a version. Cached, since lists need many."""
    return address(
        "version", version=version, model=model or UNKNOWN, simulated="1" if is_simulated else ""
    )


def version_link(version: str, model: str, *, is_simulated: bool = False) -> SafeString:
    """Return a version as a link to its page."""
    where = version_address(version, model, is_simulated=is_simulated)
    return format_html('<a class="version" href="{}">{}</a>', where, version)
