"""One install, and what the worker hears about it, at a clock of the test's own."""

from datetime import UTC, datetime, timedelta

from devices.installs.polling import PollResult, record_poll
from devices.installs.timings import Timings
from devices.models import OtaJob, State
from devices.rainmaker.errors import CloudError, ServerTrouble
from devices.rainmaker.schemas import Connectivity, NodeConfig, OtaStatus, OtaWord
from tests.support.factories import make_account, make_job, make_node

START = datetime(2026, 6, 1, 20, 0, tzinfo=UTC)
LIMITS = Timings()
WORDS = {
    "triggered": OtaWord.TRIGGERED,
    "started": OtaWord.STARTED,
    "in-progress": OtaWord.IN_PROGRESS,
    "in_progress": OtaWord.IN_PROGRESS,
    "delayed": OtaWord.DELAYED,
    "success": OtaWord.SUCCESS,
    "completed": OtaWord.SUCCESS,
    "rejected": OtaWord.REJECTED,
    "failed": OtaWord.FAILED,
    "pondering": OtaWord.UNKNOWN,
}


def status(word: str, info: str = "", stamp: int = 1) -> OtaStatus:
    return OtaStatus(
        word=word,
        state=WORDS[word],
        info=info,
        at=None,
        raw_timestamp=str(stamp),
        source="NODE",
        verbatim="{}",
    )


def config(version: str) -> NodeConfig:
    return NodeConfig(
        node_id="n",
        name="Hub",
        fw_version=version,
        model="thermacell-hub",
        type="",
        project_name="",
        platform="",
        serial="",
        device_names=(),
        has_ota_service=False,
    )


def online(is_connected: bool | None, stamp: int = 1) -> Connectivity:
    return Connectivity(is_connected=is_connected, changed_at=None, raw_timestamp=str(stamp))


def running(**fields: object) -> OtaJob:
    node = make_node(make_account(answered_at=START), fw_version="5.3.2")
    return make_job(node, state=State.RUNNING, now=START, **fields)


class Story:
    """Feeds one job with what the cloud says, a poll apart."""

    def __init__(self, job: OtaJob) -> None:
        self.job, self.now = job, START

    def receives(
        self,
        word: OtaStatus | CloudError | None,
        version: str = "5.3.2",
        is_online: bool | None = True,
        *,
        stamp: int = 1,
        times: int = 1,
        apart_s: float = LIMITS.poll_s,
    ) -> State:
        for _ in range(times):
            self.now += timedelta(seconds=apart_s)
            if self.job.is_listening:
                news = PollResult(word, online(is_online, stamp), config(version))
                if isinstance(word, ServerTrouble):  # the whole cloud is in trouble
                    news = PollResult.nothing(word)
                record_poll(self.job, news, self.now)
        return State(self.job.state)

    @property
    def end(self) -> tuple[str, str]:
        self.job.refresh_from_db()
        return self.job.state, self.job.outcome
