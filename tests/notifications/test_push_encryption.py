"""Push messages are encrypted as RFC 8291 says, and only their browser can read them."""

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec

from devices.notifications.push_encryption import (
    CURVE,
    MOST_BYTES,
    authorization,
    encrypt,
    from_text,
    point_of,
    to_text,
)
from tests.support.push_service import Browser, read_signature, to_bytes

# The example of RFC 8291, section 5 and appendix A.
PLAIN = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
AUTH, SALT = "BTBZMqHH6r4Tts7J_aSIgg", "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS"
    "6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qu"
    "lcy4a-fN"
)


def number(text: str) -> int:
    return int.from_bytes(to_bytes(text), "big")


def test_the_example_of_the_standard_gives_its_bytes_and_is_read_from_them() -> None:
    browser = Browser(number(RECEIVER), to_bytes(AUTH))
    own = ec.derive_private_key(number(SENDER), CURVE)
    salt = to_bytes(SALT)
    body = encrypt(PLAIN, browser.point, browser.auth, own_key=own, salt=salt, pads=False)
    assert to_text(body) == BODY
    assert browser.read(to_bytes(BODY)) == PLAIN


@pytest.mark.parametrize("length", [0, 1, 255, 256, MOST_BYTES])
def test_any_message_is_read_by_its_browser_alone(length: int) -> None:
    browser, content = Browser(), b"\x02\x00" * (length // 2) + b"x" * (length % 2)
    body = encrypt(content, browser.point, browser.auth)
    assert browser.read(body) == content
    assert len(body) <= 4096
    assert len(body) % 256 == len(encrypt(b"", browser.point, browser.auth)) % 256  # padded
    assert body != encrypt(content, browser.point, browser.auth)
    with pytest.raises(InvalidTag):
        Browser().read(body)


def test_one_that_is_too_long_or_has_no_key_is_not_made() -> None:
    browser = Browser()
    with pytest.raises(ValueError, match="at most"):
        encrypt(bytes(MOST_BYTES + 1), browser.point, browser.auth)
    for point in (b"", b"\x04" + bytes(64), browser.point[:-1]):
        with pytest.raises(ValueError):
            encrypt(b"x", point, browser.auth)


@pytest.mark.parametrize("text", ["a", "é", "ab+/", "ab cd", "a=b"])
def test_what_is_no_base64url_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_text(text)


def test_the_signature_names_the_service_the_contact_and_our_key() -> None:
    key = ec.generate_private_key(CURVE)
    header = authorization(key, "https://push.example", "mailto:a@example.org", 1_000)
    claims, signed_by = read_signature(header)
    assert claims == {"aud": "https://push.example", "exp": 44_200, "sub": "mailto:a@example.org"}
    assert signed_by == to_text(point_of(key))
