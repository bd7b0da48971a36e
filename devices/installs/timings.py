"""How long the engine waits for what."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta

from django.conf import settings

from devices.taskqueue.backoff import backoff


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds. `at_pace(n)` shortens them n times for a simulated cloud that runs faster; what
    guards against a second push follows the network, not the hub, and is not shortened.
    """

    poll_s: float = 6  # between two questions about a running install
    confirm_valid_s: float = 600  # a confirmation that could not be sent by then is void
    retry_s: float = 450  # "failed" and then nothing: the hub fetches again after 300 s
    retry_total_s: float = 1800  # watching a hub fail again and again
    verify_s: float = 300  # from the first claim of success until all witnesses must agree
    silence_s: float = 900  # no new word, while the cloud was really asked
    unanswered_s: float = 86400  # the cloud itself could not be asked
    total_s: float = 21600  # of watching, however often the hub starts again
    delayed_s: float = 93600  # the hub waits for its download window, which opens once a day
    # It waits for a date that is not known; a cloud job lives for 30 days at most (ESP RainMaker
    # API 3.8.0, timeout of POST /admin/otajob). A known date sets the limit itself.
    dated_s: float = 31 * 86400
    unread_s: float = 3600  # the status cannot be read while the other witnesses answer
    left_s: float = 180  # the cloud answers that the hub is not in this account
    hub_back_off_s: float = 60  # the longest pause between two questions about a hub in trouble
    listen_s: float = 86400  # after LOST
    listen_poll_s: float = 60
    # From the claim: the POST is not sent after push_by_s. A POST whose answer was lost is never
    # sent again without a person. For an install restored from a backup the cloud's "nothing was
    # sent" counts only after settle_s, and only ends the install.
    push_by_s: float = 10
    settle_s: float = 45

    def hub_pause_s(self, failed_rounds: int) -> float:
        """Return the pause after so many rounds in a row in which calls about one hub failed."""
        return backoff(failed_rounds - 1, self.poll_s, max(self.poll_s, self.hub_back_off_s))

    def at_pace(self, pace: float) -> "Timings":
        """Return the same with everything that follows the hub's clock n times shorter."""
        kept = {"push_by_s", "settle_s", "confirm_valid_s"}
        return replace(
            self,
            **{
                field.name: max(getattr(self, field.name) / pace, 0.2)
                for field in fields(self)
                if field.name not in kept
            },
        )


def timings() -> Timings:
    """Return the timings of this server."""
    return Timings().at_pace(settings.ENGINE_PACE)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
