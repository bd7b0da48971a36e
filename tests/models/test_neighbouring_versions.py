"""A host of the version before works with today's tables: during an upgrade both run.

Each migration since the newest release leaves what the older program writes and reads. What it
removes is removed one version later, when no host needs it any more.
"""

from collections.abc import Iterator
from typing import Any

from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterField,
    AlterModelTable,
    CreateModel,
    DeleteModel,
    RemoveField,
    RenameField,
    RenameModel,
    RunSQL,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from tests.test_released import RELEASED, versions

GONE = (RemoveField, RenameField, DeleteModel, RenameModel, AlterModelTable, RunSQL)
# What an older host may not live with, and why it is so all the same.
KNOWS_MORE = "takes every value that the version before writes"
TWICE = (
    "a queue, or a night of a proposal, that an older host carried on beside the plans would "
    "install twice: so it fails there, with its pages of hubs, and the newer host carries it on"
)
MEANT = {
    ("0023_outcome_known", "constraint job_outcome_known on model otajob"): KNOWS_MORE,
    ("0028_install_witnesses", "constraint job_outcome_known on model otajob"): KNOWS_MORE,
    ("0043_one_mechanism", "field expires_at from batch"): TWICE,
    ("0043_one_mechanism", "field next_try_at from proposal"): TWICE,
    ("0043_one_mechanism", "field try_until from proposal"): TWICE,
    ("0043_one_mechanism", "field why_not from proposal"): TWICE,
    ("0043_one_mechanism", "model BatchItem"): TWICE,
    ("0051_winter_and_calendar", "constraint token_scope_known on model apitoken"): KNOWS_MORE,
    ("0052_push_devices", "constraint one_mail_channel_per_member on model channel"): KNOWS_MORE,
    ("0052_push_devices", "constraint one_channel_per_device on model channel"): KNOWS_MORE,
    (
        "0052_push_devices",
        "constraint channel_is_a_persons_or_a_service on model channel",
    ): KNOWS_MORE,
    ("0055_hub_in_use", "constraint job_outcome_known on model otajob"): KNOWS_MORE,
    ("0057_letters", "constraint one_letter_per_notice on model delivery"): KNOWS_MORE,
    ("0057_letters", "constraint delivery_by_channel_or_letter on model delivery"): KNOWS_MORE,
}


def unsafe(operation: Operation, before: ProjectState, made: set[str]) -> str:
    """Return what an older program cannot live with, or "". made: the tables that it never saw."""
    model = str(getattr(operation, "model_name", getattr(operation, "name", ""))).lower()
    if model in made:
        return ""
    if isinstance(operation, GONE):
        return operation.describe()
    if isinstance(operation, AddConstraint):
        return operation.describe()
    if isinstance(operation, AddField):
        field = operation.field
        is_safe = field.many_to_many or field.null or field.has_db_default()
        return "" if is_safe else operation.describe()
    if isinstance(operation, AlterField):
        return "" if _takes_as_much(before, model, operation) else operation.describe()
    return ""


def _takes_as_much(before: ProjectState, model: str, operation: AlterField) -> bool:
    """Does the changed column take every value that it took, and give it back as it was?"""
    old: Any = before.models["devices", model].get_field(operation.name)
    new: Any = operation.field
    if new.get_internal_type() != old.get_internal_type():
        return {old.get_internal_type(), new.get_internal_type()} <= {
            "CharField",
            "TextField",
        } and (new.get_internal_type() == "TextField")
    is_shorter = (new.max_length or 10**9) < (old.max_length or 10**9)
    return not is_shorter and (new.null or not old.null) and (new.unique <= old.unique)


def findings() -> Iterator[tuple[str, str]]:
    """Yield (migration, what an older program cannot live with) since the newest release."""
    loader = MigrationLoader(None)
    newest = RELEASED[versions()[0]]
    names = sorted(name for app, name in loader.disk_migrations if app == "devices")
    state = loader.project_state(("devices", newest))
    made: set[str] = set()
    for name in names[names.index(newest) + 1 :]:
        for operation in loader.disk_migrations["devices", name].operations:
            if words := unsafe(operation, state, made):
                yield name, words.partition(" ")[2]  # without its verb
            if isinstance(operation, CreateModel):
                made.add(operation.name.lower())
            operation.state_forwards("devices", state)


def test_an_older_host_lives_with_each_migration_since_the_release() -> None:
    found = list(findings())
    assert [one for one in found if one not in MEANT] == []


def test_what_is_meant_is_there_and_has_a_reason() -> None:
    assert set(MEANT) <= set(findings()), "what is no longer there needs no reason"
    assert all(MEANT.values())
