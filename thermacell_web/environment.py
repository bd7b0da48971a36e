"""Typed, checked values from the environment.

A value that cannot be used raises ImproperlyConfigured with one sentence that names the variable.
"""

import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from email.utils import parseaddr
from functools import cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import dj_database_url
import dj_email_url
from django.core.exceptions import ImproperlyConfigured
from dotenv import dotenv_values

YES, NO = {"true", "t", "yes", "y", "on", "1"}, {"false", "f", "no", "n", "off", "0"}
SHORTEST_SECRET = 20
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
# How alike a typing error is, as difflib counts; and names that are alike and mean something else.
CLOSE = 0.82
OTHERS = frozenset({"HOST", "HOSTS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TZ"})
# Names in the settings file that are no settings and close to none.
UNKNOWN: list[str] = []
START_FILE = Path("run", "start.env")
# Settings that may hold a secret: NAME_FILE names a file that holds the value instead.
IN_FILES = frozenset(
    {"SECRET_KEY", "SECRET_KEY_FALLBACKS", "ENCRYPTION_KEYS", "AUDIT_KEY", "DATABASE_URL"}
    | {"REDIS_URL", "EMAIL_URL", "MQTT_URL", "READY_TOKEN", "OIDC_CLIENT_SECRET"}
)


def given(name: str) -> str:
    """Return the variable, or what the file holds that NAME_FILE names, stripped; one that is empty
    counts as not set.
    """
    value = os.environ.get(name, "").strip()
    path = os.environ.get(f"{name}_FILE", "").strip() if name in IN_FILES else ""
    if not path:
        return value
    if value:
        refuse(f"{name}_FILE", f"be empty while {name} is set: one of the two is enough")
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        text = ""
    if not text:
        refuse(f"{name}_FILE", "name a file that this user can read and that is not empty", path)
    return text


def read_env_file(default: Path) -> None:
    """Add what ENV_FILE (else the default, where it exists) says; an empty ENV_FILE reads none."""
    named = os.environ.get("ENV_FILE")
    if named == "":
        return
    path = Path(named) if named else default
    if named and not path.is_file():
        refuse("ENV_FILE", "name a file that exists, or be empty to read none", named)
    if not path.is_file():
        return
    values = dotenv_values(path, interpolate=False, encoding="utf-8")
    for name in set(values) - known_names():
        if (near := nearest_name(name)) is not None:
            raise ImproperlyConfigured(
                f"{name} in {path} is no setting of this product. Is {near} meant?"
            )
        UNKNOWN.append(name)
    # Into os.environ itself, so that every reader, and every process started from here, sees it.
    for name, value in values.items():
        if value is None:
            raise ImproperlyConfigured(f"The line {name!r} in {path} must read NAME=value.")
        os.environ.setdefault(name, value)


@cache
def known_names() -> frozenset[str]:
    """Return the name of every setting: those that .env.example lists, used or commented out, and
    NAME_FILE of those that may come from a file.
    """
    names = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", EXAMPLE.read_text(), re.MULTILINE)
    return frozenset(names) | {f"{name}_FILE" for name in IN_FILES}


def nearest_name(name: str) -> str | None:
    """Return the setting that was likely meant by this unknown name, None when none is close.

    A file may hold names for other programs as well: they are close to none.
    """
    if name in OTHERS:
        return None
    near = get_close_matches(name.strip().upper(), known_names(), n=1, cutoff=CLOSE)
    return near[0] if near else None


def read_start(data_dir: Path) -> dict[str, str]:
    """Return what the latest start from this data folder set aside for its processes.

    A command at a terminal beside them knows the same by it.
    """
    values = dotenv_values(data_dir / START_FILE, interpolate=False, encoding="utf-8")
    return {name: value for name, value in values.items() if value}


def read_data_dir(default: Path, base: Path) -> Path:
    """Return the data folder, made if it is missing; a relative path counts from base."""
    path = (base / (given("DATA_DIR") or default)).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        usable = os.access(path, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        refuse("DATA_DIR", "be a folder this user can write to", str(path))
    return path


def read_bool(name: str) -> bool:
    """Return whether the variable says yes; not set means no."""
    value = given(name).lower()
    if value and value not in YES | NO:
        refuse(name, "be true or false", given(name))
    return value in YES


def read_number(name: str, default: int, low: int, high: int) -> int:
    """Return a whole number between low and high."""
    value = given(name)
    if value and not (re.fullmatch(r"[0-9]{1,18}", value) and low <= int(value) <= high):
        refuse(name, f"be a whole number from {low} to {high}", value)
    return int(value) if value else default


def read_choice(name: str, default: str, choices: Sequence[str]) -> str:
    """Return one of the choices, as it is written there; the case does not matter."""
    value = given(name) or default
    found = {choice.lower(): choice for choice in choices}.get(value.lower())
    if found is None:
        refuse(name, f"be one of {', '.join(choices)}", value)
    return found


def read_levels(name: str) -> dict[str, str]:
    """Return log levels by the name of the logger."""
    levels = {}
    for one in filter(None, given(name).replace(" ", "").split(",")):
        logger, _, level = one.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", logger) or level.upper() not in LOG_LEVELS:
            refuse(name, "be levels by logger, such as access=WARNING,devices.worker=DEBUG", one)
        levels[logger] = level.upper()
    return levels


def read_word(name: str, default: str) -> str:
    """Return a short name of letters, digits, dots and dashes."""
    value = given(name) or default
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,50}", value):
        refuse(name, "be up to 50 letters, digits, dots, dashes or underscores", value)
    return value


def read_secret(name: str) -> str:
    """Return a secret of at least 20 characters, or "" when there is none."""
    value = given(name)
    if value and len(value) < SHORTEST_SECRET:
        refuse(name, f"be empty or have at least {SHORTEST_SECRET} characters")
    return value


def read_time_zone(name: str, default: str) -> str:
    """Return the name of an IANA time zone."""
    value = given(name) or default
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError):
        refuse(name, "be the name of a time zone, such as Europe/Berlin", value)
    return value


def read_origin(name: str, default: str) -> str:
    """Return an address such as https://hubs.example.org, without path or trailing slash; "" for
    none, where that is the default.
    """
    value = (given(name) or default).rstrip("/")
    if value and not _is_origin(value, {"http", "https"}):
        refuse(name, "be an address without a path, such as https://hubs.example.org", value)
    return value


def read_clouds(name: str) -> list[str]:
    """Return the addresses of the clouds that may be linked; "loopback" stands for any cloud on
    this machine.
    """
    clouds = [cloud.strip().rstrip("/") for cloud in given(name).split(",") if cloud.strip()]
    for cloud in clouds:
        if cloud != "loopback" and not _is_origin(cloud, {"https"}):
            refuse(name, "be addresses such as https://api.example.org, or loopback", cloud)
    return clouds


def _is_origin(value: str, schemes: set[str]) -> bool:
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in schemes
            and bool(parts.hostname)
            and not (parts.path or parts.query or parts.fragment or parts.username)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False


def read_hosts(name: str) -> list[str]:
    """Return host names and addresses; a leading dot stands for every name below."""
    hosts = [host.strip() for host in given(name).split(",") if host.strip()]
    for host in hosts:
        if not re.fullmatch(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]", host):
            refuse(
                name,
                "be names or addresses without scheme or port, such as hubs.example.org,192.0.2.7",
                host,
            )
    return hosts


def read_places(name: str, default: str) -> tuple[str, ...]:
    """Return hosts, each with a port where one was given."""
    places = [
        place.strip().lower() for place in (given(name) or default).split(",") if place.strip()
    ]
    for place in places:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", place):
            refuse(name, "be hosts, such as ntfy.sh,gotify.home.example:8080", place)
    return tuple(places)


def read_database(name: str, default: Path) -> dict[str, Any]:
    """Return Django's settings for the database: an SQLite file unless the variable says other."""
    if not given(name):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": default}
    # It may hold a password: the value is not repeated.
    must = "be an address such as postgres://user:password@host:5432/name or sqlite:////path/file"
    database = _parsed(dj_database_url.parse, name, must)
    kind = str(database.get("ENGINE", "")).rpartition(".")[2]
    if kind not in {"sqlite3", "postgresql"} or not database.get("NAME"):
        refuse(name, must)
    return database


def read_redis(name: str) -> str:
    """Return the address of a Redis, or "" when there is none."""
    value = given(name)
    must = "be an address such as redis://host:6379/0"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
        usable = usable or parts.scheme == "unix"
    except ValueError:
        usable = False
    if value and not usable:
        refuse(name, must)
    return value


def read_mqtt(name: str) -> str:
    """Return the address of an MQTT broker, or "" when there is none."""
    value = given(name)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"mqtt", "mqtts"} and bool(parts.hostname) and parts.port != 0
        usable = usable and not (parts.path.strip("/") or parts.query)
    except ValueError:
        usable = False
    if value and not usable:
        # It may hold a password: the value is not repeated.
        refuse(name, "be an address such as mqtt://user:password@host:1883 or mqtts://host")
    return value


def read_pem(name: str, base: Path) -> str:
    """Return the text of the PEM file that is named, or ""; a relative path counts from base."""
    if not given(name):
        return ""
    path = (base / given(name)).resolve()
    try:
        text = path.read_text()
    except (OSError, ValueError):
        text = ""
    if "-----BEGIN " not in text:
        refuse(name, "name a PEM file that this user can read", str(path))
    return text


def read_email(name: str) -> dict[str, Any]:
    """Return how mail is sent: to the log unless the variable names a server."""
    must = "be an address such as submission://user:password@host:587, smtp://host or console:"
    if not given(name):
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    if given(name).partition(":")[0] not in {"smtp", "submission", "console"}:
        refuse(name, must)
    return _parsed(dj_email_url.parse, name, must)


def read_sender(name: str, default: str) -> str:
    """Return the sender of the product's mails."""
    value = given(name) or default
    address = parseaddr(value)[1]
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", address) or "\n" in value:
        refuse(name, "be a sender such as Thermacell Web <hubs@example.org>", value)
    return value


def read_contact(name: str, public_url: str, sender: str) -> str:
    """Return whom a push service may write to: mailto: or https:, else this server's address where
    it has https, else its sender.
    """
    value = given(name)
    if value and not re.fullmatch(r"mailto:[^@\s<>]+@[^@\s<>]+|https://[^\s/@]+\S*", value):
        refuse(name, "be mailto: with an e-mail address, or an address that begins with https://")
    if value:
        return value
    is_https = public_url.startswith("https://")
    return public_url if is_https else f"mailto:{parseaddr(sender)[1]}"


def read_addresses(name: str) -> list[str]:
    """Return e-mail addresses, separated by commas."""
    addresses = [one.strip() for one in given(name).split(",") if one.strip()]
    if not all(re.fullmatch(r"[^@\s,]+@[^@\s,]+", one) for one in addresses):
        refuse(name, "be e-mail addresses, separated by commas")
    return addresses


def read_file(name: str, base: Path) -> Path | None:
    """Return a file's path, or None when there is none; a relative one counts from base.

    The file is made when it is first needed; its folder has to be there.
    """
    if not given(name):
        return None
    path = (base / given(name)).resolve()
    if path.is_dir() or not path.parent.is_dir():
        refuse(name, "be a file in a folder that exists", str(path))
    return path


def read_folder(name: str, default: Path, base: Path) -> Path:
    """Return a folder, which has to be there if it is named; a relative path counts from base."""
    path = (base / given(name)).resolve() if given(name) else default
    if given(name) and not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
        refuse(name, "be a folder that exists and that this user can write to", str(path))
    return path


def read_program(name: str, base: Path) -> Path | None:
    """Return a program's path, or None when there is none; a relative one counts from base."""
    path = (base / given(name)).resolve() if given(name) else None
    if path is not None and not (path.is_file() and os.access(path, os.X_OK)):
        refuse(name, "be a program that this user can run", str(path))
    return path


def _parsed(parse: Callable[[str], Any], name: str, must: str) -> dict[str, Any]:
    try:
        return dict(parse(given(name)))
    except (ValueError, KeyError):
        refuse(name, must)


def refuse(name: str, must: str, value: str = "") -> NoReturn:
    # What may hold a password is not repeated.
    but = f", not {value!r}" if value and "@" not in value else ""
    # from None: the reader's own error would only repeat it, and may show a password
    raise ImproperlyConfigured(f"{name} must {must}{but}.") from None
