"""Each client keeps its own deadline."""

from tests.support.hostile_server import HostileServer, calling
from tests.support.rainmaker import USER, USER_ANSWER


def test_two_clients_in_one_thread_do_not_share_a_deadline(server, connect):
    """Calling another cloud from within a call leaves the outer one its own limits."""
    with HostileServer() as other:
        other.on(USER, USER_ANSWER)
        inner = connect(other.url)
        server.on(USER, calling(lambda seen: inner.user(), USER_ANSWER))
        assert connect(server.url).user().user_id == "u1"
