"""The cloud client's session, its calls and its pages, against real servers on this machine."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from devices.rainmaker.errors import (
    AnotherUser,
    AnswerUnreadable,
    CallRefused,
    NotPermitted,
    OurBug,
    ServerTrouble,
    SignInAgain,
    TellPerson,
    TryLater,
)
from devices.rainmaker.schemas import Tokens
from tests.support.hostile_server import Behaviour, cut, failure, reply, together
from tests.support.rainmaker import (
    ACCESS,
    EMAIL,
    EXTENDED,
    FRESH,
    JOB,
    LOGIN,
    NODE,
    NODES,
    NOW,
    PASSWORD,
    PUSH,
    PUSHED,
    REFRESH,
    SESSION,
    STATUS,
    TOKENS,
    USER,
    USER_ANSWER,
    ask_status,
    error_of,
    jwt,
    push,
    without_refresh,
)


def test_a_push_sends_both_ids_as_json(server, connect):
    server.on(PUSH, PUSHED)
    assert push(connect(server.url)) == "OTA update initiated successfully"
    (seen,) = server.seen(PUSH)
    assert seen.json == {"ota_job_id": JOB, "node_id": NODE}
    assert seen.headers["content-type"] == "application/json"


@pytest.mark.parametrize("bad", ["", " ", "a\n", "a\x00b", "x" * 129, None, 7, b"x", "\ud800"])
def test_an_id_that_cannot_be_one_is_not_sent(server, connect, bad):
    client = connect(server.url)
    for call in (
        lambda: client.check_firmware_update(bad),
        lambda: client.push_firmware_update(node_id=bad, ota_job_id=JOB),
        lambda: client.push_firmware_update(node_id=NODE, ota_job_id=bad),
        lambda: client.get_ota_status(node_id=NODE, ota_job_id=bad),
        lambda: client.get_node_config(bad),
    ):
        problem = error_of(call)
        assert isinstance(problem, OurBug)
        assert problem.nothing_happened
    assert server.requests == []


@pytest.mark.parametrize("status", [202, 204])
def test_a_push_may_be_accepted_without_words(server, connect, status):
    server.on(PUSH, reply(status))
    assert push(connect(server.url)) == ""


def test_signing_in_opens_a_session(server, connect):
    server.on(LOGIN, reply(json=SESSION))
    client = connect(server.url, tokens=None)
    tokens = client.sign_in(EMAIL, PASSWORD)
    assert tokens == TOKENS
    assert client.tokens == tokens
    (seen,) = server.seen(LOGIN)
    assert seen.json == {"user_name": EMAIL, "password": PASSWORD}
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("code", [101009, 101015, 101016, 101058, 101002])
def test_a_sign_in_that_is_refused(server, connect, code):
    server.on(LOGIN, failure(400, code, f"No, {EMAIL} {PASSWORD}"))
    client = connect(server.url, tokens=None)
    problem = error_of(client.sign_in, EMAIL, PASSWORD)
    assert isinstance(problem, SignInAgain)
    assert client.tokens is None
    assert len(server.requests) == 1


def test_a_sign_in_that_asks_for_a_code_raises_its_own_error(server, connect):
    server.on(LOGIN, reply(json={"status": "success", "session": "canary-session"}))
    problem = error_of(connect(server.url, tokens=None).sign_in, EMAIL, PASSWORD)
    assert isinstance(problem, TellPerson)
    assert "one-time code" in str(problem)


@pytest.mark.parametrize("token", [None, "", 5, "a\r\nX: y", "tökén", "x" * 20_000, "a b"])
def test_an_access_token_that_fits_no_header_is_unreadable(server, connect, token):
    server.on(LOGIN, reply(json=SESSION | {"accesstoken": token}))
    problem = error_of(connect(server.url, tokens=None).sign_in, EMAIL, PASSWORD)
    assert isinstance(problem, AnswerUnreadable)


@pytest.mark.parametrize("id_token", [None, "", "a.b", "a.!!!.c", jwt(n=1), "a.W10.c"])
def test_an_unreadable_id_token_costs_only_what_it_would_have_said(server, connect, id_token):
    server.on(LOGIN, reply(json=SESSION | {"idtoken": id_token, "accesstoken": "opaque"}))
    tokens = connect(server.url, tokens=None).sign_in(EMAIL, PASSWORD)
    assert (tokens.user_id, tokens.email, tokens.access_expires_at) == ("", EMAIL, None)


def test_empty_credentials_are_not_sent(server, connect):
    client = connect(server.url, tokens=None)
    assert isinstance(error_of(client.sign_in, "", PASSWORD), OurBug)
    assert isinstance(error_of(client.sign_in, EMAIL, ""), OurBug)
    assert server.requests == []


def test_nothing_is_asked_without_a_session(server, connect):
    client = connect(server.url, tokens=None)
    for call in (client.user, client.nodes, lambda: push(client), client.extend_session):
        problem = error_of(call)
        assert isinstance(problem, SignInAgain)
        assert problem.nothing_happened
    assert server.requests == []
    client.sign_out()
    assert server.requests == []


TURNED_AWAY = [
    reply(401, json={"message": "Unauthorized"}),
    failure(401, 100011, "Unauthorized"),
    reply(401, body="go away"),
    reply(403, json={"message": "Forbidden"}),
]


@pytest.mark.parametrize("behaviour", TURNED_AWAY)
def test_a_read_extends_the_session_once_and_goes_on(server, connect, behaviour):
    server.on(USER, behaviour, USER_ANSWER)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url)
    assert client.user().user_id == "u1"
    assert [one.headers["authorization"] for one in server.seen(USER)] == [ACCESS, FRESH]
    (extension,) = server.seen(LOGIN)
    assert extension.json == {"refreshtoken": REFRESH}
    assert "authorization" not in extension.headers
    tokens = client.tokens
    assert tokens is not None
    assert (tokens.access_token, tokens.refresh_token) == (FRESH, REFRESH)
    assert (tokens.user_id, tokens.email) == ("u1", EMAIL)
    assert tokens.access_expires_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize("behaviour", TURNED_AWAY)
def test_a_read_refused_again_after_an_extension_is_trouble_of_that_call(
    server, connect, behaviour
):
    server.on(USER, behaviour)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url)
    assert isinstance(error_of(client.user), CallRefused)
    assert client.tokens.access_token == FRESH
    assert len(server.seen(USER)) == 2
    assert len(server.seen(LOGIN)) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_page_of_a_firewall_ends_no_session(server, connect, status):
    server.on(USER, reply(status, body="<html>Request blocked</html>"), USER_ANSWER)
    server.on(LOGIN, reply(403, body="<html>Request blocked</html>"))
    client = connect(server.url)
    assert isinstance(error_of(client.user), CallRefused)
    assert client.user().user_id == "u1"
    assert client.tokens.access_token == ACCESS


@pytest.mark.parametrize("code", [101009, 101015, 101016, 101017, 101058])
def test_only_a_code_that_refuses_the_extension_ends_the_session(server, connect, code):
    server.on(USER, TURNED_AWAY[0])
    server.on(LOGIN, failure(400, code))
    client = connect(server.url)
    for _ in range(3):
        assert isinstance(error_of(client.user), SignInAgain)
    assert len(server.seen(LOGIN)) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        failure(400, 555555),
        failure(400, 100006),
        failure(400),
        failure(401),
        failure(404),
        failure(429),
        failure(500, 101017),
        reply(400, body="Bad Request"),
        reply(401, body=""),
        reply(401, json={"message": "Unauthorized"}),
        reply(403, json={"message": "Forbidden"}),
        reply(403, body="<html>Request blocked</html>"),
        reply(200, body="<html>Sign in to this network</html>"),
        reply(200, json={"status": "success"}),
        reply(302, body="", headers={"Location": "https://portal.example/"}),
        cut(),
    ],
)
def test_an_extension_that_fails_otherwise_is_tried_again_later(server, connect, behaviour):
    now = [NOW]
    server.on(USER, *[TURNED_AWAY[0]] * 6, USER_ANSWER)
    server.on(LOGIN, behaviour, EXTENDED)
    client = connect(server.url, clock=lambda: now[0])
    for _ in range(4):
        assert not isinstance(error_of(client.user), SignInAgain)
    assert len(server.seen(LOGIN)) == 1
    assert client.tokens.access_token == ACCESS
    now[0] += timedelta(minutes=10)
    assert isinstance(error_of(client.user), CallRefused)
    assert client.tokens.access_token == FRESH
    assert client.user().user_id == "u1"


def test_a_cloud_that_refuses_every_second_call_is_not_asked_for_a_session_each_time(
    server, connect
):
    now = [NOW]
    server.on(USER, *[TURNED_AWAY[0], USER_ANSWER] * 60)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url, clock=lambda: now[0])
    for _ in range(37):
        with suppress(CallRefused):
            client.user()
        now[0] += timedelta(seconds=1)
    assert len(server.seen(LOGIN)) == 1


def test_the_pause_between_extensions_grows_and_is_kept_with_the_tokens(server, connect):
    now = [NOW]
    server.on(USER, TURNED_AWAY[0])
    server.on(LOGIN, failure(500))
    tokens, pauses = TOKENS, []
    for _ in range(8):
        client = connect(server.url, tokens=tokens, clock=lambda: now[0])
        error_of(client.user)
        tokens = client.tokens
        pauses.append((tokens.extend_after - now[0]).total_seconds())
        now[0] = tokens.extend_after
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600]


def test_a_session_that_lived_its_whole_life_is_extended_at_once(server, connect):
    """A cloud whose tokens live for half a minute is no cloud that refuses."""
    now = [NOW]
    client = connect(server.url, clock=lambda: now[0])
    for number in range(5):
        now[0] = client.tokens.access_expires_at
        token = jwt(exp=int((now[0] + timedelta(seconds=30)).timestamp()), n=number)
        extended = {"status": "success", "accesstoken": token, "idtoken": MINE}
        server.on(USER, TURNED_AWAY[0], USER_ANSWER)
        server.on(LOGIN, reply(json=extended))
        server.on(PUSH, PUSHED)
        assert client.user().user_id == "u1"
        push(client)
    assert client.tokens.extensions == 0


MINE = jwt(**{"custom:user_id": "u1"})
THEIRS = jwt(**{"custom:user_id": "u2"})


@pytest.mark.parametrize("id_token", [THEIRS, None, "junk"])
def test_a_session_of_another_user_is_not_adopted(server, connect, id_token):
    answer = {"status": "success", "accesstoken": FRESH, "idtoken": id_token}
    server.on(LOGIN, reply(json=answer))
    server.on(USER, reply(json={"user_id": "u2", "user_name": "b@example.org"}))
    client = connect(server.url)
    assert isinstance(error_of(client.extend_session), AnotherUser)
    assert client.tokens.access_token == ACCESS
    assert client.tokens.refresh_token == REFRESH
    assert isinstance(error_of(client.extend_session), CallRefused)
    assert len(server.seen(LOGIN)) == 1


def test_a_session_that_does_not_name_its_user_is_asked(server, connect):
    server.on(LOGIN, reply(json={"status": "success", "accesstoken": FRESH}))
    server.on(USER, USER_ANSWER)
    client = connect(server.url)
    assert client.extend_session().user_id == "u1"
    (asked,) = server.seen(USER)
    assert asked.headers["authorization"] == FRESH


def test_a_sign_in_as_another_user_is_not_adopted(server, connect):
    server.on(LOGIN, reply(json=SESSION | {"idtoken": THEIRS}))
    client = connect(server.url)
    assert isinstance(error_of(client.sign_in, EMAIL, PASSWORD, user_id="u1"), AnotherUser)
    assert client.tokens == TOKENS
    assert client.sign_in(EMAIL, PASSWORD, user_id="u2").user_id == "u2"


def test_many_threads_turned_away_at_once_extend_the_session_once(server, connect):
    threads = 8
    crowd = together(threads, TURNED_AWAY[0])
    server.on(USER, *[crowd] * threads, USER_ANSWER)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url, read_timeout_s=10)
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda _: client.user(), range(threads)))
    assert {answer.user_id for answer in answers} == {"u1"}
    assert len(server.seen(LOGIN)) == 1
    assert len(server.seen(USER)) == 2 * threads


def test_a_session_without_a_refresh_token_ends_with_its_access_token(server, connect):
    server.on(USER, TURNED_AWAY[0])
    now = [NOW]
    client = connect(server.url, tokens=without_refresh(), clock=lambda: now[0])
    assert isinstance(error_of(client.user), CallRefused)
    now[0] += timedelta(hours=1)
    assert isinstance(error_of(client.user), SignInAgain)


def test_signing_out_tells_the_cloud_and_forgets(server, connect):
    server.on("POST /v1/logout2", reply(json={"status": "success", "description": "bye"}))
    client = connect(server.url)
    client.sign_out()
    (seen,) = server.requests
    assert seen.query == {"logout_all": "false"}
    assert seen.json == {"refreshtoken": REFRESH}
    assert seen.headers["authorization"] == ACCESS
    assert client.tokens is None


def test_signing_out_of_a_session_already_over_is_no_error(server, connect):
    server.on("POST /v1/logout2", TURNED_AWAY[0])
    client = connect(server.url)
    client.sign_out()
    assert client.tokens is None
    assert len(server.requests) == 1


def test_a_failed_sign_out_keeps_the_tokens(server, connect):
    server.on("POST /v1/logout2", failure(500))
    client = connect(server.url)
    assert isinstance(error_of(client.sign_out), ServerTrouble)
    assert client.tokens == TOKENS


def test_a_push_turned_away_extends_the_session_for_later(server, connect):
    server.on(PUSH, TURNED_AWAY[0], PUSHED)
    server.on(LOGIN, EXTENDED)
    client = connect(server.url)
    problem = error_of(push, client)
    assert isinstance(problem, TryLater)
    assert problem.nothing_happened
    assert problem.was_sent is True
    assert len(server.seen(PUSH)) == 1
    push(client)
    assert server.seen(PUSH)[1].headers["authorization"] == FRESH


def test_a_push_turned_away_for_good_needs_a_person(server, connect):
    server.on(PUSH, TURNED_AWAY[0])
    server.on(LOGIN, failure(400, 101017))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, SignInAgain)
    assert problem.nothing_happened
    assert len(server.seen(PUSH)) == 1


def test_a_push_turned_away_while_the_extension_is_lost_is_for_later(server, connect):
    server.on(PUSH, TURNED_AWAY[0])
    server.on(LOGIN, cut())
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, TryLater)
    assert problem.nothing_happened
    assert problem.endpoint == PUSH


def test_a_forbidden_push_is_refused_and_not_sent_again(server, connect):
    server.on(PUSH, TURNED_AWAY[3])
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, NotPermitted)
    assert problem.nothing_happened
    assert len(server.requests) == 1


@pytest.mark.parametrize(("left_s", "extends"), [(59, True), (-100, True), (61, False)])
def test_a_session_about_to_end_is_extended_before_a_push(server, connect, left_s, extends):
    server.on(PUSH, PUSHED)
    server.on(LOGIN, EXTENDED)
    tokens = Tokens(ACCESS, REFRESH, NOW + timedelta(seconds=left_s), "u1", EMAIL)
    push(connect(server.url, tokens=tokens))
    assert len(server.seen(LOGIN)) == int(extends)
    assert server.seen(PUSH)[0].headers["authorization"] == (FRESH if extends else ACCESS)


@pytest.mark.parametrize("behaviour", [cut(), failure(500), failure(400, 101017), reply(body="x")])
def test_a_push_is_not_sent_when_its_session_cannot_be_extended(server, connect, behaviour):
    server.on(LOGIN, behaviour)
    tokens = Tokens(ACCESS, REFRESH, NOW, "u1", EMAIL)
    problem = error_of(push, connect(server.url, tokens=tokens))
    assert problem.nothing_happened
    assert server.seen(PUSH) == []


def details(node_id: str) -> dict[str, object]:
    return {"id": node_id, "role": "primary", "config": {"info": {"fw_version": "5.3.2"}}}


def page(*node_ids: str, next_id: str = "") -> Behaviour:
    return reply(
        json={
            "nodes": list(node_ids),
            "node_details": [details(node_id) for node_id in node_ids],
            "total": 3,
            "next_id": next_id,
        }
    )


def test_a_page_of_hubs_is_asked_for(server, connect):
    server.on(NODES, page("A", "B", next_id="b+/="), page("B", "C"))
    client = connect(server.url)
    found = client.nodes()
    assert [node.node_id for node in found.nodes] == ["A", "B"]
    assert [node.node_id for node in client.nodes(found.next_id).nodes] == ["B", "C"]
    first, second = server.seen(NODES)
    assert first.query == {"node_details": "true", "num_records": "100"}
    assert second.query == {"node_details": "true", "num_records": "100", "start_id": "b+/="}


def test_an_unreadable_element_is_left_out_and_counted(server, connect):
    server.on(NODES, reply(json={"node_details": [details("A"), 7, details("B")]}))
    found = connect(server.url).nodes()
    assert [node.node_id for node in found.nodes] == ["A", "B"]
    assert found.skipped == 1


def test_a_status_of_another_hub_is_not_believed(server, connect):
    server.on(STATUS, reply(json={"status": "success", "node_id": "another"}))
    problem = error_of(ask_status, connect(server.url))
    assert isinstance(problem, AnswerUnreadable)
    assert problem.endpoint == STATUS


def test_a_pause_left_from_before_the_clock_was_set_back_is_over(server, connect):
    server.on(USER, TURNED_AWAY[0], USER_ANSWER)
    server.on(LOGIN, EXTENDED)
    paused = replace(TOKENS, extend_after=NOW + timedelta(hours=23))
    client = connect(server.url, tokens=paused, clock=lambda: NOW)
    assert client.user().user_id == "u1"
    assert client.tokens.access_token == FRESH
