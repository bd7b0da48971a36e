"""Set up people and households without a browser; passwords come from the input."""

from devices.cli.household import HouseholdCommand


class Command(HouseholdCommand):
    pass
