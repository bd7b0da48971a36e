"""What a hub needs has one definition: whatever the state of hubs, installs, offers and accounts,
every surface says the same, read as a person reads it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices.fleet.attention import SHOWN, store_attention
from devices.homeassistant import snapshot
from devices.homeassistant.discovery import COUNTS, messages
from devices.households import api_tokens
from devices.models import Batch, BatchState, OtaJob, Scope, State, Topic
from devices.models.install import LIVE, OUTCOMES, TROUBLED
from devices.notifications.delivery import Words, send_due
from devices.notifications.outbox import notify
from devices.planning import dismissals, season
from devices.presentation.formatting import number
from devices.presentation.headlines import standing_of
from tests.support.client import Client
from tests.support.factories import make_account, make_job, make_node, make_offer, make_plan, person
from tests.support.homeassistant import link_of
from tests.support.markup import tight
from tests.support.notifications import Home

pytestmark = pytest.mark.django_db

ENDS = [(state, outcome) for state in TROUBLED for outcome in sorted(OUTCOMES[State(state)])]
VERSIONS = ["5.3.2", "v5.3.2", "5.4.0", "V5.4.0.0"]


@dataclass(frozen=True)
class Row:
    """One hub in one account."""

    account: int
    fw_version: str
    is_online: bool | None
    is_gone: bool
    offered: str
    """ "", "new", "older", or "later": after the install."""
    job: tuple[str, str]
    """State and outcome of its newest install; ("", "") without one."""
    to_version: str
    fate: str
    """What came after the end: "", "fell_back", "late" or "seen"."""
    dismissed: str
    """ "", or where its offer was dismissed: "hub" or "everywhere"."""
    planned: str
    """ "", or how its next install waits: "alone", "queue" or "stopped"."""


ROWS = st.builds(
    Row,
    account=st.integers(0, 2),
    fw_version=st.sampled_from(VERSIONS),
    is_online=st.sampled_from([True, True, False, None]),
    is_gone=st.sampled_from([False, False, False, True]),
    offered=st.sampled_from(["", "new", "older", "later"]),
    job=st.one_of(
        st.just(("", "")),
        st.sampled_from(ENDS),
        st.sampled_from(sorted(LIVE)).map(lambda state: (str(state), "")),
        st.just((str(State.VERIFIED), "verified")),
    ),
    to_version=st.sampled_from(VERSIONS),
    fate=st.sampled_from(["", "", "fell_back", "late", "seen"]),
    dismissed=st.sampled_from(["", "", "", "hub", "everywhere"]),
    planned=st.sampled_from(["", "", "", "alone", "queue", "stopped"]),
)
WORLDS = st.tuples(
    st.lists(
        st.sampled_from(["linked", "linked", "signed_out", "unlinked"]), min_size=3, max_size=3
    ),
    st.lists(st.lists(ROWS, min_size=1, max_size=2), min_size=1, max_size=5),
    st.booleans(),
)


def build(home: Home, states: list[str], hubs: list[list[Row]], is_winter: bool) -> None:
    now = timezone.now()
    if is_winter:
        season.store(home.household, actor=person(home.owner), now=now)
    accounts = [make_account(home.household, state=state) for state in states]
    for n, rows in enumerate(hubs):
        is_running = False
        for row in {row.account: row for row in rows}.values():
            node = make_node(
                accounts[row.account],
                node_id=f"Hub-{n}",
                name=f"Hub {n}",
                fw_version=row.fw_version,
                is_online=row.is_online,
                gone_at=now if row.is_gone else None,
            )
            state, outcome = row.job
            is_free = state not in LIVE or not is_running
            if state and is_free:
                is_running |= state in LIVE
                job = make_job(node, state=state, to_version=row.to_version, outcome=outcome)
                fell_back = row.fate == "fell_back" and state == State.VERIFIED
                OtaJob.objects.filter(pk=job.pk).update(
                    fell_back_at=now if fell_back else None,
                    seen_at=now if row.fate == "seen" and state not in LIVE else None,
                    arrived_late_at=now if row.fate == "late" and state in TROUBLED else None,
                )
            if row.offered:
                version = "5.3.0" if row.offered == "older" else "5.9.0"
                is_later = row.offered == "later"
                make_offer(
                    node,
                    fw_version=version,
                    is_step_back=row.offered == "older",
                    first_seen_at=timezone.now() if is_later else now.replace(year=now.year - 1),
                )
                if row.dismissed and not row.is_gone:
                    wide = row.dismissed == "everywhere"
                    actor = person(home.owner)
                    dismissals.dismiss(node, version, user=home.owner, actor=actor, everywhere=wide)
            if row.planned:
                state = BatchState.STOPPED if row.planned == "stopped" else BatchState.RUNNING
                queue = None
                if row.planned != "alone":
                    queue = Batch.objects.create(household=home.household, state=state)
                make_plan(node, batch=queue, requested_by=home.owner)


def heading(text: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", tight(text))
    assert found
    return found[1]


def chips(text: str) -> dict[str, int]:
    """Return {filter: number} of the list, as its chips show them."""
    found = re.findall(r'id="chip-(\w*)"[^>]*>[^<]*<span>(\d+)</span>', tight(text))
    return dict.fromkeys(SHOWN, 0) | {key: int(n) for key, n in found}


def needs(text: str) -> int:
    """Return what the title of the tab counts."""
    found = re.search(r'data-tab-needs="(\d+)"', text)
    assert found
    return int(found[1])


def says(headline: str, n: int, total: int) -> bool:
    """Does the sentence say that so many need attention?"""
    if not n:
        return "attention" not in headline
    every = [
        "your hub needs attention",
        "both hubs need attention",
        f"all {number(total)} hubs need",
    ]
    some = [f"{number(n)} needs attention", f"{number(n)} need attention"]
    some += [f"{number(n)} of {number(total)} hubs need"]
    return any(words in headline.lower() for words in (every if n == total else some + every))


def check(home: Home, get: Callable[[str], str], token: str) -> None:
    """Compare every surface with the list of hubs."""
    page = get("/")
    shown, headline = chips(page), heading(page)
    attention, total = shown["attention"], shown[""]
    for key, n in shown.items():
        assert len(re.findall(r'<tr id="hub-', get(f"/?show={key}"))) == n, key
    assert needs(page) == attention
    title = f"({attention}) Hubs" if attention else "Hubs"
    assert f"<title>{title} · Thermacell Web</title>" in page
    assert not total or says(headline, attention, total)

    over = tight(get("/overview/"))
    standing = over.partition('id="standing"')[2].partition("</section>")[0]
    pattern = r'<a href="/\?show=(\w+)">[^<]+</a>.*?<span[^>]*>(\d+) hubs?</span>'
    bars = re.findall(pattern, standing)
    assert {key: int(n) for key, n in bars if "away" not in key} == {
        key: n for key, n in shown.items() if key and n
    }

    hubs = [int(pk) for pk in re.findall(r'<tr id="hub-(\d+)"', page)]
    assert sum(needs(get(f"/hubs/{pk}/")) for pk in hubs) == attention
    installs = [needs(get(f"/installs/{job.pk}/")) for job in OtaJob.objects.filter(node__in=hubs)]
    assert sum(installs) <= attention

    link = link_of(home.household)
    counts = json.loads(snapshot.counts_of(link))
    assert counts == {name: shown[name] for name in COUNTS}
    there = snapshot.home_of(link)
    facts = [
        json.loads(messages(there, hub)[there.hub_topic(hub.data.id, "facts")])
        for hub in snapshot.hubs_of(link, snapshot.revisions_of(link))
    ]
    assert len(facts) == total
    assert [fact["attention"] for fact in facts].count("ON") == attention

    answer = Client().get("/api/v1/hubs/", headers={"Authorization": f"Bearer {token}"}).json()
    assert [hub["needs_attention"] for hub in answer["hubs"]].count(True) == attention
    of_kind = [hub["attention"] for hub in answer["hubs"]]
    assert len(of_kind) == total
    assert of_kind.count("new") + of_kind.count("waiting") == shown["new"]
    for kind in ("dismissed", "planned", "stored"):
        assert of_kind.count(kind) == shown[kind]
    assert not any(hub["ota_available"] for hub in answer["hubs"] if hub["dismissed_version"])

    mail.outbox.clear()
    now = timezone.now()
    notify(Topic.NEEDS_YOU, household=home.household, path="/", now=now)
    send_due(now, words=Words(standing=standing_of))
    (message,) = mail.outbox
    assert total == 0 or f"{home.household}: {headline}" in message.body


@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(world=WORLDS, is_stored=st.booleans())
def test_every_surface_counts_the_same_in_every_state(
    settings: Any, world: tuple[list[str], list[list[Row]], bool], is_stored: bool
) -> None:
    settings.HAS_MAIL_SERVER = True
    with transaction.atomic():
        home = Home()
        home.node.delete()
        _, token = api_tokens.create(home.owner, home.household, name="Shelf", scope=Scope.READ)
        build(home, *world)
        while is_stored and store_attention():  # as the worker does
            pass
        client = Client()
        client.force_login(home.owner)
        check(home, lambda path: client.get(path).content.decode(), token)
        transaction.set_rollback(True)
