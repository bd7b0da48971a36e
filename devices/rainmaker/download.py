"""Fetching a firmware image by the pre-signed link of an offer.

The link is a secret: it is never logged and in no exception. No token travels with the request,
redirects are refused, and only the open internet is called (see address_guard.py); a simulated
cloud on this machine may serve its own images over http.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies

from devices.rainmaker.address_guard import (
    ForbiddenAddress,
    is_host_name,
    is_literal,
    is_this_machine,
    may_call,
)
from devices.rainmaker.deadline_connections import WatchedAdapter, watched
from devices.rainmaker.errors import (
    AnswerLost,
    AnswerUnreadable,
    Busy,
    CloudError,
    NotTrusted,
    ServerTrouble,
    TellPerson,
    Unreachable,
)
from devices.rainmaker.http import certificates, wrapped_causes

_CHUNK_BYTES = 65_536
_ENDPOINT = "GET firmware image"


class LinkExpired(TellPerson):
    """The link is no longer valid; a fresh one has to be asked for."""


class TooLarge(AnswerUnreadable):
    """The file is larger than it may be."""


@dataclass(frozen=True, slots=True)
class Image:
    """What was written to the sink."""

    size_bytes: int
    md5: str
    sha256: str


def fetch_image(
    url: str,
    sink: BinaryIO,
    *,
    max_bytes: int,
    may_be_here: bool = False,
    connect_timeout_s: float = 5,
    read_timeout_s: float = 15,
    total_timeout_s: float = 120,
) -> Image:
    """Write the image to the sink, piece by piece, and return what it was. Raises CloudError.

    may_be_here: the link may lead to this very machine, over http.
    """
    host = _checked_host(url, may_be_here=may_be_here)
    is_here = is_this_machine(host)
    proxies = {} if is_here else get_environ_proxies(url, no_proxy=None)
    headers = {"Accept-Encoding": "identity", "User-Agent": "thermacell-web"}
    request = requests.Request("GET", url, headers=headers).prepare()
    with (
        closing(WatchedAdapter(max_retries=0)) as adapter,
        watched(total_timeout_s, is_here=is_here) as exchange,
    ):
        try:
            response = adapter.send(
                request,
                stream=True,
                timeout=(connect_timeout_s, read_timeout_s),
                verify=certificates(),
                proxies=proxies,
            )
            try:
                _check_status(response)
                image = _write(response, sink, max_bytes)
            finally:
                response.close()
            if exchange.is_overdue:
                raise TimeoutError("no time left to read the image")
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
        ) as problem:
            # from None: what these say holds the link
            raise _trouble(problem, host, exchange.has_sent) from None
    return image


def _checked_host(url: str, *, may_be_here: bool) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not is_host_name(host) or not url.isascii() or not url.isprintable() or "@" in parts.netloc:
        raise NotTrusted(
            "The link to the file is not valid.",
            was_sent=False,
            message_code="file_link_no_address",
        )
    if is_this_machine(host):
        if not may_be_here:
            raise _private(host)
    elif parts.scheme != "https":
        raise NotTrusted(
            "The link to the file must begin with https://.",
            was_sent=False,
            message_code="file_link_not_https",
        )
    elif is_literal(host) and not may_call(host):  # a proxy would call it
        raise _private(host)
    return host


def _private(host: str) -> NotTrusted:
    return NotTrusted(
        "The link to the file leads into a private network (%(host)s), so it was not opened.",
        endpoint=_ENDPOINT,
        was_sent=False,
        message_code="file_link_private",
        values={"host": host},
    )


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == 200:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding in {"", "identity"}:
            return
        raise _said(
            AnswerUnreadable,
            "The file was packed in an unexpected way.",
            status,
            message_code="file_packed",
        )
    if 300 <= status < 400:
        raise _said(
            NotTrusted,
            "The link to the file redirects to another address. It was not followed.",
            status,
            message_code="file_link_moved",
        )
    if status == 403:
        raise _said(
            LinkExpired,
            "The link to the file is no longer valid.",
            status,
            message_code="file_link_expired",
        )
    if status == 429:
        raise _said(
            Busy,
            "The file server asks for fewer requests.",
            status,
            message_code="file_server_busy",
        )
    if status >= 500:
        raise _said(
            ServerTrouble,
            "The file server has a problem.",
            status,
            message_code="file_server_trouble",
        )
    raise _said(
        TellPerson,
        "The file server does not have this file (HTTP %(status)s).",
        status,
        message_code="file_not_there",
        values={"status": status},
    )


def _said(
    kind: type[CloudError],
    sentence: str,
    status: int,
    *,
    message_code: str,
    values: Mapping[str, str | int] | None = None,
) -> CloudError:
    return kind(
        sentence,
        endpoint=_ENDPOINT,
        status=status,
        was_sent=True,
        message_code=message_code,
        values=values,
    )


def _write(response: requests.Response, sink: BinaryIO, max_bytes: int) -> Image:
    size, md5, sha256 = 0, hashlib.md5(usedforsecurity=False), hashlib.sha256()
    while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
        size += len(chunk)
        if size > max_bytes:
            raise _said(
                TooLarge,
                "The file is larger than %(bytes)s bytes.",
                200,
                message_code="file_too_large",
                values={"bytes": max_bytes},
            )
        md5.update(chunk)
        sha256.update(chunk)
        sink.write(chunk)
    return Image(size, md5.hexdigest(), sha256.hexdigest())


def _trouble(problem: Exception, host: str, has_sent: bool) -> CloudError:
    causes = tuple(wrapped_causes(problem))
    if any(isinstance(cause, ForbiddenAddress) for cause in causes):
        return _private(host)
    if not has_sent:
        return Unreachable(
            "The file server %(host)s cannot be reached.",
            endpoint=_ENDPOINT,
            was_sent=False,
            message_code="file_server_unreachable",
            values={"host": host},
        )
    return AnswerLost(
        "The file download was incomplete.",
        endpoint=_ENDPOINT,
        was_sent=None,
        message_code="file_cut_off",
    )
