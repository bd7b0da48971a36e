"""One install as the hub lives it: a timeline of steps, worked out when it begins.

Texts, order and fixed delays are those of esp-rainmaker firmware (esp_rmaker_ota.c,
esp_rmaker_https_ota.c, esp_rmaker_ota_using_topics.c) with HTTPS transport and a rollback-enabled
bootloader: three attempts, ten seconds before the reboot, `success` only once MQTT is back, another
fetch of the same job five minutes after the third failure. How long a download takes is not in the
code; here it is one and a half to three minutes.

A timeline may be endless, so it is a generator; `devices.simcloud.hub.Run` draws from it as far
as the clock has come. Nothing here knows what time it is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from devices.simcloud import scenarios
from devices.simcloud.scenarios import Scenario

ATTEMPTS = 3
REFETCH_AFTER_FAILURE_S = 300.0
REFETCH_WITHOUT_TIME_S = 30.0
REFETCH_AFTER_WINDOW_S = 5.0
# The firmware begins its next attempt at once, and a poll would hardly ever see the failure
# between the two. A moment longer, so that the passing `failed` can be met.
NEXT_ATTEMPT_S = 3.0
REBOOT_DELAY_S = 10.0
MQTT_WAIT_S = 90.0
HTTP_TIMEOUT_S = 5.0

IN_PROGRESS = "in-progress"
DOWNLOADING = "Downloading Firmware Image"
DOWNLOADED = "Firmware Image download complete"
VERIFIED = "OTA Upgrade finished and verified successfully"
ROLLED_BACK = "Firmware rolled back"


class Effect(StrEnum):
    """What a step does to the hub, besides what it says."""

    NONE = ""
    START = "start"  # begins handling the job: busy from here
    IDLE = "idle"  # stopped handling it
    OFFLINE = "offline"
    ONLINE = "online"
    BOOT = "boot"  # runs `version` from here


@dataclass(frozen=True, slots=True)
class Step:
    at: float
    effect: Effect = Effect.NONE
    status: str = ""  # the report sent with it, if any
    info: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an install's course depends on; the same plan always runs the same course."""

    job_id: str
    old: str
    new: str
    scenario: Scenario
    dice: str
    # the job's own metadata, as virtual seconds (None: unlimited)
    valid_from: float | None = None
    valid_until: float | None = None


@dataclass(frozen=True, slots=True)
class _Pace:
    """How quick this hub is this time, in seconds."""

    header: float
    download: float
    check: float
    dark: float  # from reboot to MQTT
    verify: float

    @classmethod
    def of(cls, plan: Plan) -> _Pace:
        dice = random.Random(plan.dice)
        factor = plan.scenario.get("factor") if plan.scenario.name == "slow" else 1.0
        return cls(
            header=dice.uniform(2, 5),
            download=dice.uniform(125, 205) * factor,
            check=dice.uniform(4, 9),
            dark=dice.uniform(18, 32),
            verify=dice.uniform(1, 4),
        )


def timeline(plan: Plan, at: float) -> Iterator[Step]:
    """The steps of an install whose job reaches the hub at `at`, in order of time."""
    if plan.scenario.name == "silent":
        return
    at += 1.0
    if plan.scenario.name == "failed_final":
        yield _end(at, "failed", scenarios.FINAL_FAILURES[plan.scenario.get("reason")])
        return
    opens = _opens_at(plan, at)
    if opens is not None:
        reason, at_open = opens
        yield Step(at, Effect.IDLE, "delayed", scenarios.DELAYS[reason])
        at = at_open
    if plan.valid_until is not None and at > plan.valid_until:
        yield _end(at, "failed", scenarios.FINAL_FAILURES["window_lapsed"])
        return
    yield from _rounds(plan, _Pace.of(plan), at)


def _opens_at(plan: Plan, at: float) -> tuple[str, float] | None:
    """(why the hub waits, when it asks again), or None when it may begin now."""
    if plan.scenario.name == "delayed":
        reason = str(plan.scenario.get("reason"))
        if reason == "no_time":
            return reason, at + REFETCH_WITHOUT_TIME_S
        return reason, at + plan.scenario.get("opens_in_s") + REFETCH_AFTER_WINDOW_S
    if plan.valid_from is not None and at < plan.valid_from:
        return "not_within_valid_window", plan.valid_from + REFETCH_AFTER_WINDOW_S
    return None


def _end(at: float, status: str, info: str) -> Step:
    return Step(at, Effect.IDLE, status, info)


def _rounds(plan: Plan, pace: _Pace, at: float) -> Iterator[Step]:
    """Rounds of three attempts, until one of them settles the matter."""
    bad_rounds = 0
    if plan.scenario.name == "all_attempts_fail":
        cycles = int(plan.scenario.get("cycles"))
        bad_rounds = cycles or 10**9
    played = 0
    while True:
        yield Step(at, Effect.START)
        if played >= bad_rounds:
            if plan.scenario.name == "all_attempts_fail" and not plan.scenario.get("recovers"):
                yield Step(at, Effect.IDLE)
                return
            yield from _round(plan, pace, at)
            return
        for attempt in range(1, ATTEMPTS + 1):
            yield Step(at, status=IN_PROGRESS, info=_starting(attempt))
            at += pace.header + HTTP_TIMEOUT_S
            yield Step(at, status="failed", info=_failed(attempt, plan.scenario.get("why")))
            at += NEXT_ATTEMPT_S if attempt < ATTEMPTS else 0.0
        yield Step(at, Effect.IDLE)
        played += 1
        at += REFETCH_AFTER_FAILURE_S


def _round(plan: Plan, pace: _Pace, at: float) -> Iterator[Step]:
    """Attempts that end in a reboot, a rejection or silence."""
    trouble = plan.scenario.name
    for attempt in range(1, ATTEMPTS + 1):
        yield Step(at, status=IN_PROGRESS, info=_starting(attempt))
        at += pace.header
        if trouble == "rejected" and plan.scenario.get("reason") != "chip_revision":
            yield _end(at, "rejected", scenarios.REJECTIONS[plan.scenario.get("reason")])
            return
        if plan.old == plan.new:  # the version test is inequality only
            yield _end(at, "rejected", scenarios.REJECTIONS["same_version"])
            return
        yield Step(at, status=IN_PROGRESS, info=DOWNLOADING)
        until = 1.0
        if attempt == 1:
            until = {
                "rejected": 0.1,
                "stuck": float(plan.scenario.params.get("fraction", 0.5)),
                "first_attempt_fails": 0.5,
                "offline_mid_flash": 0.5,
            }.get(trouble, 1.0)
        yield from _percentages(plan, pace, at, 0.0, until)
        at += pace.download * until
        if until < 1.0:
            if trouble == "stuck":
                return
            if trouble == "rejected":
                yield _end(at, "rejected", scenarios.REJECTIONS["chip_revision"])
                return
            if trouble == "first_attempt_fails":
                yield Step(at, status="failed", info=_failed(attempt, plan.scenario.get("why")))
                at += NEXT_ATTEMPT_S
                continue
            yield Step(at, Effect.OFFLINE)
            at += plan.scenario.get("away_s")
            yield Step(at, Effect.ONLINE)
            if plan.scenario.get("then") == "restarts":
                at += HTTP_TIMEOUT_S
                yield Step(at, status="failed", info=_failed(attempt, scenarios.CUT_SHORT))
                at += NEXT_ATTEMPT_S
                continue
            yield from _percentages(plan, pace, at, until, 1.0)
            at += pace.download * (1.0 - until)
        yield Step(at, status=IN_PROGRESS, info=DOWNLOADED)
        at += pace.check
        yield from _reboot(plan, pace, at, attempt)
        return


def _percentages(plan: Plan, pace: _Pace, at: float, low: float, high: float) -> Iterator[Step]:
    """`Downloaded 10% Firmware Image` ...: only where the firmware was built to say so
    (CONFIG_ESP_RMAKER_OTA_PROGRESS_SUPPORT, off by default; its step is 5 to 50)."""
    step = int(plan.scenario.get("step"))
    if step <= 0:
        return
    for percent in range(step, 100, step):
        if low < percent / 100 <= high:
            info = f"Downloaded {percent}% Firmware Image"
            yield Step(at + pace.download * (percent / 100 - low), status=IN_PROGRESS, info=info)


def _reboot(plan: Plan, pace: _Pace, at: float, attempt: int) -> Iterator[Step]:
    """From the verified image to the last word about it."""
    trouble = plan.scenario.name
    yield Step(at, status=IN_PROGRESS, info=_rebooting(attempt))
    at += REBOOT_DELAY_S
    yield Step(at, Effect.OFFLINE)
    if trouble == "rolled_back":
        at += MQTT_WAIT_S + pace.dark
        yield Step(at, Effect.ONLINE)
        at += pace.verify
        if plan.scenario.get("report_failed"):
            yield _end(at, "failed", f"MQTT did not connect within {MQTT_WAIT_S:.0f} seconds")
        else:
            yield _end(at, "rejected", ROLLED_BACK)
        return
    at += pace.dark
    yield Step(at, Effect.ONLINE)
    if trouble != "success_lie":
        yield Step(at, Effect.BOOT, version=plan.new)
    at += pace.verify
    if trouble == "version_only":
        yield Step(at, Effect.IDLE)
    else:
        yield _end(at, "success", VERIFIED)


def _starting(attempt: int) -> str:
    return f"Starting OTA Upgrade (HTTPS attempt {attempt}/{ATTEMPTS})"


def _failed(attempt: int, why: str) -> str:
    return f"OTA Attempt {attempt}/{ATTEMPTS} failed: {why}"


def _rebooting(attempt: int) -> str:
    attempts = "attempt" if attempt == 1 else "attempts"
    return f"Rebooting into new firmware (after {attempt} HTTPS {attempts})"
