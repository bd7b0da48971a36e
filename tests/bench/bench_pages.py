"""How quick and light the pages are: `python -m tests.bench.bench_pages [--hubs 1000]`.

Server time of every page people use, with many hubs, in this process and with its queries: the
processor's time, which other work on the machine hardly changes. Then, of the product's own
processes, what travels at a first visit and at later ones, and how soon a change in the database is
on the screen. Prints figures and judges nothing.
"""

import argparse
import logging
import os
import re
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from statistics import median
from time import monotonic, process_time, sleep
from typing import Any
from urllib.parse import urlsplit

import django
import requests
from django.db import connection

TIMES, WARM = 15, 3


def fill(hubs: int) -> Any:
    """Make one household with this many hubs in every state, and a history; return its owner."""
    from datetime import timedelta

    from django.utils import timezone

    from devices.models import Node, Offer, OtaJob, State
    from tests.support.factories import make_account, make_household, make_owner

    now, household = timezone.now(), make_household("A hotel")
    account, owner = make_account(household), make_owner(household)
    Node.objects.bulk_create(
        Node(
            account=account,
            node_id=f"N{n:021}",
            name=f"Porch {n}",
            model="thermacell-hub",
            fw_version=f"5.3.{n % 4}",
            is_online=n % 9 > 0,
            online_changed_at=now - timedelta(hours=n % 400),
            checked_at=now,
        )
        for n in range(hubs)
    )
    nodes = list(Node.objects.filter(account=account))
    Offer.objects.bulk_create(
        Offer(node=node, ota_job_id=f"OTA{node.pk}", fw_version="5.4.0", size_bytes=245760)
        for node in nodes
        if node.pk % 3 == 0
    )
    OtaJob.objects.bulk_create(
        OtaJob(
            household=household,
            node=node,
            cloud_host=account.cloud_host,
            cloud_node_id=node.node_id,
            hub_name=str(node),
            hub_model=node.model,
            ota_job_id=f"OTA{node.pk}",
            from_version="5.3.0",
            to_version="5.4.0",
            requested_by=owner,
            requested_by_name=owner.email,
            requested_at=now - timedelta(days=node.pk % 80),
            expires_at=now,
            state=State.RUNNING
            if node.pk % 50 == 0
            else (State.VERIFIED, State.FAILED)[node.pk % 2],
            pushed_at=now - timedelta(days=node.pk % 80),
            ended_at=None if node.pk % 50 == 0 else now - timedelta(days=node.pk % 80),
            next_poll_at=None,
        )
        for node in nodes
        if node.pk % 2 == 0
    )
    store_all()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return owner


def store_all() -> None:
    """Store what hubs need, as the worker does after each change."""
    from devices.fleet.attention import store_attention

    while store_attention():
        pass


def start_queue(household: Any) -> Any:
    """Start as long a queue as one may be."""
    from devices.installs.confirmation import snapshot_offer
    from devices.models import Node
    from devices.planning import queues
    from tests.support.factories import person

    owner = household.memberships.get().user
    nodes = Node.objects.filter(account__household=household, offers__isnull=False, is_online=True)
    return queues.request(
        user=owner,
        household=household,
        chosen=[
            (node, snapshot_offer(node, node.offer))
            for node in nodes[: queues.MOST_HUBS]
            if node.offer
        ],
        at_once=1,
        stops_on_failure=True,
        actor=person(owner),
    )


def serve(hubs: int) -> None:
    """Print server time and queries of each page."""
    from django.test.utils import CaptureQueriesContext

    from devices.models import OtaJob, State
    from tests.support.client import Client
    from tests.support.factories import sign_in

    client = sign_in(Client(), fill(hubs))
    packed = Client(headers={"Accept-Encoding": "gzip"})
    packed.cookies = client.cookies
    job = OtaJob.objects.filter(state=State.RUNNING).first()
    assert job is not None
    queue = start_queue(job.household)
    store_all()
    page = client.get("/").content.decode()
    live = re.search(r'data-hx-get="(/hubs/live/[^"]+)"', page)
    progress = client.get(f"/installs/{job.pk}/").content.decode()
    follow = re.search(r'data-hx-get="(/installs/[^"]+)"', progress)
    assert live is not None
    assert follow is not None
    offered = queue.items.values_list("node_id", flat=True)[0]
    house = f"/households/{job.household_id}"
    asked = {
        "hubs": "/",
        "hubs, found by a word": "/?q=porch+77",
        "hubs with new firmware": "/?show=new",
        "hubs, the last page": "/?page=9999",
        "hubs, nothing changed": live[1].replace("&amp;", "&"),
        "a hub": f"/hubs/{job.node_id}/",
        "an install": f"/installs/{job.pk}/",
        "an install, nothing changed": follow[1].replace("&amp;", "&"),
        "an install to confirm": f"/hubs/{offered}/install/",
        "all updates to review": "/queues/new/?all=1",
        "a queue as long as one may be": f"/queues/{queue.pk}/",
        "overview": "/overview/",
        "firmware versions": "/versions/",
        "a firmware version": "/versions/one/?version=5.4.0&model=thermacell-hub&with=5.3.0",
        "history": "/history/",
        "audit": "/audit/",
        "accounts": "/accounts/",
        "what reports mean": "/codes/",
        "people of a household": f"{house}/people/",
        "settings of a household": f"{house}/settings/",
        "notifications": f"{house}/notifications/",
        "Home Assistant": f"{house}/home-assistant/",
    }
    slowest = heaviest = (0.0, "")
    for what, path in asked.items():
        took = []
        for _ in range(WARM + TIMES):
            began = process_time()
            answer = packed.get(path)
            took.append((process_time() - began) * 1000)
        with CaptureQueriesContext(connection) as queries:
            packed.get(path)
        frame = [one for one in queries if re.search(r"session|devices_user\"", one["sql"])]
        size = len(answer.content) + _size_of(answer.headers)
        print(
            f"{what}: {answer.status_code}, {median(took[WARM:]):.1f} ms, {len(queries)} queries "
            f"({len(frame)} of them for who asks), {size / 1024:.1f} KB over the wire"
        )
        slowest = max(slowest, (median(took[WARM:]), what))
        heaviest = max(heaviest, (size / 1024, what))
    print(f"the slowest of them with {hubs:,} hubs: {slowest[0]:.0f} ms ({slowest[1]})")
    print(f"the heaviest of them: {heaviest[0]:.1f} KB ({heaviest[1]})", flush=True)


def _size_of(headers: Mapping[str, str]) -> int:
    """Return the bytes these headers take."""
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


class Wire:
    """A browser's requests, counted as they travel: headers and compressed bodies."""

    def __init__(self, url: str) -> None:
        self.url, self.session, self.kept = url, requests.Session(), set[str]()
        self.session.headers["Accept-Encoding"] = "gzip, br"

    def fetch(self, path: str) -> tuple[int, str]:
        answer = self.session.get(self.url + path, stream=True)
        raw = answer.raw.read(decode_content=False)
        size = len(raw) + _size_of(answer.headers)
        if answer.headers.get("Content-Encoding") == "gzip":
            import gzip

            raw = gzip.decompress(raw)
        return size, raw.decode(errors="replace")

    def visit(self, path: str) -> int:
        """Fetch the page and whatever of its files is not kept yet; return the bytes."""
        total, text = self.fetch(path)
        for found in re.findall(r'(?:href|src)="(/static/[^"]+)"', text):
            place = urlsplit(found).path
            if place not in self.kept:
                self.kept.add(place)
                total += self.fetch(place)[0]
        return total


def travel(folder: Path) -> None:
    """Print what travels, and how soon a change is there to be seen, of the real processes."""
    from tests.support.product import Product
    from tests.support.terminal import PASSWORD

    with Product(folder) as product:
        wire = Wire(product.url)
        first = wire.visit("/account/login/")
        print(f"first visit, the sign-in page with all files: {first / 1024:.1f} KB")
        page = wire.session.get(f"{product.url}/account/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        wire.session.post(
            f"{product.url}/account/login/",
            {"csrfmiddlewaretoken": token[1], "login": "owner@example.com", "password": PASSWORD},
        )
        hub = _first_hub(wire.session.get(f"{product.url}/").text)
        for path in ("/", f"/hubs/{hub}/", "/history/", "/overview/", "/audit/", "/accounts/"):
            print(f"later visit of {path}: {wire.visit(path) / 1024:.1f} KB")
        fresh = Wire(product.url)
        fresh.session.cookies.update(wire.session.cookies)
        print(f"first visit of the hubs, all files with it: {fresh.visit('/') / 1024:.1f} KB")
        took = [_until_seen(product, wire, folder, n) for n in range(5)]
        print(
            "a change in the database is answered at the next question, "
            f"{max(took) * 1000:.0f} ms after it was asked; asked every 3 s while something runs"
        )


def _first_hub(page: str) -> int:
    """Return the number of the hub that stands first on the list."""
    found = re.search(r'id="hub-(\d+)"', page)
    assert found is not None
    return int(found[1])


def _until_seen(product: Any, wire: Wire, folder: Path, number: int) -> float:
    page = wire.session.get(f"{product.url}/").text
    live = re.search(r'data-hx-get="(/hubs/live/[^"]+)"', page)
    hub = _first_hub(page)
    assert live is not None
    with closing(sqlite3.connect(folder / "db.sqlite3", timeout=20)) as database, database:
        database.execute(
            "UPDATE devices_node SET name = ?, revision = revision + 1, changed_at = "
            "strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = ?",
            (f"Renamed {number}", hub),
        )
    began = monotonic()
    answer = wire.session.get(product.url + live[1].replace("&amp;", "&"))
    took = monotonic() - began
    assert f'id="hub-{hub}"' in answer.text  # its row travelled
    sleep(0.1)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hubs", type=int, nargs="*", default=[1000, 10_000])
    chosen = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    logging.disable(logging.INFO)
    from django.template import Template
    from django.test.runner import DiscoverRunner
    from django.test.utils import setup_test_environment

    render = Template._render  # type: ignore[attr-defined]
    setup_test_environment()
    Template._render = render  # type: ignore[attr-defined]  # no copy of each context for tests
    runner = DiscoverRunner(verbosity=0, interactive=False)
    for hubs in chosen.hubs:
        kept = runner.setup_databases()
        try:
            serve(hubs)
        finally:
            runner.teardown_databases(kept)
    with tempfile.TemporaryDirectory(prefix="pages-", ignore_cleanup_errors=True) as folder:
        travel(Path(folder))


if __name__ == "__main__":
    main()
