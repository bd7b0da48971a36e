"""How long the engine waits for what."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds. `at_pace(n)` shortens them n times for rehearsals against a cloud that runs faster;
    what guards against a second push follows the network, not the hub, and stays as it is.
    """

    poll_s: float = 6  # between two questions about a running install
    confirm_valid_s: float = 600  # a confirmation that could not be sent by then is void
    retry_s: float = 450  # "failed" and then nothing: the hub fetches again after 300 s
    retry_total_s: float = 1800  # watching a hub fail again and again
    verify_s: float = 300  # from the first claim of success until all witnesses must agree
    silence_s: float = 900  # no new word, while the cloud was really asked
    unanswered_s: float = 86400  # the cloud itself could not be asked
    total_s: float = 21600  # of watching, however often the hub starts again
    delayed_s: float = 93600  # the hub waits for its download window, at most a day
    listen_s: float = 86400  # after LOST
    listen_poll_s: float = 60
    # From the claim: the POST is not sent after push_by_s, and only after settle_s may the cloud's
    # "nothing was sent" be believed; two such answers, one poll apart, allow a second POST.
    push_by_s: float = 10
    settle_s: float = 45

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
