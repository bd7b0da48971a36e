"""Numbers that anyone may have written: one parser for all of them."""

import pytest

from devices.models.parsing import LARGEST_ID, parse_int, parse_pk, parse_pks

MANY_DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("7", 7),
        ("007", 7),
        (str(LARGEST_ID), LARGEST_ID),
        (str(LARGEST_ID + 1), None),
        ("99999999999999999999", None),
        (MANY_DIGITS, None),
        ("0" * 5_000, None),
        ("", None),
        (None, None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1_000", None),
        (" 1", None),
        ("1\n", None),
        ("1\x00", None),
        ("²", None),
        ("١", None),
        ("0x10", None),
    ],
)
def test_only_what_can_be_an_id_is_one(text: str | None, number: int | None) -> None:
    assert parse_pk(text) == number


def test_a_number_has_a_largest_value() -> None:
    assert [parse_int(text, largest=500) for text in ("0", "500", "501", "5000")] == [
        *(0, 500),
        *(None, None),
    ]


def test_what_is_not_an_id_is_left_out_of_a_list() -> None:
    assert parse_pks(["3", "x", MANY_DIGITS, "", "1"]) == [3, 1]
