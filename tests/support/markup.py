"""Pages as tests compare them."""

import re


def tight(page: str) -> str:
    """Return a page without the whitespace beside its tags: it only indents the template."""
    return re.sub(r"\s*(<[^>]*>)\s*", r"\1", re.sub(r"\s+", " ", page))
