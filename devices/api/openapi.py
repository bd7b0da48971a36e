"""What the JSON addresses are, in OpenAPI 3.1."""

from typing import Any

from django.conf import settings

from devices.models import State

VERSION = "1.0.0"


def _text(*, can_be_null: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": ["string", "null"] if can_be_null else "string", **more}


NULLABLE = _text(can_be_null=True)
WHEN = _text(format="date-time")
WHEN_OR_NULL = _text(can_be_null=True, format="date-time")
ID: dict[str, Any] = {"type": "integer", "minimum": 1}
# What the database keeps of a cloud's names, without the one character no database keeps.
NAMED = _text(minLength=1, maxLength=128, pattern="^[^\\u0000]+$")


def _object(**properties: Any) -> dict[str, Any]:
    """Return an object that has exactly these properties."""
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(name: str) -> dict[str, Any]:
    return {"anyOf": [_ref(name), {"type": "null"}]}


SIMULATED = {"type": "boolean", "description": "The hub is one to try things out with."}
HUB = {
    "id": ID,
    "node_id": _text(description="The hub as its cloud names it."),
    "name": _text(),
    "model": NULLABLE,
    "serial": NULLABLE,
    "is_simulated": SIMULATED,
    "installed_version": NULLABLE,
    "latest_version": NULLABLE,
    "is_online": {"type": ["boolean", "null"], "description": "null while it is not known"},
    "is_in_use": {"type": "boolean"},
    "checked_at": WHEN_OR_NULL,
    "update_available": {"type": "boolean"},
    "offer": _or_null("Offer"),
    "install": _or_null("Install"),
    "page": _text(format="uri"),
}
SCHEMAS = {
    "Offer": _object(
        ota_job_id=_text(),
        version=_text(),
        description=NULLABLE,
        size_bytes={"type": ["integer", "null"]},
        md5=NULLABLE,
    ),
    "Install": _object(
        id=ID,
        hub=ID,
        node_id=_text(),
        is_simulated=SIMULATED,
        ota_job_id=_text(),
        from_version=NULLABLE,
        to_version=_text(),
        state={"enum": sorted(State.values)},
        is_over={"type": "boolean"},
        percent={
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": 100,
            "description": "What the hub itself gave last; never made up.",
        },
        headline=_text(),
        what=_text(),
        is_the_hub_safe=_text(),
        what_to_do=_text(),
        support_code=_text(),
        cloud_says=NULLABLE,
        version_seen=NULLABLE,
        is_online={"type": ["boolean", "null"]},
        requested_at=WHEN,
        ended_at=WHEN_OR_NULL,
        page=_text(format="uri"),
    ),
    "Hub": _object(**HUB),
    "HubDetail": _object(
        **HUB,
        why_not_now={
            "type": "array",
            "items": _ref("Reason"),
            "description": "Why the hub could not take its offer now; empty when it could.",
        },
    ),
    "Hubs": _object(
        household=_object(id=ID, name=_text()),
        hubs={"type": "array", "items": _ref("Hub")},
        next={**NULLABLE, "description": "Where the hubs after these are, if there are any."},
    ),
    "Reason": _object(code=_text(), sentence=_text()),
    "Error": _object(
        error=_object(
            code=_text(), sentence=_text(), reasons={"type": "array", "items": _ref("Reason")}
        )
    ),
    "InstallWanted": _object(node_id=NAMED, ota_job_id=NAMED, version=NAMED),
}
ERRORS = {
    "400": "The request cannot be read.",
    "401": "No token, or one that is not good.",
    "403": "The token's scope, or its person's role, does not include this.",
    "404": "Not in this household.",
    "405": "Not a verb of this address.",
    "409": "Refused; the reasons say why. Nothing was sent to the hub.",
    "429": "Too often; Retry-After says how many seconds to wait.",
}


def _answers(schema: str, *errors: str, status: str = "200") -> dict[str, Any]:
    good: dict[str, Any] = {"description": "As asked for.", "content": _json(schema)}
    if status == "201":
        good["headers"] = {"Location": {"schema": _text()}}
    bad = {code: {"description": ERRORS[code], "content": _json("Error")} for code in errors}
    bad["429"]["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return {status: good, **bad}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(schema)}}


def _number_in(where: str, name: str, **more: Any) -> dict[str, Any]:
    limits = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1} | more
    return {"name": name, "in": where, "required": where == "path", "schema": limits}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    one = ("401", "404", "405", "429")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thermacell Web",
            "version": VERSION,
            "description": (
                "The hubs of one household and their installs. A token is personal, belongs to "
                "one household, and may never do more than its person. Made and revoked on the "
                "household's page Tokens."
            ),
        },
        "servers": [{"url": settings.PUBLIC_URL}],
        "security": [{"token": []}],
        "paths": {
            "/api/v1/hubs/": {
                "get": {
                    "operationId": "listHubs",
                    "summary": "The household's hubs, with what each is offered",
                    "parameters": [
                        _number_in("query", "after", minimum=0),
                        _number_in("query", "limit", maximum=500),
                    ],
                    "responses": _answers("Hubs", "400", "401", "405", "429"),
                }
            },
            "/api/v1/hubs/{hub}/": {
                "get": {
                    "operationId": "getHub",
                    "summary": "One hub, and why it could not take its offer now",
                    "parameters": [_number_in("path", "hub")],
                    "responses": _answers("HubDetail", *one),
                }
            },
            "/api/v1/installs/": {
                "post": {
                    "operationId": "install",
                    "summary": "Install exactly this offer, as the form would",
                    "description": "Needs a token with the scope install.",
                    "requestBody": {"required": True, "content": _json("InstallWanted")},
                    "responses": _answers(
                        "Install", "400", "401", "403", "404", "405", "409", "429", status="201"
                    ),
                }
            },
            "/api/v1/installs/{install}/": {
                "get": {
                    "operationId": "getInstall",
                    "summary": "One install: its state, its witnesses and its verdict",
                    "parameters": [_number_in("path", "install")],
                    "responses": _answers("Install", *one),
                }
            },
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
