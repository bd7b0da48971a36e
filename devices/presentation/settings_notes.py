"""What settings, data folder and the way people come in likely get wrong, one sentence each."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext

from devices.rainmaker.address_guard import is_this_machine
from thermacell_web import environment
from thermacell_web.environment import known_names, nearest_name

# What Docker and Podman leave inside a container.
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


def about_settings(bind: str, port: int, public_url: str) -> Iterator[str]:
    """Yield one sentence for each thing an administrator should know."""
    parts = urlsplit(public_url)
    # in a container it has to listen on all addresses; who reaches it is decided outside
    is_open = not is_this_machine(bind)
    is_inside = any(Path(name).exists() for name in CONTAINER_MARKS)
    is_local_name = is_this_machine(parts.hostname or "localhost")
    values = {"bind": bind, "host": parts.hostname, "url": public_url, "port": port}
    if parts.scheme == "https" and not settings.BEHIND_PROXY:
        yield gettext(
            "PUBLIC_URL begins with https, and this server itself speaks http only. Put a proxy in "
            "front and set BEHIND_PROXY=true: until then no page opens."
        )
    if parts.scheme == "http" and not is_local_name:
        yield gettext(
            "Passwords travel unencrypted, because PUBLIC_URL begins with http. Others in the "
            "network can read them. Put a proxy with https in front (docs/administrator.md)."
        )
    is_known = bool(_other_hosts()) or settings.BEHIND_PROXY or is_inside
    if is_open and is_local_name and not is_known:
        yield (
            gettext(
                "BIND=%(bind)s lets other computers in, and only %(host)s is answered. Set "
                "PUBLIC_URL to the address that people open, such as http://192.168.1.20:8000, or "
                "add names to ALLOWED_HOSTS. Passwords travel unencrypted without https."
            )
            % values
        )
    if not is_open and not is_local_name and not settings.BEHIND_PROXY:
        yield (
            gettext(
                "PUBLIC_URL is %(url)s, and this server listens on %(bind)s only, which other "
                "computers cannot reach. Set BIND=0.0.0.0, or put a proxy in front and set "
                "BEHIND_PROXY=true."
            )
            % values
        )
    if parts.scheme == "http" and not settings.BEHIND_PROXY and (parts.port or 80) != port:
        yield (
            gettext(
                "PUBLIC_URL is %(url)s, and this server listens on port %(port)s: links in mails "
                "lead nowhere. Set PUBLIC_URL to the address that people open."
            )
            % values
        )
    yield from _about_names()
    yield from _about_data(settings.DATA_DIR)


def _about_names() -> Iterator[str]:
    for name in sorted(set(os.environ) - known_names()):
        if (near := nearest_name(name)) is not None:
            yield (
                gettext(
                    "%(name)s in the environment is no setting of this product. Is %(near)s meant?"
                )
                % {"name": name, "near": near}
            )
    if environment.UNKNOWN:
        yield (
            gettext("No settings of this product, and ignored: %(names)s in the settings file.")
            % {"names": ", ".join(sorted(environment.UNKNOWN))}
        )


def _about_data(folder: Path) -> Iterator[str]:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o007:
        yield (
            gettext(
                "Other users of this computer can read %(folder)s (mode %(mode)s), which holds the "
                "keys: chmod 700 it, or choose another DATA_DIR."
            )
            % {"folder": folder, "mode": f"{mode:04o}"}
        )


def _other_hosts() -> set[str]:
    return {host for host in settings.ALLOWED_HOSTS if not is_this_machine(host.strip("[]"))}
