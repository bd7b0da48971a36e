"""Nothing that a browser can send makes a page stumble: filters, forms, one-time links, tokens.

What the cloud can send is in test_cloud_read.py and test_cloud_client.py, programs' JSON in
test_api_schema.py, the broker's messages in test_homeassistant_bridge.py.
"""

import json
import random
from typing import Any

import pytest
from django.core import signing
from django.core.cache import cache
from django.db import transaction
from hypothesis import example, given
from hypothesis import strategies as st

from devices.installs.confirmation import SALT, SnapshotError, read_snapshot
from devices.models import OtaJob, User
from tests.support.client import Client
from tests.test_access_table import TABLE, Home, signed_in

ODD = [
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\N{MOSQUITO}",
        "\u202eevil",
        "é" * 300,
        "x" * 5000,
        "'\"><script>",
    ),
    *("0", "-1", "1e308", "9" * 30, "٣", "1.5", "NaN", "true", "null", "[]", '{"a": 1}', "%", "_"),
    *("2026-02-30", "0001-01-01", "9999-12-31", "2026-11-26T10:00", "now", "../../etc/passwd"),
    *("=1+1", "@x", "//evil.example", "https://evil.example/", "javascript:alert(1)", "UTC", "on"),
]
ASKED = [
    *("q", "show", "sort", "page", "v", "o", "t", "all", "next", "household", "person", "role"),
    *("hub", "action", "outcome", "since", "until", "job", "before", "after", "text", "at", "code"),
    *("hubs", "agreed", "days", "login", "email", "password", "name", "time_zone", "to", "becomes"),
    *("act", "scope", "at_once", "stops_on_failure", "digest", "restart", "format"),
]
TRIES = 6
MADE_UP = ("0", "x" * 3000, "..", "é", "%00", "a:b:c", "-" * 40)
# An address of these holds what it names; a wrong one is another page.
NAMED = {"token", "key", "uidb36", "rest"}


@pytest.fixture
def home(db: None) -> Home:
    return Home()


@pytest.mark.parametrize("name", sorted(TABLE))
def test_no_page_stumbles_over_what_it_is_asked(home: Home, name: str) -> None:
    dice = random.Random(name)
    own = list(TABLE[name].body(home))
    visitors = [_visitor(home.people[who]) for who in ("owner", "support", "administrator")]
    visitors.append(Client())
    jobs = OtaJob.objects.count()
    for number in range(TRIES):
        cache.clear()  # what is limited would answer for all the others
        client = visitors[number % len(visitors)]
        names = [*dice.sample(ASKED, 4), *own]
        query = {one: dice.choice(ODD) for one in names if dice.random() < 0.8}
        with transaction.atomic():
            if number % 3:
                answer = client.get(home.path(name), query)
            else:
                answer = client.post(home.path(name), _filled(home, name, dice, query))
            assert answer.status_code < 500 or name == "readyz", query
            assert b"Traceback" not in answer.getvalue()
            transaction.set_rollback(True)
    assert OtaJob.objects.count() == jobs


def _filled(home: Home, name: str, dice: random.Random, odd: dict[str, str]) -> dict[str, Any]:
    """Return the form as it should be, with one or several of its fields as they should not."""
    right = TABLE[name].body(home)
    kept = {field: value for field, value in right.items() if dice.random() < 0.5}
    return odd | kept


def _visitor(user: User) -> Client:
    client = Client()
    client.cookies.load(signed_in(user))
    return client


@pytest.mark.parametrize(
    "name",
    sorted(name for name in TABLE if NAMED & set(TABLE[name].args) and name != "api_nothing"),
)
def test_a_link_that_was_made_up_opens_nothing(home: Home, name: str) -> None:
    for word in MADE_UP:
        path = home.path(name)
        for value in home.words.values():
            path = path.replace(value, word)
        for answer in (Client().get(path), Client().post(path, {})):
            assert answer.status_code < 500, word


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_a_made_up_confirmation_is_a_sentence(text: str) -> None:
    with pytest.raises(SnapshotError, match="Nothing was sent"):
        read_snapshot(text)


@example([1])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_confirmation_we_signed_for_something_else_is_a_sentence(value: Any) -> None:
    with pytest.raises(SnapshotError, match="Nothing was sent"):
        read_snapshot(signing.dumps(value, salt=SALT))


def test_programs_that_send_no_json_get_a_sentence(home: Home) -> None:
    for body in ("", "{", "[]", "null", '"x"', json.dumps({"node_id": {"a": []}})):
        answer = Client().post("/api/v1/installs/", body, content_type="application/json")
        assert answer.status_code == 401
