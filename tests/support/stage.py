"""A simulated world in injected time, with one hub to watch. No sockets."""

from __future__ import annotations

from devices.simcloud import scenarios
from devices.simcloud.clock import Clock
from devices.simcloud.hub import Hub
from devices.simcloud.world import Setup, World


class Wall:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


class Stage:
    """A world of one person's hubs, a wall clock to turn, and one hub to watch."""

    def __init__(self, scenario: str = "happy", *, speed: float = 1.0) -> None:
        self.wall = Wall()
        self.world = World(Setup(hubs=12, offers=1.0), Clock(speed, self.wall))
        self.hub: Hub = self.world.hub_list[0]
        self.world.play(self.hub, scenarios.parse(scenario))
        self.heard: list[tuple[str, str]] = []

    def push(self) -> bool:
        job = self.hub.offer(self.now)
        assert job
        self.job_id = job.job_id
        return self.world.push(self.hub, job)

    @property
    def now(self) -> float:
        return self.world.clock.now()

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, looking at the status all the while, as a person would."""
        for _ in range(int(seconds / step)):
            self.wall.at += step
            report = self.hub.report(self.job_id, self.now)
            last = (report.status, report.info) if report else ("", "")
            if not self.heard or self.heard[-1] != last:
                self.heard.append(last)

    def install(self, seconds: float = 400) -> list[tuple[str, str]]:
        self.push()
        self.pass_time(seconds)
        return self.heard

    @property
    def version(self) -> str:
        return self.hub.fw_version(self.now)


HAPPY_END = [
    ("in-progress", "Firmware Image download complete"),
    ("in-progress", "Rebooting into new firmware (after 1 HTTPS attempt)"),
    ("success", "OTA Upgrade finished and verified successfully"),
]
HAPPY = [
    ("in-progress", "Starting OTA Upgrade (HTTPS attempt 1/3)"),
    ("in-progress", "Downloading Firmware Image"),
    *HAPPY_END,
]
