"""How fast a long audit trail is: `python -m tests.bench.bench_trail [--rows 1000000]`.

Fills a throw-away database with a whole chain, then appends to it, reviews it through the page,
exports and verifies it. On SQLite, or on PostgreSQL where TEST_RUN_DATABASE_URL names one. Prints
figures and judges nothing.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import mean, median, quantiles
from time import perf_counter
from typing import Any

import django
import psutil
from django.db import connection

from devices.audit.log import expected_content_digest, expected_digest, expected_seal
from devices.models import AuditAction

ROOT = Path(__file__).resolve().parent.parent.parent
HOUSEHOLDS, HUBS, PEOPLE = 40, 1000, 80
# (action, outcome, sentence, of a hub), by how often they are met
WEIGHTED = [
    ("check.asked", "done", "A check for new firmware was asked for: {hub}.", True, 30),
    ("offer.seen", "done", "{hub} is offered 5.4.{n}; it runs 5.3.{n}.", True, 14),
    ("install.requested", "done", "{person} confirmed 5.4.{n} for {hub}.", True, 10),
    ("install.pushing", "done", "{hub}: 5.4.{n} is being sent.", True, 10),
    ("install.running", "done", "{hub}: the cloud took 5.4.{n}.", True, 10),
    ("install.verified", "done", "{hub} runs 5.4.{n}, and was back online.", True, 8),
    ("install.failed", "failed", "{hub}: 5.4.{n} was given up after three attempts.", True, 1),
    ("install.rejected", "refused", "{hub} refused 5.4.{n}.", True, 1),
    ("person.signed_in", "done", "{person} signed in.", False, 12),
    ("person.sign_in_failed", "refused", "A person failed to sign in as {person}.", False, 2),
    ("access.refused", "refused", "{person} may not install firmware in {household}.", False, 1),
    ("household.role_changed", "done", "{person} changed a role in {household}.", False, 1),
]
RARE = "zaunkoenig"


def rows(number: int, seed: int = 1) -> Iterator[Any]:
    """Yield a chain of this many rows over two years, as record() would write it."""
    from django.utils import timezone

    from devices.models import AuditEvent
    from devices.models.audit import FIRST_DIGEST

    chance = random.Random(seed)
    began, digest = timezone.now() - timedelta(days=730), FIRST_DIGEST
    drawn = chance.choices(WEIGHTED, [weighted[4] for weighted in WEIGHTED], k=number)
    for sequence, (action, outcome, sentence, of_hub, _) in enumerate(drawn, 1):
        household = chance.randrange(HOUSEHOLDS) + 1
        hub = household + HOUSEHOLDS * chance.randrange(HUBS // HOUSEHOLDS)
        who = household + HOUSEHOLDS * chance.randrange(PEOPLE // HOUSEHOLDS)
        is_worker = action.startswith(("offer.", "install.r", "install.p", "install.v"))
        words: dict[str, Any] = {
            "hub": f"Porch {hub}",
            "person": f"person{who}@example.com",
            "household": f"Household {household}",
            "n": chance.randrange(20),
        }
        event = AuditEvent(
            sequence=sequence,
            at=began + timedelta(days=730) * (sequence / number),
            action=action,
            outcome=outcome,
            sentence=sentence.format(**words) + (f" {RARE}" if sequence == number // 3 else ""),
            actor_user_id=None if is_worker else who,
            actor_name="Thermacell Web" if is_worker else words["person"],
            actor_role="worker" if is_worker else ("owner", "member")[who % 2],
            via="worker" if is_worker else "web",
            address="" if is_worker else "192.0.2.7",
            browser="" if is_worker else "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
            request_id="" if is_worker else f"{sequence:032x}",
            why="" if is_worker else "role owner",
            household_id=household,
            household_name=words["household"],
            node_id=hub if of_hub else None,
            hub_name=words["hub"] if of_hub else "",
            job_id=sequence // 40 + 1 if action.startswith("install.") else None,
            detail={"ota_job_id": f"OTA{hub}", "to_version": f"5.4.{words['n']}"},
            salt=f"{chance.getrandbits(128):032x}",
            previous_digest=digest,
        )
        event.content_digest = expected_content_digest(event)
        event.digest = digest = expected_digest(event)
        event.seal = expected_seal(event)
        yield event


def fill(number: int) -> None:
    """Write the chain and its head, and the people and households it speaks of."""
    from itertools import islice

    from devices.audit.log import head_seal
    from devices.models import AuditEvent, AuditHead, Household, Role
    from tests.support.factories import make_user

    for household in range(1, HOUSEHOLDS + 1):
        Household.objects.create(pk=household, name=f"Household {household}")
    for who in range(1, PEOPLE + 1):
        home = Household.objects.get(pk=(who - 1) % HOUSEHOLDS + 1)
        role = (Role.OWNER, Role.MEMBER)[(who - 1) // HOUSEHOLDS % 2]
        make_user(f"person{who}@example.com", pk=who, role=role, household=home)
    began, chain, last = perf_counter(), rows(number), None
    while some := list(islice(chain, 5000)):
        AuditEvent.objects.bulk_create(some)
        last = some[-1]
    assert last is not None
    AuditHead.objects.update_or_create(
        pk=1,
        defaults={
            "sequence": last.sequence,
            "digest": last.digest,
            "seal": head_seal(last.sequence, last.digest),
        },
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"{number:,} rows written in {perf_counter() - began:.0f} s ({connection.vendor})")


def append(number: int) -> None:
    from django.db import transaction

    from devices.audit import log as audit_log
    from devices.models import Actor, Household

    home = Household.objects.get(pk=1)
    took = []
    for n in range(number):
        began = perf_counter()
        with transaction.atomic():
            audit_log.record(Actor.worker(), AuditAction.CHECK_ASKED, f"Event {n}.", household=home)
        took.append((perf_counter() - began) * 1000)
    late = quantiles(took, n=20)[-1]
    print(f"append, with its commit: {mean(took):.2f} ms a row, 95th percentile {late:.2f} ms")


def review(number: int) -> None:
    """Ask the page what people ask, as an auditor of everything and as an owner."""
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    from devices.models import StaffRole, User
    from tests.support.client import Client
    from tests.support.factories import make_user, sign_in

    since = (timezone.now() - timedelta(days=400)).date()
    asked = {
        "nothing": "",
        "in the middle": f"before={number // 2}",
        "at the end": "before=60",
        "a person": "person=person7",
        "a role": "role=owner",
        "a hub": "hub=Porch 17",
        "a household": "household=Household 9",
        "installs": "action=install.",
        "refusals": "outcome=refused",
        "failures": "outcome=failed",
        "a time range": f"since={since}&until={since + timedelta(days=3)}",
        "an old time range": f"since={since}&until={since}&text=refused",
        "a frequent word": "text=firmware",
        "a rare word": f"text={RARE}",
        "a word that never occurs": "text=nowhere-at-all",
        "a person and a word that never occurs": "person=person7&text=nowhere-at-all",
        "role, what and outcome": "role=worker&action=install.&outcome=failed",
        "one install": "job=12000",
    }
    auditor = make_user("auditor@example.com", pk=PEOPLE + 1, staff_role=StaffRole.AUDITOR)
    people = {"auditor": auditor, "owner": User.objects.get(email="person1@example.com")}
    for who, user in people.items():
        client, worst = sign_in(Client(), user), (0.0, "")
        client.get("/audit/")
        for what, query in asked.items():
            took = []
            for _ in range(5):
                began = perf_counter()
                answer = client.get(f"/audit/?{query}")
                took.append((perf_counter() - began) * 1000)
                assert answer.status_code == 200
            with CaptureQueriesContext(connection) as queries:
                answer = client.get(f"/audit/?{query}")
            found = answer.content.count(b"<tr id=")
            print(
                f"review by the {who}, {what}: {median(took):.0f} ms, {len(queries)} queries, "
                f"{found} rows"
            )
            worst = max(worst, (median(took), what))
        print(f"review by the {who}, the slowest: {worst[0]:.0f} ms ({worst[1]})", flush=True)


def export(folder: Path) -> None:
    from django.http import StreamingHttpResponse

    from devices.models import User
    from tests.support.client import Client
    from tests.support.factories import sign_in

    client = sign_in(Client(), User.objects.get(email="auditor@example.com"))
    for kind in ("csv", "jsonl"):
        process, lines, pieces, peak = psutil.Process(), 0, 0, 0.0
        before, began = process.memory_info().rss, perf_counter()
        answer = client.get(f"/audit/export.{kind}")
        assert isinstance(answer, StreamingHttpResponse)
        with (folder / f"trail.{kind}").open("wb") as file:
            for piece in answer:
                file.write(piece)
                lines, pieces = lines + piece.count(b"\n"), pieces + 1
                if pieces % 100 == 0:
                    peak = max(peak, process.memory_info().rss - before)
        took, size = perf_counter() - began, (folder / f"trail.{kind}").stat().st_size
        print(
            f"export as {kind}: {lines:,} lines, {size / 1e6:.0f} MB in {took:.0f} s "
            f"({lines / took:,.0f} a second); memory grew by {peak / 1e6:.1f} MB at most",
            flush=True,
        )


def verify(folder: Path) -> None:
    from devices.audit import verification

    began = perf_counter()
    found = verification.verify()
    took = perf_counter() - began
    print(f"{found.sentence} {found.rows / took:,.0f} rows a second")
    began = perf_counter()
    words = [sys.executable, str(ROOT / "static" / "verify_audit.py"), str(folder / "trail.jsonl")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as alone:
        process, peak = psutil.Process(alone.pid), 0
        while alone.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
                alone.wait(0.2)
            except (psutil.Error, subprocess.TimeoutExpired):
                continue
        assert alone.stdout is not None
        printed = alone.stdout.read().strip().splitlines()
    print(
        f"the single-file verifier: {perf_counter() - began:.0f} s, {peak / 1e6:.0f} MB at most, "
        f"exit code {alone.returncode}: {printed[-1] if printed else ''}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    chosen = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.test.runner import DiscoverRunner
    from django.test.utils import setup_test_environment

    setup_test_environment()
    runner = DiscoverRunner(verbosity=0, interactive=False)
    with tempfile.TemporaryDirectory(prefix="trail-") as folder:
        if connection.vendor == "sqlite":  # on a disk, as it would be
            test = connection.settings_dict["TEST"]
            test["NAME"] = str(Path(folder) / "trail.sqlite3")
        kept = runner.setup_databases()
        try:
            fill(chosen.rows)
            append(2000)
            review(chosen.rows)
            export(Path(folder))
            verify(Path(folder))
        finally:
            runner.teardown_databases(kept)


if __name__ == "__main__":
    main()
