"""The cloud's world: its people, its hubs, its clock. Behaviour only: no sockets, no files.

Everything that changes marks what it changed (`touched_*`); the store writes exactly that before
the request that caused it is answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devices.simcloud import liv, names, tokens
from devices.simcloud.accounts import Account
from devices.simcloud.clock import Clock
from devices.simcloud.counters import Counters
from devices.simcloud.faults import Faults
from devices.simcloud.firmware import Plan
from devices.simcloud.hub import Hub, Push
from devices.simcloud.jobs import Job, default_job
from devices.simcloud.scenarios import Scenario
from devices.simcloud.wire import Refusal, Unauthorized

LONG_AGO_S = 23 * 86_400.0
_HEAD_START_S = 20.0  # how far along a hub is that began on its own


@dataclass(frozen=True, slots=True)
class Person:
    """A user asked for on the command line; without `hubs`, a fair share of the rest."""

    email: str
    password: str
    hubs: int | None = None


DEFAULT_PEOPLE = (Person("porch@example.com", "fireflies"),)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a new world is made from."""

    hubs: int = 8
    seed: int = 1
    offers: float = 0.4
    people: Sequence[Person] = DEFAULT_PEOPLE


class World:
    def __init__(
        self, setup: Setup, clock: Clock, *, token_life_s: float = 3600.0, dialect: str = "real"
    ) -> None:
        self.setup, self.clock = setup, clock
        self.token_life_s, self.dialect = token_life_s, dialect
        self.secret = hashlib.sha256(f"simcloud/{setup.seed}".encode()).digest()
        self.counters, self.faults = Counters(), Faults()
        self.counted_since = 0.0
        self.accounts: dict[str, Account] = {}
        self._by_user_id: dict[str, Account] = {}
        self.sharing: dict[str, dict[str, Any]] = {}  # requests by id
        self.touched_hubs: set[str] = set()
        self.touched_accounts: set[str] = set()
        self.is_touched = True
        began = clock.now()
        self.hubs = {
            hub.node_id: hub for hub in (self._new_hub(i, began) for i in range(setup.hubs))
        }
        self.hub_list = list(self.hubs.values())
        for person in setup.people:
            self.add_account(person.email, person.password)
        self._deal_out()
        for account in self.accounts.values():
            self._group_up(account)

    def _new_hub(self, index: int, began: float) -> Hub:
        who = names.identity(self.setup.seed, index)
        hub = Hub(who, since=began - 3600 * (1 + 200 * who.unit("uptime")))
        hub.scenario = Scenario(params={"step": 0})
        job = default_job(who, self.setup.offers, began)
        if job:
            hub.jobs.append(job)
        if index == 4 or (index > 8 and who.unit("away") < 0.03):
            hub.switches.append((began - LONG_AGO_S * (0.2 + who.unit("away-for")), False))
        return hub

    def _deal_out(self) -> None:
        """First those who asked for a number, in order; the rest go round the others."""
        free = iter(self.hub_list)
        takers = [person for person in self.setup.people if person.hubs is None]
        for person in self.setup.people:
            for _ in range(person.hubs or 0):
                hub = next(free, None)
                if hub:
                    self.give(hub, person.email)
        for turn, hub in enumerate(free):
            if takers:
                self.give(hub, takers[turn % len(takers)].email)

    def _group_up(self, account: Account) -> None:
        """Put the account's hubs into two groups, as people do; one hub needs none."""
        nodes = list(account.nodes)
        half = (len(nodes) + 1) // 2
        for name, members in (("Front yard", nodes[:half]), ("Back yard", nodes[half:])):
            if members and len(nodes) > 1:
                group_id = names.short_id("group", account.email, name)
                account.groups[group_id] = {
                    "group_id": group_id,
                    "group_name": name,
                    "type": "",
                    "nodes": members,
                }

    # People

    def add_account(self, email: str, password: str) -> Account:
        return self.admit(Account.create(email, password))

    def admit(self, account: Account) -> Account:
        self.accounts[account.email] = self._by_user_id[account.user_id] = account
        self.touched_accounts.add(account.email)
        return account

    def account(self, email: str) -> Account:
        """Return the account; raises Refusal for an unknown e-mail address."""
        account = self.accounts.get(email.lower())
        if account is None:
            raise Refusal(101003, "User does not exist")
        return account

    def signed_in(self, token: str, use: str = "access") -> tuple[Account, dict[str, Any]]:
        """Whose token this is. Raises Unauthorized."""
        try:
            claims = tokens.read(self.secret, token, use, self.clock.wire_now())
        except tokens.ExpiredToken as error:
            raise Unauthorized("The incoming token has expired") from error
        except tokens.BadToken as error:
            raise Unauthorized from error
        account = self._by_user_id.get(claims["sub"])
        if account is None or not account.accepts(claims):
            raise Unauthorized
        return account, claims

    def revoke_tokens(self, email: str | None = None) -> None:
        for account in [self.account(email)] if email else self.accounts.values():
            account.revoke_all()
            self.touched_accounts.add(account.email)

    # Hubs

    def deal_again(self) -> None:
        """Work out from the hubs which nodes each account has."""
        for account in self.accounts.values():
            account.nodes.clear()
        for hub in self.hub_list:
            for email in (hub.primary, *hub.secondaries):
                if email in self.accounts:
                    self.accounts[email].nodes[hub.node_id] = None

    def give(self, hub: Hub, email: str) -> None:
        """Make that account the hub's primary user."""
        hub.primary = email.lower()
        self.accounts[hub.primary].nodes[hub.node_id] = None

    def share(self, hub: Hub, email: str) -> None:
        """Let that account use the hub as a secondary user."""
        account = self.account(email)
        if account.email != hub.primary:
            hub.secondaries[account.email] = self.clock.now()
            account.nodes[hub.node_id] = None
            self.touched_hubs.add(hub.node_id)

    def unshare(self, hub: Hub, email: str) -> None:
        hub.secondaries.pop(email.lower(), None)
        self.account(email).nodes.pop(hub.node_id, None)
        self.touched_hubs.add(hub.node_id)

    def find_hub(self, name: str) -> Hub | None:
        """By node id, by index, or by the name people gave it."""
        if name in self.hubs:
            return self.hubs[name]
        if name.isdigit() and int(name) < len(self.hub_list):
            return self.hub_list[int(name)]
        return next((hub for hub in self.hub_list if hub.who.name.lower() == name.lower()), None)

    def heard_at(self, hub: Hub) -> float:
        """The last moment at which the hub could have reported to the cloud."""
        now = self.clock.now()
        online, since = hub.connectivity(now)
        return now if online else since

    def write_params(self, hub: Hub, body: dict[str, Any]) -> None:
        """Write params; an offline hub never gets them (Unverified: the cloud says success all the
        same). Raises liv.BadWrite."""
        now = self.clock.now()
        if hub.is_online(now):
            liv.write(hub, body, now)
            self.touched_hubs.add(hub.node_id)

    # Offers

    def publish(self, hub: Hub, offer: dict[str, Any]) -> Job:
        """Publish a job for a hub; what is not given is filled in. Raises TypeError on an unknown
        field."""
        now = self.clock.now()
        fields = dict(offer)
        version = str(fields.pop("fw_version", "5.4.7"))
        salt = f"{len(hub.jobs)}/{now}"
        fields.setdefault("job_id", names.short_id("job", hub.node_id, version, salt))
        job = Job(fw_version=version, published_at=now, **fields)
        hub.jobs = [old for old in hub.jobs if old.job_id != job.job_id] + [job]
        self.touched_hubs.add(hub.node_id)
        return job

    def withdraw(self, hub: Hub) -> None:
        """Withdraw what is offered to the hub now."""
        now = self.clock.now()
        while job := hub.offer(now):
            hub.withdraw(job, now)
        self.touched_hubs.add(hub.node_id)

    def swap(self, hub: Hub, offer: dict[str, Any]) -> Job:
        self.withdraw(hub)
        return self.publish(hub, offer)

    def checked(self, hub: Hub) -> Job | None:
        """Answer one update check; some scenarios change the offer right after it."""
        job = hub.offer(self.clock.now())
        trouble = hub.scenario.name
        if trouble in ("offer_swapped", "offer_withdrawn"):
            hub.checks += 1
            self.touched_hubs.add(hub.node_id)
            if hub.checks == hub.scenario.get("after_checks"):
                self.withdraw(hub)
                if trouble == "offer_swapped":
                    self.publish(hub, {"fw_version": hub.scenario.get("fw_version")})
        return job

    # Installs

    def push(self, hub: Hub, job: Job) -> bool:
        """Send the job to the hub; False when it was busy and ignored it."""
        now = self.clock.now()
        busy = hub.is_busy(now)
        hub.pushes.append(Push(now, job.job_id, ignored=busy))
        if not busy:
            hub.begin(self._plan(hub, job), now)
            hub.forget_trouble()
        self.touched_hubs.add(hub.node_id)
        return not busy

    def force_push(self, hub: Hub) -> None:
        """Install what is offered, as the vendor can by a job with force_push (API 3.8.0)."""
        now = self.clock.now()
        job = hub.offer(now)
        if job is not None and not hub.is_busy(now):
            hub.begin(self._plan(hub, job), now)
            self.touched_hubs.add(hub.node_id)

    def _plan(self, hub: Hub, job: Job) -> Plan:
        now = self.clock.now()
        validity = job.metadata.get("validity") or {}
        begins, ends = validity.get("start"), validity.get("end")
        return Plan(
            job_id=job.job_id,
            old=hub.fw_version(now),
            new=job.fw_version,
            scenario=hub.scenario,
            dice=f"{self.setup.seed}/{hub.node_id}/{len(hub.pushes)}",
            valid_from=None if begins is None else self.clock.to_virtual(float(begins)),
            valid_until=None if ends is None else self.clock.to_virtual(float(ends)),
        )

    def play(self, hub: Hub, scenario: Scenario) -> None:
        """Set the hub's scenario; those that begin at once do."""
        now = self.clock.now()
        hub.scenario, hub.checks = scenario, 0
        if scenario.name == "offline":
            hub.never_connected = bool(scenario.get("never"))
            hub.switch(False, now)
            at, _ = hub.switches[-1]
            hub.switches[-1] = (min(at, now - scenario.get("since_s")), False)
        elif scenario.name == "already_running" and not hub.is_busy(now):
            job = hub.offer(now)
            if job:
                plan = self._plan(hub, job)
                hub.begin(plan, now - _HEAD_START_S)
        self.touched_hubs.add(hub.node_id)
