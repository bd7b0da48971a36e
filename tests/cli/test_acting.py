"""For whom a command acts, and what it refuses them."""

import pytest

from devices.cli.acting import acting, require
from devices.cli.errors import CommandEnd
from devices.models import Role
from tests.support.factories import make_household, make_owner, make_user


@pytest.mark.django_db
def test_who_acts_is_never_guessed() -> None:
    with pytest.raises(CommandEnd, match="There is no owner yet"):
        acting(None)
    household = make_household()
    owner = make_owner(household)
    assert acting(None) == owner
    make_user(role=Role.VIEWER, household=household)
    assert acting(None) == owner
    assert acting(owner.email.upper()) == owner
    other = make_owner(household)
    with pytest.raises(CommandEnd, match="Several people are owners") as ended:
        acting(None)
    assert ended.value.facts["candidates"] == sorted([owner.email, other.email])
    other.is_active = False
    other.save()
    assert acting(None) == owner
    with pytest.raises(CommandEnd, match="No account here has"):
        acting(other.email)


@pytest.mark.django_db
def test_a_terminal_refuses_with_the_words_of_the_pages() -> None:
    from devices.models import AuditEvent
    from devices.permissions import Right

    household = make_household("Garden")
    viewer = make_user(role=Role.VIEWER, household=household)
    with pytest.raises(CommandEnd) as ended:
        require(viewer, Right.INSTALL, household)
    assert str(ended.value) == "Your role in Garden does not let you install firmware."
    event = AuditEvent.objects.get(action="access.refused")
    assert (event.actor_name, event.actor_role, event.via) == (viewer.email, "viewer", "terminal")
