"""Whole numbers from query strings, forms and other text that anyone may have written."""

# The largest number that a database keeps as an id.
LARGEST_ID = 2**63 - 1


def parse_int(text: str | None, *, largest: int) -> int | None:
    """Return the number that plain digits spell; None for anything else, or more than `largest`.

    The length is checked first: int() raises ValueError beyond 4,300 digits.
    """
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= len(str(largest))):
        return None
    number = int(text)
    return number if number <= largest else None


def parse_pk(text: str | None) -> int | None:
    """Return the id that the text spells, None for what no row can have."""
    return parse_int(text, largest=LARGEST_ID)


def parse_pks(texts: list[str]) -> list[int]:
    """Return the ids among these texts, in their order; anything else is left out."""
    return [pk for text in texts if (pk := parse_pk(text)) is not None]
