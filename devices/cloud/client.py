"""The client for the RainMaker cloud: one method per endpoint, typed answers, CloudError on failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType

import requests

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


def utc_now() -> datetime:
    return datetime.now(UTC)


class RainmakerClient:
    """A session with one RainMaker cloud. Safe to share between threads; close it when done."""

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
        self.tokens = tokens
        raise NotImplementedError

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
        raise NotImplementedError

    def sign_in(self, email: str, password: str) -> Tokens:
        raise NotImplementedError

    def extend_session(self) -> Tokens:
        raise NotImplementedError

    def sign_out(self) -> None:
        raise NotImplementedError

    def user(self) -> CloudUser:
        raise NotImplementedError

    def api_versions(self) -> tuple[str, ...]:
        raise NotImplementedError

    def nodes(self, start_id: str = "", num_records: int = 100) -> NodesPage:
        raise NotImplementedError

    def all_nodes(self) -> Iterator[NodeDetails]:
        raise NotImplementedError

    def node(self, node_id: str) -> NodeDetails:
        raise NotImplementedError

    def get_node_status(self, node_id: str) -> Connectivity:
        raise NotImplementedError

    def get_node_params(self, node_id: str) -> HubFacts | None:
        raise NotImplementedError

    def get_node_config(self, node_id: str) -> NodeConfig:
        raise NotImplementedError

    def check_firmware_update(self, node_id: str) -> FirmwareOffer:
        raise NotImplementedError

    def push_firmware_update(self, *, node_id: str, ota_job_id: str) -> str:
        raise NotImplementedError

    def get_ota_status(self, *, node_id: str, ota_job_id: str) -> OtaStatus:
        raise NotImplementedError
