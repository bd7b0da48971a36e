"""The client for the RainMaker cloud: one method per endpoint, typed answers, CloudError."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TypeVar

import requests

from devices.cloud import read
from devices.cloud.errors import (
    AnswerUnreadable,
    CloudError,
    NotYourHub,
    OurBug,
    SignInAgain,
    TellPerson,
    TryLater,
)
from devices.cloud.redact import redacted
from devices.cloud.refusals import refusal, says_failure
from devices.cloud.transport import Answer, Transport
from devices.cloud.types import (
    CloudUser,
    Connectivity,
    FirmwareOffer,
    HubFacts,
    NodeConfig,
    NodeDetails,
    NodesPage,
    OtaStatus,
    Tokens,
)

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

# A push must not meet the end of its session: it is never sent twice.
PUSH_MARGIN = timedelta(seconds=60)
MAX_PAGES = 1000

_LOGIN = "/v1/login2"
_NODES = "/v1/user/nodes"
_OTA_UPDATE = "/v1/user/nodes/ota_update"


def utc_now() -> datetime:
    return datetime.now(UTC)


class RainmakerClient:
    """A session with one RainMaker cloud. Safe to share between threads; close it when done.

    A read whose session has run out extends it once and asks again. A push is sent at most once,
    whatever happens. `tokens` is the session as it is now: keep it after use, it may have changed.
    A requests.Session passed in serves for its connections alone and stays open on close();
    certificates are checked against its `verify`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        tokens: Tokens | None = None,
        session: requests.Session | None = None,
        connect_timeout_s: float = 5,
        read_timeout_s: float = 15,
        total_timeout_s: float | None = None,
        max_body_bytes: int = 4_000_000,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Raise NotTrusted for a base URL that may not be sent secrets.

        The time-outs are those of one HTTP exchange: to connect, between two pieces of the answer,
        and for all of it (by default to connect and twice to read).
        """
        self._transport = Transport(
            base_url,
            session=session,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            total_timeout_s=total_timeout_s or connect_timeout_s + 2 * read_timeout_s,
            max_body_bytes=max_body_bytes,
        )
        self._clock = clock
        self.tokens = tokens
        self._extending = threading.Lock()
        self._refused_refresh_token = ""

    def __enter__(self) -> RainmakerClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The cloud is not told; see sign_out()."""
        self._transport.close()

    def sign_in(self, email: str, password: str) -> Tokens:
        """Open a session and return its tokens. A wrong password is SignInAgain."""
        if not email or not password:
            raise OurBug("A sign-in needs an e-mail address and a password.", was_sent=False)
        body = {"user_name": email, "password": password}
        answer = self._exchange("POST", _LOGIN, body=body)
        tokens = self._understood(
            answer, lambda data: _session(data, email), secrets=(email, password)
        )
        self.tokens = tokens
        return tokens

    def extend_session(self) -> Tokens:
        """Replace the access token by a new one and return the tokens."""
        return self._extended(self._signed_in(f"POST {_LOGIN}"))

    def sign_out(self) -> None:
        """End the session at the cloud and forget the tokens; one already over is no error."""
        tokens = self.tokens
        if tokens is None:
            return
        body = {"refreshtoken": tokens.refresh_token} if tokens.refresh_token else None
        answer = self._exchange(
            "POST", "/v1/logout2", params={"logout_all": "false"}, body=body, tokens=tokens
        )
        if answer.status not in {401, 403}:
            self._understood(answer, read.read_action, acts=True)
        self.tokens = None

    def user(self) -> CloudUser:
        """Return who is signed in."""
        return self._ask("/v1/user", read.read_user)

    def api_versions(self) -> tuple[str, ...]:
        """Return the API versions the cloud supports. Needs no session."""
        return self._understood(self._exchange("GET", "/apiversions"), read.read_api_versions)

    def nodes(self, start_id: str = "", num_records: int = 100) -> NodesPage:
        """Return one page of hubs with their details."""
        params = {"node_details": "true", "num_records": str(int(num_records))}
        if start_id:
            params["start_id"] = start_id
        return self._ask(_NODES, read.read_nodes_page, params)

    def all_nodes(self) -> Iterator[NodeDetails]:
        """Yield every hub of the account once, asking for further pages as they are needed.

        An element without a readable id is left out and logged. Raises AnswerUnreadable when the
        pages lead in a circle.
        """
        start_id, asked, seen = "", {""}, set[str]()
        for _ in range(MAX_PAGES):
            page = self.nodes(start_id)
            if page.skipped:
                logger.warning("%s elements in the list of hubs are unreadable", page.skipped)
            for node in page.nodes:
                if node.node_id not in seen:
                    seen.add(node.node_id)
                    yield node
            start_id = page.next_id
            if not start_id:
                return
            if start_id in asked:
                break
            asked.add(start_id)
        raise AnswerUnreadable(
            "The cloud's list of hubs does not end.", endpoint=f"GET {_NODES}", was_sent=True
        )

    def node(self, node_id: str) -> NodeDetails:
        """Return one hub with its details."""
        page = self._ask(
            _NODES, read.read_nodes_page, {"node_id": _checked(node_id), "node_details": "true"}
        )
        for node in page.nodes:
            if node.node_id == node_id:
                return node
        raise NotYourHub(
            "The cloud does not list this hub for the account.",
            endpoint=f"GET {_NODES}",
            status=200,
            was_sent=True,
        )

    def get_node_status(self, node_id: str) -> Connectivity:
        """Return whether the hub is connected."""
        return self._ask(f"{_NODES}/status", read.read_node_status, {"node_id": _checked(node_id)})

    def get_node_params(self, node_id: str) -> HubFacts | None:
        """Return the state of a LIV hub; None when the node is something else."""
        return self._ask(f"{_NODES}/params", read.read_hub_facts, {"node_id": _checked(node_id)})

    def get_node_config(self, node_id: str) -> NodeConfig:
        """Return what the hub published about itself, its firmware version above all."""
        return self._ask(
            f"{_NODES}/config",
            lambda data: read.read_node_config(data, node_id=node_id),
            {"node_id": _checked(node_id)},
        )

    def check_firmware_update(self, node_id: str) -> FirmwareOffer:
        """Return what the cloud would install on the hub now."""
        return self._ask(_OTA_UPDATE, read.read_offer, {"node_id": _checked(node_id)})

    def push_firmware_update(self, *, node_id: str, ota_job_id: str) -> str:
        """Have the cloud send the update to the hub, and return the cloud's words.

        Sent at most once. After an error, `nothing_happened` tells whether sending it again is
        safe; if not, get_ota_status() tells what became of it.
        """
        endpoint = f"POST {_OTA_UPDATE}"
        body = {"ota_job_id": _checked(ota_job_id), "node_id": _checked(node_id)}
        tokens = self._signed_in(endpoint)
        expires_at = tokens.access_expires_at
        if expires_at is not None and expires_at - self._clock() < PUSH_MARGIN:
            try:
                tokens = self._extended(tokens)
            except CloudError as problem:
                problem.was_sent = False
                raise
        answer = self._exchange("POST", _OTA_UPDATE, body=body, tokens=tokens)
        if answer.status in {202, 204} and not answer.body:
            return ""
        try:
            return self._understood(answer, read.read_action, acts=True)
        except SignInAgain as problem:
            if answer.status == 401:
                self._extend_for_later(tokens, problem)
            raise

    def get_ota_status(self, *, node_id: str, ota_job_id: str) -> OtaStatus:
        """Return what the cloud says of one update on one hub; NoOtaStatus if it knows nothing."""
        return self._ask(
            f"{_NODES}/ota_status",
            lambda data: read.read_ota_status(data, node_id=node_id, ota_job_id=ota_job_id),
            {"node_id": _checked(node_id), "ota_job_id": _checked(ota_job_id)},
        )

    def _ask(
        self, path: str, reader: Callable[[object], Value], params: Mapping[str, str] | None = None
    ) -> Value:
        """Return what a GET is answered with, having extended the session once if it must be."""
        tokens = self._signed_in(f"GET {path}")
        answer = self._exchange("GET", path, params=params, tokens=tokens)
        try:
            return self._understood(answer, reader)
        except SignInAgain:
            tokens = self._extended(tokens)
        return self._understood(self._exchange("GET", path, params=params, tokens=tokens), reader)

    def _extend_for_later(self, tokens: Tokens, refused: SignInAgain) -> None:
        """Extend the session after a push met its end; always raises what to tell the caller."""
        try:
            self._extended(tokens)
        except SignInAgain as problem:
            problem.was_sent = problem.refused = True
            raise
        except CloudError as problem:
            logger.info("the session could not be extended after a refused push: %s", problem)
        raise TryLater(
            "The session had run out, so the cloud did not take the update request.",
            endpoint=refused.endpoint,
            status=refused.status,
            description=refused.description,
            excerpt=refused.excerpt,
            was_sent=True,
            refused=True,
        ) from refused

    def _signed_in(self, endpoint: str) -> Tokens:
        tokens = self.tokens
        if tokens is None or not tokens.access_token:
            raise SignInAgain(
                "Nobody is signed in to the cloud.", endpoint=endpoint, was_sent=False
            )
        return tokens

    def _extended(self, used: Tokens) -> Tokens:
        """Return tokens newer than the used ones, asking for them unless another thread has."""
        with self._extending:
            tokens = self._signed_in(f"POST {_LOGIN}")
            if tokens.access_token != used.access_token:
                return tokens
            refresh_token = tokens.refresh_token
            if not refresh_token or refresh_token == self._refused_refresh_token:
                raise SignInAgain(
                    "The session with the cloud is over; sign in again.",
                    endpoint=f"POST {_LOGIN}",
                    was_sent=False,
                )
            answer = self._exchange("POST", _LOGIN, body={"refreshtoken": refresh_token})
            try:
                fresh = self._understood(
                    answer,
                    lambda data: read.read_tokens(
                        data, email=tokens.email, refresh_token=refresh_token
                    ),
                )
            except (SignInAgain, TellPerson) as problem:
                self._refused_refresh_token = refresh_token
                raise SignInAgain(
                    "The cloud no longer accepts the session; sign in again.",
                    endpoint=problem.endpoint,
                    status=problem.status,
                    code=problem.code,
                    description=problem.description,
                    excerpt=problem.excerpt,
                    was_sent=True,
                    refused=problem.refused,
                ) from problem
            self.tokens = replace(fresh, user_id=fresh.user_id or tokens.user_id)
            return self.tokens

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
        tokens: Tokens | None = None,
    ) -> Answer:
        try:
            answer = self._transport.exchange(
                method,
                path,
                params=params,
                body=body,
                access_token=tokens.access_token if tokens else "",
            )
        except CloudError as problem:
            logger.info("%s %s: %s", method, path, problem)
            raise
        logger.debug("%s %s: HTTP %s, %s bytes", method, path, answer.status, len(answer.body))
        return answer

    def _understood(
        self,
        answer: Answer,
        reader: Callable[[object], Value],
        *,
        acts: bool = False,
        secrets: tuple[str, ...] = (),
    ) -> Value:
        """Return the answer as the reader reads it; raises the CloudError it stands for."""
        if self.tokens:
            secrets += (self.tokens.access_token, self.tokens.refresh_token, self.tokens.email)
        data: object = None
        not_json: ValueError | None = None
        try:
            data = answer.json()
        except ValueError as problem:
            not_json = problem
        if not 200 <= answer.status < 300 or says_failure(data, acts=acts):
            raise refusal(answer, data, acts=acts, now=self._clock(), secrets=secrets)
        try:
            if not_json is not None:
                raise AnswerUnreadable("The cloud's answer is not JSON.") from not_json
            return reader(data)
        except AnswerUnreadable as problem:
            problem.endpoint, problem.status, problem.was_sent = (
                answer.endpoint,
                answer.status,
                True,
            )
            problem.excerpt = redacted(answer.text, secrets)
            raise


def _session(data: object, email: str) -> Tokens:
    if isinstance(data, dict) and data.get("session") and not data.get("accesstoken"):
        raise TellPerson(
            "This cloud account asks for a one-time code at sign-in, which is not supported here.",
            was_sent=True,
        )
    return read.read_tokens(data, email=email)


def _checked(identifier: str) -> str:
    """Return a node or job id that is fit to be sent."""
    if not read.is_identifier(identifier):
        raise OurBug(
            "A hub's or an update's id is empty, too long or not printable.", was_sent=False
        )
    return identifier
