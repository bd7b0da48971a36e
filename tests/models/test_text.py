"""Names from outside, cleaned, and set apart in a sentence where they run from right to left."""

import pytest

from devices.models.text import isolate, mask_emails

GARDEN = "\u05d7\u05e6\u05e8"  # "yard" in Hebrew


@pytest.mark.parametrize("name", ["Back Porch", "Küche 2", "庭", "", "5.3.3", "🌿"])
def test_a_name_from_left_to_right_stays_as_it_is(name: str) -> None:
    assert isolate(name) == name


@pytest.mark.parametrize("name", [GARDEN, f"{GARDEN} 2", "حديقة", f"Porch {GARDEN}"])
def test_a_name_from_right_to_left_is_set_apart(name: str) -> None:
    assert isolate(name) == f"\u2068{name}\u2069"


@pytest.mark.parametrize(
    "email",
    [
        "olivia@example.com",
        "first!last#x@corp.example",
        "o'brien.secret@example.com",
        "{odd}@a.de",
        "a/b=c@example.com",
        "ä.ö@example.com",
        "x&y*z@sub.example.co.uk",
    ],
)
def test_every_address_is_masked(email: str) -> None:
    shown = mask_emails(f"“{email}” (was {email}) did it.")
    assert email.partition("@")[0][1:] not in shown
    assert shown.count(f"{email[0]}•••@{email.partition('@')[2]}") == 2
