"""Every page: its headers, what it costs, hostile names, and what an open page is sent."""

import gzip
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import AuditAction, Node, Role, State
from devices.server import demo
from tests.support.client import Client
from tests.support.factories import make_account, make_job, make_node, make_offer
from tests.support.markup import tight
from tests.support.pages import HTMX, Home

pytestmark = pytest.mark.django_db


def mark_in(text: str, what: str) -> str:
    return text.split(f'data-hx-get="{what}')[1].split('"')[0].replace("&amp;", "&")


def test_nothing_changed_is_answered_without_a_body_and_a_change_brings_one_row(
    home: Home, enter: Any
) -> None:
    client = enter(home.people[Role.OWNER])
    url = "/hubs/live/" + mark_in(client.get("/").content.decode(), "/hubs/live/")
    quiet = client.get(url, headers=HTMX)
    assert (quiet.status_code, quiet.content) == (204, b"")
    Node.objects.exclude(pk=home.plain.pk).update(changed_at=timezone.now() - timedelta(hours=1))
    home.plain.touch(timezone.now(), name="Side door")
    text = client.get(url, headers=HTMX).content.decode()
    assert "Side door" in text
    # the order by name may move; the same order travels as rows alone
    url = "/hubs/live/" + mark_in(text, "/hubs/live/")
    home.plain.touch(timezone.now(), is_on=True)
    text = client.get(url, headers=HTMX).content.decode()
    assert f'id="hub-{home.plain.pk}"' in text
    assert f'id="hub-{home.new.pk}"' not in text


def test_a_revoked_worker_is_said(home: Home, enter: Any) -> None:
    assert "The worker is not running" in enter(home.people[Role.OWNER]).get("/").content.decode()


def cost(client: Client, page: str) -> int:
    client.get(page)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(page).status_code == 200
    return len(queries)


@pytest.mark.parametrize("page", ["/", "/hubs/live/", "/history/", "/audit/", "/accounts/"])
def test_queries_do_not_grow_with_rows(home: Home, enter: Any, page: str) -> None:
    client = enter(home.people[Role.OWNER])

    def grow(n: int) -> None:
        for _ in range(n):
            node = make_node(home.account)
            make_offer(node)
            job = make_job(make_node(make_account(home.household)), state=State.RUNNING)
            job.note(timezone.now(), trouble="busy")
            from devices.audit import log as audit_log
            from devices.models import Actor

            audit_log.record(Actor.worker(), AuditAction.CHECK_ASKED, "Something.", job=job)

    grow(3)
    before = cost(client, page)
    grow(6)
    assert cost(client, page) == before


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '=HYPERLINK("http://x")', "a\nb"])
def test_hostile_names_are_only_text(home: Home, enter: Any, name: str) -> None:
    Node.objects.filter(pk=home.new.pk).update(name=name)
    client = enter(home.people[Role.OWNER])
    for page in ("/", f"/hubs/{home.new.pk}/", f"/hubs/{home.new.pk}/install/"):
        assert "<script>alert" not in client.get(page).content.decode()


@pytest.mark.parametrize("page", ["/", "/account/login/", "/nowhere/"])
def test_every_answer_carries_the_strict_headers(client: Client, page: str) -> None:
    answer = client.get(page)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert len(answer["X-Request-ID"]) == 32


def test_a_page_travels_compressed_and_a_file_as_it_is(home: Home, enter: Any) -> None:
    client = enter(home.people[Role.OWNER])
    packed = client.get("/", headers={"Accept-Encoding": "gzip, br"})
    assert packed["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed["Vary"]
    assert b"</html>" in gzip.decompress(packed.content)
    assert len(packed.content) < len(client.get("/").content) / 2
    assert "Content-Encoding" not in client.get("/").headers
    lengths = {
        len(client.get("/accounts/", headers={"Accept-Encoding": "gzip"}).content)
        for _ in range(20)
    }
    assert len(lengths) > 5, "the length of a page is sent"
    trail = client.get("/audit/export.jsonl", headers={"Accept-Encoding": "gzip"})
    assert trail.streaming
    assert "Content-Encoding" not in trail.headers


def test_an_e_mail_address_is_spelled_one_way_where_people_sign_in(
    home: Home, client: Client
) -> None:
    page = client.get("/account/login/").content.decode()
    wrong = client.post("/account/login/", {"login": "x@example.com", "password": "wrong"})
    none = client.post("/account/login/", {"login": "nobody", "password": "wrong"})
    assert "E-mail address" in page
    assert "The e-mail address or the password is not right." in wrong.content.decode()
    assert "Enter a valid e-mail address." in none.content.decode()
    for answer in (page, wrong.content.decode(), none.content.decode()):
        words = re.sub(r"<[^>]+>", " ", answer)
        assert not re.search(r"\b[Ee]mail", words)


def test_sample_people_are_offered_in_a_demo_alone(
    home: Home, client: Client, settings: Any
) -> None:
    owner = home.people[Role.OWNER]
    sample = demo.Resident(owner.email, "Olivia", "owner", "Garden house")
    assert 'id="samples"' not in client.get("/account/login/").content.decode()
    settings.SAMPLE_SIGN_INS = demo.sign_ins() | {"people": [sample]}
    page = client.get("/account/login/").content.decode()
    assert f"{owner.email} (owner of Garden house)" in tight(page)
    form = page[page.index('id="samples"') :]
    fields = dict(re.findall(r'<input type="hidden" name="(login|password)" value="([^"]+)"', form))
    assert client.post("/account/login/", fields)["Location"] == "/"
