"""Link, list and unlink cloud accounts without a browser; the password comes from the input."""

from devices.cli.cloud_account import CloudAccountCommand


class Command(CloudAccountCommand):
    pass
