"""One HTTP exchange with the cloud, over a connection that neither side can hold for ever.

Every exchange ends within a total time, however slowly a server drips, and holds at most a given
number of bytes, however well they were packed; only looking up a name has the system's own limit
instead. A failure says whether the request had gone out: that is decided by what was handed to the
connection, not by the name of the exception.

Only the open internet is called, never a machine of a private network (see address_guard.py); a
base URL on this very machine reaches this machine and nothing else. Through a proxy, the proxy
looks names up.

Redirects are followed once, for a GET, within the same scheme, host and port; another place is
refused, because the session's token would travel there. A request that acts is never redirected.
Cookies are neither kept nor sent, .netrc is not read. HTTPS_PROXY and NO_PROXY are honoured except
for this machine itself, and so is a certificate bundle named in REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Retry, Timeout

from devices.rainmaker.address_guard import ForbiddenAddress, is_host_name, is_this_machine
from devices.rainmaker.deadline_connections import Exchange, WatchedAdapter, watched
from devices.rainmaker.errors import (
    AnswerLost,
    AnswerUnreadable,
    CloudError,
    NotTrusted,
    TryLater,
    Unreachable,
)

_CHUNK_BYTES = 65_536
_NO_RETRY = Retry(0, read=False)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-f:.]+", re.I)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, of any status."""

    endpoint: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> object:
        """Return the parsed body; raises ValueError, which holds none of it, if it is no JSON."""
        try:
            return json.loads(self.body.decode("utf-8-sig"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as problem:
            # The decoders' own errors hold all that they were given.
            reason = getattr(problem, "msg", None) or getattr(problem, "reason", "no JSON")
        raise ValueError(reason)


def _has_words(answer: Answer) -> bool:
    """Return whether the answer carries a JSON object, with any status."""
    try:
        return isinstance(answer.json(), dict)
    except ValueError:
        return False


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def checked_base_url(base_url: str) -> str:
    """Return the base URL in plain form; raises NotTrusted unless secrets may go there.

    That is https with a plain host and path, or http to this machine itself (a simulated cloud).
    The plain form has no slash at the end, no default port and a host in small letters.
    """
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError as problem:
        raise NotTrusted("The cloud's address is not a URL.", was_sent=False) from problem
    path = parts.path.removesuffix("/")
    if not base_url.isascii() or not base_url.isprintable() or not _HOST.fullmatch(host):
        raise NotTrusted("The cloud's address names no host.", was_sent=False)
    if not is_host_name(host):
        raise NotTrusted(
            "The cloud's address is not a host name: a part of it is empty or longer than "
            "63 characters.",
            was_sent=False,
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(host)):
        raise NotTrusted("The cloud's address must begin with https://.", was_sent=False)
    if "@" in parts.netloc or "?" in base_url or "#" in base_url or not _BASE_PATH.fullmatch(path):
        raise NotTrusted(
            "The cloud's address must be a host and a plain path, and nothing else.", was_sent=False
        )
    netloc = f"[{host}]" if ":" in host else host
    if port == {"https": 443, "http": 80}.get(parts.scheme):
        port = None
    return f"{parts.scheme}://{netloc}{f':{port}' if port is not None else ''}{path}"


def certificates() -> str | bool:
    """Return what certificates are checked against: a named bundle, or the usual ones."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or True


class Transport:
    """Exchanges requests and answers with one base URL. Safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        *,
        session: requests.Session | None,
        connect_timeout_s: float,
        read_timeout_s: float,
        total_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._host = urlsplit(self._base_url).hostname or ""
        self._timeout = Timeout(connect=connect_timeout_s, read=read_timeout_s)
        self._lines: dict[tuple[object, ...], tuple[HTTPConnectionPool, bool]] = {}
        self._total_timeout_s = total_timeout_s
        self._max_body_bytes = max_body_bytes
        self._owns_session = session is None
        self._session = session or requests.Session()
        if not isinstance(self._session.get_adapter(self._base_url), WatchedAdapter):
            adapter = WatchedAdapter(pool_connections=2, pool_maxsize=16, max_retries=0)
            for scheme in ("https://", "http://"):
                self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Close the connections, unless they belong to a session that was passed in."""
        if self._owns_session:
            self._session.close()

    def exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        access_token: str = "",
    ) -> Answer:
        """Return the answer to one request, with any status. The path begins with a slash.

        Raises Unreachable, AnswerLost, AnswerUnreadable (too large, badly packed, redirected) or
        NotTrusted.
        """
        endpoint = f"{method} {path}"
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        headers["User-Agent"] = "thermacell-web"
        if access_token:
            headers["Authorization"] = access_token
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body, allow_nan=False).encode()
        url = self._base_url + path + (f"?{urlencode(params)}" if params else "")
        answer = self._once(method, url, headers, payload, endpoint)
        if answer.status in _REDIRECTS and not (method != "GET" and _has_words(answer)):
            target = self._redirect_target(answer, self._base_url + path)
            if method == "GET":
                answer = self._once(method, target, headers, None, endpoint)
            if answer.status in _REDIRECTS:
                self._redirect_target(answer, target)
                raise AnswerUnreadable(
                    "The cloud sends the request from one address to another without end.",
                    endpoint=endpoint,
                    status=answer.status,
                    was_sent=True,
                )
        return answer

    def _redirect_target(self, answer: Answer, url: str) -> str:
        try:
            target = urljoin(url, answer.headers.get("Location", ""))
            is_same = _origin(target) == _origin(self._base_url)
        except ValueError:
            is_same = False
        if not is_same:
            raise NotTrusted(
                "The cloud points to another server; it is not followed there.",
                endpoint=answer.endpoint,
                status=answer.status,
                was_sent=True,
            )
        # what is not allowed in an address is quoted
        return requests.Request("GET", target).prepare().url or ""

    def _line(self, url: str) -> tuple[HTTPConnectionPool, bool]:
        """Return the connections to the server, and whether they take whole addresses, as those to
        a proxy do. Made once for each way to it: to make them costs as much as to use them.
        """
        proxies = {} if is_this_machine(self._host) else get_environ_proxies(url, no_proxy=None)
        verify = self._session.verify
        if not isinstance(verify, str):
            verify = certificates()
        way = (verify, *sorted(proxies.items()))
        if (line := self._lines.get(way)) is None:
            adapter: Any = self._session.get_adapter(url)
            request = requests.Request("GET", url).prepare()
            pool = adapter.get_connection_with_tls_context(request, verify, proxies=proxies)
            adapter.cert_verify(pool, url, verify, None)
            is_whole = adapter.request_url(request, proxies) != request.path_url
            line = self._lines[way] = pool, is_whole
        return line

    def _once(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, endpoint: str
    ) -> Answer:
        with watched(self._total_timeout_s, is_here=is_this_machine(self._host)) as exchange:
            try:
                # Not by requests: what it does besides costs as much again, and its Session.send
                # would read the whole body of a redirect, however large.
                pool, is_whole = self._line(url)
                response = pool.urlopen(
                    method,
                    url if is_whole else _path_of(url),
                    body=body,
                    headers=headers,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                    retries=_NO_RETRY,
                    timeout=self._timeout,
                )
                try:
                    content = self._body(response, endpoint)
                finally:
                    response.close()
                    response.release_conn()
                if exchange.is_overdue:
                    # A body that ends with its connection looks whole when the connection was cut.
                    raise TimeoutError("no time left to read the answer")
            except (
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                http.client.HTTPException,
                OSError,
            ) as problem:
                if isinstance(problem, requests.RequestException):
                    # They carry the token and the body.
                    problem.request = problem.response = None
                raise self._trouble(exchange, problem, endpoint) from problem
        return Answer(endpoint, response.status, response.headers, content)

    def _body(self, response: BaseHTTPResponse, endpoint: str) -> bytes:
        """Return the unpacked body, having held at most max_body_bytes and one chunk of it."""

        def unreadable(sentence: str) -> AnswerUnreadable:
            return AnswerUnreadable(
                sentence, endpoint=endpoint, status=response.status, was_sent=True
            )

        limit = self._max_body_bytes
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise unreadable("The cloud packed its answer in a way it was not asked for.")
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > limit:
            raise unreadable(f"The cloud's answer is larger than {limit} bytes.")
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding.endswith("gzip") else None
        body = bytearray()
        is_empty = True
        while chunk := response.read(_CHUNK_BYTES, decode_content=False):
            is_empty = False
            if unpacker:
                try:
                    chunk = unpacker.decompress(chunk, max_length=limit + 1 - len(body))
                except zlib.error as problem:
                    raise unreadable("The cloud's answer is damaged.") from problem
            body += chunk
            if len(body) > limit or (unpacker and unpacker.unconsumed_tail):
                raise unreadable(f"The cloud's answer is larger than {limit} bytes.")
        if unpacker and not unpacker.eof and not is_empty:
            raise unreadable("The cloud's answer is damaged: its end is missing.")
        return bytes(body)

    def _trouble(self, exchange: Exchange, problem: Exception, endpoint: str) -> CloudError:
        causes = tuple(wrapped_causes(problem))
        if not exchange.has_sent:
            if any(isinstance(c, ForbiddenAddress) for c in causes):
                return NotTrusted(
                    f"{self._host} leads to a machine inside a private network; it is not called.",
                    endpoint=endpoint,
                    was_sent=False,
                )
            if any(isinstance(c, ssl.SSLError) for c in causes) and not any(
                isinstance(c, (ssl.SSLEOFError, ssl.SSLZeroReturnError, TimeoutError))
                for c in causes
            ):
                return NotTrusted(
                    f"The connection to {self._host} is not secure: its certificate or encryption "
                    "was not accepted.",
                    endpoint=endpoint,
                    was_sent=False,
                )
            return Unreachable(
                f"The cloud at {self._host} cannot be reached: {_reason(causes)}.",
                endpoint=endpoint,
                was_sent=False,
            )
        kind: type[TryLater] = AnswerLost
        was_sent = None
        if exchange.is_overdue or any(
            isinstance(c, (TimeoutError, urllib3.exceptions.TimeoutError)) for c in causes
        ):
            sentence = "The cloud took too long to answer"
        elif any(_is_gibberish(c) for c in causes):
            kind, was_sent = AnswerUnreadable, True
            sentence = "Something answered, but not in HTTP"
        else:
            sentence = "The connection to the cloud broke before its answer was complete"
        return kind(f"{sentence}.", endpoint=endpoint, was_sent=was_sent)


def _path_of(url: str) -> str:
    """Return what stands behind host and port: at least a slash."""
    _, _, rest = url.partition("://")
    path = rest[rest.index("/") :] if "/" in rest else "/"
    return path.partition("#")[0]


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    if "@" in parts.netloc or "\\" in url:
        raise ValueError("ambiguous host")
    return parts.scheme, (parts.hostname or "").lower(), port


def wrapped_causes(problem: BaseException) -> Iterator[BaseException]:
    """Yield the exception and everything it wraps, in each way in which it can wrap one."""
    waiting: list[Any] = [problem]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _is_gibberish(cause: BaseException) -> bool:
    if isinstance(cause, (http.client.RemoteDisconnected, http.client.IncompleteRead)):
        return False
    return isinstance(cause, http.client.HTTPException)


def _reason(causes: tuple[BaseException, ...]) -> str:
    for kind, reason in (
        (socket.gaierror, "its name is not known"),
        (ConnectionRefusedError, "it refuses connections"),
        (urllib3.exceptions.ProxyError, "the proxy does not let us through"),
        (TimeoutError, "it does not respond"),
        (urllib3.exceptions.TimeoutError, "it does not respond"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return "no connection came about"
