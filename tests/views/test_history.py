"""History: each kind of result says how many installs it would show."""

import re

import pytest

from devices.models import State
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_owner,
    sign_in,
)

pytestmark = pytest.mark.django_db


def test_every_filter_counts_what_it_would_show_among_what_is_found(client: Client) -> None:
    household = make_household()
    account = make_account(household)
    for name, state in (("Porch", "verified"), ("Porch 2", "failed"), ("Arbour", "verified")):
        make_job(make_node(account, name=name), state=State(state))
    sign_in(client, make_owner(household))

    def chips(path: str) -> list[int]:
        text = client.get(path).content.decode()
        shown = re.findall(r'class="chip" href.*?<span>(\d+)</span>', text, re.DOTALL)
        return [int(n) for n in shown]

    # all, running, verified, needs attention, not sent
    assert chips("/history/") == [3, 0, 2, 1, 0]
    assert chips("/history/?q=porch") == [2, 0, 1, 1, 0]
    assert chips("/history/?q=porch&show=verified") == [2, 0, 1, 1, 0]
    for show, n in (("", 2), ("verified", 1), ("attention", 1), ("running", 0)):
        text = client.get(f"/history/?q=porch&show={show}").content.decode()
        assert text.count('class="name"') == n


@pytest.mark.parametrize(
    ("via", "words"),
    [
        ("web", "Confirmed by ada@example.com"),
        ("plan", "Started as planned by ada@example.com"),
        ("queue", "Started in the queue of ada@example.com"),
        ("policy", "Started by the update policy of ada@example.com"),
        ("proposal", "Started as ada@example.com answered a proposal"),
    ],
)
def test_an_install_that_no_person_pressed_is_not_called_confirmed(
    client: Client, via: str, words: str
) -> None:
    household = make_household()
    job = make_job(
        make_node(make_account(household)),
        state=State.VERIFIED,
        requested_via=via,
        requested_by_name="ada@example.com",
    )
    sign_in(client, make_owner(household))
    pages = ["/history/", f"/installs/{job.pk}/", f"/installs/{job.pk}/receipt/"]
    for path in [*pages, f"/hubs/{job.node_id}/"]:
        text = client.get(path).content.decode()
        assert words in text, path
        assert ("Confirmed by" in text) is (via == "web"), path
