"""Every action of the trail is recorded somewhere, stands in the filter, and is translated."""

import ast
from collections.abc import Collection
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.translation import override

from devices.forms.audit import AuditFilterForm
from devices.models import (
    AuditAction,
    AuditEvent,
    AuditGroup,
    OfferEnd,
    PlanState,
    State,
    VersionCause,
)
from devices.models.firmware_file import FetchState
from devices.models.proposal import ProposalState

PRODUCT = Path(settings.BASE_DIR) / "devices"
# Actions that are named after a value of another closed set where they are recorded.
FAMILIES: dict[str, Collection[str]] = {
    "install": set(State),
    "image": set(FetchState) - {FetchState.WAITING},
    "version": set(VersionCause) - {VersionCause.FIRST},
    "offer": set(OfferEnd),
    "plan": set(PlanState) - {PlanState.WAITING, PlanState.STARTED},
    "proposal": {
        ProposalState.WITHDRAWN,
        ProposalState.EXPIRED,
        ProposalState.MISSED,
        ProposalState.OVERTAKEN,
    },
}


def product_trees() -> list[ast.AST]:
    paths = [path for path in PRODUCT.rglob("*.py") if path.name != "audit_action.py"]
    return [ast.parse(path.read_text()) for path in paths if "migrations" not in path.parts]


def test_every_action_is_recorded_somewhere_in_the_product() -> None:
    named, families = set(), set()
    for tree in product_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "AuditAction":
                named.add(AuditAction[node.attr])
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "AuditAction":
                families.add(ast.unparse(node.args[0]).partition("'")[2].partition(".")[0])
    assert families == set(FAMILIES)
    for group, values in FAMILIES.items():
        named |= {AuditAction(f"{group}.{value}") for value in values}
    assert named == set(AuditAction)


def test_no_action_is_typed_by_hand() -> None:
    values = {action.value for action in AuditAction}
    for tree in product_trees():
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not texts & values


def test_the_filter_of_the_trail_has_every_group_and_nothing_else() -> None:
    assert set(AuditFilterForm.ACTIONS) == {"", *(action.group.prefix for action in AuditAction)}
    assert {action.group for action in AuditAction} == set(AuditGroup)


@pytest.mark.parametrize("language", ["de", "es"])
def test_every_group_is_translated(language: str) -> None:
    for group in AuditGroup:
        with override("en"):
            english = str(group.label)
        with override(language):
            assert str(group.label) != english or (language, group) in SAME


# these languages use the very word
SAME = {("es", AuditGroup.TOKEN), ("de", AuditGroup.TOKEN), ("de", AuditGroup.WORKER)}


def test_every_action_fits_its_column() -> None:
    length = AuditEvent._meta.get_field("action").max_length
    assert length is not None
    assert max(map(len, AuditAction)) <= length
