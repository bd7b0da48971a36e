"""Every refusal of the cloud becomes one kind of error."""

import copy
from datetime import timedelta
from email.utils import format_datetime

import pytest

from devices.rainmaker.errors import (
    AnswerUnreadable,
    Busy,
    CallRefused,
    HubOffline,
    NoOtaStatus,
    NotPermitted,
    NotYourHub,
    OfferGone,
    OurBug,
    ServerTrouble,
    TellPerson,
    TryLater,
)
from devices.rainmaker.schemas import OtaWord
from tests.support.hostile_server import failure, reply
from tests.support.rainmaker import (
    CHECK,
    JOB,
    NODE,
    NOW,
    PUSH,
    STATUS,
    USER,
    ask_status,
    error_of,
    pickled_and_back,
    push,
    without_refresh,
)

CODES = [
    (400, 100006, OurBug),
    (400, 100009, OurBug),
    (400, 100012, OurBug),
    (400, 100002, OurBug),
    (400, 105014, OurBug),
    (400, 105018, OurBug),
    (400, 101009, CallRefused),
    (400, 101017, CallRefused),
    (400, 101058, CallRefused),
    (400, 102001, HubOffline),
    (400, 100010, NotYourHub),
    (400, 103013, NotYourHub),
    (400, 103020, NotYourHub),
    (404, 100015, NotYourHub),
    (400, 105061, OfferGone),
    (400, 105036, OfferGone),
    (400, 104015, TellPerson),
    (404, 105024, NoOtaStatus),
    (400, 105024, NoOtaStatus),
    (400, 104006, TellPerson),
    (400, 999999, TellPerson),
    (403, 108001, NotPermitted),
    (409, 123456, TellPerson),
    (423, 105078, Busy),
    (400, 105078, Busy),
    (429, 100070, Busy),
    (423, None, Busy),
    (429, None, Busy),
    (400, None, OurBug),
    (404, None, OurBug),
]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_a_refused_push_certainly_did_nothing(server, connect, status, code, kind):
    server.on(PUSH, failure(status, code, "In the cloud's words"))
    problem = error_of(push, connect(server.url))
    assert type(problem) is kind
    assert (problem.status, problem.code) == (status, code)
    assert problem.description == "In the cloud's words"
    assert problem.endpoint == PUSH
    assert problem.was_sent is True
    assert problem.nothing_happened
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_a_read_is_refused_alike(server, connect, status, code, kind):
    server.on(CHECK, failure(status, code))
    problem = error_of(connect(server.url, tokens=without_refresh()).check_firmware_update, NODE)
    assert type(problem) is kind


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("with_words", [True, False])
def test_trouble_of_the_cloud_leaves_a_push_open(server, connect, status, with_words):
    answer = failure(status, 105007) if with_words else reply(status, body="<html>oops</html>")
    server.on(PUSH, answer)
    server.on(USER, answer)
    client = connect(server.url)
    problem = error_of(push, client)
    assert isinstance(problem, ServerTrouble)
    assert problem.was_sent is None
    assert not problem.nothing_happened
    assert problem.code == (105007 if with_words else None)
    problem = error_of(client.user)
    assert isinstance(problem, ServerTrouble)
    assert problem.was_sent is True
    assert len(server.requests) == 2


OFFLINE = {"status": "failure", "description": "Node is offline", "error_code": 102001}


@pytest.mark.parametrize(
    "status", [200, 202, 207, 302, 307, 308, 400, 401, 403, 404, 409, 500, 503]
)
@pytest.mark.parametrize("word", ["failure", "failed", "error", "FAILURE", None])
def test_a_refusal_is_a_refusal_with_any_status(server, connect, status, word):
    body = {key: value for key, value in (OFFLINE | {"status": word}).items() if value}
    headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
    server.on(PUSH, reply(status, json=body, headers=headers))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, HubOffline)
    assert problem.nothing_happened
    assert problem.description == "Node is offline"
    assert len(server.seen(PUSH)) == 1


@pytest.mark.parametrize("status", [400, 404, 405, 413, 414])
def test_the_message_of_a_gateway_is_not_the_clouds_word(server, connect, status):
    """{"message": ...} alone is how a gateway in front of the cloud answers."""
    server.on(CHECK, reply(status, json={"message": "Not Found"}))
    client = connect(server.url, tokens=without_refresh())
    problem = error_of(client.check_firmware_update, NODE)
    assert type(problem) is AnswerUnreadable
    assert "not in the words of a RainMaker cloud" in str(problem)


def test_a_refusal_in_words_alone_needs_no_number(server, connect):
    server.on(PUSH, reply(json={"status": "failure", "description": "Not today"}))
    problem = error_of(push, connect(server.url))
    assert type(problem) is TellPerson
    assert problem.nothing_happened
    assert "Not today" in str(problem)


@pytest.mark.parametrize(
    "behaviour",
    [
        reply(307, body="", headers={"Location": "/v1/user/nodes/ota_update"}),
        reply(302, json={"message": "Found"}, headers={"Location": "/elsewhere"}),
        reply(302, json=OFFLINE | {"error_code": 999999}, headers={"Location": "/elsewhere"}),
        reply(303, body="<html>", headers={"Location": "https://elsewhere.example/"}),
        reply(200, json={}),
        reply(200, json=[]),
        reply(200, json={"status": "success", "error_code": 102001}),
        reply(200, json={"description": "OTA update pushed"}),
        reply(403, body="<html>Request blocked</html>"),
        reply(401, body="<html>Sign in</html>"),
        reply(404, body="<html>Not found</html>"),
        reply(500, json=OFFLINE | {"error_code": 105007}),
    ],
)
def test_what_is_not_the_clouds_word_leaves_a_push_open(server, connect, behaviour):
    server.on(PUSH, behaviour)
    server.on("POST /v1/login2", failure(500))
    problem = error_of(push, connect(server.url))
    assert not problem.nothing_happened
    assert len(server.seen(PUSH)) == 1


@pytest.mark.parametrize("body", [{"message": "Forbidden"}, {"message": "User is not authorized"}])
def test_a_push_that_the_account_may_not_make_is_over(server, connect, body):
    server.on(PUSH, reply(403, json=body))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, NotPermitted)
    assert problem.nothing_happened
    assert body["message"] in str(problem)


def test_the_word_failed_is_no_failure_of_asking_for_it(server, connect):
    server.on(STATUS, reply(json={"status": "failed", "additional_info": "OTA Attempt 1/3 failed"}))
    status = connect(server.url).get_ota_status(node_id=NODE, ota_job_id=JOB)
    assert status.state is OtaWord.FAILED


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("Node does not belong to user", NotYourHub),
        ("NodeId is missing", OurBug),
        ("OTA Job Id missing", OurBug),
        ("OTA image not found", TellPerson),
        ("Invalid request body", OurBug),
        ("Node is offline.", HubOffline),
        ("Too much traffic, try again later", Busy),
        ("Something else", OurBug),
    ],
)
def test_refusals_without_a_code_are_known_by_their_words(server, connect, description, kind):
    server.on(PUSH, failure(400, None, description))
    assert type(error_of(push, connect(server.url))) is kind


def test_a_code_may_be_a_string(server, connect):
    server.on(PUSH, reply(400, json={"status": "failure", "error_code": "102001"}))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, HubOffline)
    assert problem.code == 102001


@pytest.mark.parametrize("code", [None, True, -1, 1.5, [], {}, "x", "1" * 400, 10**300])
def test_a_code_may_be_nonsense(server, connect, code):
    server.on(PUSH, reply(400, json={"error_code": code, "description": code, "status": code}))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, OurBug)
    assert problem.code is None


def test_no_status_is_only_what_the_cloud_itself_does_not_know(server, connect):
    client = connect(server.url)
    server.on(STATUS, failure(404, None, "OTA status not found"), failure(404, None, "Gone"))
    assert isinstance(error_of(ask_status, client), NoOtaStatus)
    assert isinstance(error_of(ask_status, client), NoOtaStatus)
    server.on(STATUS, reply(404, body="<html>Not found</html>"))
    assert isinstance(error_of(ask_status, client), AnswerUnreadable)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("999999999", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("soon", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Fri, 99 Zzz 2026 99:99:99 GMT", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_cloud_may_say_how_long_to_wait(server, connect, header, seconds, status):
    server.on(PUSH, failure(status, None, "Slow down", Retry_After=header))
    problem = error_of(push, connect(server.url))
    assert isinstance(problem, TryLater)
    assert problem.retry_after_s == seconds


def test_errors_survive_copying_and_pickling(server, connect):
    server.on(PUSH, failure(429, 100070, "Slow down", Retry_After="9"))
    problem = error_of(push, connect(server.url))
    for twin in (copy.copy(problem), pickled_and_back(problem)):
        assert type(twin) is Busy
        assert vars(twin) == vars(problem)
        assert str(twin) == str(problem)
