"""What /metrics says, in the format that Prometheus reads.

All of it is read from the database at that moment, so that every web process of every machine gives
the same answer. What happens is counted in the database by `Tally`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import django
from django.db import connection
from django.db.models import Count, Min, QuerySet
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from devices.installs.timings import seconds, timings
from devices.models import (
    AuditCheck,
    AuditHead,
    BackupRun,
    Beat,
    Claim,
    CloudAccount,
    Delivery,
    ImageFetch,
    Node,
    OtaJob,
    Plan,
    Proposal,
    Tally,
    database_clock,
)
from devices.models.lease import WORKER
from devices.rainmaker import calls
from devices.taskqueue import health, lease_holder
from thermacell_web import __version__

PREFIX = "thermacell_"


def text(parts: Mapping[str, health.Part]) -> bytes:
    """Return the whole page. While the database is away it has `thermacell_ready` and the parts."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(parts))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, parts: Mapping[str, health.Part]) -> None:
        self.parts = parts

    def collect(self) -> Iterator[Metric]:
        versions = {"version": __version__, "django": django.__version__}
        versions["database"] = connection.vendor
        yield InfoMetricFamily(PREFIX + "build", "Versions.", versions)
        is_ready = health.is_ready(self.parts)
        yield _gauge("ready", "1 when an install could be carried out now.", is_ready)
        yield _gauges(
            "part_ok",
            "1 when this part of /readyz is well.",
            ["part"],
            (((name,), part.is_ok) for name, part in self.parts.items()),
        )
        if self.parts["database"].is_ok:
            Tally.add("cloud_call", calls.take())  # of this web process: accounts that were linked
            yield from _rows(database_clock.now())


def _rows(now: datetime) -> Iterator[Metric]:
    late = now - 2 * seconds(timings().poll_s)
    jobs = OtaJob.objects.filter(next_poll_at__lte=now)
    accounts, hubs = CloudAccount.objects, Node.objects
    due = {
        "install": (jobs, "next_poll_at"),
        "account": (accounts.due_for_sync(now), "next_sync_at"),
        "check": (hubs.due_for_check(now), "next_check_at"),
        "sign_in": (accounts.due_for_sign_in(now), "next_sign_in_at"),
        "file": (ImageFetch.objects.due(now), "next_try_at"),
        "notice": (Delivery.waiting().filter(due_at__lte=now), "due_at"),
    }
    found = {name: _count_and_age(rows, column, now) for name, (rows, column) in due.items()}
    queue = health.Queue.now()
    found["wake_up"] = (queue.due, queue.oldest_due.total_seconds())
    yield _gauges(
        "due",
        "Rows of which something is to be done now.",
        ["kind"],
        (((name,), count) for name, (count, _) in found.items()),
    )
    yield _gauges(
        "oldest_due_seconds",
        "For how long the oldest of them has been due.",
        ["kind"],
        (((name,), age_s) for name, (_, age_s) in found.items()),
    )
    yield _gauge(
        "polls_late",
        "Installs that should have been asked about two intervals ago.",
        jobs.filter(next_poll_at__lte=late).count(),
    )
    yield _gauges(
        "installs_live",
        "Installs without a verdict.",
        ["state"],
        _by(OtaJob.objects.live(), "state"),
    )
    yield _gauges(
        "plans_waiting",
        "Installs that start later by themselves, by when they may and what they wait for.",
        ["when", "reason"],
        _by(Plan.objects.waiting(), "when", "waits_for"),
    )
    yield _gauges(
        "proposals_undecided",
        "Proposals that can still come to an install, by why they wait.",
        ["state"],
        _by(Proposal.objects.undecided(now), "state"),
    )
    yield _gauge("notices_waiting", "Notices not sent yet.", Delivery.waiting().count())
    yield _gauges(
        "cloud_accounts", "Cloud accounts.", ["state"], _by(CloudAccount.objects.all(), "state")
    )
    yield _gauge("hubs", "Hubs that the clouds list.", hubs.present().count())
    yield _gauges(
        "claims",
        "Cloud accounts that a machine works for now, where several share the work.",
        ["loop", "machine"],
        _claims(now).items(),
    )
    yield from _trail()
    yield from _backups()
    yield from _beats(now)
    yield from _tallies()


def _claims(now: datetime) -> Counter[tuple[str, ...]]:
    held = Claim.objects.filter(held_until__gt=now).exclude(holder="")
    found: Counter[tuple[str, ...]] = Counter()
    for loop, holder, many in held.values_list("loop", "holder").annotate(Count("pk")):
        found[loop, lease_holder.place_of(holder)] += many
    return found


def _backups() -> Iterator[Metric]:
    last, good = BackupRun.latest(), BackupRun.latest_good()
    is_failed = last is not None and bool(last.trouble)
    yield _gauge("backup_failed", "1 when the last scheduled backup failed.", is_failed)
    if good is not None and good.verified_at is not None:
        at = good.verified_at.timestamp()
        yield _gauge("backup_verified_timestamp_seconds", "When one was last verified.", at)
        yield _gauge("backup_size_bytes", "The size of that one.", good.size_bytes)


def _trail() -> Iterator[Metric]:
    head = AuditHead.objects.filter(pk=1).first()
    check = AuditCheck.objects.first()
    yield _gauge("trail_entries", "The audit trail's last entry.", head.sequence if head else 0)
    if check is None or check.verified_at is None:
        return
    for name, what, value in (
        ("trail_verified_entries", "The entry up to which it was verified.", "verified_sequence"),
        ("trail_proven_entries", "Up to which something outside confirms it.", "proven_sequence"),
    ):
        yield _gauge(name, what, getattr(check, value))
    at = check.verified_at.timestamp()
    yield _gauge("trail_verified_timestamp_seconds", "When it was verified.", at)
    yield _gauge("trail_intact", "0 when the check found something.", not check.finding)


def _beats(now: datetime) -> Iterator[Metric]:
    beats = {one.name: one for one in Beat.objects.all()}
    yield _gauges(
        "heartbeat_age_seconds",
        "Since the last heartbeat of a loop, or of a machine's worker or watchdog.",
        ["name"],
        (
            ((name,), (now - one.beat_at) / timedelta(seconds=1))
            for name, one in beats.items()
            if one.beat_at is not None
        ),
    )
    worker = beats.get(WORKER)
    yield CounterMetricFamily(
        PREFIX + "worker_restarts",
        "Restarts of the worker that no person asked for.",
        value=worker.restarts if worker else 0,
    )


def _tallies() -> Iterator[Metric]:
    events = CounterMetricFamily(
        PREFIX + "audit_events", "Entries of the audit trail.", labels=["action", "outcome"]
    )
    asked = SummaryMetricFamily(
        PREFIX + "cloud_call_seconds", "Calls to the clouds.", labels=["endpoint", "result"]
    )
    for tally in Tally.objects.exclude(name="account_call").order_by("name", "labels"):
        labels = tally.labels.split("\n")
        if tally.name == "audit_event":
            events.add_metric(labels, tally.count)
        else:
            asked.add_metric(labels, count_value=tally.count, sum_value=tally.seconds)
    yield from (events, asked)


def _count_and_age(rows: "QuerySet[Any]", column: str, now: datetime) -> tuple[int, float]:
    found = rows.order_by().aggregate(count=Count("pk"), oldest=Min(column))
    oldest = found["oldest"]
    return found["count"], (now - oldest) / timedelta(seconds=1) if oldest is not None else 0.0


def _by(rows: "QuerySet[Any]", *columns: str) -> Iterable[tuple[tuple[str, ...], int]]:
    counts = rows.order_by().values_list(*columns).annotate(many=Count("pk"))
    return ((tuple(map(str, values)), many) for *values, many in counts)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, what, value=float(value))


def _gauges(
    name: str, what: str, labels: list[str], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, what, labels=labels)
    for these, value in values:
        family.add_metric(list(these), float(value))
    return family
