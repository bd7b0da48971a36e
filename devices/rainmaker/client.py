"""The client for the RainMaker cloud: one method per endpoint, typed answers, CloudError."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import requests

from devices.rainmaker import calls, parsers
from devices.rainmaker.error_mapping import (
    LONGEST_WAIT_S,
    SESSION_OVER_CODES,
    refusal,
    says_failure,
)
from devices.rainmaker.errors import (
    AnotherUser,
    AnswerUnreadable,
    CallRefused,
    CloudError,
    OurBug,
    SignInAgain,
    TellPerson,
)
from devices.rainmaker.http import Answer, Transport
from devices.rainmaker.redaction import redacted
from devices.rainmaker.schemas import (
    CloudUser,
    Connectivity,
    FirmwareOffer,
    NodeConfig,
    NodesPage,
    OtaStatus,
    Tokens,
)

logger = logging.getLogger(__name__)
Value = TypeVar("Value")
# A push must not meet the end of its session: it is never sent twice.
PUSH_MARGIN = timedelta(seconds=60)
# Two extensions of one session are this far apart at least; each one that fails, or that is needed
# long before its time, doubles the pause.
_PAUSE_AFTER_SUCCESS = timedelta(minutes=1)
_PAUSE_AFTER_FAILURE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(minutes=10)
_LOGIN = "/v1/login2"
_USER = "/v1/user"
_NODES = "/v1/user/nodes"
_OTA_UPDATE = "/v1/user/nodes/ota_update"


def utc_now() -> datetime:
    return datetime.now(UTC)


class RainmakerClient:
    """A session with one RainMaker cloud. Safe to share between threads; close it when done.

    A read that is answered 401 extends the session once and asks again. Only a documented code in
    the answer to that extension ends the session; every other refusal is trouble of one call. A
    push is sent at most once. `tokens` is the session as it is now: store it after use, it may
    have changed.
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
        """Close the connections. The session at the cloud goes on; see sign_out()."""
        self._transport.close()

    def sign_in(self, email: str, password: str, *, user_id: str = "") -> Tokens:
        """Open a session and return its tokens. A wrong password is SignInAgain.

        Raises AnotherUser, keeping what there was, when the session is not of the given user.
        """
        if not email or not password:
            raise OurBug("A sign-in needs an e-mail address and a password.", was_sent=False)
        body = {"user_name": email, "password": password}
        answer = self._exchange("POST", _LOGIN, body=body)
        tokens = self._read_answer(
            answer, lambda data: _session(data, email), secrets=(email, password)
        )
        if user_id:
            tokens = self._of_user(tokens, user_id)
        self.tokens = tokens
        return tokens

    def extend_session(self) -> Tokens:
        """Replace the access token by a new one and return the tokens."""
        return self._extended(self._signed_in(f"POST {_LOGIN}"))

    def sign_out(self) -> None:
        """End the session at the cloud and drop the tokens. One that is over is no error."""
        tokens = self.tokens
        if tokens is None:
            return
        body = {"refreshtoken": tokens.refresh_token} if tokens.refresh_token else None
        answer = self._exchange(
            "POST", "/v1/logout2", params={"logout_all": "false"}, body=body, tokens=tokens
        )
        if answer.status not in {401, 403}:
            self._read_answer(answer, parsers.read_action, acts=True)
        self.tokens = None

    def user(self) -> CloudUser:
        """Return who is signed in."""
        return self._ask(_USER, parsers.read_user)

    def nodes(self, start_id: str = "", num_records: int = 100) -> NodesPage:
        """Return one page of hubs with their details."""
        params = {"node_details": "true", "num_records": str(int(num_records))}
        if start_id:
            params["start_id"] = start_id
        return self._ask(_NODES, self._read_nodes_page, params)

    def get_node_status(self, node_id: str) -> Connectivity:
        """Return whether the hub is connected."""
        return self._ask(
            f"{_NODES}/status",
            lambda data: parsers.read_node_status(data, now=self._clock()),
            {"node_id": _checked(node_id)},
        )

    def get_node_config(self, node_id: str) -> NodeConfig:
        """Return what the hub published about itself, its firmware version above all."""
        return self._ask(
            f"{_NODES}/config",
            lambda data: parsers.read_node_config(data, node_id=node_id),
            {"node_id": _checked(node_id)},
        )

    def check_firmware_update(self, node_id: str) -> FirmwareOffer:
        """Return what the cloud would install on the hub now."""
        return self._ask(_OTA_UPDATE, parsers.read_offer, {"node_id": _checked(node_id)})

    def push_firmware_update(self, *, node_id: str, ota_job_id: str) -> str:
        """Have the cloud send the update to the hub, and return the cloud's description.

        Sent at most once. After an error, `nothing_happened` says whether sending it again is
        safe; if not, get_ota_status() shows what became of it.
        """
        endpoint = f"POST {_OTA_UPDATE}"
        body = {"ota_job_id": _checked(ota_job_id), "node_id": _checked(node_id)}
        tokens = self._signed_in(endpoint)
        if self._ends_before_push(tokens):
            try:
                tokens = self._extended(tokens)
            except CloudError as problem:
                problem.was_sent = False
                raise
        answer = self._exchange("POST", _OTA_UPDATE, body=body, tokens=tokens)
        if answer.status in {202, 204} and not answer.body:
            return ""
        try:
            return self._read_answer(answer, parsers.read_action, acts=True)
        except CallRefused as problem:
            if answer.status == 401:
                self._extend_for_later(tokens, problem)
            raise

    def write_params(self, node_id: str, values: Mapping[str, Any]) -> str:
        """Write parameters of the hub's devices and services; return the cloud's description.

        Sent once. Writing the same again does no harm.
        """
        tokens = self._signed_in(f"PUT {_NODES}/params")
        if self._ends_before_push(tokens):
            tokens = self._extended(tokens)
        params = {"node_id": _checked(node_id)}
        answer = self._exchange(
            "PUT", f"{_NODES}/params", params=params, body=values, tokens=tokens
        )
        if answer.status in {201, 204} and not answer.body:
            return ""
        return self._read_answer(answer, parsers.read_action, acts=True)

    def get_ota_status(self, *, node_id: str, ota_job_id: str) -> OtaStatus:
        """Return the cloud's status of one update on one hub; NoOtaStatus if it has none."""
        return self._ask(
            f"{_NODES}/ota_status",
            lambda data: parsers.read_ota_status(
                data, node_id=node_id, ota_job_id=ota_job_id, now=self._clock()
            ),
            {"node_id": _checked(node_id), "ota_job_id": _checked(ota_job_id)},
        )

    def _read_nodes_page(self, data: object) -> NodesPage:
        return parsers.read_nodes_page(data, now=self._clock())

    def _ask(
        self, path: str, reader: Callable[[object], Value], params: Mapping[str, str] | None = None
    ) -> Value:
        """Return the answer to a GET, after extending the session once if the cloud refused it."""
        tokens = self._signed_in(f"GET {path}")
        answer = self._exchange("GET", path, params=params, tokens=tokens)
        try:
            return self._read_answer(answer, reader)
        except CallRefused as refused:
            if refused.status != 401 and not refused.refused:
                raise  # a page of a firewall says nothing about the session
            tokens = self._extended(tokens, refused)
        return self._read_answer(self._exchange("GET", path, params=params, tokens=tokens), reader)

    def _extend_for_later(self, tokens: Tokens, refused: CallRefused) -> None:
        """Extend the session after a refused push, for the next one; raises what came of it."""
        try:
            self._extended(tokens, refused)
        except SignInAgain as problem:
            problem.was_sent, problem.refused = refused.was_sent, refused.refused
            raise
        except CloudError as problem:
            if problem is not refused:
                logger.info("the session could not be extended after a refused push: %s", problem)
            refused.retry_after_s = problem.retry_after_s or 30.0
        raise refused

    def _ends_before_push(self, tokens: Tokens) -> bool:
        """Return whether the session must be extended first, as far as its pause allows it."""
        now, expires_at = self._clock(), tokens.access_expires_at
        if expires_at is None or expires_at - now >= PUSH_MARGIN:
            return False
        return expires_at <= now or not _is_paused(tokens, now)

    def _signed_in(self, endpoint: str) -> Tokens:
        tokens = self.tokens
        if tokens is None or not tokens.access_token:
            raise SignInAgain(
                "The account is not signed in to the cloud.", endpoint=endpoint, was_sent=False
            )
        return tokens

    def _extended(self, used: Tokens, refused: CallRefused | None = None) -> Tokens:
        """Return tokens newer than the used ones, asking for them unless another thread has.

        Raises SignInAgain when the session is over, and the given refusal (else CallRefused)
        while no extension is tried.
        """
        with self._extending:
            tokens = self._signed_in(f"POST {_LOGIN}")
            if tokens.access_token != used.access_token:
                return tokens
            now, expires_at = self._clock(), tokens.access_expires_at
            is_running = refused is not None and expires_at is not None and now < expires_at
            if not tokens.refresh_token and is_running and refused is not None:
                raise refused
            if not tokens.refresh_token or tokens.refresh_token == self._refused_refresh_token:
                raise SignInAgain(
                    "The session with the cloud is over; sign in again.",
                    endpoint=f"POST {_LOGIN}",
                    was_sent=False,
                )
            if tokens.extend_after is not None and _is_paused(tokens, now):
                refused = refused or CallRefused(
                    "The session cannot be extended yet; we will try again.",
                    endpoint=f"POST {_LOGIN}",
                    was_sent=False,
                )
                refused.retry_after_s = (tokens.extend_after - now).total_seconds()
                raise refused
            try:
                fresh = self._extension(tokens)
            except CloudError as problem:
                if not isinstance(problem, SignInAgain):
                    wait_s = problem.retry_after_s or 0.0
                    asked = timedelta(seconds=wait_s)
                    self.tokens = _paused(tokens, now, _PAUSE_AFTER_FAILURE, at_least=asked)
                raise
            is_early = expires_at is None or expires_at - now > PUSH_MARGIN
            paused = _paused(tokens, now, _PAUSE_AFTER_SUCCESS)
            extend_after, ends_at = paused.extend_after, fresh.access_expires_at
            if extend_after and ends_at and now < ends_at < extend_after:
                extend_after = ends_at
            self.tokens = replace(
                fresh, extend_after=extend_after, extensions=paused.extensions if is_early else 0
            )
            return self.tokens

    def _extension(self, tokens: Tokens) -> Tokens:
        """Ask the cloud to extend the session and return it; the same person's, or AnotherUser."""
        answer = self._exchange("POST", _LOGIN, body={"refreshtoken": tokens.refresh_token})
        try:
            fresh = self._read_answer(
                answer,
                lambda data: parsers.read_tokens(
                    data, email=tokens.email, refresh_token=tokens.refresh_token
                ),
            )
        except (SignInAgain, TellPerson, OurBug) as problem:
            kind: type[CloudError] = CallRefused
            sentence = f"The cloud did not extend the session: {problem}"
            if problem.code in SESSION_OVER_CODES:
                self._refused_refresh_token = tokens.refresh_token
                kind, sentence = SignInAgain, "The cloud ended the session; sign in again."
            raise kind(
                sentence,
                endpoint=problem.endpoint,
                status=problem.status,
                code=problem.code,
                description=problem.description,
                excerpt=problem.excerpt,
                was_sent=True,
                refused=problem.refused,
            ) from problem
        return self._of_user(fresh, tokens.user_id) if tokens.user_id else fresh

    def _of_user(self, fresh: Tokens, user_id: str) -> Tokens:
        """Return the new session with its user's id; raises AnotherUser unless it is this user's.

        A session whose token does not name its user is asked for it.
        """
        found = fresh.user_id
        if not found:
            answer = self._exchange("GET", _USER, tokens=fresh)
            secrets = (fresh.access_token, fresh.refresh_token)
            found = self._read_answer(answer, parsers.read_user, secrets=secrets).user_id
        if found != user_id:
            raise AnotherUser(
                "The cloud answered with the session of another user; it is not used.",
                endpoint=f"POST {_LOGIN}",
                status=200,
                was_sent=True,
            )
        return replace(fresh, user_id=found)

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        tokens: Tokens | None = None,
    ) -> Answer:
        began, result = monotonic(), ""
        try:
            answer = self._transport.exchange(
                method,
                path,
                params=params,
                body=body,
                access_token=tokens.access_token if tokens else "",
            )
            result = str(answer.status)
        except CloudError as problem:
            result = type(problem).__name__
            logger.info("%s %s: %s", method, path, problem)
            raise
        finally:
            calls.count(f"{method} {path}", result or "Error", monotonic() - began)
        logger.debug("%s %s: HTTP %s, %s bytes", method, path, answer.status, len(answer.body))
        return answer

    def _read_answer(
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


def _is_paused(tokens: Tokens, now: datetime) -> bool:
    """Return whether the session must not be extended yet. A time further ahead than any pause is
    left from before the clock was set back.
    """
    until = tokens.extend_after
    return until is not None and now < until <= now + timedelta(seconds=LONGEST_WAIT_S)


def _paused(
    tokens: Tokens, now: datetime, first: timedelta, *, at_least: timedelta = timedelta()
) -> Tokens:
    """Return the tokens with the time before which the session is not extended again."""
    last = tokens.extend_after
    tries = 0 if last is None or now - last > _LONGEST_PAUSE else tokens.extensions
    pause = max(min(first * 2 ** min(tries, 10), _LONGEST_PAUSE), at_least)
    return replace(tokens, extend_after=now + pause, extensions=tries + 1)


def _session(data: object, email: str) -> Tokens:
    if isinstance(data, dict) and data.get("session") and not data.get("accesstoken"):
        raise TellPerson(
            "This cloud account asks for a one-time code at sign-in, which is not supported here.",
            was_sent=True,
        )
    return parsers.read_tokens(data, email=email)


def _checked(identifier: str) -> str:
    """Return a node or job id that is fit to be sent."""
    if not parsers.is_identifier(identifier):
        raise OurBug(
            "A hub's or an update's id is empty, too long or not printable.", was_sent=False
        )
    return identifier
