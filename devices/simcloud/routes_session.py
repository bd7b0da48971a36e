"""Sign-in, refresh, sign-out, and who one is (ESP RainMaker API 3.8.0).

A wrong password is 400 with 101009, not 401: that is what Thermacell's cloud answers
(pythermacell's integration tests against it).
"""

from __future__ import annotations

import re
from typing import Any

from devices.simcloud import tokens
from devices.simcloud.accounts import Account
from devices.simcloud.app import Call, Routes
from devices.simcloud.wire import Refusal, Unauthorized, done

ONE_TIME_CODE = "123456"  # what every one-time code of this cloud is
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def add(routes: Routes) -> None:
    routes.add("POST", "/v1/login2", is_open=True)(login)
    routes.add("POST", "/v1/logout2")(logout)
    routes.add("GET", "/apiversions", is_open=True)(versions)
    routes.add("GET", "/mqtt_host", is_open=True)(mqtt_host)
    routes.add("GET", "/v1/user")(user)
    routes.add("GET", "/v1/user2")(user)


def versions(_call: Call) -> dict[str, Any]:
    return {"supported_versions": ["v1"], "additional_info": ""}


def mqtt_host(_call: Call) -> dict[str, Any]:
    return {"mqtt_host": "mqtt.invalid"}


def login(call: Call) -> dict[str, Any]:
    """By password, by refresh token (no new refresh token then), or by one-time code."""
    body = call.request.json_object()
    if "refreshtoken" in body:
        return _extend(call, body["refreshtoken"])
    email = body.get("user_name")
    if not isinstance(email, str) or not email:
        raise Refusal(100006, "Invalid request body")
    if not _EMAIL.fullmatch(email):
        raise Refusal(101002, "Invalid email address format")
    account = call.world.accounts.get(email.lower())
    if "password" in body:
        password = body["password"]
        if not isinstance(password, str) or not password:
            raise Refusal(100006, "Invalid request body")
        if account is None or not account.has_password(password):
            raise Refusal(101009, "Incorrect user name or password")
        return _open_session(call, account)
    if "verification_code" in body:
        return _confirm_code(call, account, body)
    return done("One-time code sent", session=_otp_session(call, email))


def _open_session(call: Call, account: Account) -> dict[str, Any]:
    world, now = call.world, call.world.clock.wire_now()
    session = tokens.new_id()
    return done(
        "Login successful",
        **account.access_and_id(world.secret, session, now, world.token_life_s),
        refreshtoken=account.refresh(world.secret, session, now),
    )


def _extend(call: Call, token: object) -> dict[str, Any]:
    world, now = call.world, call.world.clock.wire_now()
    try:
        account, claims = world.signed_in(token if isinstance(token, str) else "", "refresh")
    except Unauthorized as error:
        raise Refusal(101017, "Refresh token is invalid or expired") from error
    fresh = account.access_and_id(world.secret, claims["origin_jti"], now, world.token_life_s)
    return done("Session extended", **fresh)


def _otp_session(call: Call, email: str) -> str:
    claims = {"sub": email.lower(), "token_use": "otp"}
    return tokens.issue(call.world.secret, claims, call.world.clock.wire_now(), 180)


def _confirm_code(call: Call, account: Account | None, body: dict[str, Any]) -> dict[str, Any]:
    session = body.get("session")
    if not isinstance(session, str) or not session:
        raise Refusal(101039, "Session is missing")
    try:
        claims = tokens.read(call.world.secret, session, "otp", call.world.clock.wire_now())
    except tokens.BadToken as error:
        raise Refusal(101012, "Verification code is incorrect") from error
    is_theirs = account is not None and claims["sub"] == account.email
    if account is None or not is_theirs or body["verification_code"] != ONE_TIME_CODE:
        raise Refusal(101012, "Verification code is incorrect")
    return _open_session(call, account)


def logout(call: Call) -> dict[str, Any]:
    """End this session, or with logout_all=true all of them."""
    everywhere = call.request.query.get("logout_all", "false")
    if everywhere not in ("true", "false"):
        raise Refusal(101036, "Invalid value for logout_all")
    account = call.account
    if everywhere == "true":
        account.revoke_all()
    else:
        account.end_session(call.claims["origin_jti"])
    call.world.touched_accounts.add(account.email)
    return done("Logged out")


def user(call: Call) -> dict[str, Any]:
    account = call.account
    answer: dict[str, Any] = {
        "user_id": account.user_id,
        "user_name": account.email,
        "super_admin": False,
        "mfa": False,
    }
    if call.request.flag("custom_data", False):
        answer["custom_data"] = account.custom_data
    return answer
