"""Every refusal and number of the cloud is explained."""

from dataclasses import asdict

import pytest

from devices.explanations.cloud_messages import CLOUD_CODES, CLOUD_ERRORS
from devices.explanations.explain import Explanation, explain_cloud_code, explain_trouble
from tests.support.explanations import NUMBERS, assert_is_whole

TROUBLE_CODES = (
    "busy too_many server_trouble unreachable answer_lost unreadable not_trusted signed_out "
    "wrong_password not_mine image_not_found refused our_bug offer_swapped "
    "hub_offline not_for_hub no_status not_allowed call_refused not_permitted another_user"
)


@pytest.mark.parametrize("code", TROUBLE_CODES.split())
def test_every_trouble_is_explained(code: str) -> None:
    assert code in CLOUD_ERRORS
    assert_is_whole(explain_trouble(code))
    text = explain_trouble(code, "Nope: {0}.\x00")
    assert_is_whole(Explanation(**asdict(text) | {"what": text.what.replace("{0}", "")}))
    assert "Details: “Nope: {0}”." in text.what


def test_an_unknown_trouble_is_named_and_quoted() -> None:
    text = explain_trouble("gremlins", "They are in the wires")
    assert text.code == "TW-T99"
    assert "“gremlins”" in text.what
    assert "“They are in the wires”" in text.what
    assert_is_whole(explain_trouble(""))


@pytest.mark.parametrize("number", NUMBERS.split())
def test_every_number_of_the_cloud_is_explained(number: str) -> None:
    text = explain_cloud_code(int(number))
    assert_is_whole(text)
    assert number in text.what
    assert text.code == f"TW-C{number}"
    assert text.tone == CLOUD_ERRORS[CLOUD_CODES[int(number)][0]].tone


def test_an_unknown_number_is_shown() -> None:
    text = explain_cloud_code(199999)
    assert text.code == "TW-C199999"
    assert "199999" in text.what
    assert_is_whole(text)
