"""The people of a chaos run: each hub has one, who confirms, cancels and tries again as it comes.

They use what a browser would use: the forms, over HTTP. What they were told is written down, for it
is the first thing that must be true afterwards.
"""

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.chaos.installation import Installation
from tests.terminal import PASSWORD

# Every course an install may take, with the verdicts that are no lie about it. Besides these an
# install may always end unsent, or LOST, which says that nothing is known.
VERIFIED, UNVERIFIED, REJECTED, FAILED = "verified", "unverified", "rejected", "failed"
COURSES: dict[str, tuple[dict[str, Any], set[str], int]] = {
    # name: (parameters, honest verdicts, how often)
    "happy": ({}, {VERIFIED, UNVERIFIED}, 40),
    "percent": ({"step": 10}, {VERIFIED, UNVERIFIED}, 8),
    "slow": ({"factor": 2.0}, {VERIFIED, UNVERIFIED}, 4),
    "first_attempt_fails": ({}, {VERIFIED, UNVERIFIED}, 8),
    "offline_mid_flash": ({"away_s": 60.0}, {VERIFIED, UNVERIFIED, FAILED}, 6),
    "delayed": ({"reason": "no_time"}, {VERIFIED, UNVERIFIED}, 3),
    "rejected": ({"reason": "project_name"}, {REJECTED}, 6),
    "rolled_back": ({}, {REJECTED}, 6),
    "failed_final": ({"reason": "json"}, {FAILED}, 6),
    "success_lie": ({}, {UNVERIFIED}, 8),
    "version_only": ({}, {UNVERIFIED}, 4),
    "silent": ({}, set(), 4),
    "stuck": ({}, set(), 4),
    "already_running": ({}, {VERIFIED, UNVERIFIED}, 3),
}
ALWAYS_HONEST = {"lost", "cancelled", "expired", "refused"}
LIVE = ("requested", "pushing", "running", "retrying", "verifying")
ANSWER_S = 75
ENDS_WITHIN_S = 900


@dataclass
class Diary:
    """What the people saw and did. Shared by all; every list is only ever appended to."""

    accepted: list[int] = field(default_factory=list)  # jobs whose page they were shown
    endless: list[int] = field(default_factory=list)  # jobs that got no verdict in good time
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


@dataclass(frozen=True)
class HubNow:
    """What the product's tables say of one hub."""

    pk: int
    offered: str  # the cloud's job
    job: int
    state: str


class Watcher(threading.Thread):
    """Reads the tables twice a second, so that forty people need not."""

    SQL = (
        "SELECT n.node_id, n.id, "
        "(SELECT o.ota_job_id FROM devices_offer o WHERE o.node_id = n.id AND o.ended_at IS NULL"
        " ORDER BY o.id DESC LIMIT 1), j.id, j.state FROM devices_node n "
        "LEFT JOIN devices_otajob j ON j.node_id = n.id AND j.is_latest"
    )

    def __init__(self, installation: Installation) -> None:
        super().__init__(daemon=True)
        self.installation = installation
        self.now: dict[str, HubNow] = {}
        self.is_over = threading.Event()
        self.look()

    def look(self) -> None:
        rows = self.installation.tables.rows(self.SQL)
        self.now = {
            node: HubNow(pk, offered or "", job or 0, state or "")
            for node, pk, offered, job, state in rows
        }

    def run(self) -> None:
        while not self.is_over.wait(0.5):
            self.look()


class Visitor:
    """One browser: signs in when asked to, and keeps its cookies."""

    def __init__(self, installation: Installation, email: str) -> None:
        self.installation, self.email = installation, email
        self.session = requests.Session()

    def get(self, path: str) -> requests.Response | None:
        """Return the page, or None where there was none to be had."""
        return self._ask("GET", path)

    def press(self, path: str, values: dict[str, str]) -> requests.Response | None:
        """Send a form; the answer is not followed. None: nobody knows what became of it."""
        return self._ask("POST", path, values)

    def _ask(
        self, method: str, path: str, values: dict[str, str] | None = None
    ) -> requests.Response | None:
        token = self.session.cookies.get("csrftoken", "")
        data = None if values is None else {"csrfmiddlewaretoken": token, **values}
        try:
            answer = self.session.request(
                method,
                f"{self.installation.url}{path}",
                data=data,
                timeout=ANSWER_S,
                allow_redirects=False,
            )
        except requests.RequestException:
            return None
        if answer.is_redirect and "/account/login/" in answer.headers["Location"]:
            self._sign_in()
            return None
        return answer

    def _sign_in(self) -> None:
        address = f"{self.installation.url}/account/login/"
        try:
            self.session.get(address, timeout=ANSWER_S)
            told = {
                "csrfmiddlewaretoken": self.session.cookies.get("csrftoken", ""),
                "login": self.email,
                "password": PASSWORD,
            }
            self.session.post(address, data=told, timeout=ANSWER_S)
        except requests.RequestException:
            return


class Person(threading.Thread):
    """Lives with one hub: publishes offers for it, as the vendor would, and installs them."""

    def __init__(
        self,
        installation: Installation,
        watcher: Watcher,
        diary: Diary,
        node: str,
        index: int,
        visitor: Visitor,
        seed: str,
        is_over: threading.Event,
        only_courses: tuple[str, ...] = (),
    ) -> None:
        super().__init__(daemon=True)
        self.installation, self.watcher, self.diary = installation, watcher, diary
        self.node, self.index, self.visitor = node, index, visitor
        self.dice = random.Random(f"{seed} {node}")
        self.is_over = is_over
        self.courses = only_courses or tuple(COURSES)

    @property
    def now(self) -> HubNow:
        return self.watcher.now[self.node]

    def run(self) -> None:
        try:
            self._live()
        except Exception as problem:  # the machine itself failed: said, never swallowed
            self.diary.problems.append(f"who lives with {self.node}: {problem!r}")

    def _live(self) -> None:
        number = 0
        while not self.is_over.is_set():
            number += 1
            if self._publish(f"6.{number}.{self.index}") and self._install():
                while self.dice.random() < 0.5 and self._may_try_again() and self._install():
                    self.diary.count("tried again")

    def spend_a_day(self, day: int) -> None:
        """Install one offer, and come back tomorrow."""
        if self._publish(f"6.{day}.{self.index}"):
            self._install()

    def _publish(self, version: str) -> bool:
        """Let the cloud offer something new; True when the product has come to know of it."""
        weights = [COURSES[name][2] for name in self.courses]
        course = self.dice.choices(self.courses, weights)[0]
        cloud = self.installation.cloud
        try:
            cloud.set_online(self.index, True)
            cloud.set_scenario(self.index, course, **COURSES[course][0])
            job = cloud.swap_offer(self.index, fw_version=version)["ota_job_id"]
        except (OSError, HTTPException, ValueError, KeyError):
            sleep(1)  # it was killed; it comes back with what it had
            return False
        for _ in range(6):
            self.visitor.get(f"/hubs/{self.now.pk}/")
            self.visitor.press(f"/hubs/{self.now.pk}/check/", {})
            if self._until(lambda: self.now.offered == job, 15):
                return True
        self.diary.count("offers not heard of in time")
        return False

    def _install(self) -> bool:
        """Confirm on the form, perhaps twice, perhaps cancelling; True when it has ended."""
        path = f"/hubs/{self.now.pk}/install/"
        page = self.visitor.get(path)
        agreed = re.search(r'name="agreed" value="([^"]+)"', page.text if page else "")
        if page is None or agreed is None:
            sleep(self.dice.random())
            return False
        before = self.now.job
        if self.dice.random() < 0.1:  # the finger slips
            twin = threading.Thread(target=self._confirm, args=(path, agreed[1]), daemon=True)
            twin.start()
            self._confirm(path, agreed[1])
            twin.join()
        elif self._confirm(path, agreed[1]) is None:
            self.diary.count("confirms without an answer")
        if not self._until(lambda: self.now.job != before, 5):
            return False
        job = self.now.job
        if self.dice.random() < 0.08:
            self.diary.count("cancels pressed")
            self.visitor.press(f"/installs/{job}/cancel/", {})
        began = monotonic()
        self._until(lambda: self.now.job != job or self.now.state not in LIVE, ENDS_WITHIN_S)
        if monotonic() - began >= ENDS_WITHIN_S:
            self.diary.endless.append(job)
        return True

    def _confirm(self, path: str, agreed: str) -> bool | None:
        """True: the install's page was shown. None: no answer came."""
        answer = self.visitor.press(path, {"agreed": agreed})
        if answer is None:
            return None
        place = urlsplit(answer.headers.get("Location", "")).path
        if answer.status_code == 302 and (shown := re.fullmatch(r"/installs/(\d+)/", place)):
            with self.diary.lock:
                self.diary.accepted.append(int(shown[1]))
            return True
        self.diary.count(f"confirms answered with {answer.status_code}")
        return False

    def _may_try_again(self) -> bool:
        return not self.is_over.is_set() and self.now.state in (
            *("lost", "failed", "rejected", "unverified", "refused"),
            *("expired", "cancelled"),
        )

    def _until(self, is_true: Any, limit_s: float) -> bool:
        until = monotonic() + limit_s
        while not is_true():
            if monotonic() > until or self.is_over.is_set():
                return bool(is_true())
            sleep(0.25)
        return True
