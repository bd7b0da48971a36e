"""The people of a chaos run: each hub has one, who confirms, cancels and tries again as it comes.

They use what a browser would use: the forms, over HTTP. The answers are written down, for it
is the first thing that must be true afterwards.
"""

import random
import re
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.chaos.installation import Installation
from tests.support.terminal import PASSWORD

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
# How long people wait for the start of what they planned.
STARTS_WITHIN_S = 180


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
    """The browser of a home's owner: signs in when asked to, and keeps its cookies.

    Where several hosts serve, the homes are spread among them. Who gets no page from one goes on at
    the next.
    """

    def __init__(self, installation: Installation, home: int) -> None:
        self.email = installation.owner(home)
        self.hosts = deque(installation.hosts)
        self.hosts.rotate(-home)
        self.session = requests.Session()
        self.troubles: Counter[str] = Counter()

    def get(self, path: str) -> requests.Response | None:
        """Return the page, or None where there was none to be had."""
        return self._ask("GET", path)

    def press(self, path: str, values: dict[str, str]) -> requests.Response | None:
        """Send a form; the answer is not followed. None: the result is unknown."""
        return self._ask("POST", path, values)

    def _ask(
        self, method: str, path: str, values: dict[str, str] | None = None
    ) -> requests.Response | None:
        token = self.session.cookies.get("csrftoken", "")
        data = None if values is None else {"csrfmiddlewaretoken": token, **values}
        host = self.hosts[0]
        try:
            answer = self.session.request(
                method, f"{host.url}{path}", data=data, timeout=ANSWER_S, allow_redirects=False
            )
        except requests.RequestException:
            self.hosts.rotate(-1)
            return None
        if answer.status_code >= 500:
            self.troubles[f"{host.name or 'the host'}: {answer.status_code}"] += 1
            self.hosts.rotate(-1)
        if answer.is_redirect and "/account/login/" in answer.headers["Location"]:
            self.sign_in()
            return None
        return answer

    def sign_in(self) -> bool:
        """Send the form once; True when this opened a session."""
        address = f"{self.hosts[0].url}/account/login/"
        try:
            self.session.get(address, timeout=ANSWER_S)
            fields = {
                "csrfmiddlewaretoken": self.session.cookies.get("csrftoken", ""),
                "login": self.email,
                "password": PASSWORD,
            }
            answer = self.session.post(
                address, data=fields, timeout=ANSWER_S, allow_redirects=False
            )
        except requests.RequestException:
            return False
        return answer.is_redirect


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
        planned: float = 0.0,
    ) -> None:
        super().__init__(daemon=True)
        self.installation, self.watcher, self.diary = installation, watcher, diary
        self.node, self.index, self.visitor, self.planned = node, index, visitor, planned
        self.dice = random.Random(f"{seed} {node}")
        self.is_over = is_over
        self.courses = only_courses or tuple(COURSES)

    @property
    def now(self) -> HubNow:
        return self.watcher.now[self.node]

    def run(self) -> None:
        try:
            self._live()
        except Exception as problem:  # the machine itself failed: reported, never swallowed
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
        self.diary.count("offers not seen in time")
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
        if self.dice.random() < self.planned:
            if not self._plan(path, agreed[1], before):
                return False
        elif self.dice.random() < 0.1:  # the finger slips
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

    def _plan(self, path: str, agreed: str, before: int) -> bool:
        """Plan it for a window that is about to open, or for when the hub is not in use; True when
        its install has started. One that does not start in good time is cancelled.
        """
        self.diary.count("plans made")
        values: dict[str, str] = {"agreed": agreed, "when": "idle"}
        if self.dice.random() < 0.5:
            soon = datetime.now(UTC) + timedelta(minutes=1)
            values |= {"when": "at", "at": f"{soon:%Y-%m-%dT%H:%M}"}
        self.visitor.press(path, values)
        if self._until(lambda: self.now.job != before, STARTS_WITHIN_S):
            self.diary.count("plans started")
            return True
        page = self.visitor.get(f"/hubs/{self.now.pk}/")
        for plan in re.findall(r"/planned/(\d+)/cancel/", page.text if page else ""):
            self.visitor.press(f"/planned/{plan}/cancel/", {})
            self.diary.count("plans cancelled")
        return self.now.job != before

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
