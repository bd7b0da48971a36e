"""What the database itself refuses: changing or removing rows of the audit trail.

Triggers, so that a mistake in this code or a statement typed by hand cannot do it unnoticed. Who
owns the database can remove them; then the chain shows what was done. Pruning has the one way
through: rows up to a checkpoint may go, a checkpoint has to name a row that is there, and neither
it nor the head of the chain ever goes back.
"""

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

EVENTS, HEAD, CHECKPOINTS = "devices_auditevent", "devices_audithead", "devices_auditcheckpoint"
_LATEST = f"(SELECT COALESCE(MAX(sequence), 0) FROM {CHECKPOINTS})"  # noqa: S608
_NAMES_A_ROW = (
    f"EXISTS (SELECT 1 FROM {EVENTS} e WHERE e.sequence = NEW.sequence AND e.digest = NEW.digest)"  # noqa: S608
)
_IS_BACK = (
    "(NEW.sequence < OLD.sequence OR (NEW.sequence = OLD.sequence AND NEW.digest <> OLD.digest))"
)
# name: (before what, on which table, when it is refused)
_RULES = {
    "audit_event_update": ("UPDATE", EVENTS, ""),
    "audit_event_delete": ("DELETE", EVENTS, f"OLD.sequence > {_LATEST}"),
    "audit_head_update": ("UPDATE", HEAD, _IS_BACK),
    "audit_head_delete": ("DELETE", HEAD, ""),
    "audit_checkpoint_insert": (
        "INSERT",
        CHECKPOINTS,
        f"NEW.sequence <= {_LATEST} OR NOT {_NAMES_A_ROW}",
    ),
    "audit_checkpoint_update": ("UPDATE", CHECKPOINTS, ""),
    "audit_checkpoint_delete": ("DELETE", CHECKPOINTS, ""),
}
_REFUSAL = "The audit trail is only ever added to"


def install(database: BaseDatabaseWrapper) -> None:
    """Create the triggers, replacing those that exist. Safe on repeat, and without
    effect before the tables exist. Runs with every migration: a changed rule takes one.
    """
    if CHECKPOINTS not in database.introspection.table_names():
        return
    with database.cursor() as cursor:
        for statement in _statements(database.vendor):
            cursor.execute(statement)


def remove(database: BaseDatabaseWrapper) -> None:
    """Take the triggers away; for undoing the migration that brought them."""
    with database.cursor() as cursor:
        for statement in _removal(database.vendor):
            cursor.execute(statement)


def are_in_place(database: BaseDatabaseWrapper = connection) -> bool:
    """Are all the triggers there, and switched on? One query."""
    wanted = set(_RULES)
    if database.vendor == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        wanted |= {f"{table}_truncate" for table in (EVENTS, HEAD, CHECKPOINTS)}
        query = (
            "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE tgenabled IN ('O', 'A') AND pg_table_is_visible(pg_class.oid)"
        )
    with database.cursor() as cursor:
        cursor.execute(query)
        return wanted <= {str(row[0]) for row in cursor.fetchall()}


def _statements(vendor: str) -> list[str]:
    make = _for_sqlite if vendor == "sqlite" else _for_postgresql
    made = [*_removal(vendor), *(make(name, *rule) for name, rule in _RULES.items())]
    if vendor == "sqlite":
        return made
    made = [made_one for group in made for made_one in group.split(";;")]
    for table in (EVENTS, HEAD, CHECKPOINTS):
        made.append(
            f"CREATE OR REPLACE FUNCTION {table}_truncate() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}.' "
            "USING ERRCODE = 'restrict_violation'; END $$"
        )
        made.append(
            f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_truncate()"
        )
    return made


def _for_sqlite(name: str, verb: str, table: str, condition: str) -> str:
    when = f"WHEN {condition} " if condition else ""
    return (
        f"CREATE TRIGGER {name} BEFORE {verb} ON {table} {when}"
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}.'); END"
    )


def _for_postgresql(name: str, verb: str, table: str, condition: str) -> str:
    row = "OLD" if verb == "DELETE" else "NEW"
    return (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {condition or 'true'} THEN RAISE EXCEPTION '{_REFUSAL}.' "
        f"USING ERRCODE = 'restrict_violation'; END IF; RETURN {row}; END $$;;"
        f"CREATE TRIGGER {name} BEFORE {verb} ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {name}()"
    )


def _removal(vendor: str) -> list[str]:
    if vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {name}" for name in _RULES]
    made = [f"DROP TRIGGER IF EXISTS {name} ON {table}" for name, (_, table, _) in _RULES.items()]
    tables = (EVENTS, HEAD, CHECKPOINTS)
    return made + [f"DROP TRIGGER IF EXISTS {table}_truncate ON {table}" for table in tables]
