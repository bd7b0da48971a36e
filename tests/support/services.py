"""What the tests can use beside Python: PostgreSQL, Redis, a Chromium."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    import psycopg


ROOT = Path(__file__).resolve().parents[2]
IS_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
POSTGRES_HERE = (
    "postgres://postgres@127.0.0.1:5432/postgres",
    "postgres://root@127.0.0.1:5432/postgres",
)
REDIS_HERE = "redis://127.0.0.1:6379/9"


def postgres_url() -> str:
    """Return the address of a PostgreSQL that lets us in ($TEST_DATABASE_URL, else here), or ""."""
    import psycopg

    given = os.environ.get("TEST_DATABASE_URL", "")
    for url in [given] if given else POSTGRES_HERE:
        try:
            with psycopg.connect(url, connect_timeout=3):
                return url
        except psycopg.Error:
            continue
    return ""


def with_database(url: str, name: str) -> str:
    """Return the address of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def as_owner() -> "Iterator[psycopg.Connection]":
    """Yield a connection that makes and drops databases."""
    import psycopg

    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        yield connection


@contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the address of a fresh, empty PostgreSQL database; it is gone afterwards."""
    server, name = postgres_url(), f"thermacell_web_test_{uuid.uuid4().hex[:12]}"
    with as_owner() as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield with_database(server, name)
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def redis_url() -> str:
    """Return the address of a Redis that answers ($TEST_REDIS_URL, else here), or ""."""
    import redis

    url = os.environ.get("TEST_REDIS_URL") or REDIS_HERE
    try:
        with redis.from_url(url, socket_connect_timeout=3) as client:
            client.ping()
    except redis.RedisError:
        return ""
    return url


if __name__ == "__main__":
    print({"postgres": postgres_url, "redis": redis_url}[sys.argv[1]]())
