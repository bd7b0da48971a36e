"""Every verdict has an exit status of its own."""

from devices.cli.errors import EXIT_TABLE, VERDICT_EXITS, Exit
from devices.models import VERDICTS


def test_every_verdict_has_an_exit_status_of_its_own_in_the_table() -> None:
    assert set(VERDICT_EXITS) == set(VERDICTS)
    numbers = [*VERDICT_EXITS.values(), *(int(end) for end in Exit if end is not Exit.DONE)]
    assert len(set(numbers)) == len(numbers)
    rows = {line.split()[0] for line in EXIT_TABLE.splitlines()[1:]}
    assert rows == {"1", *map(str, numbers)}
