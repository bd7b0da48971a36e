"""Versions are compared by what they mean: the normal form, its laws, and which is older."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.models.version_text import is_older_version, is_same_version, parse_version


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("v5.3.3", "5.3.3"),
        ("V5.3.3", "5.3.3"),
        ("v 5.3.3", "5.3.3"),
        ("Version 5.3.3", "5.3.3"),
        ("5.3.0", "5.3"),
        ("5.0.0", "5"),
        ("5.3.3+build7", "5.3.3"),
        ("5.3.3+7", "5.3.3+build7"),
        ("5.3.3 build 7", "5.3.3"),
        ("5.3.3 (build 7)", "5.3.3+7"),
        ("5.3.3-build7", "5.3.3"),
        ("5.3.3 ", "5.3.3"),
        ("\t5.3.3\n", "5.3.3"),
        ("5.3.3\u00a0", "5.3.3"),
        ("5.4.7-RC1", "5.4.7-rc1"),
        ("5.3.0-rc1", "5.3-rc1"),
        ("v5.3.0+build7", "5.3"),
        ("Firefly", "firefly"),
    ],
)
def test_one_version_in_two_spellings_is_the_same(one: str, other: str) -> None:
    assert is_same_version(one, other)
    assert is_same_version(other, one)
    assert not is_older_version(one, other)
    assert not is_older_version(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5.3.3", "5.3.2"),
        ("5.3.3", "5.3.3-rc1"),
        ("5.3.3", "5.3.3.1"),
        ("5.30", "5.3"),
        ("50", "5"),
        ("5.3.3+build7", "5.3.3+build8"),
        ("v5.3.3", "w5.3.3"),
        ("5.3.3-eu", "5.3.3-us"),
        ("", ""),
        ("", "5.3.3"),
        ("  ", "  "),
    ],
)
def test_other_versions_are_not_the_same(one: str, other: str) -> None:
    assert not is_same_version(one, other)
    assert not is_same_version(other, one)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("5.3.2", "5.3.3"),
        ("5.9", "5.10"),
        ("5.3", "5.3.1"),
        ("v5.3.2", "5.3.3"),
        ("5.4.1", "5.4.7-rc1"),
        ("5.4.7-rc1", "5.4.7"),
        ("5.4.7-rc2", "5.4.7-rc10"),
        ("5.4.7-beta", "5.4.7-rc1"),
        ("5.4.1", "v5.4.7+build3"),
        ("5.3.3+build7", "5.3.3+build10"),
        ("5.4.1 ", "5.4.7"),
    ],
)
def test_a_step_back_is_seen_in_any_spelling(older: str, newer: str) -> None:
    assert is_older_version(older, newer)
    assert not is_older_version(newer, older)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Firefly", "5.3.3"), ("5.3.3", "beta"), ("", "5.3.3"), ("5.3.3-eu", "5.3.3"), ("٥.٣", "5.4")],
)
def test_what_has_no_known_order_is_not_called_older(one: str, other: str) -> None:
    assert not is_older_version(one, other)
    assert not is_older_version(other, one)


numbers = st.lists(st.integers(0, 99), min_size=1, max_size=4)
spellings = st.tuples(
    st.sampled_from(["", "v", "V", "version "]),
    st.integers(0, 2),
    st.sampled_from(["", "+build7", " build 7", "+7"]),
    st.sampled_from(["", " ", "\t", "  "]),
)


def spelled(parts: list[int], how: tuple[str, int, str, str]) -> str:
    prefix, zeros, build, space = how
    return space + prefix + ".".join(map(str, parts)) + ".0" * zeros + build + space


@given(numbers, spellings, spellings)
def test_no_spelling_changes_a_version(
    parts: list[int], one: tuple[str, int, str, str], other: tuple[str, int, str, str]
) -> None:
    assert is_same_version(spelled(parts, one), spelled(parts, other))


@given(numbers, numbers, spellings, spellings)
def test_the_order_is_that_of_the_numbers(
    mine: list[int],
    theirs: list[int],
    one: tuple[str, int, str, str],
    other: tuple[str, int, str, str],
) -> None:
    length = max(len(mine), len(theirs))
    padded = [part + [0] * (length - len(part)) for part in (mine, theirs)]
    first, second = spelled(mine, one), spelled(theirs, other)
    assert is_older_version(first, second) == (padded[0] < padded[1])
    assert is_same_version(first, second) == (padded[0] == padded[1])


@given(st.text(max_size=64), st.text(max_size=64))
def test_no_text_is_too_strange_and_none_is_both_the_same_and_older(one: str, other: str) -> None:
    parse_version(one)
    assert is_same_version(one, one) == bool(one.strip())
    assert is_same_version(one, other) == is_same_version(other, one)
    assert not (is_older_version(one, other) and is_older_version(other, one))
    assert not (is_same_version(one, other) and is_older_version(one, other))


@pytest.mark.parametrize("name", ["5.3.3-dev1", "5.3.3-rev2", "5.3.3 preview 4"])
def test_a_v_inside_a_version_is_part_of_it(name: str) -> None:
    assert is_same_version(f"v{name}", name)
    assert is_same_version(f"Version {name}", name)
    assert not is_same_version(name, name.replace("v", ""))
