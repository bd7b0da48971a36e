"""The installation under attack: the product's real processes on one host or several, beside a
simulated cloud of its own.

Several hosts share keys, a PostgreSQL database and a Redis, as docs/operations.md tells. Each
reaches the database over a connection of its own that can be cut.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from secrets import token_urlsafe
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

from cryptography.fernet import Fernet

from tests.chaos.host import Host
from tests.chaos.tables import Tables
from tests.support import prepared
from tests.support.line import Line
from tests.support.product import ROOT
from tests.support.redis_server import RedisServer
from tests.support.simcloud_process import SimCloud
from tests.support.terminal import CLOUD_PASSWORD, PASSWORD

NAMES = ("one", "two", "three", "four")
POSTGRES_PORT = 5432


class Installation:
    """Households with hubs, ready to be attacked. A context manager.

    root, python: the program that each host runs, and its interpreter.
    """

    def __init__(
        self,
        folder: Path,
        *,
        homes: int,
        hubs: int,
        pace: float,
        database_url: str,
        broken: str,
        hosts: int = 1,
        root: Path = ROOT,
        python: str = sys.executable,
    ) -> None:
        self.homes, self.hubs = homes, hubs
        self._stack = ExitStack()
        users = [f"{self.cloud_email(home)}:{CLOUD_PASSWORD}:{hubs}" for home in range(homes)]
        self.cloud = SimCloud(hubs=homes * hubs, speed=pace, offers=0, users=users)
        self._stack.callback(self.cloud.stop)
        shared = {
            "DEFAULT_CLOUD_URL": self.cloud.url,
            "ALLOWED_CLOUDS": "loopback",
            "ENGINE_PACE": str(pace),
            "CLUSTER_NAME": f"chaos-{os.getpid()}",
            # hours pass at a stroke when the clock is set: people stay signed in all the same
            "SESSION_IDLE_HOURS": "2000",
            "SESSION_DAYS": "365",
        }
        if broken:
            shared |= {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings", "CHAOS_BROKEN": broken}
        self.redis: RedisServer | None = None
        if hosts == 1:
            shared |= {"DATABASE_URL": database_url} if database_url else {}
            self.hosts = [Host(folder, shared)]
        else:
            shared |= keys()
            if RedisServer.is_installed():
                self.redis = RedisServer(folder)
                self._stack.callback(self.redis.stop)
                shared["REDIS_URL"] = self.redis.url
            self.hosts = [
                self._host(folder / name, shared, name, database_url) for name in NAMES[:hosts]
            ]
        for host in self.hosts:
            host.runs(root, python)
            self._stack.callback(host.clear)
        self.tables = Tables(database_url or str(self.hosts[0].data_dir / "db.sqlite3"))

    def _host(self, folder: Path, shared: dict[str, str], name: str, database_url: str) -> Host:
        parts = urlsplit(database_url)
        line = self._stack.enter_context(
            Line(parts.hostname or "127.0.0.1", parts.port or POSTGRES_PORT)
        )
        who = parts.netloc.rpartition("@")[0]
        place = f"{who}@127.0.0.1:{line.port}" if who else f"127.0.0.1:{line.port}"
        through = urlunsplit(parts._replace(netloc=place))
        return Host(folder, shared | {"DATABASE_URL": through}, name=name, line=line)

    @property
    def is_shared(self) -> bool:
        """Do several hosts work for it?"""
        return len(self.hosts) > 1

    def cloud_email(self, home: int) -> str:
        return f"garden{home}@example.com"

    def owner(self, home: int) -> str:
        return f"owner{home}@example.com"

    def set_up(self) -> None:
        """Make the tables, the households, their people and their accounts, and start."""
        first = self.hosts[0]
        if first.root == ROOT:
            prepared.lay(first.environment)
        else:
            first.manage("migrate", "--verbosity", "0")
        for home in range(self.homes):
            name = f"House {home}"
            create = ("household", "create", name, "--owner", self.owner(home))
            first.manage(*create, typed=f"{PASSWORD}\n")
            link = ("cloud_account", "link", "--email", self.cloud_email(home))
            acting = ("--as", self.owner(home), "--household", name)
            first.manage(*link, *acting, typed=f"{CLOUD_PASSWORD}\n")
        for host in self.hosts:
            host.start()

    def start_again(self) -> None:
        """Start each host that does not run."""
        for host in self.hosts:
            host.start_again()

    def others(self, host: Host) -> list[Host]:
        return [one for one in self.hosts if one is not host]

    def __enter__(self) -> "Installation":
        try:
            self.set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def keys() -> dict[str, str]:
    """Return fresh keys, as settings."""
    return {
        "SECRET_KEY": token_urlsafe(50),
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "AUDIT_KEY": token_urlsafe(50),
    }
